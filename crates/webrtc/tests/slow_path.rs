//! A viewer on a path that is slower than the stream.

mod simulation;

use std::collections::HashSet;
use std::time::Duration;

use distributary_webrtc::peer::PeerEvent;
use simulation::Simulation;

fn connected(seed: u64) -> Simulation {
    let mut simulation = Simulation::new(seed, 60);
    simulation.has_disposables = true;
    simulation.run_until(Duration::from_secs(10), |simulation| {
        simulation.client_connected
            && simulation
                .events
                .iter()
                .any(|event| matches!(event, PeerEvent::Connected { .. }))
    });
    simulation
}

/// Checks that every frame can be decoded: the client has the frames it refers to, from its
/// keyframe on.
fn assert_decodable(frames: &[(u64, bool, Duration)]) {
    let mut has = HashSet::new();
    for (number, whole, _) in frames {
        assert!(whole, "frame {number} differs from the published one");
        let needed = match number % 60 {
            0 => None,
            odd if odd % 2 == 1 => Some(number - 1),
            _ => Some(number - 2),
        };
        assert!(
            needed.is_none_or(|needed| has.contains(&needed)),
            "frame {number} without {needed:?}"
        );
        has.insert(*number);
    }
}

fn longest_delay(frames: &[(u64, bool, Duration)]) -> Duration {
    let delays = frames.iter().map(|(_, _, delay)| *delay);
    delays.max().unwrap_or_default()
}

#[test]
fn path_of_half_the_rate_drops_frames_rather_than_delay_them() {
    let mut simulation = connected(1);
    simulation.run(Duration::from_secs(5));
    assert!(!simulation.peer.stats().is_limited);
    // The stream has 1.9 Mbit/s, and audio besides.
    simulation.set_bottleneck(Some(1_000_000));
    simulation.run(Duration::from_secs(5));
    assert!(simulation.peer.stats().is_limited);
    let before = simulation.frames().len();
    let published = simulation.published();
    simulation.run(Duration::from_secs(30));
    let frames = simulation.frames();
    assert_decodable(&frames);
    let late = longest_delay(&frames);
    assert!(late < Duration::from_secs(2), "{late:?}");

    let (video, _) = simulation.peer.sender_stats();
    assert!(video.dropped_frames > 50, "{video:?}");
    let got = &frames[before..];
    let count = |odd: u64| got.iter().filter(|(number, ..)| number % 2 == odd).count();
    let (references, disposables) = (count(0), count(1));
    assert!(
        references > 2 * disposables,
        "{references} references and {disposables} others of {}",
        simulation.published() - published
    );
    assert!(references > 250, "{references}");
    let bandwidth = simulation.peer.stats().bandwidth.unwrap_or_default();
    assert!((600_000..1_600_000).contains(&bandwidth), "{bandwidth}");
}

#[test]
fn whole_stream_is_sent_again_when_the_path_recovers() {
    let mut simulation = connected(2);
    simulation.run(Duration::from_secs(3));
    simulation.set_bottleneck(Some(800_000));
    simulation.run(Duration::from_secs(10));
    assert!(simulation.peer.stats().is_limited);
    simulation.set_bottleneck(Some(10_000_000));
    simulation.run(Duration::from_secs(12));
    assert!(!simulation.peer.stats().is_limited);
    let before = simulation.frames().len();
    let published = simulation.published();
    simulation.run(Duration::from_secs(10));
    let frames = simulation.frames();
    assert_decodable(&frames);
    let late = longest_delay(&frames[before..]);
    assert!(late < Duration::from_millis(200), "{late:?}");
    let missing = (simulation.published() - published) as i64 - (frames.len() - before) as i64;
    assert!(missing.abs() < 5, "{missing}");
}

#[test]
fn newcomer_on_a_slow_path_gets_decodable_frames() {
    let mut simulation = Simulation::new(3, 60);
    simulation.has_disposables = true;
    simulation.set_bottleneck(Some(1_200_000));
    simulation.run(Duration::from_secs(20));
    let frames = simulation.frames();
    assert_decodable(&frames);
    assert!(frames.len() > 200, "{}", frames.len());
    let late = longest_delay(&frames[frames.len() / 2..]);
    assert!(late < Duration::from_secs(2), "{late:?}");
}

#[test]
fn fast_path_is_not_limited() {
    let mut simulation = connected(4);
    // 7.5 Mbit/s over 20.
    simulation.scale = 4;
    simulation.set_bottleneck(Some(20_000_000));
    for _ in 0..20 {
        simulation.run(Duration::from_secs(1));
        assert!(!simulation.peer.stats().is_limited);
    }
    let (video, _) = simulation.peer.sender_stats();
    assert_eq!((video.skips, video.dropped_frames), (0, 0));
    let bandwidth = simulation.peer.stats().bandwidth.unwrap_or_default();
    assert!(bandwidth > 7_000_000, "{bandwidth}");
}
