//! ICE over TCP, passive side (RFC 6544): for viewers behind networks that let no UDP through.
//!
//! A viewer connects to the TCP port with the number of the UDP port, and datagrams travel on the
//! connection as frames (RFC 4571). All connections live on a thread of their own, which reads and
//! writes; what a frame means, and what is sent, is up to the shard that has the viewer, so that the
//! path of UDP has no part in it.
//!
//! * `connection`: one connection, as the shard and the thread share it.
//! * `server`: the thread.
//!
//! * `unproven`: how many connections there may be, in all and of one address.
//!
//! Limits: as many connections as sessions, and of one address as many as it may have sessions;
//! few on which no check was valid, the oldest of the address with the most of which make room for
//! newcomers; [`FIRST_FRAME_TIMEOUT`] for the first check and
//! [`PROOF_TIMEOUT`] until a shard has found it valid; [`IDLE_TIMEOUT`] of silence after that; and
//! [`LOW_WATER`] bytes that wait for the network, from which on a viewer gets no more media until it
//! has taken some, and then goes on at the newest keyframe.

mod connection;
mod server;
mod unproven;

use std::time::Duration;

pub(crate) use connection::Connection;
pub(crate) use server::TcpServer;

/// Time that a new connection may take for its first frame.
pub const FIRST_FRAME_TIMEOUT: Duration = Duration::from_secs(5);

/// Time that a new connection may take until a check on it was valid.
pub const PROOF_TIMEOUT: Duration = Duration::from_secs(10);

/// Time that a connection may be silent: a viewer checks every few seconds.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes that may wait for the network before media is held back.
pub const LOW_WATER: usize = 64 * 1024;

/// Bytes that may wait at most. What would make it more is lost, as datagrams may be.
pub const MAX_QUEUED: usize = 1024 * 1024;
