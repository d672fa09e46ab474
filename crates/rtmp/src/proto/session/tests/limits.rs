//! Limits for messages and data.

use super::*;
use crate::proto::chunk::ChunkError;
use crate::proto::link::LinkError;
use crate::proto::message::type_id;
use std::time::Duration;

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

/// Returns the beginnings of messages of 64 KiB on chunk streams 3 to 8.
fn unfinished_messages() -> Vec<u8> {
    let begin = |chunk_stream: u8| [chunk_stream, 0, 0, 0, 1, 0, 0, 9, 1, 0, 0, 0];
    let chunks = (3..9).map(|chunk_stream| [&begin(chunk_stream)[..], &[0; 128]].concat());
    chunks.collect::<Vec<_>>().concat()
}

#[test]
fn data_of_a_client_that_does_not_publish_is_not_decoded() {
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
fn parts_of_an_aggregate_are_decoded_one_by_one_within_the_budget() {
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
fn flood_of_commands_ends_the_session() {
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
fn long_messages_are_refused_except_from_publishers() {
    let long = Message::Video(Bytes::from(vec![0x17; 70_000]));
    let mut pair = Pair::connected();
    pair.send(0, 1, &long);
    assert_eq!(
        pair.try_exchange(),
        Err(SessionError::Link(LinkError::Chunk(
            ChunkError::MessageTooLong {
                length: 70_000,
                limit: 65_536
            }
        )))
    );
    let mut pair = Pair::publishing();
    pair.send(0, 1, &long);
    pair.exchange();
    assert_eq!(pair.events().len(), 1);
}

#[test]
fn incomplete_messages_are_limited_except_for_publishers() {
    let refused = Err(SessionError::Link(LinkError::Chunk(
        ChunkError::TooMuchUnderWay {
            bytes: 5 * 65_536,
            limit: 4 * 65_536,
        },
    )));
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
