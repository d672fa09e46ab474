//! Timeouts and pings.

use super::*;
use std::time::Duration;

#[test]
fn silent_player_is_pinged_before_it_times_out() {
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
fn publisher_without_frames_stays_while_it_answers_pings() {
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
