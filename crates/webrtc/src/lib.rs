//! One WebRTC viewer as a sans-IO peer, and the UDP engine that drives many.

pub mod bandwidth;
pub mod certificate;
pub mod data;
pub mod demux;
pub mod dtls;
mod ended;
pub mod engine;
pub mod ice;
pub mod log;
pub mod pacer;
pub mod peer;
pub mod reorder;
pub mod rtcp;
pub mod rtp;
pub mod sdp;
pub mod send_buffer;
pub mod sender;
pub mod session;
mod shard;
mod socket;
pub mod srtp;
pub mod stun;
pub mod tcp;
mod visit;
