//! The `connect` command.

use super::*;
use crate::proto::swf::Swf;

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
        "the key is hidden"
    );
}

/// Any of the members that announce Enhanced RTMP is enough: some clients send the list, others
/// the maps or the flags.
#[test]
fn enhanced_client_gets_the_supported_codecs_and_capabilities() {
    const MULTITRACK: u32 = 0x02;
    let list = || Value::StrictArray(vec!["hvc1".into()]);
    for (member, value, is_enhanced) in [
        ("fourCcList", list(), true),
        ("videoFourCcInfoMap", object([("*", 7.0.into())]), true),
        ("audioFourCcInfoMap", object([("Opus", 7.0.into())]), true),
        ("capsEx", 14.0.into(), true),
        ("swfUrl", list(), false),
    ] {
        let mut pair = Pair::new(SessionConfig::default());
        let arguments = object([("app", "live".into()), (member, value)]);
        pair.call("connect", 1.0, [arguments]);
        let said = pair.exchange();
        let properties = commands(&said).next().unwrap().object();
        let capabilities = properties.get("capsEx").and_then(Value::as_number);
        assert_eq!(capabilities.is_some(), is_enhanced, "{member}");
        let Some(Value::StrictArray(codecs)) = properties.get("fourCcList") else {
            assert!(!is_enhanced, "{member}");
            continue;
        };
        assert_ne!(capabilities.unwrap() as u32 & MULTITRACK, 0);
        for (name, expected) in [
            ("videoFourCcInfoMap", &["avc1", "hvc1", "av01", "vp09"][..]),
            ("audioFourCcInfoMap", &["mp4a", "Opus"]),
        ] {
            let map = properties.get(name).unwrap();
            for &codec in expected {
                assert!(codecs.contains(&codec.into()), "{codec}");
                assert_eq!(map.get(codec), Some(&Value::Number(4.0)), "{codec}");
            }
        }
    }
}

#[test]
fn swf_proof_is_requested_before_the_response_to_connect_and_the_first_counts() {
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
        let position = |is: fn(&Message) -> bool| said.iter().position(is).unwrap();
        let requested = position(|said| *said == Message::UserControl(UserControl::SwfRequest));
        assert!(requested < position(|said| matches!(said, Message::Command(_))));
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
fn stream_needs_no_application() {
    // As ffmpeg, OBS and encoders that name nothing split `rtmp://host/cam`.
    for (connect, stream) in [
        (object([("app", "cam".into())]), ""),
        (object([("app", "".into())]), "cam"),
        (object([("app", "/".into())]), "/cam"),
        (object([]), "cam"),
    ] {
        let mut pair = Pair::new(SessionConfig::default());
        pair.call("connect", 1.0, [connect]);
        assert_eq!(codes(&pair.exchange()), ["NetConnection.Connect.Success"]);
        pair.events();
        pair.publish(stream);
        pair.exchange();
        match &pair.events()[..] {
            [SessionEvent::PublishRequested(request)] => {
                assert_eq!(request.target.name.as_str(), "cam");
            }
            events => panic!("{events:?}"),
        }
    }
}

#[test]
fn url_that_names_nothing_is_refused() {
    let mut pair = Pair::new(SessionConfig::default());
    pair.call("connect", 1.0, [object([("app", "/".into())])]);
    pair.exchange();
    pair.publish("");
    assert_eq!(codes(&pair.exchange()), ["NetStream.Publish.BadName"]);
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
fn client_that_supports_it_is_asked_to_reconnect() {
    let mut pair = Pair::publishing();
    assert!(!pair.server.request_reconnect(), "it does not support that");
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
