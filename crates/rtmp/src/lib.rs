//! RTMP: the protocol as sans-IO state machines, the server and the client that drive it.
//!
//! ```text
//! TCP ──► server: listener ──► connection ──► ingest, playback ──► hub
//!                                  │
//!                                  └─► proto: session ──► link ──► handshake, chunk, message, amf
//! ```
//!
//! Only `server`, [`client`] and `clock` know sockets and read the clock.
//!
//! * `proto`: the protocol. Its modules are public: [`session`], the server's side of a connection;
//!   [`handshake`], [`chunk`], [`message`] and [`amf`], the parts of the format.
//! * `server`: [`RtmpServer`], which feeds publishers into the hub, players from it, and pulls
//!   streams from other servers while somebody watches them.
//! * [`client`]: a client that publishes (the gateway's own clip, and load) or plays.

pub mod client;
mod clock;
mod proto;
mod server;

pub use distributary_tls::{TlsError, TlsIdentity};
pub use proto::client::ClientSession;
pub use proto::session::{MediaMessage, ServerSession, SessionConfig, SessionError, SessionEvent};
pub use proto::swf::{FlashProgram, Swf, SwfError};
pub use proto::{amf, chunk, handshake, message, metadata, name, session, swf, timestamp};
pub use server::{
    KnownSwf, OnDuplicate, PublishersConfig, PullRule, PullRuleError, PullsConfig, RtmpConfig,
    RtmpServer, RtmpService, StartError, SwfSource, TlsConfig,
};
