//! Limits of one connection.

use std::time::Duration;

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
