//! Commands and their responses.

use super::*;
use crate::proto::message::type_id;

#[test]
fn each_command_of_an_encoder_gets_its_response() {
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
fn command_with_transaction_id_0_gets_no_response() {
    let mut pair = Pair::connected();
    for name in ["releaseStream", "createStream", "setFancyMode"] {
        pair.call(name, 0.0, [Value::Null, "test".into()]);
        assert_eq!(pair.exchange(), [], "{name}");
    }
}

#[test]
fn created_streams_are_numbered_and_limited() {
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
fn stray_bytes_after_connect_and_publish_are_ignored() {
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

#[test]
fn command_that_nests_too_deep_has_no_arguments() {
    let mut pair = Pair::connected();
    let mut nested = Value::Null;
    for _ in 0..40 {
        nested = object([("a", nested)]);
    }
    pair.call("createStream", 2.0, [nested]);
    assert_eq!(names(&pair.exchange()), ["_result"]);
}

#[test]
fn stream_continues_after_invalid_messages() {
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
