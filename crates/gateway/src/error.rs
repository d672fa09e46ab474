//! Errors that prevent the start of the gateway or end it.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use distributary_auth::AuthError;
use distributary_cluster::{ConfigFault, LinkError};
use distributary_egress::engine::{EngineError, EngineFailure};
use distributary_hub::RenditionCircle;
use distributary_net::{BindError, ListenAddress};
use distributary_tls::TlsError;
use distributary_whep::HttpError;

use crate::candidates::CandidateError;
use crate::logging::LogError;

/// A listener.
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

/// An error that prevents the start. Each message is one line that says what to change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Another program uses the port.
    #[error("{listener} port {} is in use ({address}): {}", address.port(), listener.remedy())]
    PortInUse {
        /// The listener.
        listener: Listener,
        /// The address.
        address: SocketAddr,
    },
    /// Several parts cannot start.
    #[error("{}", lines(.0))]
    Several(Vec<StartError>),
    /// Listening on the address failed for another reason.
    #[error("{listener} cannot listen on {address}: {source}: {}", listener.remedy())]
    Listen {
        /// The listener.
        listener: Listener,
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The host of the address cannot be resolved.
    #[error("{listener} cannot listen on {address}: {source}: {}", listener.remedy())]
    Resolve {
        /// The listener.
        listener: Listener,
        /// The address as configured.
        address: ListenAddress,
        /// The error of the system.
        source: io::Error,
    },
    /// Two listeners have the same port.
    #[error(
        "{first} (key {}, {first_address}) and {second} (key {}, {second_address}) have the same TCP \
         port: choose another for one of them",
        first.key(),
        second.key()
    )]
    SamePort {
        /// A listener.
        first: Listener,
        /// Its address.
        first_address: ListenAddress,
        /// The other listener.
        second: Listener,
        /// Its address.
        second_address: ListenAddress,
    },
    /// The admin API would be open to other machines.
    #[error(
        "the admin API on {address} could be used by others than this machine: set admin_token in the \
         configuration or DISTRIBUTARY_ADMIN_TOKEN, or choose a loopback address such as 127.0.0.1:{} \
         with {}",
        address.port(),
        listener.setting()
    )]
    OpenAdmin {
        /// The listener of the admin API.
        listener: Listener,
        /// Its address.
        address: ListenAddress,
    },
    /// The rules in `[auth]` are not usable.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// Entries of `[[rendition]]` lead in a circle.
    #[error(transparent)]
    Renditions(#[from] RenditionCircle),
    /// The section `[cluster]` is not usable.
    #[error(transparent)]
    Cluster(#[from] ConfigFault),
    /// The log cannot be started.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A certificate is not usable.
    #[error("{listener}: {source}")]
    Tls {
        /// The listener.
        listener: Listener,
        /// The error.
        source: TlsError,
    },
    /// RTMP cannot start for another reason.
    #[error(transparent)]
    Rtmp(distributary_rtmp::StartError),
    /// HTTP cannot start for another reason.
    #[error(transparent)]
    Http(HttpError),
    /// There is no address to announce to viewers.
    #[error(transparent)]
    Candidates(#[from] CandidateError),
    /// The WebRTC engine cannot start.
    #[error("WebRTC cannot start: {0}")]
    Engine(EngineError),
}

/// The errors of the parts that could not start.
#[derive(Debug, Default)]
pub(crate) struct Failures(Vec<StartError>);

impl Failures {
    /// Returns the value of a part that has started; keeps the error of one that has not.
    pub(crate) fn keep<T>(&mut self, started: Result<T, StartError>) -> Option<T> {
        started.map_err(|error| self.0.push(error)).ok()
    }
}

impl From<Failures> for StartError {
    fn from(Failures(mut errors): Failures) -> Self {
        match errors.pop() {
            Some(only) if errors.is_empty() => only,
            last => Self::Several(errors.into_iter().chain(last).collect()),
        }
    }
}

/// Writes each error on a line, and what several taken ports mean.
fn lines(errors: &[StartError]) -> String {
    let mut lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
    let is_taken = |error: &&StartError| matches!(error, StartError::PortInUse { .. });
    if errors.iter().filter(is_taken).count() > 1 {
        lines.push(
            "is another Distributary running? Stop it first, or give this one other ports"
                .to_owned(),
        );
    }
    lines.join("\ndistributary: ")
}

/// A part of the gateway could not start, or ended unexpectedly, which is a bug.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The part panicked, or returned.
    #[error("a part of the gateway has ended unexpectedly: {}", .0.as_ref().map_or("it returned".to_owned(), ToString::to_string))]
    Ended(Option<tokio::task::JoinError>),
    /// The connection to the NATS servers cannot be prepared.
    #[error(transparent)]
    Cluster(#[from] LinkError),
    /// A thread of the WebRTC engine panicked: its viewers get no more media.
    #[error(transparent)]
    Engine(EngineFailure),
}

impl StartError {
    /// Creates the error of a listener that cannot use its address.
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

    /// Maps an error of RTMP; `tls` is the address of RTMPS if it is enabled.
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

    /// Maps an error of an HTTP listener.
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
    /// Returns the key of its address.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Rtmps => "rtmps.listen",
            Self::Http => "http",
            Self::Https => "https.listen",
            Self::Admin => "admin",
            Self::AdminHttps => "admin_https.listen",
            Self::WebRtc => "webrtc",
        }
    }

    /// Returns the flag and the key of its address.
    fn setting(self) -> String {
        let key = self.key();
        match self {
            Self::Rtmps | Self::Https | Self::AdminHttps => format!("the key {key}"),
            Self::Rtmp | Self::Http | Self::Admin | Self::WebRtc => {
                format!("--{key} HOST:PORT or the key {key}")
            }
        }
    }

    /// Returns how to configure another address.
    fn remedy(self) -> String {
        format!(
            "choose another with {} of the configuration",
            self.setting()
        )
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
