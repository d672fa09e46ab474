//! Viewers that are behind the head of the log, on a slow path or not.

use super::*;
use crate::sdp::ExtensionId;

#[test]
fn viewer_that_is_behind_skips_to_the_newest_keyframe_without_a_sequence_gap() {
    let mut viewer = Harness::new(Some((6, 109)), 0);
    viewer.frame(0, true);
    viewer.send(usize::MAX);
    for mark in 1..4 {
        viewer.frame(mark, false);
    }
    viewer.now += Duration::from_millis(1200);
    viewer.frame(4, true);
    viewer.frame(5, false);
    viewer.received();
    assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
    assert_eq!(viewer.marks(), [(1, 4), (2, 5)]);
    assert_eq!(viewer.sender.stats().skips, 1);
    assert!(viewer.retransmit(1) > 0);
    assert_eq!(viewer.received().remove(0).payload[3], 4);
    assert!(viewer.retransmit(0) > 0, "also from before the skip");
}

#[test]
fn frames_after_a_leap_ahead_are_to_be_shown_as_they_arrive() {
    for (hurries, is_asked) in [(true, true), (false, false)] {
        let extensions = StreamExtensions {
            playout_delay: ExtensionId::new(6),
            ..StreamExtensions::default()
        };
        let mut viewer = Harness::with_extensions(Some((6, 109)), 0, extensions);
        if hurries {
            viewer.sender.hurry_after_leaps();
        }
        viewer.frame(0, true);
        viewer.send(usize::MAX);
        // Three seconds of video within one and a half.
        for mark in 1..90 {
            viewer.frame(mark, false);
        }
        viewer.now += Duration::from_millis(1500);
        viewer.frame(90, true);
        viewer.received();
        viewer.send(usize::MAX);
        let packet = viewer.received().remove(0);
        let carried = packet.extension.get(4..8);
        assert_eq!(
            carried == Some(&[6 << 4 | 2, 0, 0, 0]),
            is_asked,
            "{packet:?}"
        );
    }
}

#[test]
fn frames_of_a_backlog_are_to_be_shown_as_they_arrive() {
    let extensions = StreamExtensions {
        playout_delay: ExtensionId::new(6),
        ..StreamExtensions::default()
    };
    let mut viewer = Harness::with_extensions(Some((6, 109)), 0, extensions);
    viewer.sender.hurry_after_leaps();
    let mut is_asked = |frames: std::ops::Range<u8>, interval: u64| {
        for mark in frames {
            viewer.now += Duration::from_millis(interval);
            viewer.frame(mark, mark == 0);
            viewer.send(usize::MAX);
        }
        let last = viewer.received().pop().unwrap();
        last.extension.get(4..8) == Some(&[6 << 4 | 2, 0, 0, 0])
    };
    assert!(!is_asked(0..30, 33));
    assert!(!is_asked(30..60, 66), "a slow uplink holds back a second");
    assert!(is_asked(60..90, 1), "it has recovered");
    assert!(is_asked(90..120, 33));
}

#[test]
fn newcomer_finishes_its_frame_before_it_skips_to_a_new_keyframe() {
    let mut viewer = Harness::new(None, 0);
    viewer.frame(0, true);
    viewer.unit([vec![0x41, 1], vec![0; 3 * 1100]].concat());
    viewer.frame(2, false);
    viewer.now += Duration::from_secs(9);
    assert_eq!(viewer.send(2500), Progress::Behind);
    assert_eq!(
        viewer.received().len(),
        3,
        "two of the frame's three packets"
    );
    viewer.frame(3, true);
    assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
    let rest = viewer.received();
    let timestamps: Vec<u32> = rest.iter().map(|packet| packet.timestamp).collect();
    assert_eq!(timestamps, [1000 + 33 * 90, 1000 + 3 * 33 * 90]);
}

#[test]
fn viewer_behind_without_a_newer_keyframe_catches_up() {
    let mut viewer = Harness::new(None, 0);
    viewer.frame(0, true);
    viewer.frame(1, false);
    viewer.now += Duration::from_millis(5000);
    viewer.frame(2, false);
    assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
    assert_eq!(viewer.marks(), [(0, 0), (1, 1), (2, 2)]);
}

#[test]
fn slow_path_drops_late_disposable_frames_first() {
    let mut viewer = Harness::new(Some((6, 109)), 0);
    viewer.slow_path = true;
    viewer.frame(0, true);
    viewer.disposable(1);
    assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
    assert_eq!(viewer.marks(), [(0, 0), (1, 1)], "in time, all is sent");
    viewer.frame(2, false);
    viewer.disposable(3);
    viewer.frame(4, false);
    viewer.now += Duration::from_millis(200);
    viewer.disposable(5);
    assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
    assert_eq!(viewer.marks(), [(2, 2), (3, 4), (4, 5)]);
    assert_eq!(viewer.sender.stats().dropped_frames, 1);
    assert!(viewer.retransmit(1) > 0 && viewer.retransmit(3) > 0);
    let again: Vec<u8> = viewer
        .received()
        .iter()
        .map(|packet| packet.payload[3])
        .collect();
    assert_eq!(again, [1, 4], "also from before a dropped frame");
}

#[test]
fn slow_path_skips_to_the_next_keyframe_when_much_too_late() {
    let mut viewer = Harness::new(Some((6, 109)), 0);
    viewer.frame(0, true);
    assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
    viewer.slow_path = true;
    viewer.frame(1, false);
    viewer.now += Duration::from_millis(1100);
    viewer.frame(2, false);
    assert_eq!(viewer.send(usize::MAX), Progress::Waiting);
    assert!(viewer.sender.is_late(&viewer.log, viewer.now));
    viewer.frame(3, true);
    viewer.frame(4, false);
    assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
    assert_eq!(viewer.marks(), [(0, 0), (1, 3), (2, 4)]);
    assert_eq!(viewer.sender.stats().skips, 1);
}

#[test]
fn newcomer_on_a_slow_path_may_stay_as_far_behind_as_it_started() {
    let mut viewer = Harness::new(Some((6, 109)), 0);
    viewer.slow_path = true;
    viewer.frame(0, true);
    viewer.frame(1, false);
    viewer.now += Duration::from_secs(5);
    assert_eq!(viewer.send(30), Progress::Behind);
    viewer.now += Duration::from_millis(900);
    assert_eq!(viewer.send(30), Progress::AtHead);
    assert_eq!(viewer.marks(), [(0, 0), (1, 1)]);
}

#[test]
fn started_frame_is_sent_completely() {
    let mut viewer = Harness::new(Some((6, 109)), 0);
    viewer.slow_path = true;
    viewer.frame(0, true);
    viewer.send(usize::MAX);
    let mut unit = vec![0x41; 3000];
    unit[1] = 1;
    viewer.unit(unit);
    assert_eq!(viewer.send(1200), Progress::Behind);
    viewer.frame(2, false);
    viewer.now += Duration::from_millis(1500);
    viewer.frame(3, true);
    assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
    let ends: Vec<(u16, usize)> = viewer
        .received()
        .iter()
        .map(|packet| (packet.sequence, packet.payload.len()))
        .collect();
    assert_eq!(ends.len(), 5, "{ends:?}");
    assert_eq!(ends[4], (4, 2));
}
