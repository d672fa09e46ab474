//! Outcomes of joins: of the viewers whose offers were answered, how many connected, and why the
//! others did not.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use distributary_names::StreamName;

use crate::session::ShortId;

/// Time that [`JoinCounts`] of the recent joins cover.
pub const RECENT: Duration = Duration::from_secs(5 * 60);

/// Time that is counted together. Recent counts are exact to this.
const SLOT: Duration = Duration::from_secs(15);

/// Number of failed joins that are remembered, some 400 bytes each.
const MAX_FAILED: usize = 50;

/// Minimum interval between two warnings about viewers that were not reached.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// The reason why an answered viewer did not connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinFailure {
    /// No valid ICE check of the viewer arrived: the media port is not reachable from there.
    Unreachable,
    /// Checks arrived, and the DTLS handshake failed or did not finish.
    Handshake,
    /// Too many other handshakes were incomplete.
    Overload,
}

impl JoinFailure {
    /// All reasons.
    pub const ALL: [Self; 3] = [Self::Unreachable, Self::Handshake, Self::Overload];

    /// Returns the name of the reason in metrics and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Handshake => "handshake",
            Self::Overload => "overload",
        }
    }
}

/// Numbers of joins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JoinCounts {
    /// Answered offers.
    pub asked: u64,
    /// Viewers that completed the handshake.
    pub connected: u64,
    failed: [u64; JoinFailure::ALL.len()],
}

impl JoinCounts {
    /// Returns the number of joins that failed for this reason.
    pub fn failed(&self, reason: JoinFailure) -> u64 {
        self.failed[reason as usize]
    }

    fn add(&mut self, event: Event) {
        match event {
            Event::Asked => self.asked += 1,
            Event::Connected => self.connected += 1,
            Event::Failed(reason) => self.failed[reason as usize] += 1,
        }
    }

    fn merge(&mut self, other: &Self) {
        self.asked += other.asked;
        self.connected += other.connected;
        for (sum, count) in self.failed.iter_mut().zip(other.failed) {
            *sum += count;
        }
    }
}

/// A join that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedJoin {
    /// The first digits of the session id.
    pub id: ShortId,
    /// The stream.
    pub stream: StreamName,
    /// The address of the viewer's HTTP request, if it is known.
    pub address: Option<IpAddr>,
    /// The reason.
    pub reason: JoinFailure,
    /// The player's report; not verified.
    pub report: Option<Box<str>>,
    /// Time of the failure.
    pub at: Instant,
}

/// The joins since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinStats {
    /// All joins since the start.
    pub total: JoinCounts,
    /// The joins of the last five minutes.
    pub recent: JoinCounts,
    /// The last failed joins, the newest first.
    pub failed: Vec<FailedJoin>,
}

/// Viewers that were answered and not reached since the last warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreached {
    /// Their number.
    pub(crate) viewers: u64,
    /// Viewers that connected in the last minutes: the port is reachable from somewhere.
    pub(crate) connected: u64,
}

#[derive(Clone, Copy)]
enum Event {
    Asked,
    Connected,
    Failed(JoinFailure),
}

/// Counts the outcomes of joins. The lock is taken once when a viewer is answered, when it connects
/// and when its join fails, never while media flows.
#[derive(Debug, Default)]
pub(crate) struct JoinOutcomes(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    total: JoinCounts,
    /// The counts of the last [`RECENT`], by the begin of their [`SLOT`], the oldest first.
    slots: VecDeque<(Instant, JoinCounts)>,
    failed: VecDeque<FailedJoin>,
    unreached: u64,
    warned: Option<Instant>,
}

impl JoinOutcomes {
    /// Counts an answered offer.
    pub(crate) fn note_asked(&self, now: Instant) {
        self.lock().count(Event::Asked, now);
    }

    /// Counts a viewer that has connected.
    pub(crate) fn note_connected(&self, now: Instant) {
        self.lock().count(Event::Connected, now);
    }

    /// Counts and remembers a failed join.
    pub(crate) fn note_failed(&self, join: FailedJoin) {
        let mut inner = self.lock();
        inner.count(Event::Failed(join.reason), join.at);
        inner.unreached += u64::from(join.reason == JoinFailure::Unreachable);
        if inner.failed.len() >= MAX_FAILED {
            inner.failed.pop_back();
        }
        inner.failed.push_front(join);
    }

    /// Returns the joins so far.
    pub(crate) fn stats(&self, now: Instant) -> JoinStats {
        let mut inner = self.lock();
        inner.forget(now);
        JoinStats {
            total: inner.total,
            recent: inner.recent(),
            failed: inner.failed.iter().cloned().collect(),
        }
    }

    /// Returns the viewers to warn about, at most once a minute.
    pub(crate) fn take_unreached(&self, now: Instant) -> Option<Unreached> {
        let mut inner = self.lock();
        let is_early = |warned| now.saturating_duration_since(warned) < WARNING_INTERVAL;
        if inner.unreached == 0 || inner.warned.is_some_and(is_early) {
            return None;
        }
        inner.forget(now);
        inner.warned = Some(now);
        Some(Unreached {
            viewers: std::mem::take(&mut inner.unreached),
            connected: inner.recent().connected,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn count(&mut self, event: Event, now: Instant) {
        self.total.add(event);
        let is_over = |slot: &(Instant, _)| now.saturating_duration_since(slot.0) >= SLOT;
        if self.slots.back().is_none_or(is_over) {
            self.forget(now);
            self.slots.push_back((now, JoinCounts::default()));
        }
        if let Some((_, counts)) = self.slots.back_mut() {
            counts.add(event);
        }
    }

    /// Forgets slots that are no longer recent.
    fn forget(&mut self, now: Instant) {
        while let Some((since, _)) = self.slots.front()
            && now.saturating_duration_since(*since) >= RECENT
        {
            self.slots.pop_front();
        }
    }

    fn recent(&self) -> JoinCounts {
        let mut sum = JoinCounts::default();
        for (_, counts) in &self.slots {
            sum.merge(counts);
        }
        sum
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;
    use crate::session::SessionId;

    fn failed(reason: JoinFailure, at: Instant) -> FailedJoin {
        FailedJoin {
            id: SessionId::random().short(),
            stream: StreamName::parse("live/test").unwrap(),
            address: None,
            reason,
            report: None,
            at,
        }
    }

    #[test]
    fn recent_joins_are_forgotten_and_totals_are_not() {
        let start = Instant::now();
        let outcomes = JoinOutcomes::default();
        outcomes.note_asked(start);
        outcomes.note_asked(start + SLOT);
        outcomes.note_connected(start + SLOT);
        outcomes.note_failed(failed(JoinFailure::Handshake, start + SLOT));
        let stats = outcomes.stats(start + RECENT - Duration::from_millis(1));
        assert_eq!(stats.recent, stats.total);
        let stats = outcomes.stats(start + RECENT);
        assert_eq!((stats.recent.asked, stats.recent.connected), (1, 1));
        assert_eq!(stats.recent.failed(JoinFailure::Handshake), 1);
        let stats = outcomes.stats(start + RECENT + SLOT);
        assert_eq!(stats.recent, JoinCounts::default());
        assert_eq!((stats.total.asked, stats.total.connected), (2, 1));
        assert_eq!(stats.total.failed(JoinFailure::Unreachable), 0);
    }

    #[test]
    fn warnings_about_unreached_viewers_come_once_a_minute_with_all_of_them() {
        let start = Instant::now();
        let outcomes = JoinOutcomes::default();
        assert_eq!(outcomes.take_unreached(start), None);
        outcomes.note_failed(failed(JoinFailure::Handshake, start));
        assert_eq!(outcomes.take_unreached(start), None, "it was reached");
        let fail = |at| outcomes.note_failed(failed(JoinFailure::Unreachable, at));
        fail(start);
        let unreached = |viewers, connected| Some(Unreached { viewers, connected });
        assert_eq!(outcomes.take_unreached(start), unreached(1, 0));
        for second in 1..60 {
            let at = start + Duration::from_secs(second);
            fail(at);
            assert_eq!(outcomes.take_unreached(at), None);
        }
        outcomes.note_connected(start);
        let later = start + WARNING_INTERVAL;
        assert_eq!(outcomes.take_unreached(later), unreached(59, 1));
        assert_eq!(outcomes.take_unreached(later + WARNING_INTERVAL), None);
    }

    #[test]
    fn the_last_failed_joins_are_remembered_the_newest_first() {
        let start = Instant::now();
        let outcomes = JoinOutcomes::default();
        let at = |n: usize| start + Duration::from_millis(n as u64);
        for n in 0..=MAX_FAILED {
            outcomes.note_failed(failed(JoinFailure::Overload, at(n)));
        }
        let stats = outcomes.stats(start);
        assert_eq!(stats.failed.len(), MAX_FAILED);
        assert_eq!(stats.failed[0].at, at(MAX_FAILED));
        assert_eq!(stats.failed[MAX_FAILED - 1].at, at(1));
        assert_eq!(stats.total.failed(JoinFailure::Overload), 51);
    }
}
