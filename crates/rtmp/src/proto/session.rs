//! The server's side of one connection, as a sans-IO state machine.
//!
//! ```text
//!            C0 C1 C2          connect           publish            accept_publish
//! Handshake ─────────► Idle ───────────► Idle ───────────► Asked ─────────────────► Publishing
//!                                         ▲  reject_publish  │                          │
//!                                         ├──────────────────┘   FCUnpublish,           │
//!                                         └──────────────────────deleteStream ──────────┘
//! ```
//!
//! Each message stream of a connection has these states of its own, because encoders publish
//! several streams over one connection. `play` leads to the same states, by `accept_play` and
//! `reject_play`.

mod command;
mod config;
mod error;
mod event;
mod play;
mod status;

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use distributary_names::StreamName;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::proto::amf::values::ValueDecoder;
use crate::proto::chunk::RawMessage;
use crate::proto::handshake::Handshake;
use crate::proto::link::Link;
use crate::proto::media::MediaReader;
use crate::proto::message::{Message, MessageError, UserControl};
use crate::proto::swf::{Proof, SwfRefusal};

pub use crate::proto::media::MediaMessage;
pub use config::SessionConfig;
pub use error::SessionError;
pub use event::{ConnectRequest, EndReason, PlayRequest, PublishRequest, SessionEvent};

/// Maximum number of messages without an event that are handled in one call: an aggregate of 16 MiB
/// can have a million.
const MAX_QUIET_MESSAGES: usize = 1024;

/// Maximum size of a message of a client that does not publish, in bytes: commands are short.
const MAX_COMMAND_SIZE: usize = 64 << 10;

/// Maximum size of all incomplete messages of a client that does not publish, in bytes. Past it the
/// connection is closed.
const MAX_INCOMPLETE_COMMANDS: usize = 256 << 10;

/// The server's side of one connection.
///
/// Pass bytes from the client to [`Self::poll_event`] until it returns `None`, then send the output
/// of [`Self::poll_output`]. Call [`Self::handle_timeout`] at [`Self::deadline`]. After an error
/// send the remaining output and close the connection.
///
/// No input is read while a [`SessionEvent::PublishRequested`] or [`SessionEvent::PlayRequested`]
/// is not answered.
#[derive(Debug)]
pub struct ServerSession {
    config: SessionConfig,
    link: Link,
    started: Instant,
    /// Time since which nothing is published or played.
    idle_since: Instant,
    /// Time of the last ping, until the client sends something.
    pinged: Option<Instant>,
    last_received: Instant,
    connection: Option<ConnectRequest>,
    /// True if the client's first proof of its Flash program was correct; `None` before it.
    swf_proved: Option<bool>,
    streams_created: u32,
    /// The request that waits for its response.
    asked: Option<Asked>,
    /// The message streams that are in use or were refused.
    streams: BTreeMap<u32, Activity>,
    commands: ValueDecoder,
    data: ValueDecoder,
    events: VecDeque<SessionEvent>,
}

/// A request of the client that the application has not answered yet.
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
    /// The request was refused; media on this stream is dropped.
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

    /// Reads bytes that arrived at `now` from the front of `input` up to the next event. Returns
    /// `None` if the input is used up or a request has to be answered first.
    ///
    /// # Errors
    /// Returns [`SessionError`] if the client breaks the protocol or a limit. The connection has to
    /// be closed.
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

    /// Accepts the request to publish.
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
    /// description for people who read the client's log.
    pub fn reject_publish(&mut self, code: &str, description: &str) {
        self.reject(Purpose::Publish, code, description);
    }

    /// Ends the stream that the client publishes on a message stream, on behalf of the server. Its
    /// further media is dropped.
    pub fn end_publish(&mut self, stream_id: u32, description: &str) {
        if let Some(Activity::Publishing { .. }) = self.streams.get(&stream_id) {
            self.stop(stream_id);
            self.streams.insert(stream_id, Activity::Refused);
            let info = status::error("NetStream.Publish.BadName", description);
            self.send_status(stream_id, &info);
        }
    }

    /// Tells the publisher of a message stream how to change its encoder. Encoders do not act on
    /// the code, which is ours; those that show the log of the connection show the description.
    pub fn advise(&mut self, stream_id: u32, description: &str) {
        if let Some(Activity::Publishing { .. }) = self.streams.get(&stream_id) {
            self.send_status(stream_id, &status::advice(description));
        }
    }

    /// Tells the publisher of a message stream that viewers get its frames, or that it stands by.
    /// The code is ours, as that of [`advise`](Self::advise).
    pub fn tell_standing(&mut self, stream_id: u32, description: &str) {
        if let Some(Activity::Publishing { .. }) = self.streams.get(&stream_id) {
            self.send_status(stream_id, &status::standing(description));
        }
    }

    /// Returns whether a stream is published or played.
    pub fn is_active(&self) -> bool {
        self.active().next().is_some()
    }

    /// Returns the time at which [`Self::handle_timeout`] has to be called. It changes with each
    /// call of another method.
    pub fn deadline(&self) -> Instant {
        self.next_deadline().0
    }

    /// Handles passed deadlines. Pings a client that has been silent.
    ///
    /// # Errors
    /// Returns [`SessionError`] if a timeout has passed. The connection has to be closed.
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

    /// Takes the request that waits for a response, if it has this purpose.
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

    /// Returns the bytes of all incomplete messages, by the lengths that they declare.
    pub(crate) fn under_way(&self) -> usize {
        self.link.under_way()
    }

    /// Limits the size of the client's next messages: only publishers have long ones.
    fn bound_messages(&mut self) {
        let limits = &self.config.chunks;
        let (message, under_way) = if self.is_publishing() {
            (usize::MAX, usize::MAX)
        } else {
            (MAX_COMMAND_SIZE, MAX_INCOMPLETE_COMMANDS)
        };
        self.link.bound_messages(
            limits.max_message_size.min(message),
            limits.max_reassembly.min(under_way),
        );
    }

    /// Ends the activity on a message stream.
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
    /// Some encoders send media on stream 0, others publish there and send media on another one.
    /// Both are clear as long as there is only one stream.
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

    /// Verifies a client's proof of its Flash program. Only the first one counts.
    fn verify_swf(&mut self, proof: &Proof) {
        if let (Some(swf), None) = (self.config.swf, self.swf_proved) {
            self.swf_proved = Some(*proof == swf.proof(self.link.proof_key()));
        }
    }

    /// Returns the reason why SWF verification refuses the client. The proof is requested before
    /// the response to `connect`, so it arrives before the client can publish or play.
    fn swf_refusal(&self) -> Option<SwfRefusal> {
        self.config.swf?;
        match self.swf_proved {
            Some(true) => None,
            Some(false) => Some(SwfRefusal::Wrong),
            None => Some(SwfRefusal::Unanswered),
        }
    }

    /// Handles a message of a stream. It is dropped undecoded if the stream is not published.
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
            // A stream can be played without its metadata.
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
