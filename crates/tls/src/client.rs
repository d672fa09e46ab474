//! The client's side of TLS, for connections to other servers.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A client that trusts some authorities. Cloning gives another handle.
#[derive(Clone)]
pub struct TlsClient(TlsConnector);

/// The authorities to trust cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The file cannot be read, or is not PEM.
    #[error("{}: {reason}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The error.
        reason: String,
    },
    /// The system has none.
    #[error(
        "the system has no certificates of authorities ({0}): install ca-certificates, or name a file in \
         SSL_CERT_FILE or by the key ca"
    )]
    System(String),
}

impl TlsClient {
    /// Creates a client that trusts the authorities of the system, or those in `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR`.
    ///
    /// # Errors
    /// When there is none.
    pub fn system() -> Result<Self, AuthorityError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let reasons: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
            return Err(AuthorityError::System(reasons.join(", ")));
        }
        Ok(Self::trusting(roots))
    }

    /// Creates a client that trusts only the authorities in a PEM file.
    ///
    /// # Errors
    /// When the file cannot be read, or has no certificate.
    pub fn of_file(file: &Path) -> Result<Self, AuthorityError> {
        let refuse = |reason: String| AuthorityError::File {
            file: file.to_owned(),
            reason,
        };
        let bytes = std::fs::read(file).map_err(|error| refuse(error.to_string()))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&bytes) {
            let certificate = certificate.map_err(|error| refuse(error.to_string()))?;
            let added = roots.add(certificate);
            added.map_err(|error| refuse(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(refuse(
                "there is no certificate in PEM in this file".to_owned(),
            ));
        }
        Ok(Self::trusting(roots))
    }

    fn trusting(roots: RootCertStore) -> Self {
        let config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self(Arc::new(config).into())
    }

    /// Opens TLS to the server `host`, a name or an address, on a connection.
    ///
    /// # Errors
    /// When the server does not speak TLS, or its certificate is not trusted or is for another
    /// name.
    pub async fn connect(
        &self,
        host: &str,
        connection: TcpStream,
    ) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        self.0.connect(name, connection).await
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsClient")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_without_certificates_is_refused_with_its_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display().to_string();
        let error = TlsClient::of_file(file.path()).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("{path}: there is no certificate in PEM in this file")
        );
        let error = TlsClient::of_file(Path::new("/nowhere/ca.pem")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/nowhere/ca.pem: No such file or directory (os error 2)"
        );
    }
}
