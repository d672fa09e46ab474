//! The reasons for the end of a connection.

use std::fmt;
use std::io;
use std::time::Duration;

use distributary_hub::Refusal;

use super::socket::WRITE_TIMEOUT;
use crate::proto::session::SessionError;
use crate::server::playback::Over;

/// The reason why a connection, or a stream published over it, ends.
#[derive(Debug)]
pub(crate) enum End {
    /// The client closed it.
    Closed,
    /// The client was told that it cannot publish or play.
    Refused,
    /// The stream that was played has ended.
    StreamEnded,
    /// Another publisher has taken the stream over.
    Replaced,
    /// The client was told that the stream's policy refuses it.
    Unfit(Refusal),
    /// The token that the client had has expired.
    Expired,
    /// The client was removed through the API.
    Removed,
    /// The publisher sent no first frame in time.
    NoFrame(Duration),
    /// The publisher has sent no frame for long, and another one needs its permit.
    GaveWay,
    /// The publisher has stood by without sending frames, and another one has its place.
    Evicted,
    /// The server is being shut down.
    Shutdown,
    /// The client broke the protocol, a limit or a time.
    Session(SessionError),
    /// The socket failed.
    Io(io::Error),
    /// The client does not read.
    WriteTimeout,
}

impl End {
    /// Returns whether this end needs no warning if nothing was published.
    pub(super) fn is_ordinary(&self) -> bool {
        match self {
            Self::Closed
            | Self::Refused
            | Self::StreamEnded
            | Self::Expired
            | Self::Replaced
            | Self::Removed
            | Self::GaveWay
            | Self::Evicted
            | Self::Shutdown => true,
            // ffmpeg closes without reading our response to its last command, which resets the
            // connection.
            Self::Io(error) => matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
            ),
            Self::Unfit(_) | Self::NoFrame(_) | Self::Session(_) | Self::WriteTimeout => false,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the client closed the connection"),
            Self::Refused => f.write_str("refused"),
            Self::StreamEnded => f.write_str("the stream has ended"),
            Self::Expired => f.write_str("the token has expired"),
            Self::Replaced => f.write_str("another publisher has taken the stream over"),
            Self::Unfit(refusal) => refusal.fmt(f),
            Self::Removed => f.write_str("removed through the API"),
            Self::NoFrame(timeout) => write!(
                f,
                "no frame arrived within {timeout:?}: the encoder sent nothing, or data that is not FLV (ffmpeg \
                 needs -f flv)"
            ),
            Self::GaveWay => f.write_str(
                "no frame arrived for long, and the limit of publishers is reached (max under [publishers])",
            ),
            Self::Evicted => {
                f.write_str("no frame arrived for long, and another publisher stands by in its place")
            }
            Self::Shutdown => f.write_str("the gateway shut down"),
            Self::Session(error) => error.fmt(f),
            Self::Io(error) => write!(f, "the connection broke: {error}"),
            Self::WriteTimeout => write!(
                f,
                "the client did not read the data sent to it within {WRITE_TIMEOUT:?}"
            ),
        }
    }
}

impl From<Over> for End {
    fn from(over: Over) -> Self {
        match over {
            Over::Stream => Self::StreamEnded,
            Over::Token => Self::Expired,
            Over::Removed => Self::Removed,
        }
    }
}

impl From<SessionError> for End {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
