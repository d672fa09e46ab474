//! RTMPS: TLS under RTMP.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::quick_ack::QuickAck;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};

/// How often the certificate's files are looked at for a change, at most.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// First byte of a plain RTMP connection, and of RTMPE.
const RTMP_VERSIONS: [u8; 2] = [3, 6];

/// Where RTMPS is listened for, and with which certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// The address; `[::]` takes IPv4 too.
    pub listen: SocketAddr,
    /// The certificate.
    pub identity: TlsIdentity,
}

/// The certificate of the RTMPS server and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsIdentity {
    /// PEM files. They are read again when they change.
    Files {
        /// The certificate, followed by those of its issuers.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// A certificate made at start, which no client trusts by itself.
    SelfSigned,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read or is not PEM.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// Certificate and key do not fit together, or are of a kind that is not supported.
    #[error("the certificate cannot be used: {0}")]
    Rustls(#[from] tokio_rustls::rustls::Error),
    /// No certificate could be made.
    #[error("cannot make a certificate: {0}")]
    SelfSigned(#[from] rcgen::Error),
}

/// Why a client gets no TLS session.
#[derive(Debug)]
pub(crate) enum AcceptError {
    PlainRtmp,
    Io(io::Error),
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PlainRtmp => f.write_str(
                "the peer speaks plain RTMP to the RTMPS port (rtmp:// in place of rtmps://?)",
            ),
            Self::Io(error) => write!(f, "TLS: {error}"),
        }
    }
}

/// The server's side of TLS, with the certificate as its files are now.
pub(crate) struct Tls {
    identity: TlsIdentity,
    current: Mutex<Current>,
}

struct Current {
    acceptor: TlsAcceptor,
    modified: Option<[SystemTime; 2]>,
    checked: Instant,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl Tls {
    pub(crate) fn new(identity: TlsIdentity) -> Result<Self, TlsError> {
        let current = Current {
            modified: identity.modified(),
            acceptor: identity.acceptor()?,
            checked: Instant::now(),
        };
        Ok(Self {
            identity,
            current: Mutex::new(current),
        })
    }

    /// Makes a TLS session of a connection.
    pub(crate) async fn accept(
        &self,
        socket: TcpStream,
    ) -> Result<TlsStream<QuickAck>, AcceptError> {
        let mut first = [0];
        socket.peek(&mut first).await.map_err(AcceptError::Io)?;
        if RTMP_VERSIONS.contains(&first[0]) {
            return Err(AcceptError::PlainRtmp);
        }
        let acceptor = self.acceptor();
        acceptor
            .accept(QuickAck(socket))
            .await
            .map_err(AcceptError::Io)
    }

    /// The acceptor, with the certificate read again if its files have changed. One that cannot be
    /// read leaves the old one in use.
    fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.checked.elapsed() >= RELOAD_INTERVAL {
            current.checked = Instant::now();
            let modified = self.identity.modified();
            if modified != current.modified {
                current.modified = modified;
                match self.identity.acceptor() {
                    Ok(acceptor) => {
                        info!("the RTMPS certificate has been read again");
                        current.acceptor = acceptor;
                    }
                    Err(error) => {
                        warn!(%error, "the new RTMPS certificate is not used");
                    }
                }
            }
        }
        current.acceptor.clone()
    }
}

impl TlsIdentity {
    fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let (chain, key) = match self {
            Self::Files { certificate, key } => read_files(certificate, key)?,
            Self::SelfSigned => {
                let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
                let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names)?;
                let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
                (vec![cert.der().clone()], key.into())
            }
        };
        // Named, because another crate of the binary may bring a provider of its own.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// When the files were changed last; `None` when that cannot be told.
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
