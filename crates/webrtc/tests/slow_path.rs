//! A viewer that joins over a path that is not much faster than the stream.

mod simulation;

use std::time::Duration;

use simulation::Simulation;

/// Queue in front of the bottleneck, as of a home router.
const QUEUE: Duration = Duration::from_millis(400);

/// The course of a join.
#[derive(Debug)]
#[allow(dead_code, reason = "shown when the test fails")]
struct Join {
    /// Time until the first frame, and from it until a frame is less than 150 ms old.
    first: Duration,
    live: Option<Duration>,
    /// The longest time between two frames after the first.
    longest_gap: Duration,
    /// Datagrams lost, all that were sent, and those among them that were sent again.
    lost: u64,
    sent: u64,
    retransmitted: u64,
}

/// Lets a viewer join `into` the GOP of the stream, over a path of `rate` bits per second and 40
/// ms.
fn join(mut simulation: Simulation, rate: u64, into: Duration) -> Join {
    simulation.network.delay = into;
    simulation.run(into.saturating_sub(Duration::from_millis(10)));
    simulation.network.delay = Duration::from_millis(20);
    simulation.network.longest_queue = QUEUE;
    simulation.set_bottleneck(Some(rate));
    let begin = simulation.now;
    simulation.run(Duration::from_secs(12));
    let frames = simulation.frames();
    let times = simulation.video_received_at();
    let times: Vec<_> = times.iter().map(|at| *at - begin).collect();
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    let live = frames
        .iter()
        .zip(&times)
        .find(|((_, _, delay), _)| *delay < Duration::from_millis(150));
    let (video, audio) = simulation.peer.sender_stats();
    Join {
        first: times[0],
        live: live.map(|(_, at)| *at - times[0]),
        longest_gap: gaps.max().unwrap_or_default(),
        lost: simulation.network.lost,
        sent: video.packets + video.retransmitted + audio.packets,
        retransmitted: video.retransmitted,
    }
}

#[test]
fn start_finds_out_the_bandwidth_of_the_path_without_flooding_it() {
    let mut failures = Vec::new();
    for (rate, scale) in [
        (3_000_000, 1),
        (5_000_000, 1),
        (8_000_000, 1),
        (8_000_000, 3),
        (20_000_000, 1),
        (20_000_000, 3),
        (100_000_000, 3),
    ] {
        for (gop, into) in [
            (2, 200),
            (2, 1000),
            (2, 1800),
            (8, 800),
            (8, 4000),
            (8, 7200),
        ] {
            for has_feedback in [true, false] {
                let mut simulation = if has_feedback {
                    Simulation::new(into, 30 * gop)
                } else {
                    Simulation::without_feedback(into, 30 * gop)
                };
                simulation.scale = scale;
                let join = join(simulation, rate, Duration::from_millis(into));
                let next_keyframe = Duration::from_millis(1000 * gop - into);
                // Without feedback a queue shows only in the round trip of reports, once a second.
                let (gap, catch_up) = if has_feedback {
                    (300, 500)
                } else {
                    (450, 1500)
                };
                let in_time =
                    Duration::from_secs(3).max(next_keyframe + Duration::from_millis(catch_up));
                let is_good = join.lost * 100 <= join.sent
                    && join.longest_gap <= Duration::from_millis(gap)
                    && join.live.is_some_and(|live| live <= in_time);
                if !is_good {
                    failures.push(format!(
                        "{rate} bit/s x{scale}, GOP {gop} s, {into} ms into it, feedback \
                         {has_feedback}: {join:?}"
                    ));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
