//! ICE over TCP, passive side (RFC 6544): for viewers behind networks that let no UDP through.
//!
//! A viewer connects to the TCP port with the number of the UDP port, and datagrams travel on the
//! connection as frames (RFC 4571). One thread reads and writes all connections. It passes frames
//! to the shard that has the viewer, which decides everything else, so the UDP path is not
//! affected.
//!
//! * `connection`: one connection, shared between the shard and the thread.
//! * `server`: the thread.
//!
//! * `unproven`: the limits of connections, in all and per address.
//!
//! Limits: the number of connections is that of sessions, in all and per address. Few connections
//! may be without a valid check; at that limit, the oldest one of the address that has the most is
//! closed for a newcomer. A connection has [`FIRST_FRAME_TIMEOUT`] for the first check,
//! [`PROOF_TIMEOUT`] until a shard has found it valid, and [`IDLE_TIMEOUT`] of silence after that.
//! From [`LOW_WATER`] queued bytes on a viewer gets no more media until it has read some, and then
//! continues at the newest keyframe.

mod connection;
mod server;
mod unproven;

use std::time::Duration;

pub(crate) use connection::Connection;
pub(crate) use server::TcpServer;

/// Timeout of a new connection for its first frame.
pub const FIRST_FRAME_TIMEOUT: Duration = Duration::from_secs(5);

/// Timeout of a new connection for a valid check.
pub const PROOF_TIMEOUT: Duration = Duration::from_secs(10);

/// Timeout of a silent connection: a viewer sends a check every few seconds.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Queued bytes from which on media is held back.
pub const LOW_WATER: usize = 64 * 1024;

/// Maximum number of queued bytes. Packets beyond it are dropped, as datagrams may be.
pub const MAX_QUEUED: usize = 1024 * 1024;
