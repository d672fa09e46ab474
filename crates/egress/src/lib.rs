//! The engine that serves WebRTC viewers: sessions, shards, UDP and ICE over TCP.
//!
//! The protocols themselves are in `distributary-webrtc`, without sockets and clocks. This crate
//! drives them: it answers offers, keeps the sessions, and runs one thread per core that sends the
//! streams of the hub to its viewers.

mod command;
mod config;
mod datagrams;
#[cfg(any(test, feature = "test-util"))]
pub mod driven;
pub mod engine;
mod engine_config;
mod error;
pub mod ice_tcp;
mod inbox;
mod playout_delay;
mod receive_pace;
pub mod session;
mod setup;
mod shard;
mod shard_thread;
mod socket_events;
mod state;
mod udp;

pub use config::ViewersConfig;
pub use playout_delay::{PlayoutDelayError, PlayoutDelaySetting};
pub use setup::SetupChoice;
pub use udp::{BufferSizes, SocketBuffers, socket_buffers};
