#![allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]

use super::*;
use crate::amf::{Value, object};
use crate::client::{ClientError, ClientSession, StreamUrl};
use crate::message::{Command, UserControl};
use crate::name::TargetError;
use distributary_hub::NameError;
use distributary_media::MediaTime;

/// A server session with a client that speaks in messages, both without a socket.
struct Pair {
    server: ServerSession,
    client: Link,
    now: Instant,
}

impl Pair {
    fn new(config: SessionConfig) -> Self {
        let now = Instant::now();
        let handshake = Handshake::client(StdRng::from_seed([2; 32]));
        let mut pair = Self {
            server: ServerSession::new(config, [1; 32], now),
            client: Link::new(handshake, ChunkLimits::default(), 0),
            now,
        };
        assert_eq!(pair.exchange(), []);
        pair
    }

    /// A client that has connected to the application `live`.
    fn connected() -> Self {
        let mut pair = Self::new(SessionConfig::default());
        pair.call("connect", 1.0, [object([("app", "live".into())])]);
        assert_eq!(names(&pair.exchange()), ["_result"]);
        assert!(matches!(
            pair.server.poll_event(),
            Some(SessionEvent::Connected(_))
        ));
        pair
    }

    /// A client that publishes `live/test` on stream 1.
    fn publishing() -> Self {
        let mut pair = Self::connected();
        pair.publish("test");
        pair.exchange();
        assert!(matches!(
            pair.server.poll_event(),
            Some(SessionEvent::PublishRequested(_))
        ));
        pair.server.accept_publish().unwrap();
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

    fn exchange(&mut self) -> Vec<Message> {
        self.try_exchange().unwrap()
    }

    /// Carries bytes both ways until both sides are silent. Returns what the server said.
    fn try_exchange(&mut self) -> Result<Vec<Message>, SessionError> {
        let mut said = Vec::new();
        let mut result = Ok(());
        loop {
            let to_server = self.client.poll_output();
            if let (Some(bytes), Ok(())) = (&to_server, &result) {
                result = self.server.handle_bytes(bytes, self.now);
            }
            let to_client = self.server.poll_output();
            if let Some(bytes) = &to_client {
                let mut bytes = &bytes[..];
                while let Some(raw) = self.client.poll_message(&mut bytes).unwrap() {
                    let message = Message::decode(&raw, AmfLimits::default()).unwrap();
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

fn events(server: &mut ServerSession) -> Vec<SessionEvent> {
    std::iter::from_fn(|| server.poll_event()).collect()
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
    let event = pair.server.poll_event().unwrap();
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
    let Some(SessionEvent::PublishRequested(request)) = pair.server.poll_event() else {
        panic!("a request is expected")
    };
    assert_eq!(request.target.name.as_str(), "live/test");
    assert_eq!(request.target.query.get("key").as_deref(), Some("secret"));
    assert_eq!(pair.server.poll_event(), None, "media waits for the answer");

    pair.server.accept_publish().unwrap();
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
        events(&mut pair.server),
        [
            SessionEvent::Media(MediaMessage::Video {
                timestamp: time(40),
                body: Bytes::from_static(&[0x17, 1])
            }),
            SessionEvent::Media(MediaMessage::Data {
                timestamp: time(50),
                name: "onMetaData".into(),
                values: vec![metadata]
            }),
            SessionEvent::Media(MediaMessage::Audio {
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
    let times: Vec<_> = events(&mut pair.server)
        .iter()
        .map(|event| match event {
            SessionEvent::Media(MediaMessage::Audio { timestamp, .. }) => timestamp.as_millis(),
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
    pair.server.poll_event().unwrap();
    pair.server
        .reject_publish("NetStream.Publish.BadName", "in use")
        .unwrap();
    let said = pair.exchange();
    let info = commands(&said).next().unwrap().argument(0);
    assert_eq!(info.get("level"), Some(&"error".into()));
    assert_eq!(info.get("description"), Some(&"in use".into()));
    assert_eq!(codes(&said), ["NetStream.Publish.BadName"]);
    assert_eq!(pair.server.poll_event(), None);
}

#[test]
fn a_name_that_is_not_allowed_is_refused_without_asking() {
    let mut pair = Pair::connected();
    pair.publish("../etc");
    assert_eq!(codes(&pair.exchange()), ["NetStream.Publish.BadName"]);
    assert_eq!(
        events(&mut pair.server),
        [SessionEvent::NameRefused(TargetError::Name(
            NameError::BadSegment
        ))]
    );
}

#[test]
fn a_second_publish_on_a_connection_is_refused_and_the_first_goes_on() {
    let mut pair = Pair::publishing();
    pair.publish("other");
    assert_eq!(codes(&pair.exchange()), ["NetStream.Publish.BadName"]);
    pair.send(0, 1, &Message::Video(Bytes::from_static(&[0x17])));
    pair.exchange();
    assert_eq!(events(&mut pair.server).len(), 1);
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
            events(&mut pair.server),
            [SessionEvent::PublishEnded(reason)]
        );
    }
    let mut pair = Pair::publishing();
    let close = Command::new("closeStream", 0.0, [Value::Null]);
    pair.send(0, 1, &Message::Command(close));
    pair.exchange();
    assert_eq!(
        events(&mut pair.server),
        [SessionEvent::PublishEnded(EndReason::CloseStream)]
    );
}

#[test]
fn another_streams_number_does_not_end_the_stream() {
    let mut pair = Pair::publishing();
    pair.call("deleteStream", 6.0, [Value::Null, 2.0.into()]);
    let close = Command::new("closeStream", 0.0, [Value::Null]);
    pair.send(0, 2, &Message::Command(close));
    pair.exchange();
    assert_eq!(events(&mut pair.server), []);
}

#[test]
fn a_connection_may_publish_again_after_its_stream_has_ended() {
    let mut pair = Pair::publishing();
    pair.call("FCUnpublish", 6.0, [Value::Null, "test".into()]);
    pair.call("deleteStream", 7.0, [Value::Null, 1.0.into()]);
    pair.publish("next");
    pair.exchange();
    let events = events(&mut pair.server);
    assert!(
        matches!(
            &events[..],
            [SessionEvent::PublishEnded(_), SessionEvent::PublishRequested(request)]
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

    /// A client that plays `live/test` on stream 1.
    fn playing() -> Self {
        let mut pair = Self::connected();
        pair.play("test?token=t");
        assert_eq!(pair.exchange(), []);
        let Some(SessionEvent::PlayRequested(request)) = pair.server.poll_event() else {
            panic!("a request is expected")
        };
        assert_eq!(request.target.name.as_str(), "live/test");
        pair.server.accept_play().unwrap();
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
    pair.server.send_video(40, video.clone());
    pair.server.send_audio(45, audio.clone());
    pair.server.end_play();
    pair.server.send_video(80, video.clone());
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
    pair.server.poll_event().unwrap();
    pair.server
        .reject_play("NetStream.Play.StreamNotFound", "not there")
        .unwrap();
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
    let events = events(&mut pair.server);
    assert!(
        matches!(
            &events[..],
            [SessionEvent::PlayEnded, SessionEvent::PlayRequested(_)]
        ),
        "{events:?}"
    );
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
    pair.server.handle_bytes(&begun, pair.now).unwrap();
    pair.send(0, 0, &Message::Abort { chunk_stream: 9 });
    pair.exchange();
    let next = [9, 0, 0, 0, 0, 0, 2, 9, 1, 0, 0, 0, 0x17, 2];
    pair.server.handle_bytes(&next, pair.now).unwrap();
    let events = events(&mut pair.server);
    assert!(
        matches!(&events[..], [SessionEvent::Media(MediaMessage::Video { body, .. })] if body[..] == [0x17, 2]),
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
    pair.server.handle_bytes(&bytes, pair.now).unwrap();
    let time = MediaTime::from_millis;
    assert_eq!(
        events(&mut pair.server),
        [
            SessionEvent::Media(MediaMessage::Video {
                timestamp: time(100),
                body: Bytes::from_static(&[0x17, 1])
            }),
            SessionEvent::Media(MediaMessage::Audio {
                timestamp: time(120),
                body: Bytes::from_static(&[0xAF])
            }),
        ]
    );
}

#[test]
fn a_client_that_can_is_asked_to_connect_anew() {
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
    assert_eq!(events(&mut pair.server).len(), 1);
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
    pair.server.handle_bytes(&bytes, pair.now).unwrap();
    let events = events(&mut pair.server);
    assert!(
        matches!(
            &events[..],
            [SessionEvent::Media(MediaMessage::DataIgnored { .. })]
        ),
        "{events:?}"
    );
}

#[test]
fn a_command_that_nests_too_deep_ends_the_session() {
    let mut pair = Pair::connected();
    let mut nested = Value::Null;
    for _ in 0..40 {
        nested = object([("a", nested)]);
    }
    pair.call("createStream", 2.0, [nested]);
    assert!(matches!(
        pair.try_exchange(),
        Err(SessionError::Message(MessageError::BadCommand(_)))
    ));
}

#[test]
fn a_client_that_does_not_wait_for_the_answer_is_bounded() {
    let mut pair = Pair::connected();
    pair.publish("test");
    pair.exchange();
    let piece = [0; 64 << 10];
    let results: Vec<_> = (0..5)
        .map(|_| pair.server.handle_bytes(&piece, pair.now))
        .collect();
    assert_eq!(results[3], Ok(()));
    assert_eq!(results[4], Err(SessionError::ImpatientClient));
}

#[test]
fn each_phase_has_its_deadline() {
    let config = SessionConfig::default();
    let start = Instant::now();
    let second = Duration::from_secs;
    let mut server = ServerSession::new(config.clone(), [1; 32], start);
    assert_eq!(server.deadline(), start + second(10));
    // A byte now and then does not put the end of the handshake off.
    server.handle_bytes(&[3], start + second(9)).unwrap();
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
    assert_eq!(pair.server.deadline(), start + second(3610));
    assert_eq!(
        pair.server.handle_timeout(start + second(3610)),
        Err(SessionError::ReadTimeout(second(10)))
    );
    // After the stream's end the time without one counts anew.
    pair.call("FCUnpublish", 6.0, [Value::Null, "test".into()]);
    pair.exchange();
    assert_eq!(pair.server.deadline(), start + second(3610));
}

/// Carries bytes between our client and a server until both are silent.
fn converse(client: &mut ClientSession, server: &mut ServerSession) -> Result<(), ClientError> {
    let now = Instant::now();
    loop {
        let to_server = client.poll_output();
        if let Some(bytes) = &to_server {
            server.handle_bytes(bytes, now).unwrap();
        }
        let to_client = server.poll_output();
        if let Some(bytes) = &to_client {
            client.handle_bytes(bytes)?;
        }
        if to_server.is_none() && to_client.is_none() {
            return Ok(());
        }
    }
}

#[test]
fn our_client_publishes_to_our_server() {
    let mut server = ServerSession::new(SessionConfig::default(), [1; 32], Instant::now());
    let url = StreamUrl::new("localhost", "live", "test?key=k").unwrap();
    let mut client = ClientSession::publish(url, [2; 32]);
    converse(&mut client, &mut server).unwrap();
    assert!(!client.is_active());
    assert!(events(&mut server).len() == 2, "connected and requested");
    server.accept_publish().unwrap();
    converse(&mut client, &mut server).unwrap();
    assert!(client.is_active());

    client.send_metadata(object([("encoder", "test".into())]));
    client.send_video(0, Bytes::from(vec![0x17; 100_000]));
    client.send_audio(20, Bytes::from_static(&[0xAF, 1]));
    client.close();
    converse(&mut client, &mut server).unwrap();
    let events = events(&mut server);
    assert!(
        matches!(
            &events[..],
            [
                SessionEvent::Media(MediaMessage::Data { .. }),
                SessionEvent::Media(MediaMessage::Video { body, .. }),
                SessionEvent::Media(MediaMessage::Audio { .. }),
                SessionEvent::PublishEnded(EndReason::FcUnpublish),
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
    server
        .reject_publish("NetStream.Publish.BadName", "in use")
        .unwrap();
    let error = converse(&mut client, &mut server).unwrap_err();
    assert!(
        matches!(&error, ClientError::Refused { code, description }
            if code == "NetStream.Publish.BadName" && description == "in use"),
        "{error}"
    );
}
