//! Clusters for a viewer that reports no arrivals, in a simulation.

mod simulation;

use std::time::Duration;

use distributary_webrtc::bandwidth::ProbeOutcome;
use simulation::Simulation;

/// Rate of the cluster, in bits per second.
const RATE: u64 = 6_000_000;

/// Returns what a cluster shows on a path of `link` bits per second.
fn probe(link: u64, seed: u64) -> ProbeOutcome {
    let mut simulation = Simulation::without_feedback(seed, 60);
    simulation.network.delay = Duration::from_millis(20);
    simulation.network.longest_queue = Duration::from_millis(400);
    simulation.set_bottleneck(Some(link));
    let limit = Duration::from_secs(20);
    simulation.run_until(limit, |simulation| simulation.peer.path().can_probe);
    simulation.run(Duration::from_secs(3));
    assert!(simulation.peer.path().is_blind);
    for _ in 0..20 {
        // Not always at the same time before a keyframe or a report.
        simulation.run(Duration::from_millis(130));
        let now = simulation.now;
        if !simulation.peer.begin_probe(now, RATE) {
            continue;
        }
        for _ in 0..400 {
            simulation.run(Duration::from_millis(10));
            let result = simulation.peer.take_probe(simulation.now);
            match result.map(|result| result.outcome) {
                None => {}
                // The client has quoted a later report.
                Some(ProbeOutcome::Unclear) => break,
                Some(outcome) => return outcome,
            }
        }
    }
    panic!("no cluster shows anything");
}

#[test]
fn clusters_show_nothing_over_tcp() {
    for is_tcp in [false, true] {
        for has_feedback in [false, true] {
            let mut simulation = if has_feedback {
                Simulation::new(1, 60)
            } else {
                Simulation::without_feedback(1, 60)
            };
            simulation.is_tcp = is_tcp;
            simulation.run(Duration::from_secs(10));
            let path = simulation.peer.path();
            assert!(path.is_clear, "there were reports");
            assert_eq!(path.can_probe, !is_tcp, "{has_feedback}");
            assert_eq!(simulation.peer.begin_probe(simulation.now, RATE), !is_tcp);
        }
    }
}

#[test]
fn round_trip_behind_a_cluster_shows_whether_the_path_carries_it() {
    for seed in 0..4 {
        assert_eq!(probe(20_000_000, seed), ProbeOutcome::Carried(RATE));
        let slow = probe(3_500_000, seed);
        let ProbeOutcome::Exceeded(arrived) = slow else {
            panic!("{slow:?}");
        };
        assert!((2_000_000..5_000_000).contains(&arrived), "{arrived}");
    }
}
