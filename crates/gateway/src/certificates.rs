//! The certificates of the TLS listeners.

use distributary_tls::{TlsIdentity, TlsListener};

use crate::config::Config;
use crate::error::{Listener, StartError};

/// Returns every reason why a certificate cannot be used.
pub(crate) fn check(config: &Config) -> Vec<StartError> {
    let listeners = [
        (Listener::Rtmps, &config.rtmps),
        (Listener::Https, &config.https),
        (Listener::AdminHttps, &config.admin_https),
    ];
    listeners
        .into_iter()
        .filter(|(_, tls)| tls.listen.0.is_some())
        .filter_map(|(listener, tls)| {
            let checked = tls.identity().and_then(|identity| identity.check());
            let source = checked.err()?;
            Some(StartError::Tls { listener, source })
        })
        .collect()
}

/// Returns the certificate of a TLS listener.
pub(crate) fn identity(listener: Listener, tls: &TlsListener) -> Result<TlsIdentity, StartError> {
    tls.identity()
        .map_err(|source| StartError::Tls { listener, source })
}
