//! Several streams over one connection.

use super::*;

#[test]
fn connection_publishes_several_streams_with_media_of_their_own() {
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
fn media_of_a_refused_stream_is_dropped_while_another_continues() {
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
fn message_streams_in_use_are_limited() {
    let mut pair = Pair::connected();
    for id in 1..=64 {
        assert!(pair.publish_on(id, &format!("test{id}")), "{id}");
        pair.server.accept_publish();
    }
    assert!(!pair.publish_on(65, "more"));
}
