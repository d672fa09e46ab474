//! The sections of the configuration for listeners with TLS: `[rtmps]`, `[https]` and
//! `[admin_https]`.

use std::path::PathBuf;

use distributary_config::Section;
use distributary_net::OptionalAddress;
use serde::{Deserialize, Serialize};

use crate::files::is_given;
use crate::{CertificateFiles, TlsError, TlsIdentity};

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
    /// File with the passphrase of the key; empty if the key is not encrypted.
    pub key_passphrase_file: PathBuf,
    /// PEM file with the issuers of client certificates; empty if clients need none.
    pub client_ca: PathBuf,
    /// Further certificates, for clients that ask for one of their names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sni: Vec<CertificateFiles>,
}

impl TlsListener {
    /// Returns the files of the certificates; none if one is to be generated.
    ///
    /// # Errors
    /// [`TlsError::Half`] when one of the two files of a certificate is missing.
    pub fn identity(&self) -> Result<TlsIdentity, TlsError> {
        let first = CertificateFiles {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            key_passphrase_file: self.key_passphrase_file.clone(),
        };
        let is_generated = !is_given(&first.certificate) && !is_given(&first.key);
        if is_generated && self.sni.is_empty() {
            return Ok(self.with(Vec::new()));
        }
        let certificates: Vec<_> = std::iter::once(&first).chain(&self.sni).cloned().collect();
        let is_whole =
            |files: &CertificateFiles| is_given(&files.certificate) && is_given(&files.key);
        if certificates.iter().all(is_whole) {
            Ok(self.with(certificates))
        } else {
            Err(TlsError::Half)
        }
    }

    fn with(&self, certificates: Vec<CertificateFiles>) -> TlsIdentity {
        TlsIdentity {
            certificates,
            client_ca: is_given(&self.client_ca).then(|| self.client_ca.clone()),
            names: Vec::new(),
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
        let generated = identity("", "").unwrap();
        assert_eq!(generated, TlsIdentity::default());
        let files = identity("a.pem", "b.pem").unwrap();
        assert_eq!(files, TlsIdentity::files("a.pem".into(), "b.pem".into()));
        for half in [identity("a.pem", ""), identity("", "b.pem")] {
            assert!(matches!(half, Err(TlsError::Half)));
        }
    }

    #[test]
    fn further_certificates_follow_the_first() {
        let further = CertificateFiles {
            certificate: "c.pem".into(),
            key: "d.pem".into(),
            ..CertificateFiles::default()
        };
        let mut listener = TlsListener {
            certificate: "a.pem".into(),
            key: "b.pem".into(),
            client_ca: "ca.pem".into(),
            sni: vec![further.clone()],
            ..TlsListener::default()
        };
        let identity = listener.identity().unwrap();
        assert_eq!(identity.certificates[1], further);
        assert_eq!(identity.client_ca, Some("ca.pem".into()));
        listener.sni[0].key = PathBuf::new();
        assert!(matches!(listener.identity(), Err(TlsError::Half)));
    }
}
