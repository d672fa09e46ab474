//! Why the gateway does not start, or does not go on.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use distributary_auth::AuthError;
use distributary_egress::engine::{EngineError, EngineFailure};
use distributary_net::{BindError, ListenAddress};
use distributary_tls::TlsError;
use distributary_whep::HttpError;

use crate::candidates::CandidateError;
use crate::config::ConfigError;
use crate::logging::LogError;

/// Something that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// RTMP, over TCP.
    Rtmp,
    /// RTMP over TLS.
    Rtmps,
    /// HTTP, over TCP.
    Http,
    /// HTTP over TLS.
    Https,
    /// The admin API, over HTTP.
    Admin,
    /// The admin API, over TLS.
    AdminHttps,
    /// WebRTC, over UDP.
    WebRtc,
}

/// Why the gateway cannot start. Each text is one line that says what to change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Somebody else has the port.
    #[error("{listener} port {} is in use ({address}): {}", address.port(), listener.remedy())]
    PortInUse {
        /// Who wants it.
        listener: Listener,
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be listened on for another reason.
    #[error("{listener} cannot listen on {address}: {source}: {}", listener.remedy())]
    Listen {
        /// Who wants it.
        listener: Listener,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The host of the address cannot be resolved.
    #[error("{listener} cannot listen on {address}: {source}: {}", listener.remedy())]
    Resolve {
        /// Who wants it.
        listener: Listener,
        /// The address as it was given.
        address: ListenAddress,
        /// What the system says.
        source: io::Error,
    },
    /// Everybody could do everything.
    #[error(
        "the admin API on {0} could be used by others than this machine: set admin_token in the \
         configuration or DISTRIBUTARY_ADMIN_TOKEN, or listen on loopback with --admin 127.0.0.1:PORT"
    )]
    OpenAdmin(SocketAddr),
    /// The configuration cannot be followed.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The rules of who may publish and watch cannot be followed.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The log cannot be written so.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A certificate cannot be used.
    #[error("{listener}: {source}")]
    Tls {
        /// Whose it is.
        listener: Listener,
        /// Why.
        source: TlsError,
    },
    /// RTMP cannot start for another reason.
    #[error(transparent)]
    Rtmp(distributary_rtmp::StartError),
    /// HTTP cannot start for another reason.
    #[error(transparent)]
    Http(HttpError),
    /// There is no address to tell viewers.
    #[error(transparent)]
    Candidates(#[from] CandidateError),
    /// The WebRTC engine cannot start.
    #[error("WebRTC cannot start: {0}")]
    Engine(EngineError),
}

/// A part of the gateway ended before it was told to, which is a bug.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The part panicked, as the error says, or returned.
    #[error("a part of the gateway has ended: {}", .0.as_ref().map_or("it returned".to_owned(), ToString::to_string))]
    Ended(Option<tokio::task::JoinError>),
    /// A thread of the WebRTC engine panicked: its viewers see nothing more.
    #[error(transparent)]
    Engine(EngineFailure),
}

impl StartError {
    /// The error of a listener that did not get its address.
    pub(crate) fn listen(listener: Listener, address: SocketAddr, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::AddrInUse {
            Self::PortInUse { listener, address }
        } else {
            Self::Listen {
                listener,
                address,
                source,
            }
        }
    }

    /// The error of RTMP; `tls` is the address of RTMPS if that is on.
    pub(crate) fn rtmp(error: distributary_rtmp::StartError, tls: Option<SocketAddr>) -> Self {
        match error {
            distributary_rtmp::StartError::Bind(BindError { address, source }) => {
                let is_tls = tls == Some(address);
                let listener = if is_tls {
                    Listener::Rtmps
                } else {
                    Listener::Rtmp
                };
                Self::listen(listener, address, source)
            }
            other => Self::Rtmp(other),
        }
    }

    /// The error of an HTTP listener.
    pub(crate) fn http(listener: Listener, error: HttpError) -> Self {
        match error {
            HttpError::Listen(BindError { address, source }) => {
                Self::listen(listener, address, source)
            }
            HttpError::Tls(source) => Self::Tls { listener, source },
            other => Self::Http(other),
        }
    }

    pub(crate) fn engine(error: EngineError) -> Self {
        match error {
            EngineError::Bind { address, source } => {
                Self::listen(Listener::WebRtc, address, source)
            }
            other => Self::Engine(other),
        }
    }
}

impl Listener {
    /// What to change when it cannot have its address.
    fn remedy(self) -> &'static str {
        match self {
            Self::Rtmp => {
                "choose another with --rtmp HOST:PORT or the key rtmp of the configuration"
            }
            Self::Rtmps => "choose another with the key rtmps.listen of the configuration",
            Self::Http => {
                "choose another with --http HOST:PORT or the key http of the configuration"
            }
            Self::Https => "choose another with the key https.listen of the configuration",
            Self::Admin => {
                "choose another with --admin HOST:PORT or the key admin of the configuration"
            }
            Self::AdminHttps => {
                "choose another with the key admin_https.listen of the configuration"
            }
            Self::WebRtc => {
                "choose another with --webrtc HOST:PORT or the key webrtc of the configuration"
            }
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rtmp => "RTMP",
            Self::Rtmps => "RTMPS",
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
            Self::Admin => "Admin API",
            Self::AdminHttps => "Admin API over HTTPS",
            Self::WebRtc => "WebRTC (UDP)",
        })
    }
}
