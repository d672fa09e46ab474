//! Events of an association.

use openssl::error::ErrorStack;
use thiserror::Error;

use super::timeouts::FINISHED_TIMEOUT;
#[cfg(doc)]
use super::timeouts::HANDSHAKE_TIMEOUT;
use crate::srtp::{SrtpKeys, SrtpProfile};

/// An event of an association.
#[derive(Debug)]
#[non_exhaustive]
pub enum DtlsEvent {
    /// The SRTP keys are complete and may be used, and the peer's certificate is the one that was
    /// announced. A client can have them a round trip before the handshake is complete (RFC 7918);
    /// else [`DtlsEvent::Connected`] follows at once.
    Keys {
        /// The SRTP profile.
        profile: SrtpProfile,
        /// The SRTP keys.
        keys: SrtpKeys,
    },
    /// The handshake is complete.
    Connected,
    /// The peer has sent a close_notify.
    Closed,
    /// The handshake or the association has failed.
    Failed(DtlsError),
}

/// The reason of a failure.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DtlsError {
    /// OpenSSL could not be set up: not the peer's fault.
    #[error("could not set up DTLS")]
    Setup(#[source] ErrorStack),
    /// The offer had no fingerprint, so that no certificate could be right.
    #[error("no fingerprint to check the certificate of the peer against")]
    NoFingerprint,
    /// The certificate of the peer is not the one its offer announced: somebody is in between, or
    /// the peer is broken.
    #[error("the certificate of the peer does not match its fingerprint")]
    FingerprintMismatch,
    /// The peer does not support `use_srtp`, or none of our profiles.
    #[error("the peer shares no SRTP protection profile with us")]
    NoSrtpProfile,
    /// The handshake was not complete after [`HANDSHAKE_TIMEOUT`].
    #[error("the DTLS handshake took too long")]
    HandshakeTimeout,
    /// The peer's Finished did not come within [`FINISHED_TIMEOUT`] after the keys were used.
    #[error(
        "the peer did not finish the DTLS handshake within {} s after ours was finished",
        FINISHED_TIMEOUT.as_secs()
    )]
    FinishedTimeout,
    /// The peer closed before the handshake was complete.
    #[error("the peer closed the association during the handshake")]
    ClosedEarly,
    /// The peer ended the handshake or the association by a fatal alert (RFC 5246 section 7.2).
    #[error("the peer sent DTLS alert {description}")]
    Alert {
        /// Its number in the IANA registry "TLS Alerts".
        description: u8,
    },
    /// The peer sent a fatal alert, or something that is answered by one.
    #[error("DTLS protocol failure: {0}")]
    Protocol(#[source] ErrorStack),
}
