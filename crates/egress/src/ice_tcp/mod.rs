//! ICE over TCP, passive side (RFC 6544): for viewers behind networks that let no UDP through.
//!
//! A viewer connects to the TCP port with the number of the UDP port, and datagrams travel on the
//! connection as frames (RFC 4571). One thread reads and writes all connections. It passes frames
//! to the shard that has the viewer, which decides everything else, so the UDP path is not
//! affected.
//!
//! * `connection`: one connection, shared between the shard and the thread.
//! * `server`: the thread.
//! * `unproven`: the limits of connections, in all and per address.
//!
//! Limits: the number of connections is that of sessions, in all and per address. Few connections
//! may be without a valid check; at that limit, the oldest one of the address that has the most is
//! closed for a newcomer. A connection has [`FIRST_FRAME_TIMEOUT`] for the first check,
//! [`PROOF_TIMEOUT`] until a shard has found it valid, and [`IDLE_TIMEOUT`] of silence after that.
//! From [`LOW_WATER`] queued bytes on a viewer gets no more media until it has read some, and then
//! continues at the newest keyframe.

mod connection;
mod limits;
mod server;
mod unproven;

pub(crate) use connection::Connection;
pub use limits::{FIRST_FRAME_TIMEOUT, IDLE_TIMEOUT, LOW_WATER, MAX_QUEUED, PROOF_TIMEOUT};
pub(crate) use server::TcpServer;
#[cfg(any(test, feature = "test-util"))]
pub(crate) use server::{TcpAcceptor, serve_stream};
