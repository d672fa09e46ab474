//! A viewer far away that loses packets: repairs take a round trip or more.

mod simulation;

use std::time::Duration;

use simulation::Simulation;
use str0m::rtp::Extension;
use str0m::{Rtc, RtcConfig};

/// The course of twenty seconds.
#[derive(Debug, Default)]
#[allow(dead_code, reason = "shown when the test fails")]
struct Playback {
    /// Freezes after the first second, all of them together, and the longest.
    freezes: usize,
    frozen: Duration,
    longest: Duration,
    /// Time from capture to rendering at the end.
    latency: Duration,
    asked: Option<Duration>,
    lost: u64,
    nacks: u64,
    retransmitted: u64,
    was_limited: bool,
}

/// Interval of frames.
const FRAME: Duration = Duration::from_micros(33_333);

/// Renders frames as Chromium does: at their time plus a delay that a late frame lengthens at once,
/// up to what was asked for, and that else follows slowly.
fn play(simulation: &Simulation, path_delay: Duration) -> Playback {
    let frames = simulation.frames();
    let video = simulation
        .received
        .iter()
        .filter(|data| data.params.spec().clock_rate.get() == 90_000);
    let mut playback = Playback::default();
    let mut target = Duration::from_millis(20);
    let mut delay = target;
    let mut rendered: Option<Duration> = None;
    let mut first = None;
    for ((number, _, age), data) in frames.iter().zip(video) {
        if let Some(asked) = data.ext_vals.play_delay_min {
            target = Duration::from_millis(20).max(asked.into());
        }
        let capture = Duration::from_micros(number * 100_000 / 3);
        let arrival = capture + *age;
        let due = capture + path_delay + delay;
        if arrival > due {
            delay = target.max(delay).min(delay + (arrival - due));
        } else if delay < target {
            delay += FRAME / 10;
        } else if delay > target {
            delay -= (FRAME / 10).min(delay - target);
        }
        let now = arrival.max(due);
        let begin = *first.get_or_insert(now);
        if let Some(before) = rendered.replace(now) {
            let gap = now.saturating_sub(before);
            if gap > FRAME + Duration::from_millis(150) && now - begin > Duration::from_secs(1) {
                playback.freezes += 1;
                playback.frozen += gap;
                playback.longest = playback.longest.max(gap);
            }
        }
        playback.latency = now - capture;
    }
    let stats = simulation.peer.stats();
    playback.asked = stats.playout_delay;
    playback.lost = simulation.network.lost;
    playback.nacks = stats.nacks;
    playback.was_limited = stats.is_limited || simulation.peer.sender_stats().0.skips > 0;
    playback.retransmitted = simulation.peer.sender_stats().0.retransmitted;
    playback
}

fn client() -> RtcConfig {
    Rtc::builder()
        .set_extension(5, Extension::PlayoutDelay)
        // As long as Chromium, which waits for repairs of up to a thousand packets.
        .set_reordering_size_video(1000)
}

/// Watches for twenty seconds from the start of a stream with a GOP of two seconds.
fn watch(seed: u64, round_trip: u64, loss_permille: u64, jitter: u64) -> Playback {
    let mut simulation = Simulation::with_client(seed, 60, &[], client());
    let delay = Duration::from_millis(round_trip / 2);
    simulation.network.delay = delay;
    simulation.connect(seed);
    simulation.network.loss_permille = loss_permille;
    simulation.network.jitter = Duration::from_millis(jitter);
    simulation.run(Duration::from_secs(22));
    play(&simulation, delay)
}

#[test]
fn nothing_is_asked_of_viewers_that_lose_nothing() {
    for round_trip in [20, 200] {
        let playback = watch(1, round_trip, 0, 0);
        assert_eq!(playback.asked, Some(Duration::ZERO));
        assert!(playback.latency <= Duration::from_millis(round_trip / 2 + 30));
    }
}

/// Without the extension the same paths freeze 3 to 40 times in twenty seconds.
#[test]
fn playout_delay_covers_the_repairs_that_the_path_needs() {
    for (round_trip, loss, freezes) in [
        (100, 20, 2),
        (100, 50, 2),
        (200, 50, 2),
        (100, 100, 4),
        (200, 100, 4),
    ] {
        for seed in 1..=4 {
            let playback = watch(seed, round_trip, loss, 0);
            assert!(
                playback.freezes <= freezes && playback.longest < Duration::from_millis(600),
                "{round_trip} ms, {loss} per mille, seed {seed}: {playback:?}"
            );
        }
    }
}

#[test]
fn packets_that_overtake_each_other_are_no_reason_to_send_less_or_to_wait_long() {
    for seed in 1..=4 {
        let playback = watch(seed, 50, 10, 50);
        assert!(
            playback.freezes <= 1
                && !playback.was_limited
                && playback.latency < Duration::from_millis(400),
            "seed {seed}: {playback:?}"
        );
    }
}

#[test]
fn viewer_never_freezes_for_a_second_at_ten_percent_loss_each_way() {
    for (gop, into) in [(2, 0), (2, 1000), (10, 4000), (10, 8000)] {
        for round_trip in [20, 100] {
            for seed in 1..=4 {
                let mut simulation = Simulation::with_client(seed, 30 * gop, &[], client());
                simulation.network.delay = Duration::from_millis(into);
                simulation.run(Duration::from_millis(into));
                simulation.network.delay = Duration::from_millis(round_trip / 2);
                simulation.connect(seed);
                simulation.network.loss_permille = 100;
                simulation.run(Duration::from_secs(12));
                let at = simulation.video_received_at();
                let longest = at.windows(2).map(|two| two[1] - two[0]).max();
                assert!(
                    longest.is_some_and(|gap| gap < Duration::from_millis(700)),
                    "GOP {gop} s, {into} ms into it, {round_trip} ms, seed {seed}: {longest:?}"
                );
            }
        }
    }
}
