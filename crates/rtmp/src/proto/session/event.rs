//! The events of a session.

use std::fmt;

use crate::proto::handshake::HandshakeSummary;
use crate::proto::media::MediaMessage;
use crate::proto::name::{Target, TargetError};
use crate::proto::swf::SwfRefusal;

/// Something that happened on a connection.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SessionEvent {
    /// The client has connected to an application.
    Connected(ConnectRequest),
    /// The client asks to publish: answer with `accept_publish` or `reject_publish`.
    PublishRequested(PublishRequest),
    /// The client asks to play: answer with `accept_play` or `reject_play`.
    PlayRequested(PlayRequest),
    /// The client has stopped playing. The connection may continue with another stream.
    PlayEnded,
    /// The client asked for a name that is not allowed, and was refused.
    NameRefused(TargetError),
    /// The client asked to publish or play without the required Flash program, and was refused.
    SwfRefused(SwfRefusal),
    /// Many messages without an event were handled in this call; the caller should yield.
    Busy,
    /// A message of a published stream.
    Media {
        /// The message stream on which it is published.
        stream_id: u32,
        /// The message.
        message: MediaMessage,
    },
    /// The client has ended a published stream. The connection may continue with others.
    PublishEnded {
        /// The message stream on which it was published.
        stream_id: u32,
        /// The command that ended it.
        reason: EndReason,
    },
}

/// A `connect` command.
#[derive(Clone, PartialEq)]
pub struct ConnectRequest {
    /// The application, as it was sent. It may have a query string with a key.
    pub app: String,
    /// The client's name (`flashVer`), cleaned for the log.
    pub client: Option<String>,
    /// The result of the handshake.
    pub handshake: HandshakeSummary,
    /// True if the client supports reconnect requests (`capsEx` of Enhanced RTMP).
    pub can_reconnect: bool,
}

impl fmt::Debug for ConnectRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let app = self.app.split('?').next().unwrap_or_default();
        f.debug_struct("ConnectRequest")
            .field("app", &app)
            .field("client", &self.client)
            .field("handshake", &self.handshake)
            .field("can_reconnect", &self.can_reconnect)
            .finish()
    }
}

/// A `publish` command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishRequest {
    /// The message stream of the command.
    pub stream_id: u32,
    /// The stream, with its query string.
    pub target: Target,
}

/// A `play` command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayRequest {
    /// The stream, with its query string.
    pub target: Target,
}

/// The command by which a client ended its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// By `FCUnpublish`.
    FcUnpublish,
    /// By `deleteStream`.
    DeleteStream,
    /// By `closeStream`.
    CloseStream,
}

/// Writes the reason for the log and the dashboard: the three commands mean the same there.
impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the encoder stopped")
    }
}
