//! One WebRTC viewer as a sans-IO peer: bytes and the time in; bytes, events and deadlines out.

pub mod bandwidth;
pub mod certificate;
pub mod data;
pub mod demux;
pub mod dtls;
pub mod framing;
pub mod ice;
pub mod log;
mod media_clock;
pub mod pacer;
pub mod peer;
pub mod quality;
pub mod reorder;
mod replay_window;
pub mod rtcp;
pub mod rtp;
pub mod sdp;
pub mod send_buffer;
pub mod sender;
pub mod srtp;
pub mod stun;
#[cfg(any(test, feature = "test-util"))]
pub mod test_util;
