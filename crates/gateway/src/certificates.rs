//! The certificates of the TLS listeners.

use distributary_tls::{TlsIdentity, TlsListener};

use crate::config::Config;
use crate::error::{Listener, StartError};

/// Checks that the certificates are usable.
pub(crate) fn check(config: &Config) -> Result<(), StartError> {
    for (listener, tls) in [
        (Listener::Rtmps, &config.rtmps),
        (Listener::Https, &config.https),
        (Listener::AdminHttps, &config.admin_https),
    ] {
        if tls.listen.0.is_some() {
            let checked = identity(listener, tls)?.check();
            checked.map_err(|source| StartError::Tls { listener, source })?;
        }
    }
    Ok(())
}

/// Returns the certificate of a TLS listener.
pub(crate) fn identity(listener: Listener, tls: &TlsListener) -> Result<TlsIdentity, StartError> {
    tls.identity()
        .map_err(|source| StartError::Tls { listener, source })
}
