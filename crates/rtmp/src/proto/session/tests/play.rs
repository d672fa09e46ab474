//! Playing.

use super::*;

#[test]
fn player_receives_the_media_and_the_end_of_its_stream() {
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
fn refused_player_gets_the_reason() {
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
fn player_can_end_and_play_another_stream() {
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
fn play2_replaces_the_played_stream() {
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
