//! The server side of TLS, for RTMPS and HTTPS: certificates from files that are reloaded when they
//! change, or a generated one for trials.
//!
//! * [`certificate`]: [`Certificate`], the certificates of a running listener.
//! * `identity`: [`TlsIdentity`], the certificates of a listener, and TLS with them.
//! * `files`: a certificate and its key; `pem`: the content of a file that should be PEM.
//! * `names`: the certificate for the name that a client asks for.
//! * `validity`: the time in which a certificate is valid.
//! * `config`: the sections of the configuration.
//! * [`error`]: the reasons why a certificate cannot be used.

pub mod certificate;
mod client;
mod config;
pub mod error;
mod files;
mod identity;
mod names;
mod pem;
#[cfg(any(test, feature = "test-util"))]
pub mod test_util;
#[cfg(test)]
mod tests;
mod validity;

pub use tokio_rustls::TlsAcceptor;
pub use tokio_rustls::server::TlsStream;

pub use certificate::Certificate;
pub use client::{AuthorityError, TlsClient};
pub use config::TlsListener;
pub use error::{FileProblem, TlsError};
pub use files::CertificateFiles;
pub use identity::TlsIdentity;
pub use validity::Validity;

/// Selects whether TLS 1.3 clients get tickets for session resumption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tickets {
    /// Tickets are sent, as browsers expect.
    Sent,
    /// No tickets are sent. RTMP clients built on GnuTLS, Mbed TLS or librtmp treat a ticket
    /// between two messages as an error, and close.
    None,
}
