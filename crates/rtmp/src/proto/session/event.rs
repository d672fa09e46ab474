//! What a session tells its application.

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
    /// The client wants to publish: answer with `accept_publish` or `reject_publish`.
    PublishRequested(PublishRequest),
    /// The client wants to play: answer with `accept_play` or `reject_play`.
    PlayRequested(PlayRequest),
    /// The client plays no longer. The connection may go on with something else.
    PlayEnded,
    /// The client asked for a name that is not allowed and has been refused.
    NameRefused(TargetError),
    /// The client wanted to publish or play without the right Flash program, and has been refused.
    SwfRefused(SwfRefusal),
    /// Many messages came one after another of which nothing follows: whoever calls may give others
    /// their turn.
    Busy,
    /// A message of what is published.
    Media {
        /// The message stream on which it is published.
        stream_id: u32,
        /// The message.
        message: MediaMessage,
    },
    /// The client has ended a stream. The connection may go on with others.
    PublishEnded {
        /// The message stream on which it was published.
        stream_id: u32,
        /// The command that ended it.
        reason: EndReason,
    },
}

/// The content of `connect`.
#[derive(Clone, PartialEq)]
pub struct ConnectRequest {
    /// The application, as it was sent. It may have a query with a key.
    pub app: String,
    /// The client's name of itself (`flashVer`), fit for a log.
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

/// The content of `publish`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishRequest {
    /// The message stream on which it is to be published.
    pub stream_id: u32,
    /// The stream and the query that came with it.
    pub target: Target,
}

/// The content of `play`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayRequest {
    /// The stream and the query that came with it.
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

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FcUnpublish => "FCUnpublish",
            Self::DeleteStream => "deleteStream",
            Self::CloseStream => "closeStream",
        })
    }
}
