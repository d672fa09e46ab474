//! Detects times in which the packets of all viewers were held up.
//!
//! If this thread gets no processor, or the machine's link stands still, the feedback of every viewer
//! says that its packets are late. That is no property of their paths, so it moves nobody to another
//! rendition.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Lateness of the thread's own deadlines from which on it has held up everyone.
const LATE: Duration = Duration::from_millis(150);

/// Time without any datagram from which on nothing gets through, if it is also this many times as
/// long as usual.
const SILENCE: Duration = Duration::from_millis(400);
const TIMES_AS_LONG: u32 = 10;

/// Viewers that do not fall silent at once by chance.
const LEAST_VIEWERS: usize = 3;

/// Time before the silence in which so many were heard: one that is silent anyway shows nothing.
const HEARD: Duration = Duration::from_secs(1);

/// Weight of the usual time between two datagrams against the present one.
const SMOOTHING: u32 = 15;

/// Time after the first disturbance in which further ones belong to it, and after which there can
/// be another: on a machine that is always late, viewers still have to move.
const LENGTH: Duration = Duration::from_secs(2);
const REST: Duration = Duration::from_secs(8);

/// Detects disturbances that all viewers of a shard have in common.
#[derive(Debug, Default)]
pub(super) struct Disturbance {
    /// When a datagram came last, and the usual time between two.
    datagram: Option<Instant>,
    usual: Duration,
    /// The last viewers that were heard, the newest first.
    heard: [Option<(SocketAddr, Instant)>; LEAST_VIEWERS],
    /// When the last disturbance was found first.
    began: Option<Instant>,
}

impl Disturbance {
    /// Handles the begin of work that was due at `deadline`. Returns whether all viewers were held
    /// up.
    pub(super) fn note_work(&mut self, deadline: Option<Instant>, now: Instant) -> bool {
        let is_late = |deadline| now.saturating_duration_since(deadline) > LATE;
        deadline.is_some_and(is_late) && self.is_news(now)
    }

    /// Handles a datagram from `source`. Returns whether all viewers were held up before it.
    pub(super) fn note_datagram(&mut self, source: SocketAddr, now: Instant) -> bool {
        let last = self.datagram.replace(now);
        let was_busy = last.is_some_and(|last| self.were_heard_before(last));
        self.note_source(source, now);
        let Some(silence) = last.map(|last| now.saturating_duration_since(last)) else {
            return false;
        };
        // Those that come together are one event.
        if silence.is_zero() {
            return false;
        }
        let is_long = silence > SILENCE && silence > TIMES_AS_LONG * self.usual;
        self.usual = (SMOOTHING * self.usual + silence.min(SILENCE)) / (SMOOTHING + 1);
        is_long && was_busy && self.is_news(now)
    }

    /// Returns whether enough viewers were heard in the time before `last`.
    fn were_heard_before(&self, last: Instant) -> bool {
        let is_recent =
            |(_, at): &(SocketAddr, Instant)| last.saturating_duration_since(*at) <= HEARD;
        self.heard.iter().flatten().all(is_recent) && self.heard.iter().all(Option::is_some)
    }

    /// Puts a source first among the last ones.
    fn note_source(&mut self, source: SocketAddr, now: Instant) {
        let is_source =
            |heard: &Option<(SocketAddr, Instant)>| heard.is_some_and(|(other, _)| other == source);
        let place = self.heard.iter().position(is_source);
        self.heard[..=place.unwrap_or(LEAST_VIEWERS - 1)].rotate_right(1);
        self.heard[0] = Some((source, now));
    }

    /// Returns whether one was ever found.
    #[cfg(test)]
    pub(super) fn was_found(&self) -> bool {
        self.began.is_some()
    }

    fn is_news(&mut self, now: Instant) -> bool {
        let age = self.began.map(|began| now.saturating_duration_since(began));
        match age {
            Some(age) if age < LENGTH => true,
            Some(age) if age < REST => false,
            _ => {
                self.began = Some(now);
                true
            }
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    fn source(viewer: u64) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], 1000 + viewer as u16))
    }

    /// Returns the viewer that sends at `millis`, if one does.
    fn sender(viewers: u64, interval: u64, millis: u64) -> Option<u64> {
        (0..viewers).find(|viewer| millis % interval == viewer * interval / viewers)
    }

    /// Returns the milliseconds at which a disturbance is found, if `viewers` send feedback every
    /// `interval` milliseconds but for one time of silence.
    fn found(viewers: u64, interval: u64, silence: std::ops::Range<u64>) -> Vec<u64> {
        let start = Instant::now();
        let mut disturbance = Disturbance::default();
        let sends = |millis: &u64| {
            sender(viewers, interval, *millis).is_some() && !silence.contains(millis)
        };
        let datagrams = (1..10_000).filter(sends);
        let is_found = |millis: &u64| {
            let now = start + Duration::from_millis(*millis);
            let viewer = sender(viewers, interval, *millis).unwrap();
            disturbance.note_datagram(source(viewer), now)
        };
        datagrams.filter(is_found).collect()
    }

    #[test]
    fn silence_of_all_viewers_is_a_disturbance() {
        assert_eq!(found(5, 100, 5001..5701), [5720]);
        assert_eq!(found(50, 100, 5001..5701), [5702]);
        assert!(found(50, 100, 5001..5301).is_empty(), "short");
        assert!(
            found(2, 100, 5001..5701).is_empty(),
            "two may do so by chance"
        );
        assert!(found(5, 1000, 5001..5701).is_empty(), "they report rarely");
    }

    #[test]
    fn gap_of_the_only_viewer_that_reports_is_no_disturbance() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut disturbance = Disturbance::default();
        // Nine others are connected, and were heard once.
        for viewer in 1..10 {
            assert!(!disturbance.note_datagram(source(viewer), at(viewer)));
        }
        for tenth in 1..50 {
            assert!(!disturbance.note_datagram(source(0), at(100 * tenth)));
        }
        assert!(!disturbance.note_datagram(source(0), at(6000)));
    }

    #[test]
    fn work_that_begins_late_is_a_disturbance_but_not_for_ever() {
        let start = Instant::now();
        let mut disturbance = Disturbance::default();
        let mut found = |at, late| {
            let now = start + Duration::from_millis(at);
            disturbance.note_work(Some(now - Duration::from_millis(late)), now)
        };
        assert!(!found(1000, 5) && !found(1100, 150));
        assert!(found(2000, 151) && found(2500, 500));
        assert!((3..8).all(|second| !found(2000 + 1000 * second, 500)));
        assert!(found(11_000, 500));
        assert!(!disturbance.note_work(None, start));
    }
}
