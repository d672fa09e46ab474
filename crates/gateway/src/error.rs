//! Why the gateway does not start, or does not go on.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use distributary_webrtc::engine::EngineError;

use crate::candidates::CandidateError;
use crate::listen::ListenAddress;

/// Something that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// RTMP, over TCP.
    Rtmp,
    /// HTTP, over TCP.
    Http,
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
    fn remedy(self) -> String {
        let key = match self {
            Self::Rtmp => "rtmp",
            Self::Http => "http",
            Self::WebRtc => "webrtc",
        };
        format!(
            "choose another address with --{key} HOST:PORT or the key {key} of the configuration file"
        )
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rtmp => "RTMP",
            Self::Http => "HTTP",
            Self::WebRtc => "WebRTC (UDP)",
        })
    }
}
