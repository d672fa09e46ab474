//! The reasons why a session ends, and its timeouts.

use std::time::Duration;

use crate::ice::CONSENT_TIMEOUT;

/// Timeout of ICE and DTLS from the first valid check on.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// Timeout for the proof that a connected viewer is at its address. It gets no media in that time,
/// so a player that answers no checks and cannot prove it is better off with a new session.
pub const PROOF_TIMEOUT: Duration = Duration::from_secs(5);

/// The reason why a session ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The viewer sent a DTLS close_notify.
    #[error("the viewer left")]
    Left,
    /// No valid connectivity check came any more (RFC 7675 section 5.1).
    #[error("the viewer was not heard of for {} s", CONSENT_TIMEOUT.as_secs())]
    Silent,
    /// The handshake did not finish in time.
    #[error("the DTLS handshake did not finish within {} s", HANDSHAKE_TIMEOUT.as_secs())]
    HandshakeTimeout,
    /// The handshake failed.
    #[error("the DTLS handshake failed: {0}")]
    Handshake(String),
    /// The handshake was closed to admit another viewer's.
    #[error("too many DTLS handshakes were incomplete, and this one was closed for a newcomer")]
    Displaced,
    /// The viewer has not proved that it is at the address that its checks come from.
    #[error(
        "the viewer answered no ICE check for {} s after it had connected, and its address changed during \
         the DTLS handshake: media cannot be sent there",
        PROOF_TIMEOUT.as_secs()
    )]
    Unproven,
    /// The keys have sealed as much as they may (RFC 3711 section 9.2).
    #[error("the SRTP keys are used up; a new session has new ones")]
    KeysUsedUp,
    /// The gateway closed the session.
    #[error("closed by the gateway")]
    Local,
}
