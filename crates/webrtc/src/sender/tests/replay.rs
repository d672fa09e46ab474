//! Replays of the GOP for a viewer that asks for a keyframe.

use super::*;

#[test]
fn gop_is_replayed_on_a_keyframe_request_if_that_helps() {
    let mut viewer = Harness::new(Some((6, 109)), 0);
    assert!(!viewer.replay(), "there is none");
    viewer.frame(0, true);
    assert!(!viewer.replay(), "it will be sent anyway");
    viewer.frame(1, false);
    viewer.send(usize::MAX);
    assert!(!viewer.replay(), "it was sent just now");
    viewer.now += Duration::from_secs(1);
    assert!(viewer.replay());
    assert!(!viewer.replay(), "not twice");
    viewer.frame(2, false);
    viewer.received();
    assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
    assert_eq!(viewer.marks(), [(2, 0), (3, 1), (4, 2)]);
    assert_eq!(viewer.sender.stats().replays, 1);
    // Not again and again: after a second, and then after twice the time before, up to five.
    let mut replays = Vec::new();
    for tenth in 1..=200 {
        viewer.now += Duration::from_millis(100);
        if viewer.replay() {
            replays.push(tenth);
            viewer.send(usize::MAX);
            viewer.received();
        }
    }
    assert_eq!(replays, [10, 30, 70, 120, 170]);
}

#[test]
fn gop_is_not_replayed_shortly_before_the_next_keyframe() {
    let mut viewer = Harness::new(Some((6, 109)), 0);
    viewer.frame(0, true);
    viewer.now += Duration::from_secs(2);
    viewer.frame(1, true);
    viewer.send(usize::MAX);
    viewer.now += Duration::from_millis(1200);
    assert!(!viewer.replay());
}
