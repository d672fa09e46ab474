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

#[test]
fn viewer_is_at_the_live_edge_within_a_second_after_an_outage() {
    for round_trip in [20, 50, 200] {
        // The client asks for the last hundred packets. They are no outage if half of them are a keyframe.
        for into_gop in [700, 1200, 1700] {
            let case = format!("{round_trip} ms, {into_gop} ms into the GOP");
            let mut simulation = Simulation::with_client(1, 60, &[], client());
            simulation.network.delay = Duration::from_millis(round_trip / 2);
            simulation.connect(1);
            simulation.run(5 * SECOND + Duration::from_millis(into_gop));
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
                **at > end + SECOND && *delay > Duration::from_millis(round_trip / 2 + 50)
            });
            assert_eq!(late.count(), 0, "{case}");
            let after = times.iter().filter(|at| **at > end + SECOND).count();
            assert!(after >= 268, "{case}: {after} frames in nine seconds");
        }
    }
}
