//! A viewer whose path carries less than the stream.

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

/// Every picture can be decoded: the client has what it refers to, from its keyframe on.
fn assert_decodable(pictures: &[(u64, bool, Duration)]) {
    let mut has = HashSet::new();
    for (number, whole, _) in pictures {
        assert!(whole, "picture {number} is not what was published");
        let needed = match number % 60 {
            0 => None,
            odd if odd % 2 == 1 => Some(number - 1),
            _ => Some(number - 2),
        };
        assert!(
            needed.is_none_or(|needed| has.contains(&needed)),
            "picture {number} without {needed:?}"
        );
        has.insert(*number);
    }
}

fn longest_delay(pictures: &[(u64, bool, Duration)]) -> Duration {
    let delays = pictures.iter().map(|(_, _, delay)| *delay);
    delays.max().unwrap_or_default()
}

#[test]
fn on_a_path_of_half_the_rate_pictures_are_left_out_and_not_late() {
    let mut simulation = connected(1);
    simulation.run(Duration::from_secs(5));
    assert!(!simulation.peer.stats().is_limited);
    // The stream has 1.9 Mbit/s, and sound besides.
    simulation.set_bottleneck(Some(1_000_000));
    simulation.run(Duration::from_secs(5));
    assert!(simulation.peer.stats().is_limited);
    let before = simulation.pictures().len();
    let published = simulation.published();
    simulation.run(Duration::from_secs(30));
    let pictures = simulation.pictures();
    assert_decodable(&pictures);
    let late = longest_delay(&pictures);
    assert!(late < Duration::from_secs(2), "{late:?}");

    let (video, _) = simulation.peer.sender_stats();
    assert!(video.dropped_frames > 50, "{video:?}");
    let got = &pictures[before..];
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
fn a_path_that_gets_better_carries_the_whole_stream_again() {
    let mut simulation = connected(2);
    simulation.run(Duration::from_secs(3));
    simulation.set_bottleneck(Some(800_000));
    simulation.run(Duration::from_secs(10));
    assert!(simulation.peer.stats().is_limited);
    simulation.set_bottleneck(Some(10_000_000));
    simulation.run(Duration::from_secs(12));
    assert!(!simulation.peer.stats().is_limited);
    let before = simulation.pictures().len();
    let published = simulation.published();
    simulation.run(Duration::from_secs(10));
    let pictures = simulation.pictures();
    assert_decodable(&pictures);
    let late = longest_delay(&pictures[before..]);
    assert!(late < Duration::from_millis(200), "{late:?}");
    let missing = (simulation.published() - published) as i64 - (pictures.len() - before) as i64;
    assert!(missing.abs() < 5, "{missing}");
}

#[test]
fn a_newcomer_on_a_slow_path_gets_pictures_that_it_can_decode() {
    let mut simulation = Simulation::new(3, 60);
    simulation.has_disposables = true;
    simulation.set_bottleneck(Some(1_200_000));
    simulation.run(Duration::from_secs(20));
    let pictures = simulation.pictures();
    assert_decodable(&pictures);
    assert!(pictures.len() > 200, "{}", pictures.len());
    let late = longest_delay(&pictures[pictures.len() / 2..]);
    assert!(late < Duration::from_secs(2), "{late:?}");
}

#[test]
fn a_path_that_carries_the_stream_with_ease_is_left_alone() {
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
