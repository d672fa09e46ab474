//! The client side of one connection, as a sans-IO state machine.
//!
//! ```text
//!                                               publish          onStatus
//!                                            ┌──────────► Asked ──────────► Active (media goes out)
//! Connect ──_result──► CreateStream ──_result┤
//!                                            └──────────► Asked ──────────► Active (media comes in)
//!                                               play             onStatus
//! ```

mod error;

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::proto::amf::values::ValueDecoder;
use crate::proto::amf::{AmfLimits, Value, object};
use crate::proto::chunk::{ChunkLimits, RawMessage};
use crate::proto::handshake::Handshake;
use crate::proto::link::{COMMAND_CHUNK_STREAM, Link};
use crate::proto::media::{MediaMessage, MediaReader};
use crate::proto::message::{Command, Message, UserControl};
use crate::proto::metadata::shown;
use crate::proto::swf::Swf;
use crate::proto::url::StreamUrl;

pub use error::ClientSessionError;

/// Size of our chunks, in bytes: frames are rarely split.
const CHUNK_SIZE: u32 = 65_536;

/// Bytes between acknowledgements, until the server sets another number.
const WINDOW_ACK_SIZE: u32 = 2_500_000;

/// Chunk streams of our media, so that headers compress well.
const AUDIO_CHUNK_STREAM: u32 = 4;
const DATA_CHUNK_STREAM: u32 = 5;
const VIDEO_CHUNK_STREAM: u32 = 6;

/// Buffer length that a player declares, in milliseconds. Servers send available data at once.
const PLAY_BUFFER_MILLIS: u32 = 1000;

/// The start parameter of a `play` of only the live stream (RTMP 1.0 section 7.2.2.1).
const LIVE_ONLY: f64 = -1.0;

/// Transaction ids of the commands whose responses are used.
const CONNECT: f64 = 1.0;
const CREATE_STREAM: f64 = 4.0;

/// A client that publishes or plays one stream.
///
/// Pass bytes from the server to [`Self::handle_bytes`], and send the output of
/// [`Self::poll_output`] after each call of any method. A player polls [`Self::poll_media`]. Media
/// that a publisher sends before [`Self::is_active`] is dropped.
#[derive(Debug)]
pub struct ClientSession {
    link: Link,
    url: StreamUrl,
    purpose: Purpose,
    state: State,
    reader: MediaReader,
    commands: ValueDecoder,
    data: ValueDecoder,
    media: VecDeque<MediaMessage>,
    /// True if the server asks for the proof of a Flash program that is not known.
    wants_swf: bool,
}

/// The purpose of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Publish,
    Play,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Waits for the response to `connect`.
    Connect,
    /// Waits for the response to `createStream`.
    CreateStream,
    /// Waits for the response to `publish` or `play`.
    Asked { stream_id: u32 },
    /// The server has accepted the request.
    Active { stream_id: u32 },
    /// One side has ended the session.
    Closed,
}

impl ClientSession {
    /// Returns a client that publishes. The seed must come from the system's random generator.
    pub fn publish(url: StreamUrl, seed: [u8; 32]) -> Self {
        Self::new(url, Purpose::Publish, seed)
    }

    /// Returns a client that plays. The seed must come from the system's random generator.
    pub fn play(url: StreamUrl, seed: [u8; 32]) -> Self {
        Self::new(url, Purpose::Play, seed)
    }

    fn new(url: StreamUrl, purpose: Purpose, seed: [u8; 32]) -> Self {
        let random = StdRng::from_seed(seed);
        // Servers with digests serve only players that have one, too; others take it for noise.
        let handshake = match purpose {
            Purpose::Play => Handshake::flash_client(random),
            Purpose::Publish if url.flash.is_some() => Handshake::flash_client(random),
            Purpose::Publish => Handshake::client(random),
        };
        let mut client = Self {
            link: Link::new(handshake, ChunkLimits::default(), WINDOW_ACK_SIZE),
            url,
            purpose,
            state: State::Connect,
            reader: MediaReader::default(),
            commands: ValueDecoder::commands(AmfLimits::default()),
            data: ValueDecoder::data(AmfLimits::default()),
            media: VecDeque::new(),
            wants_swf: false,
        };
        client.connect();
        client
    }

    /// Returns whether the server has accepted the request, so that media flows.
    pub fn is_active(&self) -> bool {
        matches!(self.state, State::Active { .. })
    }

    /// Returns the next message of the played stream.
    pub fn poll_media(&mut self) -> Option<MediaMessage> {
        self.media.pop_front()
    }

    /// Handles bytes that arrived from the server at `now`.
    ///
    /// # Errors
    /// Returns [`ClientSessionError`] if the server breaks the protocol, refuses the request or
    /// ends the stream.
    pub fn handle_bytes(
        &mut self,
        mut bytes: &[u8],
        now: Instant,
    ) -> Result<(), ClientSessionError> {
        while let Some(raw) = self.link.poll_message(&mut bytes)? {
            self.handle_message(&raw, now)?;
        }
        Ok(())
    }

    fn handle_message(&mut self, raw: &RawMessage, now: Instant) -> Result<(), ClientSessionError> {
        if raw.is_media() {
            if self.purpose == Purpose::Play
                && let Ok(message) = Message::decode(raw, &mut self.data, now)
            {
                self.media.extend(self.reader.read(message, raw.timestamp));
            }
            return Ok(());
        }
        match Message::decode(raw, &mut self.commands, now) {
            Ok(Message::Command(command)) => self.handle_command(&command),
            Ok(Message::UserControl(UserControl::StreamEof(_))) => Err(ClientSessionError::Ended),
            Ok(Message::UserControl(UserControl::SwfRequest)) => {
                match self.url.flash.as_ref().and_then(|flash| flash.swf) {
                    Some(swf) => self.prove_swf(&swf),
                    None => self.wants_swf = true,
                }
                Ok(())
            }
            Ok(control) => Ok(self.link.handle_control(&control)?),
            Err(error) if error.is_fatal() => Err(error.into()),
            Err(_) => Ok(()),
        }
    }

    /// Returns whether the server asks for a proof of a Flash program that the URL does not have.
    /// Returns `true` once per request.
    pub fn poll_swf_request(&mut self) -> bool {
        std::mem::take(&mut self.wants_swf)
    }

    /// Returns the URL of the program that this client presents itself as.
    pub fn swf_url(&self) -> Option<&str> {
        let flash = self.url.flash.as_ref()?;
        Some(flash.url.as_str()).filter(|url| !url.is_empty())
    }

    /// Sends the server the proof of this program.
    pub fn prove_swf(&mut self, swf: &Swf) {
        let proof = UserControl::SwfResponse(swf.proof(self.link.proof_key()));
        self.link.send_control(&Message::UserControl(proof));
    }

    /// Sends an FLV video tag body with its decoding time in milliseconds.
    pub fn send_video(&mut self, timestamp: u32, body: Bytes) {
        self.send(VIDEO_CHUNK_STREAM, timestamp, &Message::Video(body));
    }

    /// Sends an FLV audio tag body with its time in milliseconds.
    pub fn send_audio(&mut self, timestamp: u32, body: Bytes) {
        self.send(AUDIO_CHUNK_STREAM, timestamp, &Message::Audio(body));
    }

    /// Sends the `onMetaData` object.
    pub fn send_metadata(&mut self, metadata: Value) {
        let values = vec!["@setDataFrame".into(), "onMetaData".into(), metadata];
        self.send(DATA_CHUNK_STREAM, 0, &Message::Data(values));
    }

    /// Sends a data message of another name, such as `onTextData`, with its time in milliseconds.
    pub fn send_data(&mut self, timestamp: u32, name: &str, value: Value) {
        let values = vec![name.into(), value];
        self.send(DATA_CHUNK_STREAM, timestamp, &Message::Data(values));
    }

    /// Ends the stream.
    pub fn close(&mut self) {
        if let State::Asked { stream_id } | State::Active { stream_id } = self.state {
            if self.purpose == Purpose::Publish {
                let name = self.url.stream.as_str().into();
                self.call("FCUnpublish", 0.0, vec![Value::Null, name]);
            }
            let id = f64::from(stream_id).into();
            self.call("deleteStream", 0.0, vec![Value::Null, id]);
        }
        self.state = State::Closed;
    }

    /// Returns the next bytes to send.
    pub fn poll_output(&mut self) -> Option<Bytes> {
        self.link.poll_output()
    }

    fn send(&mut self, chunk_stream: u32, timestamp: u32, message: &Message) {
        if let (Purpose::Publish, State::Active { stream_id }) = (self.purpose, self.state) {
            self.link.send(chunk_stream, timestamp, stream_id, message);
        }
    }

    fn call(&mut self, name: &str, transaction_id: f64, arguments: Vec<Value>) {
        let command = Message::Command(Command::new(name, transaction_id, arguments));
        self.link.send(COMMAND_CHUNK_STREAM, 0, 0, &command);
    }

    fn connect(&mut self) {
        self.link.send_chunk_size(CHUNK_SIZE);
        let version = concat!(
            "FMLE/3.0 (compatible; Distributary/",
            env!("CARGO_PKG_VERSION"),
            ")"
        );
        let mut members = vec![
            ("app", self.url.app.as_str().into()),
            ("type", "nonprivate".into()),
            ("flashVer", version.into()),
            ("tcUrl", self.url.tc_url.as_str().into()),
        ];
        if let Some(flash) = &self.url.flash
            && !flash.url.is_empty()
        {
            members.push(("swfUrl", flash.url.as_str().into()));
        }
        self.call("connect", CONNECT, vec![object(members)]);
    }

    fn create_stream(&mut self) {
        if self.purpose == Purpose::Publish {
            let name: Value = self.url.stream.as_str().into();
            self.call("releaseStream", 2.0, vec![Value::Null, name.clone()]);
            self.call("FCPublish", 3.0, vec![Value::Null, name]);
        }
        self.call("createStream", CREATE_STREAM, vec![Value::Null]);
    }

    /// Asks to publish or play on a new message stream.
    fn ask(&mut self, stream_id: u32) {
        self.state = State::Asked { stream_id };
        let name = self.url.stream.as_str().into();
        let command = match self.purpose {
            Purpose::Publish => Command::new("publish", 5.0, [Value::Null, name, "live".into()]),
            Purpose::Play => {
                let buffer = UserControl::SetBufferLength {
                    stream_id,
                    millis: PLAY_BUFFER_MILLIS,
                };
                self.link.send_control(&Message::UserControl(buffer));
                Command::new("play", 5.0, [Value::Null, name, LIVE_ONLY.into()])
            }
        };
        let message = Message::Command(command);
        self.link.send(COMMAND_CHUNK_STREAM, 0, stream_id, &message);
    }

    fn handle_command(&mut self, command: &Command) -> Result<(), ClientSessionError> {
        let answers = |id| command.name == "_result" && command.transaction_id == id;
        match (self.state, command.name.as_str()) {
            (State::Connect, "_error") => return Err(refusal(command)),
            (State::Connect, _) if answers(CONNECT) => {
                self.state = State::CreateStream;
                self.create_stream();
            }
            (State::CreateStream, "_error") if command.transaction_id == CREATE_STREAM => {
                return Err(refusal(command));
            }
            (State::CreateStream, _) if answers(CREATE_STREAM) => {
                self.ask(command.argument(0).as_number().unwrap_or(1.0) as u32);
            }
            (state, "onStatus") => self.handle_status(state, command)?,
            (_, "close") => return Err(ClientSessionError::Closed),
            _ => {}
        }
        Ok(())
    }

    fn handle_status(&mut self, state: State, command: &Command) -> Result<(), ClientSessionError> {
        let text = |name| command.argument(0).get(name).and_then(Value::as_str);
        if text("level") == Some("error") {
            return Err(refusal(command));
        }
        match (state, text("code")) {
            (
                State::Asked { stream_id },
                Some("NetStream.Publish.Start" | "NetStream.Play.Start"),
            ) => self.state = State::Active { stream_id },
            (
                _,
                Some(
                    "NetStream.Play.UnpublishNotify"
                    | "NetStream.Play.Stop"
                    | "NetStream.Play.Complete",
                ),
            ) => return Err(ClientSessionError::Ended),
            _ => {}
        }
        Ok(())
    }
}

/// Returns the code and description of a server's refusal.
fn refusal(command: &Command) -> ClientSessionError {
    let text = |name| {
        let text = command.argument(0).get(name).and_then(Value::as_str);
        text.and_then(shown).unwrap_or_default()
    };
    ClientSessionError::Refused {
        code: text("code"),
        description: text("description"),
    }
}
