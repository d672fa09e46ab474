//! Retransmissions to a viewer that sends no transport-wide feedback.

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

/// The loss of a path.
#[derive(Clone, Copy, Debug)]
enum Loss {
    /// Whatever exceeds this part of the rate of the stream, in percent. So many milliseconds of it may pass
    /// at once.
    Policed(u64, u64),
    /// So many of a thousand packets, by chance.
    Random(u64),
    /// So many of a thousand packets, by chance. Others take up to so many milliseconds longer, so that
    /// they overtake each other.
    Reordered(u64, u64),
}

/// The course of twenty seconds.
#[derive(Debug)]
#[allow(dead_code, reason = "shown when the test fails")]
struct Course {
    was_limited: bool,
    /// Frames that came.
    frames: usize,
    /// Part of the packets that were lost, in percent.
    lost: u64,
    /// Packets that were sent again, in percent of those of the stream.
    repairs: u64,
}

/// Lets a viewer watch for five seconds over a good path, and for twenty with this loss.
fn watch(delay: Duration, loss: Loss) -> Course {
    let mut simulation = Simulation::without_feedback_of(1, 60, client());
    simulation.network.delay = delay;
    simulation.connect(1);
    let bytes = |simulation: &Simulation| simulation.bytes_to.values().sum::<u64>();
    simulation.run(SECOND);
    let begin = bytes(&simulation);
    simulation.run(4 * SECOND);
    let rate = (bytes(&simulation) - begin) as f64 * 8.0 / 4.0;
    let changed = simulation.now;
    match loss {
        Loss::Policed(part, burst) => {
            let rate = rate * part as f64 / 100.0;
            let burst = Duration::from_millis(burst);
            simulation.network.policer = Some(Policer::new(rate, burst, changed));
        }
        Loss::Random(permille) => simulation.network.loss_permille = permille,
        Loss::Reordered(permille, millis) => {
            simulation.network.loss_permille = permille;
            simulation.network.jitter = Duration::from_millis(millis);
        }
    }
    let (before, audio_before) = simulation.peer.sender_stats();
    let lost_before = simulation.network.lost;
    let mut was_limited = false;
    for _ in 0..20 {
        simulation.run(SECOND);
        was_limited |= simulation.peer.stats().is_limited;
    }
    let (video, audio) = simulation.peer.sender_stats();
    let times = simulation.video_received_at();
    let packets = video.packets - before.packets;
    let again = video.retransmitted - before.retransmitted;
    let all = packets + again + audio.packets - audio_before.packets;
    Course {
        was_limited,
        frames: times.iter().filter(|at| **at > changed).count(),
        lost: 100 * (simulation.network.lost - lost_before) / all,
        repairs: 100 * again / packets,
    }
}

/// Without the bound it is up to 201 %, so that 68 % of all packets are lost. The bound costs no frames.
#[test]
fn path_that_drops_what_exceeds_a_rate_gets_half_as_many_repairs_as_packets_at_most() {
    let mut failures = Vec::new();
    for (part, frames) in [(90, 350), (85, 340), (80, 310), (70, 270), (50, 100)] {
        for burst in [30, 200] {
            for delay in [20, 100] {
                let course = watch(Duration::from_millis(delay), Loss::Policed(part, burst));
                // A second of the stream may be sent again at once.
                if course.repairs > 60 || course.frames < frames {
                    failures.push(format!("{part} %, {burst} ms, {delay} ms: {course:?}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn all_that_a_path_loses_by_chance_is_repaired_up_to_a_quarter_of_the_packets() {
    for (delay, loss, frames) in [
        (20, 200, 570),
        (20, 250, 550),
        (100, 200, 490),
        (100, 250, 450),
    ] {
        let course = watch(Duration::from_millis(delay), Loss::Random(loss));
        assert!(
            !course.was_limited && course.frames >= frames && course.repairs >= loss / 10,
            "{loss} of a thousand, {delay} ms: {course:?}"
        );
    }
}

/// The results are the same without the bound.
#[test]
fn requests_for_packets_that_are_only_late_leave_enough_for_those_that_are_lost() {
    for (delay, frames) in [(20, 585), (100, 575)] {
        let course = watch(Duration::from_millis(delay), Loss::Reordered(30, 20));
        assert!(
            !course.was_limited && course.frames >= frames && course.repairs >= 15,
            "{delay} ms: {course:?}"
        );
    }
}
