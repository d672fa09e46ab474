//! A viewer on a network that loses and reorders datagrams.

mod simulation;

use std::time::Duration;

use distributary_webrtc::peer::PeerEvent;
use simulation::Simulation;

/// Returns the frames that the client assembled, by number, in order of arrival.
fn frames(simulation: &Simulation) -> Vec<(u64, bool)> {
    let frames = simulation.frames();
    let numbered = frames.iter().map(|(number, whole, _)| (*number, *whole));
    numbered.collect()
}

fn connect(simulation: &mut Simulation) {
    // The client doubles its retransmission timeout from a second on.
    simulation.run_until(Duration::from_secs(20), |simulation| {
        simulation.client_connected
            && simulation
                .events
                .iter()
                .any(|event| matches!(event, PeerEvent::Connected { .. }))
    });
}

#[test]
fn every_frame_arrives_over_a_clean_network() {
    let mut simulation = Simulation::new(1, 60);
    connect(&mut simulation);
    simulation.run(Duration::from_secs(5));
    let frames = frames(&simulation);
    assert!(
        frames.iter().all(|(_, whole)| *whole),
        "each frame equals the published one"
    );
    let numbers: Vec<u64> = frames.iter().map(|(number, _)| *number).collect();
    let expected: Vec<u64> = (0..simulation.published()).collect();
    assert_eq!(numbers[..numbers.len()], expected[..numbers.len()]);
    assert!(
        numbers.len() as u64 >= simulation.published() - 3,
        "the last ones are under way"
    );
}

#[test]
fn five_percent_loss_and_reordering_are_repaired_by_retransmission() {
    for seed in 1..=5 {
        let mut simulation = Simulation::new(seed, 60);
        connect(&mut simulation);
        simulation.network.loss_permille = 50;
        simulation.network.jitter = Duration::from_millis(20);
        simulation.run(Duration::from_secs(20));
        simulation.network.loss_permille = 0;
        simulation.run(Duration::from_secs(1));

        assert!(
            simulation.network.lost > 100,
            "seed {seed}: the network did lose datagrams"
        );
        let frames = frames(&simulation);
        assert!(frames.iter().all(|(_, whole)| *whole), "seed {seed}");
        let missing = simulation.published() as i64 - frames.len() as i64;
        // A retransmission may be lost as well: then the frame is missing, which is very rare.
        assert!(
            missing <= 6,
            "seed {seed}: {missing} of {} missing",
            simulation.published()
        );
        let (video, _) = simulation.peer.sender_stats();
        assert!(video.retransmitted > 100, "seed {seed}: {video:?}");
        assert_eq!(video.skips, 0, "seed {seed}");
    }
}

#[test]
fn ten_percent_loss_is_repaired_and_does_not_limit_the_stream() {
    for seed in 1..=3 {
        let mut simulation = Simulation::new(seed, 60);
        connect(&mut simulation);
        simulation.network.loss_permille = 100;
        for _ in 0..20 {
            simulation.run(Duration::from_secs(1));
            assert!(!simulation.peer.stats().is_limited, "seed {seed}");
        }
        simulation.network.loss_permille = 0;
        simulation.run(Duration::from_secs(1));
        let frames = frames(&simulation);
        assert!(frames.iter().all(|(_, whole)| *whole), "seed {seed}");
        // One packet in a hundred is lost twice in a row.
        let missing = simulation.published() as i64 - frames.len() as i64;
        let published = simulation.published();
        assert!(
            missing <= 30,
            "seed {seed}: {missing} of {published} missing"
        );
        let stats = simulation.peer.stats();
        assert!(stats.nacks > 300, "seed {seed}: {stats:?}");
        assert!(
            stats
                .round_trip
                .is_some_and(|time| time < Duration::from_millis(60))
        );
        let (video, _) = simulation.peer.sender_stats();
        assert_eq!((video.skips, video.dropped_frames), (0, 0), "seed {seed}");
    }
}

#[test]
fn keyframe_request_replays_the_gop_once() {
    let mut simulation = Simulation::new(4, 1000);
    connect(&mut simulation);
    simulation.run(Duration::from_secs(3));
    let keyframes = |simulation: &Simulation| {
        let frames = frames(simulation);
        frames.iter().filter(|(number, _)| *number == 0).count()
    };
    assert_eq!(keyframes(&simulation), 1);
    for _ in 0..7 {
        simulation.request_keyframe();
        simulation.run(Duration::from_millis(200));
    }
    assert!(simulation.peer.stats().keyframe_requests >= 4);
    assert_eq!(simulation.peer.sender_stats().0.replays, 1);
    assert_eq!(keyframes(&simulation), 2, "the client has got it again");
    let last = frames(&simulation).last().unwrap().0;
    assert!(last + 5 > simulation.published(), "and is at the live edge");
}

#[test]
fn pause_of_the_publisher_does_not_replay_old_frames() {
    for pause in [3, 4, 8] {
        let mut simulation = Simulation::new(4, 1000);
        connect(&mut simulation);
        simulation.run(Duration::from_secs(3));
        simulation.is_paused = true;
        for _ in 0..pause {
            // As Chromium does when it has shown no frame for some time.
            simulation.run(Duration::from_secs(1));
            simulation.request_keyframe();
        }
        simulation.run(Duration::from_millis(100));
        simulation.is_paused = false;
        simulation.run(Duration::from_secs(2));
        assert!(simulation.peer.stats().keyframe_requests >= 3);
        assert_eq!(simulation.peer.sender_stats().0.replays, 0);
        let frames = frames(&simulation);
        assert!(frames.is_sorted_by(|(one, _), (next, _)| one < next));
        let last = frames.last().unwrap().0;
        assert!(last + 5 > simulation.published(), "it is at the live edge");
    }
}

#[test]
fn viewer_that_lost_frames_before_a_pause_gets_a_replay() {
    let mut simulation = Simulation::new(4, 1000);
    connect(&mut simulation);
    simulation.run(Duration::from_secs(3));
    simulation.network.loss_permille = 1000;
    simulation.run(Duration::from_millis(300));
    simulation.is_paused = true;
    simulation.network.loss_permille = 0;
    simulation.run(Duration::from_millis(3500));
    simulation.request_keyframe();
    simulation.run(Duration::from_secs(1));
    assert_eq!(simulation.peer.sender_stats().0.replays, 1);
}

#[test]
fn newcomer_in_the_middle_of_a_gop_gets_it_from_its_keyframe_on() {
    let mut simulation = Simulation::new(3, 240);
    // Three seconds of an eight-second GOP are published before the viewer comes.
    simulation.network.delay = Duration::from_secs(3);
    simulation.run(Duration::from_millis(2990));
    simulation.network.delay = Duration::from_millis(10);
    connect(&mut simulation);
    simulation.run(Duration::from_secs(2));
    let frames = frames(&simulation);
    let numbers: Vec<u64> = frames.iter().map(|(number, _)| *number).collect();
    let expected: Vec<u64> = (0..numbers.len() as u64).collect();
    assert_eq!(numbers, expected, "all frames since the keyframe, in order");
    assert!(
        numbers.len() as u64 >= simulation.published() - 3,
        "and up to the live edge"
    );
    let audio = simulation.received.len() - frames.len();
    assert!(audio < 150, "no audio from before the viewer came: {audio}");
}

#[test]
fn handshake_completes_over_a_lossy_network() {
    for (loss_permille, seeds) in [(50, 10..15), (100, 1..21)] {
        for seed in seeds {
            let mut simulation = Simulation::new(seed, 30);
            simulation.network.loss_permille = loss_permille;
            connect(&mut simulation);
        }
    }
}
