//! The certificates of the TLS listeners.

use std::net::Ipv6Addr;
use std::time::SystemTime;

use distributary_tls::{TlsError, TlsIdentity, TlsListener, Validity};

use crate::candidates::{AUTOMATIC, Announce, candidates};
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
        let validities = tls.identity().and_then(|identity| identity.validities());
        let validities = validities.map_err(|source| StartError::Tls { listener, source });
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

/// Returns the certificate of a TLS listener, for the names and addresses of this machine if it has to
/// be generated.
pub(crate) fn identity(
    listener: Listener,
    tls: &TlsListener,
    config: &Config,
) -> Result<TlsIdentity, StartError> {
    let identity = tls.identity();
    let mut identity = identity.map_err(|source| StartError::Tls { listener, source })?;
    if identity.certificates.is_empty() {
        identity.names = names(config);
    }
    Ok(identity)
}

/// Returns the names and addresses under which others reach this machine.
fn names(config: &Config) -> Vec<String> {
    let announce = Announce {
        hosts: &[],
        interfaces: &config.interfaces,
        exclude: &config.exclude_interfaces,
    };
    let everywhere = (Ipv6Addr::UNSPECIFIED, 0).into();
    // A machine without addresses is reached over loopback only.
    let own = candidates(everywhere, &announce).unwrap_or_default();
    let hosts = config.advertise.iter().filter(|host| *host != AUTOMATIC);
    hosts
        .cloned()
        .chain(own.iter().map(ToString::to_string))
        .collect()
}
