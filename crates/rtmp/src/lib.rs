//! RTMP ingest: a sans-IO session and the server that drives it.
//!
//! ```text
//! TCP ──► server ──► connection ──► session ──► ingest ──► hub
//!                                      │
//!                                      ├─ handshake, chunk, message, amf: the protocol's concepts
//!                                      └─ name, metadata, timestamp: what a client means by them
//! ```
//!
//! Only [`server`], `connection`, [`tls`], [`client`] and [`pull`] know sockets and read the clock.
//!
//! * [`server`]: [`RtmpServer`], which feeds publishers into the hub and players from it.
//! * [`session`]: [`ServerSession`], the protocol of one connection as a machine of bytes and
//!   events.
//! * `config`, and with it [`PullRule`] and [`PullsConfig`]: the sections of the configuration.
//! * [`client`]: a client that publishes (the gateway's own clip, and load) or plays.
//! * [`pull`]: streams that are played from other servers while somebody watches them.

mod aggregate;
mod allowance;
pub mod amf;
pub mod amf0;
mod amf3;
mod backlog;
pub mod chunk;
pub mod client;
mod clock;
mod config;
mod connection;
pub mod handshake;
mod holders;
mod ingest;
mod json;
pub mod message;
pub mod metadata;
pub mod name;
mod playback;
mod programs;
pub mod pull;
pub mod server;
pub mod session;
pub mod swf;
mod swf_source;
pub mod timestamp;
pub mod tls;
mod values;

pub use config::{OnDuplicate, PublishersConfig};
pub use distributary_tls::{TlsError, TlsIdentity};
pub use pull::{PullRule, PullsConfig};
pub use server::{RtmpConfig, RtmpServer, StartError};
pub use session::{MediaMessage, ServerSession, SessionConfig, SessionError, SessionEvent};
pub use swf::{FlashProgram, Swf, SwfError};
pub use swf_source::{KnownSwf, SwfSource};
pub use tls::TlsConfig;
