//! RTMPS: TLS under RTMP.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use distributary_net::QuickAck;
use distributary_tls::{Certificate, Tickets, TlsError, TlsIdentity, TlsStream};
use tokio::net::TcpStream;

/// First byte of a plain RTMP connection, and of RTMPE.
const RTMP_VERSIONS: [u8; 2] = [3, 6];

/// The listener of RTMPS, with its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// The address; `[::]` accepts IPv4 as well.
    pub listen: SocketAddr,
    /// The certificate.
    pub identity: TlsIdentity,
}

/// The reason why a TLS handshake fails.
#[derive(Debug)]
pub(crate) enum AcceptError {
    PlainRtmp,
    Io(io::Error),
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PlainRtmp => f.write_str(
                "the peer speaks plain RTMP to the RTMPS port (rtmp:// instead of rtmps://?)",
            ),
            Self::Io(error) => write!(f, "TLS: {error}"),
        }
    }
}

/// The server's side of TLS.
#[derive(Debug)]
pub(crate) struct Tls(Arc<Certificate>);

impl Tls {
    pub(crate) fn new(identity: TlsIdentity) -> Result<Self, TlsError> {
        Certificate::new("RTMPS", identity, Tickets::None).map(|new| Self(Arc::new(new)))
    }

    /// Returns the certificates.
    pub(crate) fn certificate(&self) -> Arc<Certificate> {
        Arc::clone(&self.0)
    }

    /// Accepts the TLS handshake of a connection.
    pub(crate) async fn accept(
        &self,
        socket: TcpStream,
    ) -> Result<TlsStream<QuickAck>, AcceptError> {
        let mut first = [0];
        socket.peek(&mut first).await.map_err(AcceptError::Io)?;
        if RTMP_VERSIONS.contains(&first[0]) {
            return Err(AcceptError::PlainRtmp);
        }
        let session = self.0.acceptor().accept(QuickAck(socket));
        session.await.map_err(AcceptError::Io)
    }
}
