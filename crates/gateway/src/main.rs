//! RTMP in, WebRTC out: the Distributary gateway.

fn main() {}
