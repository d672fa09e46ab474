//! One connection of a publisher or player, as a machine of bytes and events.
//!
//! ```text
//!            C0 C1 C2          connect           publish            accept_publish
//! Handshake ─────────► Idle ───────────► Idle ───────────► Asked ─────────────────► Publishing
//!                                         ▲  reject_publish  │                          │
//!                                         ├──────────────────┘   FCUnpublish,           │
//!                                         └──────────────────────deleteStream ──────────┘
//! ```
//!
//! `play` takes the same way, with `accept_play` and `reject_play`.

mod command;
mod event;
pub(crate) mod link;
pub(crate) mod media;
mod play;
mod status;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::amf::AmfLimits;
use crate::chunk::{ChunkError, ChunkLimits, RawMessage};
use crate::handshake::{Handshake, HandshakeError};
use crate::message::{Message, MessageError};

pub use event::{ConnectRequest, EndReason, PlayRequest, PublishRequest, SessionEvent};
use link::Link;
pub use media::MediaMessage;
use media::MediaReader;

/// Longest message of a client that does not publish yet: commands need little.
const MAX_COMMAND_SIZE: usize = 64 << 10;

/// Most bytes kept while the application decides about a request. A driver decides before it reads
/// on, so this is never less than what it reads at once.
const MAX_WAITING_INPUT: usize = 256 << 10;

/// What a session allows and announces.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Bounds of the chunk layer.
    pub chunks: ChunkLimits,
    /// Bounds of the values in commands and metadata.
    pub amf: AmfLimits,
    /// How long the handshake may take.
    pub handshake_timeout: Duration,
    /// How long a client may stay without publishing or playing.
    pub idle_timeout: Duration,
    /// How long a client may be silent: one that is gone without a word is noticed so.
    pub read_timeout: Duration,
    /// The chunk size for what is sent. ffmpeg takes it over for what it publishes.
    pub chunk_size: u32,
    /// Each side acknowledges after this many bytes.
    pub window_ack_size: u32,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            chunks: ChunkLimits::default(),
            amf: AmfLimits::default(),
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_secs(10),
            chunk_size: 65_536,
            window_ack_size: 2_500_000,
        }
    }
}

/// Why a session ends before its client ends it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The peer does not speak RTMP.
    #[error("handshake: {0}")]
    Handshake(#[from] HandshakeError),
    /// The chunk stream is broken or exceeds a limit.
    #[error("chunk stream: {0}")]
    Chunk(#[from] ChunkError),
    /// A message is broken or exceeds a limit.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A command that needs `connect` before it.
    #[error("{command} before connect")]
    NotConnected {
        /// The command.
        command: String,
    },
    /// `connect` names no application.
    #[error("connect without application")]
    NoApplication,
    /// The handshake took too long.
    #[error("no complete handshake within {0:?}")]
    HandshakeTimeout(Duration),
    /// The client did nothing.
    #[error("nothing published or played within {0:?}")]
    IdleTimeout(Duration),
    /// Nothing came from the client.
    #[error("nothing received for {0:?}")]
    ReadTimeout(Duration),
    /// The client sends on although its request has not been answered.
    #[error("more than {MAX_WAITING_INPUT} bytes before the answer to a request")]
    ImpatientClient,
}

/// The server's side of one connection.
///
/// Bytes from the client go in by [`Self::handle_bytes`]. After each call, and after each
/// answer to a request, poll [`Self::poll_event`] until it gives
/// nothing, then send what [`Self::poll_output`] gives; call [`Self::handle_timeout`] when
/// [`Self::deadline`] has come. After an error send what is left of the output and close.
///
/// While a [`SessionEvent::PublishRequested`] or [`SessionEvent::PlayRequested`] is not answered, no input is looked at.
#[derive(Debug)]
pub struct ServerSession {
    config: SessionConfig,
    link: Link,
    started: Instant,
    /// Since when nothing is published or played.
    idle_since: Instant,
    /// When a player was asked for a sign of life that has not come.
    pinged: Option<Instant>,
    last_received: Instant,
    connection: Option<ConnectRequest>,
    streams_created: u32,
    activity: Activity,
    media: MediaReader,
    events: VecDeque<SessionEvent>,
    /// Input that came after a request which is not answered yet.
    waiting: BytesMut,
}

/// What the client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    Nothing,
    /// The application has been asked whether it may publish.
    PublishAsked {
        stream_id: u32,
    },
    Publishing {
        stream_id: u32,
    },
    /// The application has been asked whether it may play.
    PlayAsked {
        stream_id: u32,
    },
    Playing {
        stream_id: u32,
    },
}

impl ServerSession {
    /// A session with a client that connected at `now`. The seed must come from the system's random
    /// generator.
    pub fn new(config: SessionConfig, seed: [u8; 32], now: Instant) -> Self {
        let handshake = Handshake::server(StdRng::from_seed(seed));
        let mut link = Link::new(handshake, config.chunks.clone(), config.window_ack_size);
        link.set_max_message_size(MAX_COMMAND_SIZE.min(config.chunks.max_message_size));
        Self {
            config,
            link,
            started: now,
            idle_since: now,
            pinged: None,
            last_received: now,
            connection: None,
            streams_created: 0,
            activity: Activity::Nothing,
            media: MediaReader::default(),
            events: VecDeque::new(),
            waiting: BytesMut::new(),
        }
    }

    /// Takes in bytes that came from the client at `now`.
    ///
    /// # Errors
    /// When the client breaks the protocol or a limit: the connection has to be closed.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) -> Result<(), SessionError> {
        self.last_received = now;
        self.pinged = None;
        let mut input = bytes;
        self.read(&mut input)?;
        if self.waiting.len() + input.len() > MAX_WAITING_INPUT {
            return Err(SessionError::ImpatientClient);
        }
        self.waiting.extend_from_slice(input);
        Ok(())
    }

    /// Grants the request to publish.
    ///
    /// # Errors
    /// As [`Self::handle_bytes`], for what the client sent in the meantime.
    pub fn accept_publish(&mut self) -> Result<(), SessionError> {
        let Activity::PublishAsked { stream_id } = self.activity else {
            return Ok(());
        };
        self.activity = Activity::Publishing { stream_id };
        self.media = MediaReader::default();
        self.link
            .set_max_message_size(self.config.chunks.max_message_size);
        self.link.send_stream_begin(stream_id);
        self.send_status(stream_id, &status::publish_start());
        self.resume()
    }

    /// Refuses the request to publish. `code` is for the client (`NetStream.Publish.BadName`), the
    /// description for the person who reads its log.
    ///
    /// # Errors
    /// As [`Self::handle_bytes`], for what the client sent in the meantime.
    pub fn reject_publish(&mut self, code: &str, description: &str) -> Result<(), SessionError> {
        let Activity::PublishAsked { stream_id } = self.activity else {
            return Ok(());
        };
        self.activity = Activity::Nothing;
        self.send_status(stream_id, &status::error(code, description));
        self.resume()
    }

    /// Ends what the client publishes against its will; the connection should be closed then.
    pub fn end_publish(&mut self, description: &str) {
        if let Activity::Publishing { stream_id } = self.activity {
            self.activity = Activity::Nothing;
            self.idle_since = self.last_received;
            let info = status::error("NetStream.Publish.BadName", description);
            self.send_status(stream_id, &info);
        }
    }

    /// When [`Self::handle_timeout`] has to be called, if nothing comes before.
    pub fn deadline(&self) -> Instant {
        self.next_deadline().0
    }

    /// Looks at the clock. A player that has been silent is asked whether it is still there.
    ///
    /// # Errors
    /// When the client has been given enough time: the connection has to be closed.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), SessionError> {
        let (deadline, error) = self.next_deadline();
        if now < deadline {
            return Ok(());
        }
        let is_player = matches!(self.activity, Activity::Playing { .. });
        if is_player && self.pinged.is_none() {
            self.pinged = Some(now);
            self.link.send_ping(0);
            return Ok(());
        }
        Err(error)
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    /// The next bytes to send.
    pub fn poll_output(&mut self) -> Option<Bytes> {
        self.link.poll_output()
    }

    fn next_deadline(&self) -> (Instant, SessionError) {
        let SessionConfig {
            handshake_timeout,
            idle_timeout,
            read_timeout,
            ..
        } = self.config;
        if !self.link.is_established() {
            let deadline = self.started + handshake_timeout;
            return (deadline, SessionError::HandshakeTimeout(handshake_timeout));
        }
        let silent = self.pinged.unwrap_or(self.last_received) + read_timeout;
        let idle = self.idle_since + idle_timeout;
        if self.activity == Activity::Nothing && idle < silent {
            (idle, SessionError::IdleTimeout(idle_timeout))
        } else {
            (silent, SessionError::ReadTimeout(read_timeout))
        }
    }

    /// Whether a request of the client waits for its answer.
    fn is_asked(&self) -> bool {
        matches!(
            self.activity,
            Activity::PublishAsked { .. } | Activity::PlayAsked { .. }
        )
    }

    /// Goes on with the input that had to wait.
    fn resume(&mut self) -> Result<(), SessionError> {
        let waiting = self.waiting.split();
        let mut input = &waiting[..];
        self.read(&mut input)?;
        self.waiting.extend_from_slice(input);
        Ok(())
    }

    /// Reads messages until the input is used up or a request has to be answered.
    fn read(&mut self, input: &mut &[u8]) -> Result<(), SessionError> {
        while !self.is_asked() {
            let Some(raw) = self.link.poll_message(input)? else {
                break;
            };
            self.handle_message(&raw)?;
        }
        Ok(())
    }

    fn handle_message(&mut self, raw: &RawMessage) -> Result<(), SessionError> {
        let is_publishing = matches!(self.activity, Activity::Publishing { .. });
        match Message::decode(raw, self.config.amf) {
            Ok(Message::Command(command)) => self.handle_command(&command, raw.stream_id)?,
            Ok(media @ (Message::Audio(_) | Message::Video(_) | Message::Data(_))) => {
                if is_publishing && let Some(media) = self.media.read(media, raw.timestamp) {
                    self.events.push_back(SessionEvent::Media(media));
                }
            }
            Ok(control) => self.link.handle_control(&control)?,
            // A stream can be watched without its metadata.
            Err(MessageError::BadData(error)) => {
                if is_publishing {
                    let ignored = MediaMessage::DataIgnored { error };
                    self.events.push_back(SessionEvent::Media(ignored));
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
