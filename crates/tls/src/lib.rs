//! The server side of TLS, for RTMPS and HTTPS: a certificate from files that are reloaded when
//! they change, or a generated one for trials.

mod config;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::time::Instant;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tracing::{info, warn};

pub use config::TlsListener;
pub use tokio_rustls::TlsAcceptor;
pub use tokio_rustls::server::TlsStream;

/// Minimum interval between two checks of the certificate's files for a change.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsIdentity {
    /// PEM files, reloaded when they change.
    Files {
        /// The certificate, followed by those of its issuers.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// A self-signed certificate generated at startup, which no client trusts by default.
    SelfSigned,
}

/// Selects whether TLS 1.3 clients get tickets for session resumption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tickets {
    /// Tickets are sent, as browsers expect.
    Sent,
    /// No tickets are sent. RTMP clients built on GnuTLS, Mbed TLS or librtmp treat a ticket
    /// between two messages as an error, and close.
    None,
}

/// The reason why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read or is not PEM.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error.
        source: pem::Error,
    },
    /// Certificate and key do not match, or their type is not supported.
    #[error("the certificate cannot be used: {0}")]
    Rustls(#[from] tokio_rustls::rustls::Error),
    /// The certificate is given without its key, or the key without the certificate.
    #[error("set both certificate and key, or neither")]
    Half,
    /// No certificate could be generated.
    #[error("cannot generate a certificate: {0}")]
    SelfSigned(#[from] rcgen::Error),
}

/// A certificate that follows its files.
pub struct Certificate {
    /// The listener that uses it, for the log.
    owner: &'static str,
    identity: TlsIdentity,
    tickets: Tickets,
    current: Mutex<Current>,
}

struct Current {
    acceptor: TlsAcceptor,
    modified: Option<[SystemTime; 2]>,
    checked: Instant,
}

impl Certificate {
    /// Reads or generates the certificate of `owner`: `RTMPS`, `HTTPS`.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn new(
        owner: &'static str,
        identity: TlsIdentity,
        tickets: Tickets,
    ) -> Result<Self, TlsError> {
        let current = Current {
            modified: identity.modified(),
            acceptor: identity.acceptor(tickets)?,
            checked: Instant::now(),
        };
        Ok(Self {
            owner,
            identity,
            tickets,
            current: Mutex::new(current),
        })
    }

    /// Returns the acceptor of TLS connections. It reloads the certificate if its files have
    /// changed; if that fails, the old one stays in use.
    pub fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.checked.elapsed() >= RELOAD_INTERVAL {
            current.checked = Instant::now();
            let modified = self.identity.modified();
            if modified != current.modified {
                current.modified = modified;
                match self.identity.acceptor(self.tickets) {
                    Ok(acceptor) => {
                        info!("the {} certificate has been reloaded", self.owner);
                        current.acceptor = acceptor;
                    }
                    Err(error) => {
                        warn!(%error, "the new {} certificate cannot be used; the old one stays in use", self.owner);
                    }
                }
            }
        }
        current.acceptor.clone()
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl TlsIdentity {
    /// Checks whether the certificate can be used.
    ///
    /// # Errors
    /// When it cannot.
    pub fn check(&self) -> Result<(), TlsError> {
        self.acceptor(Tickets::Sent).map(drop)
    }

    fn acceptor(&self, tickets: Tickets) -> Result<TlsAcceptor, TlsError> {
        let (chain, key) = match self {
            Self::Files { certificate, key } => read_files(certificate, key)?,
            Self::SelfSigned => {
                let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
                let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names)?;
                let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
                (vec![cert.der().clone()], key.into())
            }
        };
        // Explicit, because another crate of the binary may install another provider.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        if tickets == Tickets::None {
            config.send_tls13_tickets = 0;
        }
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Returns the time of the files' last change; `None` if it is unknown.
    fn modified(&self) -> Option<[SystemTime; 2]> {
        let Self::Files { certificate, key } = self else {
            return None;
        };
        let modified = |path: &PathBuf| std::fs::metadata(path)?.modified();
        Some([modified(certificate).ok()?, modified(key).ok()?])
    }
}

fn read_files(
    certificate: &PathBuf,
    key: &PathBuf,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let failed = |path: &PathBuf| {
        let path = path.clone();
        |source| TlsError::File { path, source }
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(failed(certificate))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(failed(key))?;
    Ok((chain, key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::CertifiedKey;

    /// Writes a new certificate and returns its DER.
    fn renew(certificate: &std::path::Path, key: &std::path::Path) -> Vec<u8> {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(certificate, cert.pem()).unwrap();
        std::fs::write(key, signing_key.serialize_pem()).unwrap();
        cert.der().to_vec()
    }

    #[tokio::test(start_paused = true)]
    async fn changed_certificate_is_reloaded_and_a_broken_one_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["certificate.pem", "key.pem"].map(|name| folder.path().join(name));
        renew(&paths[0], &paths[1]);
        let identity = TlsIdentity::Files {
            certificate: paths[0].clone(),
            key: paths[1].clone(),
        };
        let certificate = Certificate::new("HTTPS", identity, Tickets::Sent).unwrap();
        let in_use = || Arc::as_ptr(certificate.acceptor().config());
        let first = in_use();

        let older = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        renew(&paths[0], &paths[1]);
        touch(&paths[0], older);
        assert_eq!(in_use(), first, "files are not checked for every client");
        tokio::time::advance(RELOAD_INTERVAL).await;
        let second = in_use();
        assert_ne!(second, first);

        std::fs::write(&paths[0], "broken").unwrap();
        touch(&paths[0], older + Duration::from_secs(1));
        tokio::time::advance(RELOAD_INTERVAL).await;
        assert_eq!(in_use(), second);
    }

    fn touch(path: &std::path::Path, time: SystemTime) {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(time).unwrap();
    }

    #[test]
    fn error_names_what_is_missing() {
        let identity = TlsIdentity::Files {
            certificate: "/nowhere/certificate.pem".into(),
            key: "/nowhere/key.pem".into(),
        };
        let error = identity.check().unwrap_err().to_string();
        assert!(error.contains("/nowhere/certificate.pem"), "{error}");
        assert!(TlsIdentity::SelfSigned.check().is_ok());
    }
}
