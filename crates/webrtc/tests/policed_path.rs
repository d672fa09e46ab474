//! A viewer on a path that drops what exceeds a rate, without a queue.

mod simulation;

use std::time::Duration;

use simulation::Simulation;
use simulation::network::Policer;
use str0m::rtp::Extension;
use str0m::{Rtc, RtcConfig};

const SECOND: Duration = Duration::from_secs(1);

fn client() -> RtcConfig {
    Rtc::builder()
        .set_extension(5, Extension::PlayoutDelay)
        // As long as Chromium, which waits for repairs of up to a thousand packets.
        .set_reordering_size_video(1000)
}

/// The course of twenty seconds.
#[derive(Debug)]
#[allow(dead_code, reason = "shown when the test fails")]
struct Course {
    /// Time until the gateway sends less.
    limited_after: Option<Duration>,
    /// Frames that came, and the longest time without one.
    frames: usize,
    longest: Duration,
    /// Part of the datagrams of the last ten seconds that were lost, in percent.
    lost: u64,
}

/// Lets a viewer watch for five seconds over a good path, and for twenty over one that carries this part
/// of the rate of the stream, in percent, and lets `burst` of it pass at once.
fn watch(part: u64, burst: Duration) -> Course {
    let mut simulation = Simulation::with_client(1, 60, &[], client());
    simulation.network.delay = Duration::from_millis(20);
    simulation.connect(1);
    let bytes = |simulation: &Simulation| simulation.bytes_to.values().sum::<u64>();
    simulation.run(SECOND);
    let begin = bytes(&simulation);
    simulation.run(4 * SECOND);
    let rate = (bytes(&simulation) - begin) as f64 * 8.0 / 4.0 * part as f64 / 100.0;
    let changed = simulation.now;
    simulation.network.policer = Some(Policer::new(rate, burst, changed));
    let mut limited_after = None;
    let (mut lost, mut packets) = (0, 0);
    for step in 0..200 {
        if step == 100 {
            (lost, packets) = (simulation.network.lost, sent(&simulation));
        }
        simulation.run(SECOND / 10);
        if simulation.peer.stats().is_limited {
            limited_after.get_or_insert(simulation.now - changed);
        }
    }
    let times = simulation.video_received_at();
    let times: Vec<_> = times.iter().filter(|at| **at > changed).collect();
    let gaps = times.windows(2).map(|pair| *pair[1] - *pair[0]);
    Course {
        limited_after,
        frames: times.len(),
        longest: gaps.max().unwrap_or(20 * SECOND),
        lost: 100 * (simulation.network.lost - lost) / (sent(&simulation) - packets).max(1),
    }
}

/// Returns the packets that were sent, again or not.
fn sent(simulation: &Simulation) -> u64 {
    let (video, audio) = simulation.peer.sender_stats();
    video.packets + video.retransmitted + audio.packets
}

#[test]
fn viewer_is_soon_sent_what_a_path_carries_that_drops_the_rest() {
    let mut failures = Vec::new();
    for part in [90, 85, 80, 75, 70, 65] {
        for burst in [30, 200] {
            let course = watch(part, Duration::from_millis(burst));
            let is_soon = course
                .limited_after
                .is_some_and(|after| after <= 5 * SECOND);
            // Frames are dropped up to the next keyframe, which comes every two seconds.
            if !is_soon || course.lost > 15 || course.longest > 2 * SECOND || course.frames < 200 {
                failures.push(format!("{part} %, {burst} ms at once: {course:?}"));
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
