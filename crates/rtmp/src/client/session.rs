//! The client's side of one connection, as a machine of bytes.
//!
//! ```text
//! Connect ──_result──► CreateStream ──_result──► Publish ──onStatus──► Publishing
//! ```

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::ClientError;
use crate::amf::{AmfLimits, Value, object};
use crate::chunk::ChunkLimits;
use crate::handshake::Handshake;
use crate::message::{Command, Message, MessageError};
use crate::metadata::shown;
use crate::session::SessionError;
use crate::session::link::{COMMAND_CHUNK_STREAM, Link};

/// The size of the chunks we send: a frame is rarely cut.
const CHUNK_SIZE: u32 = 65_536;

/// Bytes between acknowledgements until the server names another number.
const WINDOW_ACK_SIZE: u32 = 2_500_000;

/// Chunk streams of our media, so that headers compress well.
const AUDIO_CHUNK_STREAM: u32 = 4;
const DATA_CHUNK_STREAM: u32 = 5;
const VIDEO_CHUNK_STREAM: u32 = 6;

/// Transaction ids of the commands whose answers we wait for.
const CONNECT: f64 = 1.0;
const CREATE_STREAM: f64 = 4.0;

/// Where a stream is, in the parts that RTMP sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamUrl {
    tc_url: String,
    app: String,
    stream: String,
}

impl StreamUrl {
    /// The stream `rtmp://host/app/stream`; the host may have a port.
    pub fn new(host: &str, app: &str, stream: &str) -> Self {
        Self {
            tc_url: format!("rtmp://{host}/{app}"),
            app: app.to_owned(),
            stream: stream.to_owned(),
        }
    }
}

/// A client that publishes one stream.
///
/// Bytes from the server go in by [`Self::handle_bytes`]; send what [`Self::poll_output`] gives after
/// each call of any method. Media sent before [`Self::is_publishing`] is not taken.
#[derive(Debug)]
pub struct ClientSession {
    link: Link,
    url: StreamUrl,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The answer to `connect` is awaited.
    Connect,
    /// The answer to `createStream` is awaited.
    CreateStream,
    /// The answer to `publish` is awaited.
    Publish {
        stream_id: u32,
    },
    Publishing {
        stream_id: u32,
    },
    Closed,
}

impl ClientSession {
    /// A client that is going to publish; its first bytes are ready to be sent. The seed must come
    /// from the system's random generator.
    pub fn publish(url: StreamUrl, seed: [u8; 32]) -> Self {
        let handshake = Handshake::client(StdRng::from_seed(seed));
        let mut client = Self {
            link: Link::new(handshake, ChunkLimits::default(), WINDOW_ACK_SIZE),
            url,
            state: State::Connect,
        };
        client.connect();
        client
    }

    /// Whether the server has granted the name and takes media.
    pub fn is_publishing(&self) -> bool {
        matches!(self.state, State::Publishing { .. })
    }

    /// Takes in bytes that came from the server.
    ///
    /// # Errors
    /// When the server breaks the protocol, or refuses.
    pub fn handle_bytes(&mut self, mut bytes: &[u8]) -> Result<(), ClientError> {
        while let Some(raw) = self.link.poll_message(&mut bytes)? {
            match Message::decode(&raw, AmfLimits::default()) {
                Ok(Message::Command(command)) => self.handle_command(&command)?,
                Ok(message) => self
                    .link
                    .handle_control(&message)
                    .map_err(SessionError::from)?,
                Err(MessageError::BadData(_)) => {}
                Err(error) => return Err(SessionError::from(error).into()),
            }
        }
        Ok(())
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

    /// Ends the stream.
    pub fn close(&mut self) {
        if let State::Publish { stream_id } | State::Publishing { stream_id } = self.state {
            let name = self.url.stream.as_str().into();
            self.call("FCUnpublish", 0.0, vec![Value::Null, name]);
            let id = f64::from(stream_id).into();
            self.call("deleteStream", 0.0, vec![Value::Null, id]);
        }
        self.state = State::Closed;
    }

    /// The next bytes to send.
    pub fn poll_output(&mut self) -> Option<Bytes> {
        self.link.poll_output()
    }

    fn send(&mut self, chunk_stream: u32, timestamp: u32, message: &Message) {
        if let State::Publishing { stream_id } = self.state {
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
        let arguments = object([
            ("app", self.url.app.as_str().into()),
            ("type", "nonprivate".into()),
            ("flashVer", version.into()),
            ("tcUrl", self.url.tc_url.as_str().into()),
        ]);
        self.call("connect", CONNECT, vec![arguments]);
    }

    fn create_stream(&mut self) {
        let name: Value = self.url.stream.as_str().into();
        self.call("releaseStream", 2.0, vec![Value::Null, name.clone()]);
        self.call("FCPublish", 3.0, vec![Value::Null, name]);
        self.call("createStream", CREATE_STREAM, vec![Value::Null]);
    }

    fn handle_command(&mut self, command: &Command) -> Result<(), ClientError> {
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
                let stream_id = command.argument(0).as_number().unwrap_or(1.0) as u32;
                self.state = State::Publish { stream_id };
                let name = self.url.stream.as_str().into();
                let publish = Command::new("publish", 5.0, [Value::Null, name, "live".into()]);
                let message = Message::Command(publish);
                self.link.send(COMMAND_CHUNK_STREAM, 0, stream_id, &message);
            }
            (state, "onStatus") => self.handle_status(state, command)?,
            (_, "close") => return Err(ClientError::Closed),
            _ => {}
        }
        Ok(())
    }

    fn handle_status(&mut self, state: State, command: &Command) -> Result<(), ClientError> {
        let text = |name| command.argument(0).get(name).and_then(Value::as_str);
        if text("level") == Some("error") {
            return Err(refusal(command));
        }
        if let (State::Publish { stream_id }, Some("NetStream.Publish.Start")) =
            (state, text("code"))
        {
            self.state = State::Publishing { stream_id };
        }
        Ok(())
    }
}

/// What a server says when it refuses.
fn refusal(command: &Command) -> ClientError {
    let text = |name| {
        let text = command.argument(0).get(name).and_then(Value::as_str);
        text.and_then(shown).unwrap_or_default()
    };
    ClientError::Refused {
        code: text("code"),
        description: text("description"),
    }
}
