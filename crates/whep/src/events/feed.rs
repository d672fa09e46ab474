//! Decides which events a player gets, and when: a state machine without a clock.

use std::time::{Duration, Instant};

use super::kind::{Event, EventKind, EventSet};
use super::layers::Layers;
use crate::admission::Drain;

/// Interval between two checks of the number of viewers.
const COUNT_INTERVAL: Duration = Duration::from_secs(5);

/// Interval between two checks of the layers.
const LAYERS_INTERVAL: Duration = Duration::from_secs(1);

/// The state of stream, session and gateway that events report.
#[derive(Clone, Debug, Default)]
pub(super) struct Situation {
    /// The stream has a publisher.
    pub(super) is_live: bool,
    /// The last publisher has ended the stream: it is not about to come back.
    pub(super) has_ended: bool,
    /// Sessions of the stream.
    pub(super) viewers: usize,
    /// The gateway drains.
    pub(super) drain: Option<Drain>,
    /// The token of the session expires.
    pub(super) is_expiring: bool,
    /// The renditions of the stream.
    pub(super) layers: Layers,
}

/// The state that a player knows, and so the events that it needs next.
///
/// Events are differences: a player that listens again after a break gets the current state, not
/// everything that has come and gone meanwhile. So no history is kept for it.
#[derive(Debug)]
pub(super) struct Feed {
    wanted: EventSet,
    grace: Duration,
    /// The player knows the stream as live.
    is_active: bool,
    /// Time since which the stream has not been live, while the player does not know it.
    gone_since: Option<Instant>,
    viewers: Option<usize>,
    next_count: Instant,
    has_reconnect: bool,
    is_told_active: bool,
    /// The last layers that the player got, and when it may get others.
    layers: Layers,
    next_layers: Instant,
}

impl Feed {
    /// Creates a feed for a player that wants these events, and that knew the stream as active or
    /// inactive before it listened. A publisher may be gone for `grace` before the player gets
    /// `inactive`, unless it has ended the stream.
    pub(super) fn new(wanted: EventSet, is_active: bool, grace: Duration, now: Instant) -> Self {
        Self {
            wanted,
            grace,
            is_active,
            gone_since: None,
            viewers: None,
            next_count: now,
            has_reconnect: false,
            is_told_active: false,
            layers: Layers::default(),
            next_layers: now,
        }
    }

    /// Returns the next event for this situation, if any.
    pub(super) fn poll_event(&mut self, situation: &Situation, now: Instant) -> Option<Event> {
        loop {
            let event = self.next(situation, now)?;
            if self.wanted.contains(event.kind) {
                return Some(event);
            }
        }
    }

    /// Returns the last event before the session ends, if any. A gateway that drains ends its streams
    /// too, but they may go on elsewhere, or here after a restart.
    pub(super) fn finish(&mut self, situation: &Situation) -> Option<Event> {
        let is_owed = self.is_active && !situation.is_live && situation.drain.is_none();
        self.is_active = false;
        (is_owed && self.wanted.contains(EventKind::Inactive)).then(Event::inactive)
    }

    /// Returns the time of the next poll if nothing changes before.
    pub(super) fn deadline(&self) -> Instant {
        let inactive = self.gone_since.map(|since| since + self.grace);
        let layers = self
            .wanted
            .contains(EventKind::Layers)
            .then_some(self.next_layers);
        let others = inactive.into_iter().chain(layers);
        others.fold(self.next_count, Instant::min)
    }

    /// Returns whether the player knows the stream as live.
    pub(super) fn is_active(&self) -> bool {
        self.is_active
    }

    fn next(&mut self, situation: &Situation, now: Instant) -> Option<Event> {
        if situation.is_live {
            self.gone_since = None;
            if !self.is_told_active {
                self.is_active = true;
                self.is_told_active = true;
                return Some(Event::active());
            }
        } else if self.is_active && situation.drain.is_none() {
            let since = *self.gone_since.get_or_insert(now);
            if situation.has_ended || now >= since + self.grace {
                self.gone_since = None;
                self.is_active = false;
                self.is_told_active = false;
                return Some(Event::inactive());
            }
        }
        let is_ending = situation.drain.is_some() || situation.is_expiring;
        if is_ending && !self.has_reconnect {
            self.has_reconnect = true;
            let drain = situation.drain.as_ref();
            let url = drain.and_then(|drain| drain.reconnect.as_deref());
            return Some(Event::reconnect(url));
        }
        if now >= self.next_layers {
            self.next_layers = now + LAYERS_INTERVAL;
            let is_news = self.layers != situation.layers;
            let is_known = !self.layers.is_trivial() || !situation.layers.is_trivial();
            self.layers.clone_from(&situation.layers);
            if is_news && is_known {
                return Some(Event::layers(&self.layers));
            }
        }
        if now >= self.next_count {
            self.next_count = now + COUNT_INTERVAL;
            if self.viewers != Some(situation.viewers) {
                self.viewers = Some(situation.viewers);
                return Some(Event::viewer_count(situation.viewers));
            }
        }
        None
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(15);

    /// A feed and the clock that drives it.
    struct Listener {
        feed: Feed,
        now: Instant,
        situation: Situation,
    }

    impl Listener {
        fn new(wanted: EventSet, was_active: bool) -> Self {
            let now = Instant::now();
            Self {
                feed: Feed::new(wanted, was_active, GRACE, now),
                now,
                situation: Situation::default(),
            }
        }

        /// Returns all events after `seconds`.
        fn after(&mut self, seconds: u64) -> Vec<String> {
            self.now += Duration::from_secs(seconds);
            let mut events = Vec::new();
            while let Some(event) = self.feed.poll_event(&self.situation, self.now) {
                events.push(format!("{} {}", event.kind.name(), event.data));
            }
            events
        }
    }

    #[test]
    fn stream_that_goes_with_its_gateway_is_not_reported_as_inactive() {
        let mut listener = Listener::new(EventSet::all(), true);
        listener.situation.is_live = true;
        listener.after(0);
        listener.situation.is_live = false;
        listener.situation.has_ended = true;
        listener.situation.drain = Some(Drain::default());
        let events = listener.after(60);
        assert!(
            events.iter().any(|event| event.starts_with("reconnect")),
            "{events:?}"
        );
        assert!(
            !events.iter().any(|event| event.starts_with("inactive")),
            "{events:?}"
        );
        assert_eq!(listener.feed.finish(&listener.situation), None);
    }

    fn only(kinds: &[EventKind]) -> EventSet {
        kinds.iter().copied().collect()
    }

    #[test]
    fn short_absence_of_a_publisher_causes_no_event() {
        let mut player = Listener::new(only(&[EventKind::Active, EventKind::Inactive]), false);
        assert!(player.after(20).is_empty(), "nothing was there to be gone");
        player.situation.is_live = true;
        assert_eq!(player.after(1), ["active {}"]);
        player.situation.is_live = false;
        assert!(player.after(1).is_empty());
        let due = player.now + GRACE;
        assert!(player.after(5).is_empty() && player.feed.deadline() <= due);
        player.situation.is_live = true;
        assert!(player.after(9).is_empty());
        player.situation.is_live = false;
        assert!(player.after(1).is_empty());
        assert!(player.after(14).is_empty());
        assert_eq!(player.after(1), ["inactive {}"]);
        assert!(player.after(60).is_empty());
        player.situation.is_live = true;
        assert_eq!(player.after(1), ["active {}"]);
    }

    #[test]
    fn stream_that_its_publisher_ends_is_inactive_at_once() {
        let mut player = Listener::new(only(&[EventKind::Active, EventKind::Inactive]), true);
        player.situation.is_live = true;
        player.after(0);
        player.situation.is_live = false;
        assert!(player.after(1).is_empty());
        player.situation.has_ended = true;
        assert_eq!(player.after(0), ["inactive {}"]);
        assert!(player.after(60).is_empty());
        player.situation = Situation {
            is_live: true,
            ..Situation::default()
        };
        assert_eq!(player.after(1), ["active {}"]);
    }

    #[test]
    fn late_listener_gets_inactive() {
        let mut player = Listener::new(only(&[EventKind::Inactive]), true);
        assert!(player.after(0).is_empty());
        assert_eq!(player.after(15), ["inactive {}"]);

        let mut player = Listener::new(EventSet::all(), true);
        player.after(0);
        assert_eq!(
            player.feed.finish(&player.situation),
            Some(Event::inactive())
        );
        assert_eq!(player.feed.finish(&player.situation), None);
    }

    #[test]
    fn viewer_count_is_sent_after_changes_at_intervals() {
        let mut player = Listener::new(only(&[EventKind::ViewerCount]), false);
        player.situation.viewers = 1;
        assert_eq!(player.after(0), ["viewercount {\"viewercount\":1}"]);
        player.situation.viewers = 2;
        assert!(player.after(4).is_empty());
        player.situation.viewers = 3;
        assert_eq!(player.after(1), ["viewercount {\"viewercount\":3}"]);
        assert!(player.after(60).is_empty());
    }

    #[test]
    fn player_is_asked_to_reconnect_once() {
        let mut player = Listener::new(only(&[EventKind::Reconnect]), false);
        assert!(player.after(0).is_empty());
        player.situation.drain = Some(Drain {
            reconnect: Some("https://b.example/whep/live/test".into()),
        });
        let events = player.after(1);
        assert_eq!(
            events,
            ["reconnect {\"url\":\"https://b.example/whep/live/test\"}"]
        );
        assert!(player.after(60).is_empty());
    }
}
