//! One connection of publishers and players, as a machine of bytes and events.
//!
//! ```text
//!            C0 C1 C2          connect           publish            accept_publish
//! Handshake ─────────► Idle ───────────► Idle ───────────► Asked ─────────────────► Publishing
//!                                         ▲  reject_publish  │                          │
//!                                         ├──────────────────┘   FCUnpublish,           │
//!                                         └──────────────────────deleteStream ──────────┘
//! ```
//!
//! Each message stream of a connection goes this way on its own: encoders publish several streams
//! over one connection. `play` takes the same way, with `accept_play` and `reject_play`.

mod command;
mod event;
mod play;
mod status;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use distributary_names::StreamName;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::proto::amf::AmfLimits;
use crate::proto::amf::values::ValueDecoder;
use crate::proto::chunk::{ChunkError, ChunkLimits, RawMessage};
use crate::proto::handshake::{Handshake, HandshakeError};
use crate::proto::link::Link;
use crate::proto::media::MediaReader;
use crate::proto::message::{Message, MessageError, UserControl};
use crate::proto::swf::{Proof, Swf, SwfRefusal};

pub use crate::proto::media::MediaMessage;
pub use event::{ConnectRequest, EndReason, PlayRequest, PublishRequest, SessionEvent};

/// Most messages without an event that are handled in one call: an aggregate of 16 MiB has a
/// million.
const MAX_QUIET_MESSAGES: usize = 1024;

/// Longest message of a client that does not publish yet: commands need little.
const MAX_COMMAND_SIZE: usize = 64 << 10;

/// Most bytes of messages that are under way together from a client that does not publish. More
/// close the connection.
const MAX_COMMANDS_UNDER_WAY: usize = 256 << 10;

/// The limits and announced values of a session.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Bounds of the chunk layer.
    pub chunks: ChunkLimits,
    /// Bounds of the values in commands and metadata.
    pub amf: AmfLimits,
    /// Timeout of the handshake.
    pub handshake_timeout: Duration,
    /// Time that a client may stay without publishing or playing.
    pub idle_timeout: Duration,
    /// Time that a client may be silent, to detect one that is gone without closing. A publisher
    /// is pinged when half of it has passed, a player when all of it has; a player has as long to
    /// answer.
    pub read_timeout: Duration,
    /// The chunk size for what is sent. ffmpeg takes it over for what it publishes.
    pub chunk_size: u32,
    /// Each side acknowledges after this many bytes.
    pub window_ack_size: u32,
    /// The Flash program that clients have to prove they play; `None` asks for nothing.
    pub swf: Option<Swf>,
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
            swf: None,
        }
    }
}

/// The error that ends a session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The peer does not speak RTMP.
    #[error("handshake: {0}")]
    Handshake(#[from] HandshakeError),
    /// The chunk stream is broken or exceeds a limit.
    #[error("chunk stream: {0}")]
    Chunk(#[from] ChunkError),
    /// A message cannot be understood, and nothing after it, or there are too many.
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
}

/// The server's side of one connection.
///
/// Bytes from the client go in by [`Self::poll_event`], which is called until it gives nothing;
/// send what [`Self::poll_output`] gives then. Call [`Self::handle_timeout`] when
/// [`Self::deadline`] has come. After an error send what is left of the output and close.
///
/// While a [`SessionEvent::PublishRequested`] or [`SessionEvent::PlayRequested`] is not answered,
/// no input is read.
#[derive(Debug)]
pub struct ServerSession {
    config: SessionConfig,
    link: Link,
    started: Instant,
    /// Since when nothing is published or played.
    idle_since: Instant,
    /// When the client was asked for a sign of life that has not come.
    pinged: Option<Instant>,
    last_received: Instant,
    connection: Option<ConnectRequest>,
    /// True if the client's first proof of its Flash program was the right one.
    swf_proved: Option<bool>,
    streams_created: u32,
    /// The request that waits for its answer.
    asked: Option<Asked>,
    /// The message streams on which something goes on, or was refused.
    streams: BTreeMap<u32, Activity>,
    commands: ValueDecoder,
    data: ValueDecoder,
    events: VecDeque<SessionEvent>,
}

/// A request of the client that the application has not answered.
#[derive(Clone, Debug)]
struct Asked {
    stream_id: u32,
    purpose: Purpose,
    name: StreamName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Publish,
    Play,
}

/// The state of a message stream.
#[derive(Debug)]
enum Activity {
    Publishing {
        name: StreamName,
        media: MediaReader,
    },
    Playing {
        name: StreamName,
    },
    /// The request was refused: media that comes all the same is dropped.
    Refused,
}

impl ServerSession {
    /// Returns a session with a client that connected at `now`. The seed must come from the
    /// system's random generator.
    pub fn new(config: SessionConfig, seed: [u8; 32], now: Instant) -> Self {
        let handshake = Handshake::server(StdRng::from_seed(seed));
        let mut session = Self {
            link: Link::new(handshake, config.chunks.clone(), config.window_ack_size),
            started: now,
            idle_since: now,
            pinged: None,
            last_received: now,
            connection: None,
            swf_proved: None,
            streams_created: 0,
            asked: None,
            streams: BTreeMap::new(),
            commands: ValueDecoder::commands(config.amf),
            data: ValueDecoder::data(config.amf),
            events: VecDeque::new(),
            config,
        };
        session.bound_messages();
        session
    }

    /// Takes bytes that came at `now` from the front of `input` until something happens. Returns
    /// `None` when the input is used up, or a request has to be answered first.
    ///
    /// # Errors
    /// When the client breaks the protocol or a limit: the connection has to be closed.
    pub fn poll_event(
        &mut self,
        input: &mut &[u8],
        now: Instant,
    ) -> Result<Option<SessionEvent>, SessionError> {
        if !input.is_empty() {
            self.last_received = now;
            self.pinged = None;
        }
        for _ in 0..MAX_QUIET_MESSAGES {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            if self.asked.is_some() {
                return Ok(None);
            }
            let Some(raw) = self.link.poll_message(input)? else {
                return Ok(None);
            };
            self.handle_message(&raw, now)?;
        }
        Ok(Some(self.events.pop_front().unwrap_or(SessionEvent::Busy)))
    }

    /// Grants the request to publish.
    pub fn accept_publish(&mut self) {
        let Some(asked) = self.answer(Purpose::Publish) else {
            return;
        };
        let stream_id = asked.stream_id;
        let activity = Activity::Publishing {
            name: asked.name,
            media: MediaReader::default(),
        };
        self.streams.insert(stream_id, activity);
        self.bound_messages();
        self.link.send_stream_begin(stream_id);
        self.send_status(stream_id, &status::publish_start());
    }

    /// Refuses the request to publish. `code` is for the client (`NetStream.Publish.BadName`), the
    /// description for the person who reads its log.
    pub fn reject_publish(&mut self, code: &str, description: &str) {
        self.reject(Purpose::Publish, code, description);
    }

    /// Ends what the client publishes on a message stream against its will. What it sends there is
    /// dropped from now on.
    pub fn end_publish(&mut self, stream_id: u32, description: &str) {
        if let Some(Activity::Publishing { .. }) = self.streams.get(&stream_id) {
            self.stop(stream_id);
            self.streams.insert(stream_id, Activity::Refused);
            let info = status::error("NetStream.Publish.BadName", description);
            self.send_status(stream_id, &info);
        }
    }

    /// Returns whether a stream is published or played.
    pub fn is_active(&self) -> bool {
        self.active().next().is_some()
    }

    /// Returns the time at which [`Self::handle_timeout`] has to be called, if nothing arrives
    /// before.
    pub fn deadline(&self) -> Instant {
        self.next_deadline().0
    }

    /// Looks at the clock. A client that has been silent is asked whether it is still there.
    ///
    /// # Errors
    /// When a timeout has passed: the connection has to be closed.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), SessionError> {
        let (deadline, error) = self.next_deadline();
        if now < deadline {
            return Ok(());
        }
        if self.is_active() && self.pinged.is_none() {
            self.pinged = Some(now);
            self.link.send_ping(0);
            return Ok(());
        }
        Err(error)
    }

    /// Returns the next bytes to send.
    pub fn poll_output(&mut self) -> Option<Bytes> {
        self.link.poll_output()
    }

    /// Returns the recent cost of decoded data messages.
    #[cfg(test)]
    fn data_cost(&self) -> usize {
        self.data.spent()
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
        let quiet = if self.is_publishing() {
            read_timeout / 2
        } else {
            read_timeout
        };
        let silent = self.pinged.unwrap_or(self.last_received) + quiet;
        let idle = self.idle_since + idle_timeout;
        let is_idle = self.asked.is_none() && !self.is_active();
        if is_idle && idle < silent {
            (idle, SessionError::IdleTimeout(idle_timeout))
        } else {
            (silent, SessionError::ReadTimeout(read_timeout))
        }
    }

    /// Takes the request that is answered, if it is one of this kind.
    fn answer(&mut self, purpose: Purpose) -> Option<Asked> {
        self.asked.take_if(|asked| asked.purpose == purpose)
    }

    fn reject(&mut self, purpose: Purpose, code: &str, description: &str) {
        if let Some(asked) = self.answer(purpose) {
            self.streams.insert(asked.stream_id, Activity::Refused);
            self.send_status(asked.stream_id, &status::error(code, description));
        }
    }

    /// Returns the message streams on which something is published or played.
    fn active(&self) -> impl Iterator<Item = u32> {
        let active = self.streams.iter();
        active.filter_map(|(id, activity)| (!matches!(activity, Activity::Refused)).then_some(*id))
    }

    fn is_publishing(&self) -> bool {
        self.streams.values().any(Activity::is_publishing)
    }

    /// Bounds the client's messages, for those that begin from now on: only who publishes has long
    /// ones.
    fn bound_messages(&mut self) {
        let limits = &self.config.chunks;
        let (message, under_way) = if self.is_publishing() {
            (usize::MAX, usize::MAX)
        } else {
            (MAX_COMMAND_SIZE, MAX_COMMANDS_UNDER_WAY)
        };
        self.link.bound_messages(
            limits.max_message_size.min(message),
            limits.max_reassembly.min(under_way),
        );
    }

    /// Forgets what goes on on a message stream.
    fn stop(&mut self, stream_id: u32) -> Option<Activity> {
        let was_active = self.is_active();
        let stopped = self.streams.remove(&stream_id);
        self.bound_messages();
        if was_active && !self.is_active() {
            self.idle_since = self.last_received;
        }
        stopped
    }

    /// Returns the message stream to which media on `stream_id` belongs, if it is published.
    ///
    /// Some encoders send media on stream 0, some publish there and use another one for media. As
    /// long as there is only one stream, it is clear what they mean.
    fn published(&self, stream_id: u32) -> Option<u32> {
        let is_published = |id: &u32| self.streams.get(id).is_some_and(Activity::is_publishing);
        if self.streams.contains_key(&stream_id) && stream_id != 0 {
            return Some(stream_id).filter(is_published);
        }
        let mut all = self.streams.keys().copied().filter(is_published);
        match (all.next(), all.next()) {
            (Some(only), None) if stream_id == 0 || only == 0 => Some(only),
            _ => Some(stream_id).filter(is_published),
        }
    }

    fn handle_message(&mut self, raw: &RawMessage, now: Instant) -> Result<(), SessionError> {
        if raw.is_media() {
            self.handle_media(raw, now);
            return Ok(());
        }
        match Message::decode(raw, &mut self.commands, now) {
            Ok(Message::Command(command)) => self.handle_command(&command, raw.stream_id),
            Ok(Message::UserControl(UserControl::SwfResponse(proof))) => {
                self.verify_swf(&proof);
                Ok(())
            }
            Ok(control) => Ok(self.link.handle_control(&control)?),
            Err(error) if error.is_fatal() => Err(error.into()),
            Err(_) => Ok(()),
        }
    }

    /// Takes a client's proof of its Flash program. Only the first one counts.
    fn verify_swf(&mut self, proof: &Proof) {
        if let (Some(swf), None) = (self.config.swf, self.swf_proved) {
            self.swf_proved = Some(*proof == swf.proof(self.link.proof_key()));
        }
    }

    /// Returns why the client may not publish or play, if it has to prove its Flash program. The
    /// request is sent before the answer to `connect`, so that the proof comes before the client
    /// can ask for more.
    fn swf_refusal(&self) -> Option<SwfRefusal> {
        self.config.swf?;
        match self.swf_proved {
            Some(true) => None,
            Some(false) => Some(SwfRefusal::Wrong),
            None => Some(SwfRefusal::Unanswered),
        }
    }

    /// Takes in a message of a stream. One that is not published is dropped undecoded.
    fn handle_media(&mut self, raw: &RawMessage, now: Instant) {
        let Some(stream_id) = self.published(raw.stream_id) else {
            return;
        };
        let message = Message::decode(raw, &mut self.data, now);
        let Some(Activity::Publishing { media, .. }) = self.streams.get_mut(&stream_id) else {
            return;
        };
        let message = match message {
            Ok(message) => media.read(message, raw.timestamp),
            // A stream can be watched without its metadata.
            Err(MessageError::BadData(error)) => Some(MediaMessage::DataIgnored { error }),
            Err(_) => None,
        };
        if let Some(message) = message {
            self.events
                .push_back(SessionEvent::Media { stream_id, message });
        }
    }
}

impl Activity {
    fn is_publishing(&self) -> bool {
        matches!(self, Self::Publishing { .. })
    }

    /// Returns the stream that is published or played.
    fn name(&self) -> Option<&StreamName> {
        match self {
            Self::Publishing { name, .. } | Self::Playing { name } => Some(name),
            Self::Refused => None,
        }
    }
}

#[cfg(test)]
mod tests;
