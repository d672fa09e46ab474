//! Errors of a swarm.

use std::io;

use distributary_webrtc::certificate::CertificateError;
use thiserror::Error;
use url::Url;

/// The reason why there is no report. Failures of single viewers are in the report.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SwarmError {
    /// Only `http` is spoken.
    #[error("{0}: the URL has to begin with http://")]
    Scheme(Url),
    /// The streams of the swarm have numbers, and the first one is 0.
    #[error("{0}: with several streams, the URL has to end with -0")]
    Unnumbered(Url),
    /// The process to be measured cannot be looked at.
    #[error("process {pid}: {source}")]
    Server {
        /// The process id.
        pid: u32,
        /// The system's error.
        source: io::Error,
    },
    /// The system has no sockets, threads or `/proc`.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The certificate of the viewers could not be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// OpenSSL could not be set up.
    #[error("DTLS: {0}")]
    Dtls(#[from] openssl::error::ErrorStack),
    /// The system's random generator failed.
    #[error("no random numbers: {0}")]
    Random(String),
}
