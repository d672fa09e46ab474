//! The certificates of the TLS listeners.

use std::time::SystemTime;

use distributary_tls::{Certificate, Tickets, TlsError, TlsIdentity, TlsListener, Validity};

use crate::config::Config;
use crate::error::{Listener, StartError};

/// Returns every reason why a certificate cannot be used.
pub(crate) fn check(config: &Config) -> Vec<StartError> {
    let mut errors = Vec::new();
    for (listener, result) in checked(config) {
        let found = result.err().into_iter().flatten();
        errors.extend(found.map(|source| StartError::Tls { listener, source }));
    }
    errors
}

/// Returns what clients may refuse now or soon, such as a certificate that expires.
pub(crate) fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    for (listener, result) in checked(config) {
        let found = result.into_iter().flatten();
        warnings.extend(found.map(|warning| format!("{listener}: {warning}")));
    }
    warnings
}

/// Returns the validities of the certificates of each TLS listener that is on; none for a generated
/// one.
pub(crate) fn validities(
    config: &Config,
) -> impl Iterator<Item = (Listener, Result<Vec<Validity>, StartError>)> {
    on(config).map(|(listener, tls)| {
        let validities = identity(listener, tls).and_then(|identity| {
            let certificate = Certificate::new("", identity, Tickets::None);
            let certificate = certificate.map_err(|source| StartError::Tls { listener, source })?;
            Ok(certificate.validities())
        });
        (listener, validities)
    })
}

/// Returns the TLS listeners that are on.
fn on(config: &Config) -> impl Iterator<Item = (Listener, &TlsListener)> {
    let listeners = [
        (Listener::Rtmps, &config.rtmps),
        (Listener::Https, &config.https),
        (Listener::AdminHttps, &config.admin_https),
    ];
    let listeners = listeners.into_iter();
    listeners.filter(|(_, tls)| tls.listen.0.is_some())
}

/// Checks the certificates of each TLS listener that is on.
#[expect(
    clippy::disallowed_methods,
    reason = "certificates are checked against the wall clock"
)]
fn checked(
    config: &Config,
) -> impl Iterator<Item = (Listener, Result<Vec<String>, Vec<TlsError>>)> {
    let now = SystemTime::now();
    on(config).map(move |(listener, tls)| {
        let identity = tls.identity().map_err(|error| vec![error]);
        (listener, identity.and_then(|identity| identity.check(now)))
    })
}

/// Returns the certificate of a TLS listener.
pub(crate) fn identity(listener: Listener, tls: &TlsListener) -> Result<TlsIdentity, StartError> {
    tls.identity()
        .map_err(|source| StartError::Tls { listener, source })
}
