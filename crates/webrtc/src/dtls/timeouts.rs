//! Timeouts of a handshake.

use std::time::Duration;

/// Timeout of a handshake from its first datagram.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);

/// Timeout for the peer's Finished once its keys are in use without it. It is a round trip away,
/// and our last flight is retransmitted seven times until then.
pub const FINISHED_TIMEOUT: Duration = Duration::from_secs(5);
