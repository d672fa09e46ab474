//! The rendition that one viewer gets, and the one that it moves to.

use std::time::{Duration, Instant};

use distributary_names::RenditionId;
use distributary_webrtc::peer::Peer;
use distributary_webrtc::quality::{Preference, Reason, Rung, Selector, Step};
use distributary_webrtc::sender::LogChange;

/// Time between two looks at the path of a viewer.
const INTERVAL: Duration = Duration::from_millis(25);

/// Time after which a viewer no longer insists on a change without a gap.
const SEAMLESS: Duration = Duration::from_secs(5);

/// Time after which a viewer awaits the other rendition's next keyframe.
const SKIP: Duration = Duration::from_secs(8);

/// Part of the rate of a rendition, in percent, below which nothing more of it is sent: what its
/// full queue has lost makes the rest useless, and the queue must drain for the next rendition.
const USELESS: u64 = 60;

/// Longest time for which nothing is sent then.
const DRAINING: Duration = Duration::from_secs(2);

/// Longest time for which a requested keyframe is awaited while nothing is sent.
const KEYFRAME_TIMEOUT: Duration = Duration::from_secs(1);

/// The rendition that a viewer gets, and the one that it moves to.
#[derive(Debug)]
pub(super) struct Quality {
    selector: Selector,
    pub(super) preference: Preference<RenditionId>,
    /// Set while it is about to move.
    pub(super) next: Option<NextRendition>,
    /// The tag of the rendition before the last move: the viewer may ask for packets of it again. The
    /// stream may be gone.
    pub(super) former: Option<u64>,
    next_look: Instant,
}

/// The rendition that a viewer moves to.
#[derive(Clone, Copy, Debug)]
pub(super) struct NextRendition {
    pub(super) id: RenditionId,
    pub(super) reason: Reason,
    /// Time of that decision.
    pub(super) began: Instant,
    /// Its tag once it is live.
    pub(super) tag: Option<u64>,
    /// Time from which both renditions were there.
    pub(super) since: Option<Instant>,
    /// True after a keyframe of it was requested, successfully or not.
    pub(super) has_asked: bool,
    /// Time at which a keyframe of it was requested.
    pub(super) requested: Option<Instant>,
    /// True if the path carries so little of the present one that the rest of it is useless.
    pub(super) is_severe: bool,
}

impl Quality {
    pub(super) fn new(preference: Preference<RenditionId>, now: Instant) -> Self {
        Self {
            selector: Selector::new(now),
            preference,
            next: None,
            former: None,
            next_look: now,
        }
    }

    /// Returns whether it is time to look at the path again.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.next_look
    }

    /// Returns the next step of a viewer that gets `present` of the renditions `rungs`.
    pub(super) fn poll(
        &mut self,
        peer: &mut Peer,
        rungs: &[Rung<RenditionId>],
        present: RenditionId,
        now: Instant,
    ) -> Option<Step> {
        self.next_look = now + INTERVAL;
        let path = peer.path();
        let probe = peer.take_probe(now);
        let to = self.next.map_or(present, |next| next.id);
        let place = rungs.iter().position(|rung| rung.id == to);
        self.selector
            .poll(now, &path, probe, rungs, place, &self.preference)
    }

    /// Records that the packets of all viewers were held up.
    pub(super) fn note_disturbance(&mut self, now: Instant) {
        self.selector.note_disturbance(now);
    }

    /// Records that the viewer has moved to the next rendition, which is returned.
    pub(super) fn note_moved(&mut self, peer: &Peer, now: Instant) -> Option<NextRendition> {
        self.selector.note_moved(now, &peer.path());
        self.next.take()
    }
}

/// Returns whether a path carries so little of a rendition of `rate` bits per second that the rest
/// of it is useless.
pub(super) fn is_severe(peer: &Peer, rate: u64) -> bool {
    let carried = peer.path().carried;
    carried.is_some_and(|carried| carried < rate / 100 * USELESS)
}

impl NextRendition {
    /// Returns whether nothing more of the present rendition is sent, even if the next one has not
    /// come yet.
    pub(super) fn is_draining(&self, now: Instant) -> bool {
        self.is_severe && now.saturating_duration_since(self.began) < DRAINING
    }

    /// Returns the way in which the viewer changes to its log.
    pub(super) fn change(&self, now: Instant) -> LogChange {
        let time_since = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at));
        let waits = time_since(self.since).unwrap_or_default();
        let requested = time_since(self.requested);
        match self.reason {
            _ if requested.is_some_and(|time| time < KEYFRAME_TIMEOUT) => LogChange::Stop,
            _ if waits > SKIP || self.is_draining(now) => LogChange::Stop,
            Reason::Congestion | Reason::Gone => LogChange::Skip,
            _ if waits > SEAMLESS => LogChange::Skip,
            Reason::Bandwidth | Reason::Viewer => LogChange::Seamless,
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

    #[test]
    fn nothing_is_sent_while_a_requested_keyframe_is_awaited_but_not_for_long() {
        let start = Instant::now();
        let mut next = NextRendition {
            id: RenditionId::rung(360),
            reason: Reason::Congestion,
            began: start,
            tag: Some(1),
            since: Some(start),
            has_asked: false,
            requested: None,
            is_severe: false,
        };
        let change =
            |next: &NextRendition, millis| next.change(start + Duration::from_millis(millis));
        assert_eq!(change(&next, 0), LogChange::Skip);
        next.requested = Some(start);
        assert_eq!(change(&next, 0), LogChange::Stop);
        assert_eq!(change(&next, 999), LogChange::Stop);
        assert_eq!(change(&next, 1000), LogChange::Skip, "the encoder is stuck");
    }
}
