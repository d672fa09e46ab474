//! The session returns the same events however the network splits a publisher's bytes.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "test code with an origin for the simulated clock"
)]

use std::time::Instant;

use distributary_rtmp::{MediaMessage, ServerSession, SessionConfig, SessionEvent};
use proptest::prelude::*;

/// The bytes that ffmpeg sends to publish a second of video and audio (see `fixtures/record.py`).
const RECORDING: &[u8] = include_bytes!("fixtures/ffmpeg-publish.rtmp");

/// Feeds the recording in pieces to a server that accepts every name. Returns its events and its
/// output.
fn replay<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<SessionEvent>, Vec<u8>) {
    let now = Instant::now();
    let mut session = ServerSession::new(SessionConfig::default(), [7; 32], now);
    let (mut events, mut output) = (Vec::new(), Vec::new());
    for mut piece in pieces {
        while let Some(event) = session.poll_event(&mut piece, now).unwrap() {
            if matches!(event, SessionEvent::PublishRequested(_)) {
                session.accept_publish();
            }
            events.push(event);
        }
        while let Some(bytes) = session.poll_output() {
            output.extend_from_slice(&bytes);
        }
    }
    (events, output)
}

#[test]
fn recording_is_a_complete_publication() {
    let (events, _) = replay([RECORDING]);
    assert!(matches!(events[0], SessionEvent::Connected(_)));
    let SessionEvent::PublishRequested(request) = &events[1] else {
        panic!("{:?}", events[1])
    };
    assert_eq!(request.target.name.as_str(), "live/test");
    let count = |kind: fn(&SessionEvent) -> bool| events.iter().filter(|event| kind(event)).count();
    // Ten frames between the sequence header and the end of the sequence.
    assert_eq!(
        count(|event| matches!(
            event,
            SessionEvent::Media {
                message: MediaMessage::Video { .. },
                ..
            }
        )),
        12
    );
    assert!(
        count(|event| matches!(
            event,
            SessionEvent::Media {
                message: MediaMessage::Audio { .. },
                ..
            }
        )) > 40
    );
    assert!(matches!(
        events.last(),
        Some(SessionEvent::PublishEnded { .. })
    ));
}

#[test]
fn split_at_any_byte_changes_nothing() {
    let whole = replay([RECORDING]);
    for at in 1..RECORDING.len() {
        let (before, after) = RECORDING.split_at(at);
        assert!(replay([before, after]) == whole, "cut at byte {at}");
    }
}

#[test]
fn single_bytes_are_enough() {
    assert!(replay(RECORDING.chunks(1)) == replay([RECORDING]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn many_splits_change_nothing(mut cuts in prop::collection::vec(0..RECORDING.len(), 0..200)) {
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            pieces.push(&RECORDING[from..cut]);
            from = cut;
        }
        pieces.push(&RECORDING[from..]);
        prop_assert!(replay(pieces) == replay([RECORDING]));
    }

    #[test]
    fn damage_never_panics(
        changes in prop::collection::vec((3073..RECORDING.len(), any::<u8>()), 1..30),
    ) {
        let mut bytes = RECORDING.to_vec();
        for (at, value) in changes {
            bytes[at] = value;
        }
        let now = Instant::now();
        let mut session = ServerSession::new(SessionConfig::default(), [7; 32], now);
        for mut piece in bytes.chunks(1000) {
            while let Ok(Some(event)) = session.poll_event(&mut piece, now) {
                if matches!(event, SessionEvent::PublishRequested(_)) {
                    session.accept_publish();
                }
            }
        }
    }
}
