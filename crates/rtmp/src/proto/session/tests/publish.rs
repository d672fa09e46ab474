//! Publishing of one stream.

use super::*;
use crate::proto::name::TargetError;
use distributary_media::MediaTime;
use distributary_names::NameError;

#[test]
fn media_of_an_accepted_publisher_arrives_in_order() {
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
fn advice_is_a_warning_and_the_stream_goes_on() {
    let mut pair = Pair::publishing();
    pair.server.advise(1, "set bframes=0");
    pair.server.advise(2, "nothing is published here");
    let said = pair.exchange();
    assert_eq!(codes(&said), ["NetStream.Publish.Advice"]);
    assert!(format!("{said:?}").contains("set bframes=0"));
    pair.send(40, 1, &Message::Audio(Bytes::from_static(&[0xAF, 1])));
    pair.exchange();
    assert_eq!(pair.events().len(), 1);
}

#[test]
fn timestamps_continue_after_32_bits() {
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
fn refused_publisher_gets_the_reason_and_its_media_is_dropped() {
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
fn invalid_name_is_refused_without_a_request() {
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
fn second_publish_on_a_message_stream_is_refused_and_the_first_continues() {
    let mut pair = Pair::publishing();
    pair.publish("other");
    assert_eq!(codes(&pair.exchange()), ["NetStream.Publish.BadName"]);
    pair.send(0, 1, &Message::Video(Bytes::from_static(&[0x17])));
    pair.exchange();
    assert_eq!(pair.events().len(), 1);
}

#[test]
fn stream_ends_by_each_command_of_clients() {
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
fn number_of_another_stream_does_not_end_the_stream() {
    let mut pair = Pair::publishing();
    pair.call("deleteStream", 6.0, [Value::Null, 2.0.into()]);
    let close = Command::new("closeStream", 0.0, [Value::Null]);
    pair.send(0, 2, &Message::Command(close));
    pair.exchange();
    assert_eq!(pair.events(), []);
}

#[test]
fn connection_can_publish_again_after_its_stream_has_ended() {
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

#[test]
fn aggregate_message_arrives_as_its_parts() {
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
fn stream_continues_after_invalid_metadata() {
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
fn input_is_not_read_before_a_request_is_answered() {
    let mut pair = Pair::connected();
    pair.publish("test");
    pair.exchange();
    let mut input = &[0; 100][..];
    assert_eq!(pair.server.poll_event(&mut input, pair.now), Ok(None));
    assert_eq!(input.len(), 100);
}
