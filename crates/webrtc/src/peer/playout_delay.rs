//! Chooses the playout delay that repairs of lost packets need on a viewer's path.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::rtp::extension::PlayoutDelay;

/// Bounds of the playout delay that viewers are asked to keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DelayPolicy {
    /// The viewer decides.
    Viewer,
    /// A lower bound as long as repairs of lost packets need, and none on a path without loss.
    #[default]
    Auto,
    /// The same bounds for all viewers.
    Fixed(PlayoutDelay),
}

/// Length and number of the windows in which losses are counted.
const WINDOW: Duration = Duration::from_secs(2);
const WINDOWS: usize = 5;

/// The rate of losses is computed over at least this time and this many packets.
const LEAST_SPAN: Duration = Duration::from_secs(1);
const LEAST_PACKETS: u64 = 200;

/// Packets per second that may be repaired too late.
const LATE_REPAIRS: f64 = 0.2;

/// Most attempts to repair a packet that the delay covers.
const MAX_ATTEMPTS: u32 = 4;

/// Time until a viewer notices that a packet is missing: the interval of frames at 30 per second.
const NOTICE_TIME: Duration = Duration::from_millis(34);

/// Viewers are asked for no delay below this: players wait as long by themselves.
const LEAST_DELAY: Duration = Duration::from_millis(60);

/// The longest lower bound.
const MAX_DELAY: Duration = Duration::from_secs(1);

/// A difference below this is not worth a change.
const TOLERANCE: Duration = Duration::from_millis(20);

/// Time for which less must have been enough before the delay shrinks, and how fast it does: by
/// one step each time. Players follow by playing faster.
const CALM: Duration = Duration::from_secs(10);
const STEP_INTERVAL: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(30);

/// Counters of a viewer's video at some time, and the state of its path.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathState {
    /// Packets sent.
    pub(super) packets: u64,
    /// Packets retransmitted that no outage had lost.
    pub(super) resent: u64,
    /// The round-trip time, once it is known.
    pub(super) round_trip: Option<Duration>,
    /// Time by which packets overtake each other.
    pub(super) reordering: Duration,
    /// True if packets wait in queues: then losses are a matter of the send rate.
    pub(super) is_queueing: bool,
}

/// Computes the lower bound of a viewer's playout delay.
///
/// A lost packet arrives a round trip late, or two if the NACK or the retransmission is lost as
/// well. A player that shows frames earlier than that freezes at each loss. The delay covers as
/// many attempts as it takes to repair almost every packet, and shrinks slowly when the path has
/// lost nothing for a while.
#[derive(Debug, Default)]
pub(super) struct DelayController {
    /// The lower bound that the viewer was asked for.
    asked: Duration,
    /// Packets sent and retransmitted in the last windows, the newest last.
    windows: VecDeque<(u64, u64)>,
    window_began: Option<Instant>,
    /// The counters at the last update.
    counted: (u64, u64),
    /// Smoothed round trip.
    round_trip: Option<Duration>,
    /// When the path last needed the whole delay.
    needed: Option<Instant>,
}

impl DelayController {
    /// Returns the lower bound that the viewer was asked for.
    pub(super) fn asked(&self) -> Duration {
        self.asked
    }

    /// Handles the state of the path. Returns the new bounds if they have changed.
    pub(super) fn update(&mut self, now: Instant, path: PathState) -> Option<PlayoutDelay> {
        self.count(now, path);
        let needed = self.delay(now, path.reordering);
        if needed + TOLERANCE >= self.asked {
            self.needed = Some(now);
        }
        let next = if needed > self.asked + TOLERANCE {
            needed
        } else if self.is_calm(now) {
            // The next step comes after another interval.
            self.needed = (now + STEP_INTERVAL).checked_sub(CALM);
            needed.max(self.asked.saturating_sub(STEP))
        } else {
            return None;
        };
        let next = if next < LEAST_DELAY {
            Duration::ZERO
        } else {
            next
        };
        if next == self.asked {
            return None;
        }
        self.asked = next;
        Some(PlayoutDelay::SMOOTH.with_min(next))
    }

    fn is_calm(&self, now: Instant) -> bool {
        let is_long_ago = |at: Instant| now.saturating_duration_since(at) >= CALM;
        self.asked > Duration::ZERO && self.needed.is_none_or(is_long_ago)
    }

    /// Counts packets and losses since the last update.
    fn count(&mut self, now: Instant, path: PathState) {
        let (packets, resent) = (path.packets, path.resent);
        let (packets_before, resent_before) =
            std::mem::replace(&mut self.counted, (packets, resent));
        let began = *self.window_began.get_or_insert(now);
        if self.windows.is_empty() || now.saturating_duration_since(began) >= WINDOW {
            self.window_began = Some(now);
            if self.windows.len() == WINDOWS {
                self.windows.pop_front();
            }
            self.windows.push_back((0, 0));
        }
        if path.is_queueing {
            return;
        }
        if let Some((in_window, lost)) = self.windows.back_mut() {
            *in_window += packets.saturating_sub(packets_before);
            *lost += resent.saturating_sub(resent_before);
        }
        if let Some(measured) = path.round_trip {
            self.round_trip = Some(match self.round_trip {
                Some(smoothed) => (3 * smoothed + measured) / 4,
                None => measured,
            });
        }
    }

    /// Returns the delay that repairs need; zero without losses, or before the round trip is known.
    fn delay(&self, now: Instant, reordering: Duration) -> Duration {
        let (packets, lost) = self
            .windows
            .iter()
            .fold((0, 0), |sum, window| (sum.0 + window.0, sum.1 + window.1));
        let (Some(round_trip), Some(began)) = (self.round_trip, self.window_began) else {
            return Duration::ZERO;
        };
        if lost == 0 {
            return Duration::ZERO;
        }
        let whole_windows = self.windows.len().saturating_sub(1) as u32;
        let span = whole_windows * WINDOW + now.saturating_duration_since(began);
        let per_second = lost as f64 / span.max(LEAST_SPAN).as_secs_f64();
        let attempts = if reordering.is_zero() {
            attempts(lost as f64 / packets.max(LEAST_PACKETS) as f64, per_second)
        } else {
            // Most of the packets were overtaken, not lost.
            1
        };
        // Half a round trip more: players repeat a NACK a little later than the round trip.
        let delay = round_trip * attempts + round_trip / 2 + NOTICE_TIME + reordering;
        delay.min(MAX_DELAY)
    }
}

/// Returns the attempts that repairs need if `loss` is the part of the packets that is lost, and
/// `per_second` their number.
fn attempts(loss: f64, per_second: f64) -> u32 {
    // A NACK is lost as easily as the packet that it asks for.
    let fails = (2.0 * loss).min(0.6);
    let mut attempts = 1;
    let mut late = per_second * fails;
    while late > LATE_REPAIRS && attempts < MAX_ATTEMPTS {
        attempts += 1;
        late *= fails;
    }
    attempts
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    /// Lets seconds pass with 250 packets each, of which `lost` per mille are lost. Returns the
    /// delay asked for then, in milliseconds.
    fn seconds(
        controller: &mut DelayController,
        now: &mut Instant,
        state: &mut PathState,
        seconds: u32,
        lost_permille: u64,
    ) -> u128 {
        for n in 0..10 * seconds {
            *now += Duration::from_millis(100);
            state.packets += 25;
            if n % 4 == 0 {
                state.resent += lost_permille / 10;
            }
            controller.update(*now, *state);
        }
        controller.asked().as_millis()
    }

    fn path(round_trip_millis: u64) -> PathState {
        PathState {
            packets: 0,
            resent: 0,
            round_trip: Some(Duration::from_millis(round_trip_millis)),
            reordering: Duration::ZERO,
            is_queueing: false,
        }
    }

    #[test]
    fn nothing_is_asked_of_a_viewer_that_loses_nothing() {
        let (mut controller, mut now, mut path) =
            (DelayController::default(), Instant::now(), path(200));
        assert_eq!(seconds(&mut controller, &mut now, &mut path, 60, 0), 0);
    }

    #[test]
    fn delay_covers_the_attempts_that_losses_need() {
        for (round_trip, lost, expected) in [
            (100, 10, 184),
            (100, 50, 284),
            (200, 50, 534),
            (100, 80, 384),
            (300, 100, 1000),
            (10, 10, 0),
        ] {
            let (mut controller, mut now, mut path) =
                (DelayController::default(), Instant::now(), path(round_trip));
            let asked = seconds(&mut controller, &mut now, &mut path, 60, lost);
            let tolerance = TOLERANCE.as_millis();
            assert!(
                asked.abs_diff(expected) <= tolerance,
                "{round_trip} {lost}: {asked}"
            );
        }
    }

    #[test]
    fn delay_shrinks_slowly_when_the_path_is_clean_again() {
        let (mut controller, mut now, mut path) =
            (DelayController::default(), Instant::now(), path(100));
        let asked = seconds(&mut controller, &mut now, &mut path, 20, 50);
        assert_eq!(seconds(&mut controller, &mut now, &mut path, 8, 0), asked);
        let later = seconds(&mut controller, &mut now, &mut path, 10, 0);
        assert!(later < asked && later > 100, "{later}");
        assert_eq!(seconds(&mut controller, &mut now, &mut path, 20, 0), 0);
    }

    #[test]
    fn losses_of_a_full_queue_ask_for_nothing() {
        let (mut controller, mut now, mut path) =
            (DelayController::default(), Instant::now(), path(400));
        path.is_queueing = true;
        assert_eq!(seconds(&mut controller, &mut now, &mut path, 20, 50), 0);
    }

    #[test]
    fn overtaken_packets_do_not_count_as_lost_attempts() {
        let (mut controller, mut now, mut path) =
            (DelayController::default(), Instant::now(), path(100));
        path.reordering = Duration::from_millis(40);
        let asked = seconds(&mut controller, &mut now, &mut path, 20, 300);
        assert_eq!(asked, 224);
    }
}
