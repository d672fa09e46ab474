#![allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]

use super::*;
use crate::client::{ClientError, ClientSession, StreamUrl};
use crate::proto::amf::{Value, object};
use crate::proto::message::{Command, UserControl, type_id};
use crate::proto::name::TargetError;
use distributary_media::MediaTime;
use distributary_names::NameError;

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

    /// Carries bytes both ways until both sides are silent. Returns what the server said.
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

/// Returns the name published on stream 1.
fn media(message: MediaMessage) -> SessionEvent {
    SessionEvent::Media {
        stream_id: 1,
        message,
    }
}

#[test]
fn connect_is_answered_with_windows_and_success() {
    let mut pair = Pair::new(SessionConfig::default());
    let arguments = object([
        ("app", "live?key=secret".into()),
        ("flashVer", "FMLE/3.0".into()),
        ("objectEncoding", 3.0.into()),
    ]);
    pair.call("connect", 1.0, [arguments]);
    let said = pair.exchange();
    assert_eq!(
        said[..3],
        [
            Message::WindowAckSize(2_500_000),
            Message::SetPeerBandwidth {
                window: 2_500_000,
                limit_type: 2
            },
            Message::SetChunkSize(65_536),
        ]
    );
    let answer = commands(&said).next().unwrap();
    assert_eq!(
        (answer.name.as_str(), answer.transaction_id),
        ("_result", 1.0)
    );
    let encoding = answer.argument(0).get("objectEncoding");
    assert_eq!(encoding, Some(&Value::Number(3.0)));
    assert_eq!(codes(&said), ["NetConnection.Connect.Success"]);
    let event = pair.poll_event().unwrap();
    assert!(format!("{event:?}").contains("FMLE/3.0"));
    assert!(
        !format!("{event:?}").contains("secret"),
        "a key is not shown"
    );
}

#[test]
fn an_enhanced_client_is_told_which_codecs_it_may_send() {
    for (member, enhanced) in [("fourCcList", true), ("swfUrl", false)] {
        let mut pair = Pair::new(SessionConfig::default());
        let arguments = object([
            ("app", "live".into()),
            (member, Value::StrictArray(vec!["hvc1".into()])),
        ]);
        pair.call("connect", 1.0, [arguments]);
        let said = pair.exchange();
        let properties = commands(&said).next().unwrap().object();
        let list = properties.get("fourCcList");
        assert_eq!(list.is_some(), enhanced);
        if let Some(Value::StrictArray(codecs)) = list {
            assert!(codecs.contains(&"av01".into()));
            let map = properties.get("audioFourCcInfoMap").unwrap();
            assert_eq!(map.get("Opus"), Some(&Value::Number(4.0)));
        }
    }
}

#[test]
fn program_is_asked_for_before_connect_is_answered_and_the_first_proof_counts() {
    let (right, wrong) = (
        Swf::new(&"5a".repeat(32), 1000),
        Swf::new(&"5a".repeat(32), 1001),
    );
    let (right, wrong) = (right.unwrap(), wrong.unwrap());
    for (proofs, refusal) in [
        (&[][..], Some(SwfRefusal::Unanswered)),
        (&[wrong, right], Some(SwfRefusal::Wrong)),
        (&[right, wrong], None),
    ] {
        let mut pair = Pair::new(SessionConfig {
            swf: Some(right),
            ..SessionConfig::default()
        });
        pair.call("connect", 1.0, [object([("app", "live".into())])]);
        let said = pair.exchange();
        let place = |is: fn(&Message) -> bool| said.iter().position(is).unwrap();
        let asked = place(|said| *said == Message::UserControl(UserControl::SwfRequest));
        assert!(asked < place(|said| matches!(said, Message::Command(_))));
        pair.events();
        for swf in proofs {
            let proof = swf.proof(pair.client.proof_key());
            pair.send(0, 0, &Message::UserControl(UserControl::SwfResponse(proof)));
        }
        pair.publish("test");
        let said = pair.exchange();
        let codes = codes(&said);
        match (refusal, &pair.events()[..]) {
            (None, [SessionEvent::PublishRequested(_)]) => assert!(codes.is_empty()),
            (Some(refusal), [SessionEvent::SwfRefused(said)]) => {
                assert_eq!(
                    (*said, &codes[..]),
                    (refusal, &["NetStream.Publish.BadName"][..])
                );
            }
            (refusal, events) => panic!("{refusal:?}: {events:?}"),
        }
    }
}

#[test]
fn connect_without_application_is_refused() {
    let mut pair = Pair::new(SessionConfig::default());
    pair.call("connect", 1.0, [object([("app", "/".into())])]);
    assert_eq!(pair.try_exchange(), Err(SessionError::NoApplication));
}

#[test]
fn commands_before_connect_end_the_session() {
    let mut pair = Pair::new(SessionConfig::default());
    pair.call("createStream", 1.0, [Value::Null]);
    let command = "createStream".to_owned();
    assert_eq!(
        pair.try_exchange(),
        Err(SessionError::NotConnected { command })
    );
}

#[test]
fn each_command_of_an_encoder_has_its_answer() {
    let mut pair = Pair::connected();
    for (name, answers) in [
        ("releaseStream", &["_result"][..]),
        ("FCPublish", &["_result", "onFCPublish"]),
        ("createStream", &["_result"]),
        ("getStreamLength", &["_result"]),
        ("_checkbw", &["_result"]),
        ("FCUnpublish", &["_result"]),
        ("pause", &[]),
        ("setFancyMode", &["_error"]),
    ] {
        pair.call(name, 2.0, [Value::Null, "test".into()]);
        assert_eq!(names(&pair.exchange()), answers, "{name}");
    }
}

#[test]
fn a_command_with_transaction_id_0_gets_no_answer() {
    let mut pair = Pair::connected();
    for name in ["releaseStream", "createStream", "setFancyMode"] {
        pair.call(name, 0.0, [Value::Null, "test".into()]);
        assert_eq!(pair.exchange(), [], "{name}");
    }
}

#[test]
fn created_streams_are_numbered_and_bounded() {
    let mut pair = Pair::connected();
    for n in 1..=64 {
        pair.call("createStream", 4.0, [Value::Null]);
        let said = pair.exchange();
        let answer = commands(&said).next().unwrap();
        assert_eq!(answer.argument(0), &Value::Number(n.into()));
    }
    pair.call("createStream", 4.0, [Value::Null]);
    assert_eq!(names(&pair.exchange()), ["_error"]);
}

#[test]
fn a_publisher_is_asked_for_and_its_messages_come_in_order() {
    let mut pair = Pair::connected();
    pair.publish("test?key=secret");
    pair.send(40, 1, &Message::Video(Bytes::from_static(&[0x17, 1])));
    assert_eq!(pair.exchange(), [], "nothing is said before the decision");
    let Some(SessionEvent::PublishRequested(request)) = pair.poll_event() else {
        panic!("a request is expected")
    };
    assert_eq!(request.target.name.as_str(), "live/test");
    assert_eq!(request.target.query.get("key").as_deref(), Some("secret"));
    assert_eq!(pair.poll_event(), None, "media waits for the answer");

    pair.server.accept_publish();
    let said = pair.exchange();
    assert_eq!(said[0], Message::UserControl(UserControl::StreamBegin(1)));
    assert_eq!(codes(&said), ["NetStream.Publish.Start"]);
    let metadata = Value::EcmaArray(vec![("width".into(), 320.0.into())]);
    let data = vec![
        "@setDataFrame".into(),
        "onMetaData".into(),
        metadata.clone(),
    ];
    pair.send(50, 1, &Message::Data(data));
    pair.send(60, 1, &Message::Audio(Bytes::from_static(&[0xAF, 1])));
    pair.exchange();
    let time = MediaTime::from_millis;
    assert_eq!(
        pair.events(),
        [
            media(MediaMessage::Video {
                timestamp: time(40),
                body: Bytes::from_static(&[0x17, 1])
            }),
            media(MediaMessage::Data {
                timestamp: time(50),
                name: "onMetaData".into(),
                values: vec![metadata]
            }),
            media(MediaMessage::Audio {
                timestamp: time(60),
                body: Bytes::from_static(&[0xAF, 1])
            }),
        ]
    );
}

#[test]
fn timestamps_go_on_after_32_bits() {
    let mut pair = Pair::publishing();
    for timestamp in [0xFFFF_FFF0, 5] {
        pair.send(timestamp, 1, &Message::Audio(Bytes::from_static(&[0xAF])));
    }
    pair.exchange();
    let times: Vec<_> = pair
        .events()
        .iter()
        .map(|event| match event {
            SessionEvent::Media {
                message: MediaMessage::Audio { timestamp, .. },
                ..
            } => timestamp.as_millis(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(times, [0xFFFF_FFF0, 0x1_0000_0005]);
}

#[test]
fn a_refused_publisher_is_told_why_and_its_media_is_dropped() {
    let mut pair = Pair::connected();
    pair.publish("test");
    pair.send(0, 1, &Message::Video(Bytes::from_static(&[0x17])));
    pair.exchange();
    pair.poll_event().unwrap();
    pair.server
        .reject_publish("NetStream.Publish.BadName", "in use");
    let said = pair.exchange();
    let info = commands(&said).next().unwrap().argument(0);
    assert_eq!(info.get("level"), Some(&"error".into()));
    assert_eq!(info.get("description"), Some(&"in use".into()));
    assert_eq!(codes(&said), ["NetStream.Publish.BadName"]);
    assert_eq!(pair.poll_event(), None);
}

#[test]
fn a_name_that_is_not_allowed_is_refused_without_asking() {
    let mut pair = Pair::connected();
    pair.publish("../etc");
    assert_eq!(codes(&pair.exchange()), ["NetStream.Publish.BadName"]);
    assert_eq!(
        pair.events(),
        [SessionEvent::NameRefused(TargetError::Name(
            NameError::BadSegment
        ))]
    );
}

#[test]
fn a_second_publish_on_a_message_stream_is_refused_and_the_first_goes_on() {
    let mut pair = Pair::publishing();
    pair.publish("other");
    assert_eq!(codes(&pair.exchange()), ["NetStream.Publish.BadName"]);
    pair.send(0, 1, &Message::Video(Bytes::from_static(&[0x17])));
    pair.exchange();
    assert_eq!(pair.events().len(), 1);
}

impl Pair {
    /// Asks for a name on a message stream. Returns whether the application is asked.
    fn publish_on(&mut self, stream_id: u32, name: &str) -> bool {
        let arguments = [Value::Null, name.into(), "live".into()];
        let publish = Command::new("publish", 5.0, arguments);
        self.send(0, stream_id, &Message::Command(publish));
        self.exchange();
        self.events()
            .iter()
            .any(|event| matches!(event, SessionEvent::PublishRequested(_)))
    }

    /// Sends a frame of one byte on each of these message streams. Returns what arrives where.
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
}

#[test]
fn a_connection_publishes_several_streams_and_each_gets_its_own_media() {
    let mut pair = Pair::publishing();
    assert!(pair.publish_on(2, "other"));
    pair.server.accept_publish();
    assert_eq!(codes(&pair.exchange()), ["NetStream.Publish.Start"]);
    assert_eq!(
        pair.send_marked(&[1, 2, 3, 0, 2, 1]),
        [(1, 1), (2, 2), (2, 2), (1, 1)],
        "what belongs to no stream, or to one of two, is dropped"
    );
    // Each ends on its own, by its name or its number.
    pair.call("FCUnpublish", 6.0, [Value::Null, "other".into()]);
    pair.exchange();
    let ended = |stream_id, reason| SessionEvent::PublishEnded { stream_id, reason };
    assert_eq!(pair.events(), [ended(2, EndReason::FcUnpublish)]);
    assert_eq!(pair.send_marked(&[2, 1]), [(1, 1)]);
    pair.call("deleteStream", 7.0, [Value::Null, 1.0.into()]);
    pair.exchange();
    assert_eq!(pair.events(), [ended(1, EndReason::DeleteStream)]);
}

#[test]
fn media_of_a_refused_stream_is_dropped_while_another_goes_on() {
    let mut pair = Pair::publishing();
    assert!(pair.publish_on(2, "taken"));
    pair.server
        .reject_publish("NetStream.Publish.BadName", "in use");
    pair.exchange();
    assert!(pair.server.is_active());
    assert_eq!(pair.send_marked(&[2, 1, 2]), [(1, 1)]);
    // The same message stream may be tried again with another name.
    assert!(pair.publish_on(2, "free"));
    pair.server.accept_publish();
    assert_eq!(pair.send_marked(&[2, 1]), [(2, 2), (1, 1)]);
}

#[test]
fn media_without_a_message_stream_belongs_to_the_only_one() {
    let mut pair = Pair::publishing();
    assert_eq!(pair.send_marked(&[0, 1, 7]), [(1, 0), (1, 1)]);
    // An encoder that publishes on stream 0 and sends on the stream that it created.
    let mut pair = Pair::connected();
    assert!(pair.publish_on(0, "test"));
    pair.server.accept_publish();
    assert_eq!(pair.send_marked(&[0, 1]), [(0, 0), (0, 1)]);
}

#[test]
fn message_streams_in_use_are_bounded() {
    let mut pair = Pair::connected();
    for id in 1..=64 {
        assert!(pair.publish_on(id, &format!("test{id}")), "{id}");
        pair.server.accept_publish();
    }
    assert!(!pair.publish_on(65, "more"));
}

#[test]
fn a_stream_ends_in_each_of_the_ways_clients_have() {
    // GStreamer names the stream by its name, ffmpeg and librtmp by its number.
    for (name, argument, reason) in [
        ("FCUnpublish", "test".into(), EndReason::FcUnpublish),
        ("deleteStream", 1.0.into(), EndReason::DeleteStream),
        ("deleteStream", "test".into(), EndReason::DeleteStream),
        ("deleteStream", Value::Undefined, EndReason::DeleteStream),
    ] {
        let mut pair = Pair::publishing();
        pair.call(name, 6.0, [Value::Null, argument]);
        assert!(codes(&pair.exchange()).contains(&"NetStream.Unpublish.Success"));
        assert_eq!(
            pair.events(),
            [SessionEvent::PublishEnded {
                stream_id: 1,
                reason
            }]
        );
    }
    let mut pair = Pair::publishing();
    let close = Command::new("closeStream", 0.0, [Value::Null]);
    pair.send(0, 1, &Message::Command(close));
    pair.exchange();
    assert_eq!(
        pair.events(),
        [SessionEvent::PublishEnded {
            stream_id: 1,
            reason: EndReason::CloseStream
        }]
    );
}

#[test]
fn another_streams_number_does_not_end_the_stream() {
    let mut pair = Pair::publishing();
    pair.call("deleteStream", 6.0, [Value::Null, 2.0.into()]);
    let close = Command::new("closeStream", 0.0, [Value::Null]);
    pair.send(0, 2, &Message::Command(close));
    pair.exchange();
    assert_eq!(pair.events(), []);
}

#[test]
fn a_connection_may_publish_again_after_its_stream_has_ended() {
    let mut pair = Pair::publishing();
    pair.call("FCUnpublish", 6.0, [Value::Null, "test".into()]);
    pair.call("deleteStream", 7.0, [Value::Null, 1.0.into()]);
    pair.publish("next");
    pair.exchange();
    let events = pair.events();
    assert!(
        matches!(
            &events[..],
            [SessionEvent::PublishEnded { .. }, SessionEvent::PublishRequested(request)]
                if request.target.name.as_str() == "live/next"
        ),
        "{events:?}"
    );
}

impl Pair {
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
}

#[test]
fn a_player_is_sent_what_the_application_has() {
    let mut pair = Pair::playing();
    let (video, audio) = (Bytes::from(vec![0x17; 500]), Bytes::from_static(&[0xAF, 1]));
    pair.server.send_video(40, std::slice::from_ref(&video));
    pair.server.send_audio(45, std::slice::from_ref(&audio));
    pair.server.end_play("The stream has ended.");
    pair.server.send_video(80, std::slice::from_ref(&video));
    let said = pair.exchange();
    assert_eq!(said[..2], [Message::Video(video), Message::Audio(audio)]);
    assert_eq!(codes(&said), ["NetStream.Play.UnpublishNotify"]);
    assert_eq!(
        said.last(),
        Some(&Message::UserControl(UserControl::StreamEof(1)))
    );
}

#[test]
fn a_refused_player_is_told_why() {
    let mut pair = Pair::connected();
    pair.play("test");
    pair.exchange();
    pair.poll_event().unwrap();
    pair.server
        .reject_play("NetStream.Play.StreamNotFound", "not there");
    assert_eq!(codes(&pair.exchange()), ["NetStream.Play.StreamNotFound"]);
    pair.play("..");
    assert_eq!(codes(&pair.exchange()), ["NetStream.Play.Failed"]);
}

#[test]
fn a_player_may_end_and_play_something_else() {
    let mut pair = Pair::playing();
    pair.call("deleteStream", 0.0, [Value::Null, 1.0.into()]);
    pair.play("other");
    pair.exchange();
    let events = pair.events();
    assert!(
        matches!(
            &events[..],
            [SessionEvent::PlayEnded, SessionEvent::PlayRequested(_)]
        ),
        "{events:?}"
    );
}

#[test]
fn play2_plays_another_stream_in_place_of_the_first() {
    let mut pair = Pair::playing();
    let options = object([("streamName", "flv:other".into()), ("start", (-1.0).into())]);
    let play2 = Command::new("play2", 0.0, [Value::Null, options]);
    pair.send(0, 1, &Message::Command(play2));
    pair.exchange();
    let events = pair.events();
    assert!(
        matches!(
            &events[..],
            [SessionEvent::PlayEnded, SessionEvent::PlayRequested(request)]
                if request.target.name.as_str() == "live/other"
        ),
        "{events:?}"
    );
    pair.server.accept_play();
    assert!(codes(&pair.exchange()).contains(&"NetStream.Play.Start"));
}

#[test]
fn a_silent_player_is_pinged_before_it_is_given_up() {
    let mut pair = Pair::playing();
    let (start, second) = (pair.now, Duration::from_secs);
    assert_eq!(pair.server.deadline(), start + second(10));
    assert_eq!(pair.server.handle_timeout(start + second(10)), Ok(()));
    assert_eq!(pair.server.deadline(), start + second(20));
    let ping = Message::UserControl(UserControl::PingRequest(0));
    assert_eq!(pair.exchange(), [ping]);
    // A pong comes; then it is silent again, and this time no pong comes.
    pair.now = start + second(11);
    let pong = UserControl::PingResponse(0);
    pair.send(0, 0, &Message::UserControl(pong));
    pair.exchange();
    assert_eq!(pair.server.deadline(), start + second(21));
    assert_eq!(pair.server.handle_timeout(start + second(21)), Ok(()));
    assert_eq!(
        pair.server.handle_timeout(start + second(31)),
        Err(SessionError::ReadTimeout(second(10)))
    );
}

#[test]
fn a_publisher_without_frames_stays_as_long_as_it_answers_pings() {
    let mut pair = Pair::publishing();
    for _ in 0..100 {
        pair.now = pair.server.deadline();
        assert_eq!(pair.server.handle_timeout(pair.now), Ok(()));
        let ping = Message::UserControl(UserControl::PingRequest(0));
        assert_eq!(pair.exchange(), [ping]);
        pair.send(0, 0, &Message::UserControl(UserControl::PingResponse(0)));
        pair.exchange();
    }
    let silent_since = pair.now;
    for _ in 0..2 {
        pair.now = pair.server.deadline();
        let _ = pair.server.handle_timeout(pair.now);
    }
    assert_eq!(pair.now - silent_since, Duration::from_secs(10));
    assert!(pair.server.handle_timeout(pair.now).is_err());
}

impl Pair {
    /// Sends a message as it stands on the wire, on chunk stream 3.
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

#[test]
fn broken_messages_that_do_no_harm_leave_the_stream_running() {
    let mut pair = Pair::publishing();
    let broken: [(u8, &[u8]); 16] = [
        (type_id::SET_PEER_BANDWIDTH, &[0, 0, 1, 0]),
        (type_id::ACKNOWLEDGEMENT, &[1]),
        (type_id::WINDOW_ACK_SIZE, &[1, 2]),
        (type_id::ABORT, &[]),
        (type_id::USER_CONTROL, &[]),
        (type_id::USER_CONTROL, &[0, 3, 0, 0, 0, 1]),
        (type_id::USER_CONTROL, &[0, 6, 1]),
        (type_id::USER_CONTROL, &[0, 7]),
        (type_id::USER_CONTROL, &[0, 99]),
        (type_id::COMMAND_AMF0, &[]),
        (type_id::COMMAND_AMF0, &[5, 5]),
        (type_id::COMMAND_AMF0, b"\x02\x00\x05fancy\x00\x3f"),
        (type_id::COMMAND_AMF0, b"\x02\xff\xff"),
        (type_id::COMMAND_AMF3, &[0, 0x11, 0xFF]),
        (type_id::DATA_AMF0, &[0xFF]),
        (99, &[1, 2, 3]),
    ];
    for (type_id, payload) in broken {
        pair.send_raw(type_id, payload);
        pair.exchange();
        pair.events();
        assert_eq!(pair.send_marked(&[1]), [(1, 1)], "{type_id} {payload:02x?}");
    }
    // Where the next chunk begins is unknown after this one.
    pair.send_raw(type_id::SET_CHUNK_SIZE, &[0, 0]);
    assert!(pair.try_exchange().is_err());
}

#[test]
fn stray_bytes_behind_connect_and_publish_do_no_harm() {
    let mut pair = Pair::new(SessionConfig::default());
    let connect = b"\x02\x00\x07connect\x00\x3f\xf0\x00\x00\x00\x00\x00\x00\
        \x03\x00\x03app\x02\x00\x04live\x00\x00\x09\x00\x00\x00\x00";
    pair.send_raw(type_id::COMMAND_AMF0, connect);
    assert_eq!(codes(&pair.exchange()), ["NetConnection.Connect.Success"]);
    let publish = b"\x02\x00\x07publish\x00\x40\x14\x00\x00\x00\x00\x00\x00\x05\
        \x02\x00\x04test\x02\x00\x04live\xff";
    pair.send_raw(type_id::COMMAND_AMF0, publish);
    pair.exchange();
    assert!(matches!(
        &pair.events()[..],
        [
            SessionEvent::Connected(_),
            SessionEvent::PublishRequested(_)
        ]
    ));
}

/// Returns a data message of 104 bytes that unfolds to 500 values if references are free.
fn bomb() -> Vec<u8> {
    let mut bytes = vec![2, 0, 1, b'x', 0x0A, 0, 0, 0, 20];
    bytes.extend([5; 20]);
    bytes.extend([7, 0, 0].repeat(25));
    bytes
}

/// Returns an aggregate of these data messages.
fn aggregate(parts: usize, part: &[u8]) -> Vec<u8> {
    let len = part.len() as u32;
    let mut head = vec![type_id::DATA_AMF0];
    head.extend(&len.to_be_bytes()[1..]);
    head.extend([0; 7]);
    [&head[..], part, &[0; 4]].concat().repeat(parts)
}

#[test]
fn data_is_not_decoded_for_who_does_not_publish() {
    let mut pair = Pair::connected();
    for _ in 0..2000 {
        pair.send_raw(type_id::DATA_AMF0, &bomb());
        pair.send_raw(type_id::AGGREGATE, &aggregate(10, &bomb()));
    }
    pair.exchange();
    assert_eq!(pair.server.data_cost(), 0);
    let events = pair.events();
    assert!(
        events.iter().all(|event| *event == SessionEvent::Busy),
        "{events:?}"
    );
}

#[test]
fn parts_of_an_aggregate_are_handled_one_after_another_and_within_the_budget_of_the_connection() {
    let mut pair = Pair::publishing();
    let part = b"\x02\x00\x01x\x0a\x00\x00\x00\x02\x05\x05";
    let aggregate = aggregate(9000, part);
    pair.send(0, 0, &Message::SetChunkSize(0xFF_FFFF));
    pair.exchange();
    let mut bytes = vec![5, 0, 0, 0];
    bytes.extend(&(aggregate.len() as u32).to_be_bytes()[1..]);
    bytes.extend([type_id::AGGREGATE, 1, 0, 0, 0]);
    bytes.extend(&aggregate);
    let mut input = &bytes[..];
    let (mut decoded, mut ignored) = (0, 0);
    while let Some(event) = pair.server.poll_event(&mut input, pair.now).unwrap() {
        assert!(pair.server.events.is_empty(), "no event waits");
        match event {
            SessionEvent::Media {
                message: MediaMessage::Data { .. },
                ..
            } => decoded += 1,
            SessionEvent::Media {
                message: MediaMessage::DataIgnored { .. },
                ..
            } => ignored += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(decoded + ignored, 9000);
    assert!((1..4000).contains(&decoded), "{decoded}");
    // A second later some more are decoded.
    pair.now += Duration::from_secs(1);
    let before = pair.server.data_cost();
    pair.send(0, 1, &Message::Data(vec!["x".into()]));
    pair.exchange();
    assert!(matches!(
        &pair.events()[..],
        [SessionEvent::Media {
            message: MediaMessage::Data { .. },
            ..
        }]
    ));
    assert!(pair.server.data_cost() < before);
}

#[test]
fn a_flood_of_commands_ends_the_connection() {
    let mut pair = Pair::connected();
    let list = Value::StrictArray(vec![Value::Null; 200]);
    let mut result = Ok(Vec::new());
    let mut sent = 0;
    while result.is_ok() && sent < 1000 {
        pair.call("pause", 0.0, [Value::Null, list.clone()]);
        result = pair.try_exchange();
        sent += 1;
    }
    let error = result.unwrap_err();
    assert!(
        matches!(
            &error,
            SessionError::Message(MessageError::TooManyCommands(_))
        ),
        "{error}"
    );
    assert!((5..50).contains(&sent), "{sent}");
    // An encoder that asks for much in a moment is served.
    let mut pair = Pair::connected();
    for _ in 0..200 {
        pair.call("_checkbw", 3.0, [Value::Null]);
    }
    assert_eq!(pair.exchange().len(), 200);
}

#[test]
fn a_ping_is_answered_with_its_own_timestamp() {
    let mut pair = Pair::connected();
    let ping = UserControl::PingRequest(77);
    pair.send(0, 0, &Message::UserControl(ping));
    let pong = UserControl::PingResponse(77);
    assert_eq!(pair.exchange(), [Message::UserControl(pong)]);
}

#[test]
fn received_bytes_are_acknowledged_once_per_window_the_client_chose() {
    let mut pair = Pair::publishing();
    pair.send(0, 0, &Message::WindowAckSize(5000));
    pair.exchange();
    let mut acknowledged = Vec::new();
    for _ in 0..10 {
        pair.send(0, 1, &Message::Video(Bytes::from(vec![0x27; 1100])));
        for message in pair.exchange() {
            match message {
                Message::Acknowledgement(sequence) => acknowledged.push(sequence),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(acknowledged.len(), 2);
    assert!(acknowledged[1] - acknowledged[0] >= 5000);
    assert!(acknowledged[0] > 3073, "the handshake counts");

    pair.send(0, 0, &Message::WindowAckSize(0));
    pair.send(0, 1, &Message::Video(Bytes::from(vec![0x27; 60_000])));
    assert_eq!(pair.exchange(), [], "no window, no acknowledgement");
}

#[test]
fn an_aborted_message_never_arrives() {
    let mut pair = Pair::publishing();
    // Chunk stream 9: the first 128 of 200 bytes.
    let begun = [&[9, 0, 0, 0, 0, 0, 200, 9, 1, 0, 0, 0][..], &[1; 128]].concat();
    pair.feed(&begun).unwrap();
    pair.send(0, 0, &Message::Abort { chunk_stream: 9 });
    pair.exchange();
    let next = [9, 0, 0, 0, 0, 0, 2, 9, 1, 0, 0, 0, 0x17, 2];
    pair.feed(&next).unwrap();
    let events = pair.events();
    assert!(
        matches!(&events[..], [SessionEvent::Media { message: MediaMessage::Video { body, .. }, .. }] if body[..] == [0x17, 2]),
        "{events:?}"
    );
}

#[test]
fn an_aggregate_message_comes_as_its_parts() {
    let mut pair = Pair::publishing();
    let payload = [
        &[9, 0, 0, 2, 0, 0, 5, 0, 0, 0, 0, 0x17, 1, 0, 0, 0, 13][..],
        &[8, 0, 0, 1, 0, 0, 25, 0, 0, 0, 0, 0xAF, 0, 0, 0, 12],
    ]
    .concat();
    let header = [5, 0, 0, 100, 0, 0, payload.len() as u8, 22, 1, 0, 0, 0];
    let bytes = [&header[..], &payload].concat();
    pair.feed(&bytes).unwrap();
    let time = MediaTime::from_millis;
    assert_eq!(
        pair.events(),
        [
            media(MediaMessage::Video {
                timestamp: time(100),
                body: Bytes::from_static(&[0x17, 1])
            }),
            media(MediaMessage::Audio {
                timestamp: time(120),
                body: Bytes::from_static(&[0xAF])
            }),
        ]
    );
}

#[test]
fn client_that_supports_it_is_asked_to_reconnect() {
    let mut pair = Pair::publishing();
    assert!(!pair.server.request_reconnect(), "it does not know how to");
    assert_eq!(pair.exchange(), []);

    let mut pair = Pair::new(SessionConfig::default());
    let capable = object([("app", "live".into()), ("capsEx", 3.0.into())]);
    pair.call("connect", 1.0, [capable]);
    pair.exchange();
    assert!(pair.server.request_reconnect());
    let said = pair.exchange();
    assert_eq!(names(&said), ["onStatus"]);
    assert_eq!(codes(&said), ["NetConnection.Connect.ReconnectRequest"]);
}

#[test]
fn long_messages_are_for_publishers() {
    let long = Message::Video(Bytes::from(vec![0x17; 70_000]));
    let mut pair = Pair::connected();
    pair.send(0, 1, &long);
    assert_eq!(
        pair.try_exchange(),
        Err(SessionError::Chunk(ChunkError::MessageTooLong {
            length: 70_000,
            limit: 65_536
        }))
    );
    let mut pair = Pair::publishing();
    pair.send(0, 1, &long);
    pair.exchange();
    assert_eq!(pair.events().len(), 1);
}

/// Returns the beginnings of messages of 64 KiB on chunk streams 3 to 8.
fn unfinished_messages() -> Vec<u8> {
    let begin = |chunk_stream: u8| [chunk_stream, 0, 0, 0, 1, 0, 0, 9, 1, 0, 0, 0];
    let chunks = (3..9).map(|chunk_stream| [&begin(chunk_stream)[..], &[0; 128]].concat());
    chunks.collect::<Vec<_>>().concat()
}

#[test]
fn much_is_under_way_only_from_publishers() {
    let refused = Err(SessionError::Chunk(ChunkError::TooMuchUnderWay {
        bytes: 5 * 65_536,
        limit: 4 * 65_536,
    }));
    let mut pair = Pair::connected();
    assert_eq!(pair.feed(&unfinished_messages()), refused);
    let mut pair = Pair::playing();
    assert_eq!(pair.feed(&unfinished_messages()), refused);
    let mut pair = Pair::publishing();
    pair.feed(&unfinished_messages()).unwrap();
    // It publishes no longer.
    let mut pair = Pair::publishing();
    pair.call("closeStream", 0.0, [Value::Null]);
    pair.call("deleteStream", 0.0, [Value::Null, 1.0.into()]);
    pair.exchange();
    assert_eq!(pair.feed(&unfinished_messages()), refused);
}

#[test]
fn metadata_that_cannot_be_read_does_not_end_the_stream() {
    let mut pair = Pair::publishing();
    let bomb = [3, 0, 1, b'a'].repeat(1000);
    let header = [5, 0, 0, 0, 0, 0x0F, 0xA0, 18, 1, 0, 0, 0];
    let mut bytes = header.to_vec();
    for (n, chunk) in bomb.chunks(128).enumerate() {
        if n > 0 {
            bytes.push(0xC5);
        }
        bytes.extend(chunk);
    }
    pair.feed(&bytes).unwrap();
    let events = pair.events();
    assert!(
        matches!(
            &events[..],
            [SessionEvent::Media {
                message: MediaMessage::DataIgnored { .. },
                ..
            }]
        ),
        "{events:?}"
    );
}

#[test]
fn a_command_that_nests_too_deep_has_no_arguments() {
    let mut pair = Pair::connected();
    let mut nested = Value::Null;
    for _ in 0..40 {
        nested = object([("a", nested)]);
    }
    pair.call("createStream", 2.0, [nested]);
    assert_eq!(names(&pair.exchange()), ["_result"]);
}

#[test]
fn nothing_is_read_before_a_request_is_answered() {
    let mut pair = Pair::connected();
    pair.publish("test");
    pair.exchange();
    let mut input = &[0; 100][..];
    assert_eq!(pair.server.poll_event(&mut input, pair.now), Ok(None));
    assert_eq!(input.len(), 100);
}

#[test]
fn each_phase_has_its_deadline() {
    let config = SessionConfig::default();
    let start = Instant::now();
    let second = Duration::from_secs;
    let mut server = ServerSession::new(config.clone(), [1; 32], start);
    assert_eq!(server.deadline(), start + second(10));
    // A byte now and then does not put the end of the handshake off.
    let at = start + second(9);
    assert_eq!(server.poll_event(&mut &[3][..], at), Ok(None));
    assert_eq!(server.handle_timeout(start + second(9)), Ok(()));
    assert_eq!(
        server.handle_timeout(start + second(10)),
        Err(SessionError::HandshakeTimeout(second(10)))
    );

    let mut pair = Pair::connected();
    let start = pair.now;
    assert_eq!(pair.server.deadline(), start + second(10));
    for n in [9, 18, 27] {
        pair.now = start + second(n);
        pair.send(0, 0, &Message::UserControl(UserControl::PingRequest(0)));
        pair.exchange();
    }
    assert_eq!(
        pair.server.handle_timeout(start + second(30)),
        Err(SessionError::IdleTimeout(second(30)))
    );

    let mut pair = Pair::publishing();
    let start = pair.now;
    pair.now = start + second(3600);
    pair.send(0, 1, &Message::Audio(Bytes::from_static(&[0xAF])));
    pair.exchange();
    // It is pinged, and does not answer.
    assert_eq!(pair.server.deadline(), start + second(3605));
    assert_eq!(pair.server.handle_timeout(start + second(3605)), Ok(()));
    assert_eq!(pair.server.deadline(), start + second(3610));
    assert_eq!(
        pair.server.handle_timeout(start + second(3610)),
        Err(SessionError::ReadTimeout(second(10)))
    );
    // After the stream's end the idle timeout restarts.
    pair.call("FCUnpublish", 6.0, [Value::Null, "test".into()]);
    pair.exchange();
    assert_eq!(pair.server.deadline(), start + second(3610));
}

/// Carries bytes between our client and a server until both are silent.
fn converse(
    client: &mut ClientSession,
    server: &mut ServerSession,
) -> Result<Vec<SessionEvent>, ClientError> {
    let now = Instant::now();
    let mut events = Vec::new();
    loop {
        let to_server = client.poll_output();
        if let Some(bytes) = &to_server {
            let mut bytes = &bytes[..];
            while let Some(event) = server.poll_event(&mut bytes, now).unwrap() {
                events.push(event);
            }
        }
        let to_client = server.poll_output();
        if let Some(bytes) = &to_client {
            client.handle_bytes(bytes, now)?;
        }
        if to_server.is_none() && to_client.is_none() {
            return Ok(events);
        }
    }
}

#[test]
fn our_client_publishes_to_our_server() {
    let mut server = ServerSession::new(SessionConfig::default(), [1; 32], Instant::now());
    let url = StreamUrl::new("localhost", "live", "test?key=k").unwrap();
    let mut client = ClientSession::publish(url, [2; 32]);
    let events = converse(&mut client, &mut server).unwrap();
    assert!(!client.is_active());
    assert!(events.len() == 2, "connected and requested");
    server.accept_publish();
    converse(&mut client, &mut server).unwrap();
    assert!(client.is_active());

    client.send_metadata(object([("encoder", "test".into())]));
    client.send_video(0, Bytes::from(vec![0x17; 100_000]));
    client.send_audio(20, Bytes::from_static(&[0xAF, 1]));
    client.close();
    let events = converse(&mut client, &mut server).unwrap();
    assert!(
        matches!(
            &events[..],
            [
                SessionEvent::Media { message: MediaMessage::Data { .. }, .. },
                SessionEvent::Media { message: MediaMessage::Video { body, .. }, .. },
                SessionEvent::Media { message: MediaMessage::Audio { .. }, .. },
                SessionEvent::PublishEnded { reason: EndReason::FcUnpublish, .. },
            ] if body.len() == 100_000
        ),
        "{events:?}"
    );
}

#[test]
fn our_client_says_what_the_server_refuses() {
    let mut server = ServerSession::new(SessionConfig::default(), [1; 32], Instant::now());
    let url = StreamUrl::new("localhost", "live", "test").unwrap();
    let mut client = ClientSession::publish(url, [2; 32]);
    converse(&mut client, &mut server).unwrap();
    server.reject_publish("NetStream.Publish.BadName", "in use");
    let error = converse(&mut client, &mut server).unwrap_err();
    assert!(
        matches!(&error, ClientError::Refused { code, description }
            if code == "NetStream.Publish.BadName" && description == "in use"),
        "{error}"
    );
}
