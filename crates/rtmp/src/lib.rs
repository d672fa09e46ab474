//! RTMP ingest: a sans-IO session and the server that drives it.
//!
//! ```text
//! TCP ──► server ──► connection ──► session ──► ingest ──► hub
//!                                      │
//!                                      ├─ handshake, chunk, message, amf: the protocol's concepts
//!                                      └─ name, metadata, timestamp: what a client means by them
//! ```
//!
//! Only [`server`], `connection`, `listener`, [`tls`] and [`client`] know sockets and read the clock.
//!
//! * [`server`]: [`RtmpServer`], which feeds publishers into the hub and players from it.
//! * [`session`]: [`ServerSession`], the protocol of one connection as a machine of bytes and events.
//! * [`client`]: a publishing client, for the gateway's own clip and for load.

mod aggregate;
pub mod amf;
pub mod amf0;
mod amf3;
pub mod chunk;
pub mod client;
mod connection;
pub mod handshake;
mod ingest;
mod listener;
pub mod message;
pub mod metadata;
pub mod name;
mod playback;
pub mod server;
pub mod session;
pub mod timestamp;
pub mod tls;

pub use listener::BindError;
pub use server::{OnDuplicate, RtmpConfig, RtmpServer, StartError};
pub use session::{ServerSession, SessionConfig, SessionError, SessionEvent};
pub use tls::{TlsConfig, TlsError, TlsIdentity};
