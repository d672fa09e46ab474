//! The DTLS certificate of new sessions, regenerated at intervals.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use openssl::error::ErrorStack;

use distributary_webrtc::certificate::{Certificate, CertificateError, Fingerprint};
use distributary_webrtc::dtls::{DtlsContext, DtlsRole};
use distributary_webrtc::srtp::SrtpProfile;

use crate::session::ViewerOptions;

/// Interval after which new sessions get a new certificate. A certificate is valid for much longer,
/// so that sessions keep the one they started with. A key that is in use for a day is worth little
/// to an attacker, and does not link a viewer's sessions of different days.
pub const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate and the DTLS contexts that present it.
pub(crate) struct Identity {
    pub(crate) fingerprint: Fingerprint,
    dtls: DtlsContext,
    /// Offers only the cheapest SRTP profile with which media can start early. A server picks the
    /// one that it prefers, and that of libwebrtc is another.
    early_dtls: DtlsContext,
    made: Instant,
}

/// The reason why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The certificate cannot be generated.
    #[error("cannot generate the DTLS certificate: {0}")]
    Certificate(#[from] CertificateError),
    /// OpenSSL refuses its settings.
    #[error("cannot set up DTLS: {0}")]
    Dtls(#[from] ErrorStack),
}

/// The current identity, read once per new session.
pub(crate) struct Identities {
    current: Mutex<Arc<Identity>>,
    /// The same moment on both clocks.
    origin: (Instant, SystemTime),
}

impl Identities {
    /// Creates the first identity. `now` and `wall` are the same moment.
    pub(crate) fn new(now: Instant, wall: SystemTime) -> Result<Self, IdentityError> {
        let first = Identity::make(now, wall)?;
        Ok(Self {
            current: Mutex::new(Arc::new(first)),
            origin: (now, wall),
        })
    }

    /// Returns the identity for a new session.
    pub(crate) fn current(&self, now: Instant) -> Arc<Identity> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(current.made) >= CERTIFICATE_LIFETIME {
            let (origin, wall) = self.origin;
            match Identity::make(now, wall + now.saturating_duration_since(origin)) {
                Ok(next) => *current = Arc::new(next),
                // The current one stays valid for long; the next session tries again.
                Err(error) => tracing::error!(%error, "the DTLS certificate stays as it is"),
            }
        }
        Arc::clone(&current)
    }
}

impl Identity {
    /// Returns the DTLS context of a session in this role.
    pub(crate) fn dtls(&self, role: DtlsRole, options: &ViewerOptions) -> DtlsContext {
        let is_early = role == DtlsRole::Client && options.early_media;
        if is_early {
            self.early_dtls.clone()
        } else {
            self.dtls.clone()
        }
    }

    fn make(now: Instant, wall: SystemTime) -> Result<Self, IdentityError> {
        let certificate = Certificate::generate(wall)?;
        Ok(Self {
            fingerprint: certificate.fingerprint().clone(),
            dtls: DtlsContext::new(&certificate)?,
            early_dtls: DtlsContext::with_profiles(&certificate, &[SrtpProfile::AeadAes128Gcm])?,
            made: now,
        })
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "an origin for driven time")]
mod tests {
    use super::*;

    #[test]
    fn new_sessions_get_a_new_certificate_after_its_lifetime() {
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
    fn session_keeps_the_certificate_it_started_with() {
        let start = Instant::now();
        let identities = Identities::new(start, SystemTime::now()).unwrap();
        let before = identities.current(start);
        let fingerprint = before.fingerprint.clone();
        identities.current(start + CERTIFICATE_LIFETIME);
        assert_eq!(before.fingerprint, fingerprint);
    }
}
