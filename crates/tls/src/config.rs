//! The sections of the configuration for listeners with TLS: `[rtmps]`, `[https]` and
//! `[admin_https]`.

use std::path::PathBuf;

use distributary_config::Section;
use distributary_net::OptionalAddress;
use serde::{Deserialize, Serialize};

use crate::{TlsError, TlsIdentity};

/// A listener with TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Section)]
#[serde(default, deny_unknown_fields)]
pub struct TlsListener {
    /// The address; the listener is off if there is none.
    pub listen: OptionalAddress,
    /// PEM file with the certificate, followed by those of its issuers. The gateway generates a
    /// certificate if this and `key` are empty.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

impl TlsListener {
    /// Returns the paths of the certificate and its key, or that one is to be generated.
    ///
    /// # Errors
    /// [`TlsError::Half`] when one of the two files is missing.
    pub fn identity(&self) -> Result<TlsIdentity, TlsError> {
        let is_given = |path: &PathBuf| !path.as_os_str().is_empty();
        match (is_given(&self.certificate), is_given(&self.key)) {
            (true, true) => Ok(TlsIdentity::Files {
                certificate: self.certificate.clone(),
                key: self.key.clone(),
            }),
            (false, false) => Ok(TlsIdentity::SelfSigned),
            _ => Err(TlsError::Half),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_and_key_are_given_together() {
        let identity = |certificate: &str, key: &str| {
            let listener = TlsListener {
                certificate: certificate.into(),
                key: key.into(),
                ..TlsListener::default()
            };
            listener.identity()
        };
        let made = identity("", "");
        assert!(matches!(made, Ok(TlsIdentity::SelfSigned)));
        let files = identity("a.pem", "b.pem");
        assert!(matches!(files, Ok(TlsIdentity::Files { .. })));
        for half in [identity("a.pem", ""), identity("", "b.pem")] {
            assert!(matches!(half, Err(TlsError::Half)));
        }
    }
}
