//! Tests of a server's session with a client, without sockets.

#![allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]

mod commands;
mod connect;
mod control;
mod deadlines;
mod limits;
mod our_client;
mod play;
mod publish;
mod several_streams;

use super::*;
use crate::proto::amf::{AmfLimits, Value, object};
use crate::proto::chunk::ChunkLimits;
use crate::proto::message::{Command, UserControl};

/// A server session with a client that speaks in messages, both without a socket.
struct Pair {
    server: ServerSession,
    client: Link,
    /// Bytes that the server has not read.
    input: Vec<u8>,
    events: VecDeque<SessionEvent>,
    now: Instant,
}

impl Pair {
    fn new(config: SessionConfig) -> Self {
        let now = Instant::now();
        let handshake = Handshake::client(StdRng::from_seed([2; 32]));
        let mut pair = Self {
            server: ServerSession::new(config, [1; 32], now),
            client: Link::new(handshake, ChunkLimits::default(), 0),
            input: Vec::new(),
            events: VecDeque::new(),
            now,
        };
        assert_eq!(pair.exchange(), []);
        pair
    }

    /// Returns a client that has connected to the application `live`.
    fn connected() -> Self {
        let mut pair = Self::new(SessionConfig::default());
        pair.call("connect", 1.0, [object([("app", "live".into())])]);
        assert_eq!(names(&pair.exchange()), ["_result"]);
        assert!(matches!(
            pair.poll_event(),
            Some(SessionEvent::Connected(_))
        ));
        pair
    }

    /// Returns a client that publishes `live/test` on stream 1.
    fn publishing() -> Self {
        let mut pair = Self::connected();
        pair.publish("test");
        pair.exchange();
        assert!(matches!(
            pair.poll_event(),
            Some(SessionEvent::PublishRequested(_))
        ));
        pair.server.accept_publish();
        assert_eq!(codes(&pair.exchange()), ["NetStream.Publish.Start"]);
        pair
    }

    fn call(&mut self, name: &str, id: f64, arguments: impl Into<Vec<Value>>) {
        self.send(0, 0, &Message::Command(Command::new(name, id, arguments)));
    }

    fn publish(&mut self, name: &str) {
        let arguments = [Value::Null, name.into(), "live".into()];
        let publish = Command::new("publish", 5.0, arguments);
        self.send(0, 1, &Message::Command(publish));
    }

    fn send(&mut self, timestamp: u32, stream_id: u32, message: &Message) {
        self.client.send(3, timestamp, stream_id, message);
    }

    /// Feeds the server until a request has to be answered.
    fn feed(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        self.input.extend_from_slice(bytes);
        let mut input = &self.input[..];
        let mut result = Ok(());
        while result.is_ok() {
            match self.server.poll_event(&mut input, self.now) {
                Ok(Some(event)) => self.events.push_back(event),
                Ok(None) => break,
                Err(error) => result = Err(error),
            }
        }
        self.input = input.to_vec();
        result
    }

    fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    fn events(&mut self) -> Vec<SessionEvent> {
        self.events.drain(..).collect()
    }

    fn exchange(&mut self) -> Vec<Message> {
        self.try_exchange().unwrap()
    }

    /// Carries bytes both ways until both sides are silent. Returns the messages of the server.
    fn try_exchange(&mut self) -> Result<Vec<Message>, SessionError> {
        let mut said = Vec::new();
        let mut result = Ok(());
        loop {
            let to_server = self.client.poll_output();
            if result.is_ok() {
                result = self.feed(to_server.as_deref().unwrap_or_default());
            }
            let to_client = self.server.poll_output();
            if let Some(bytes) = &to_client {
                let mut bytes = &bytes[..];
                while let Some(raw) = self.client.poll_message(&mut bytes).unwrap() {
                    let mut values = ValueDecoder::commands(AmfLimits::default());
                    let message = Message::decode(&raw, &mut values, self.now).unwrap();
                    self.client.handle_control(&message).unwrap();
                    said.push(message);
                }
            }
            if to_server.is_none() && to_client.is_none() {
                return result.map(|()| said);
            }
        }
    }

    /// Asks to publish a name on a message stream. Returns whether the application gets the
    /// request.
    fn publish_on(&mut self, stream_id: u32, name: &str) -> bool {
        let arguments = [Value::Null, name.into(), "live".into()];
        let publish = Command::new("publish", 5.0, arguments);
        self.send(0, stream_id, &Message::Command(publish));
        self.exchange();
        self.events()
            .iter()
            .any(|event| matches!(event, SessionEvent::PublishRequested(_)))
    }

    /// Sends a frame of one byte, the number of the message stream, on each of these message
    /// streams. Returns the message streams and bytes that arrive.
    fn send_marked(&mut self, stream_ids: &[u32]) -> Vec<(u32, u8)> {
        for &id in stream_ids {
            self.send(0, id, &Message::Video(Bytes::from(vec![id as u8])));
        }
        self.exchange();
        self.events()
            .into_iter()
            .map(|event| match event {
                SessionEvent::Media {
                    stream_id,
                    message: MediaMessage::Video { body, .. },
                } => (stream_id, body[0]),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn play(&mut self, name: &str) {
        let play = Command::new("play", 0.0, [Value::Null, name.into()]);
        self.send(0, 1, &Message::Command(play));
    }

    /// Returns a client that plays `live/test` on stream 1.
    fn playing() -> Self {
        let mut pair = Self::connected();
        pair.play("test?token=t");
        assert_eq!(pair.exchange(), []);
        let Some(SessionEvent::PlayRequested(request)) = pair.poll_event() else {
            panic!("a request is expected")
        };
        assert_eq!(request.target.name.as_str(), "live/test");
        pair.server.accept_play();
        let said = pair.exchange();
        assert_eq!(
            codes(&said),
            ["NetStream.Play.Reset", "NetStream.Play.Start"]
        );
        pair
    }

    /// Sends an encoded message on chunk stream 3.
    fn send_raw(&mut self, type_id: u8, payload: &[u8]) {
        let raw = RawMessage {
            timestamp: 0,
            type_id,
            stream_id: 0,
            payload: Bytes::copy_from_slice(payload),
        };
        self.client.send_raw(3, &raw);
    }
}

fn commands(messages: &[Message]) -> impl Iterator<Item = &Command> {
    messages.iter().filter_map(|message| match message {
        Message::Command(command) => Some(command),
        _ => None,
    })
}

fn names(messages: &[Message]) -> Vec<&str> {
    commands(messages)
        .map(|command| command.name.as_str())
        .collect()
}

fn codes(messages: &[Message]) -> Vec<&str> {
    commands(messages)
        .filter_map(|command| command.argument(0).get("code")?.as_str())
        .collect()
}

/// Returns the event of media on message stream 1.
fn media(message: MediaMessage) -> SessionEvent {
    SessionEvent::Media {
        stream_id: 1,
        message,
    }
}
