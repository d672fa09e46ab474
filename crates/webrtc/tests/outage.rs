//! A viewer whose network is cut for some seconds.

mod simulation;

use std::time::Duration;

use simulation::Simulation;
use str0m::rtp::Extension;
use str0m::{Rtc, RtcConfig};

const SECOND: Duration = Duration::from_secs(1);

fn client() -> RtcConfig {
    Rtc::builder()
        .set_extension(5, Extension::PlayoutDelay)
        // As long as Chromium, which waits for repairs of up to a thousand packets.
        .set_reordering_size_video(1000)
}

/// From 200 ms on it is the client that waits: for nearly five round trips, until it gives up what was sent
/// long before the end of the outage.
#[test]
fn viewer_is_at_the_live_edge_within_a_second_or_five_round_trips_after_an_outage() {
    for round_trip in [20, 50, 200, 350, 500] {
        let back = SECOND.max(Duration::from_millis(5 * round_trip));
        // The client asks for the last hundred packets.
        for into_gop in [700, 1200, 1700] {
            let case = format!("{round_trip} ms, {into_gop} ms into the GOP");
            let mut simulation = Simulation::with_client(1, 60, &[], client());
            simulation.network.delay = Duration::from_millis(round_trip / 2);
            simulation.connect(1);
            simulation.run(5 * SECOND);
            // Whenever it has connected.
            simulation.run_until(3 * SECOND, |simulation| {
                simulation.published() % 60 == into_gop * 3 / 100
            });
            simulation.network.loss_permille = 1000;
            simulation.run(3 * SECOND);
            simulation.network.loss_permille = 0;
            let end = simulation.now;
            for _ in 0..100 {
                simulation.run(SECOND / 10);
                let stats = simulation.peer.stats();
                assert!(!stats.is_limited, "{case}: {stats:?}");
                assert_eq!(stats.playout_delay, Some(Duration::ZERO), "{case}");
            }
            let frames = simulation.frames();
            let times = simulation.video_received_at();
            let late = frames.iter().zip(&times).filter(|((.., delay), at)| {
                **at > end + back && *delay > Duration::from_millis(round_trip / 2 + 50)
            });
            assert_eq!(late.count(), 0, "{case}");
            let after = times.iter().filter(|at| **at > end + back).count();
            let expected = 30 * (10 * SECOND - back).as_millis() as usize / 1000;
            assert!(
                after + 2 >= expected,
                "{case}: {after} frames of {expected}"
            );
        }
    }
}

/// The client asks for the last hundred packets, of which half are a keyframe.
#[test]
fn outage_whose_last_packets_are_a_keyframe_is_no_reason_for_a_playout_delay() {
    for round_trip in [50, 200, 350] {
        for frames in [31, 32, 34] {
            let mut simulation = Simulation::with_client(1, 60, &[], client());
            simulation.network.delay = Duration::from_millis(round_trip / 2);
            simulation.connect(1);
            simulation.run(5 * SECOND);
            simulation.run_until(3 * SECOND, |simulation| {
                simulation.published() % 60 == frames
            });
            simulation.network.loss_permille = 1000;
            simulation.run(3 * SECOND);
            simulation.network.loss_permille = 0;
            for _ in 0..20 {
                simulation.run(SECOND / 10);
                let asked = simulation.peer.stats().playout_delay;
                let case = format!("{round_trip} ms, {frames} frames");
                assert_eq!(asked, Some(Duration::ZERO), "{case}");
            }
        }
    }
}

#[test]
fn live_video_goes_on_where_a_quarter_of_all_packets_is_lost() {
    for seed in 1..6 {
        let mut simulation = Simulation::with_client(seed, 60, &[], client());
        simulation.network.delay = Duration::from_millis(25);
        simulation.connect(1);
        simulation.network.loss_permille = 250;
        simulation.run(20 * SECOND);
        let stats = simulation.peer.stats();
        assert!(!stats.is_limited, "{stats:?}");
        let frames = simulation.frames().len();
        assert!(frames > 550, "{frames} frames in 20 seconds");
    }
}

#[test]
fn repairs_after_an_outage_do_not_hold_up_live_video_on_a_slow_path() {
    let mut simulation = Simulation::with_client(1, 60, &[], client());
    simulation.network.delay = Duration::from_millis(25);
    simulation.network.longest_queue = Duration::from_millis(400);
    simulation.connect(1);
    simulation.run(2 * SECOND);
    simulation.set_bottleneck(Some(1_500_000));
    simulation.run(3 * SECOND);
    simulation.network.loss_permille = 1000;
    simulation.run(3 * SECOND);
    simulation.network.loss_permille = 0;
    let end = simulation.now;
    simulation.run(6 * SECOND);
    assert!(simulation.peer.stats().is_limited);
    let mut times = simulation.video_received_at();
    times.retain(|at| *at > end);
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    let longest = gaps.max();
    assert!(longest < Some(SECOND / 2), "{longest:?}");
}
