//! The certificate that new sessions are answered with, made anew from time to time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use openssl::error::ErrorStack;

use distributary_webrtc::certificate::{Certificate, CertificateError, Fingerprint};
use distributary_webrtc::dtls::DtlsContext;

/// Time that a certificate is given to new sessions. It is valid for much longer, so that sessions
/// which began with it go on with it. A key that is in use for a day is worth little to who gets
/// hold of it, and does not tell a viewer's visits of one day from those of another.
pub const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate and what DTLS associations make of it.
pub(crate) struct Identity {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) dtls: DtlsContext,
    made: Instant,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The certificate cannot be made.
    #[error("cannot make the DTLS certificate: {0}")]
    Certificate(#[from] CertificateError),
    /// OpenSSL refuses its settings.
    #[error("cannot set up DTLS: {0}")]
    Dtls(#[from] ErrorStack),
}

/// The identity of now. It is looked at once for each new session.
pub(crate) struct Identities {
    current: Mutex<Arc<Identity>>,
    /// A moment on both clocks.
    origin: (Instant, SystemTime),
}

impl Identities {
    /// The first identity, at a moment on both clocks.
    pub(crate) fn new(now: Instant, wall: SystemTime) -> Result<Self, IdentityError> {
        let first = Identity::make(now, wall)?;
        Ok(Self {
            current: Mutex::new(Arc::new(first)),
            origin: (now, wall),
        })
    }

    /// The identity for a new session.
    pub(crate) fn current(&self, now: Instant) -> Arc<Identity> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(current.made) >= CERTIFICATE_LIFETIME {
            let (origin, wall) = self.origin;
            match Identity::make(now, wall + now.saturating_duration_since(origin)) {
                Ok(next) => *current = Arc::new(next),
                // The one there is stays valid for long; the next session tries again.
                Err(error) => tracing::error!(%error, "the DTLS certificate stays as it is"),
            }
        }
        Arc::clone(&current)
    }
}

impl Identity {
    fn make(now: Instant, wall: SystemTime) -> Result<Self, IdentityError> {
        let certificate = Certificate::generate(wall)?;
        Ok(Self {
            fingerprint: certificate.fingerprint().clone(),
            dtls: DtlsContext::new(&certificate)?,
            made: now,
        })
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "an origin for driven time")]
mod tests {
    use super::*;

    #[test]
    fn new_sessions_get_a_new_certificate_after_its_time_and_not_before() {
        let start = Instant::now();
        let identities = Identities::new(start, SystemTime::now()).unwrap();
        let fingerprint = |at| identities.current(at).fingerprint.clone();
        let first = fingerprint(start);
        let late = start + CERTIFICATE_LIFETIME;
        assert_eq!(fingerprint(late - Duration::from_millis(1)), first);
        let second = fingerprint(late);
        assert_ne!(second, first);
        assert_eq!(fingerprint(late + Duration::from_secs(1)), second);
        assert_ne!(fingerprint(late + CERTIFICATE_LIFETIME), second);
    }

    #[test]
    fn who_began_with_a_certificate_keeps_it() {
        let start = Instant::now();
        let identities = Identities::new(start, SystemTime::now()).unwrap();
        let before = identities.current(start);
        let fingerprint = before.fingerprint.clone();
        identities.current(start + CERTIFICATE_LIFETIME);
        assert_eq!(before.fingerprint, fingerprint);
    }
}
