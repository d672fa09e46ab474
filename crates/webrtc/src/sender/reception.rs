//! Tracks which packets a viewer is known to have, so that a keyframe request is answered only
//! where something is missing.

use std::time::{Duration, Instant};

/// Time that a NACK counts: by then the packet has arrived, or the viewer has sent another.
const REPAIR_TIME: Duration = Duration::from_millis(1500);

/// Without a receiver report for this long, a viewer may have lost anything. Viewers report every
/// second.
const REPORT_TIMEOUT: Duration = Duration::from_secs(4);

/// A report covers packets sent this long before it, if they have arrived.
const REPORT_LAG: Duration = Duration::from_millis(500);

/// The publisher pauses if nothing was sent for this long.
const PAUSE: Duration = Duration::from_secs(1);

/// A viewer that has lost nothing and asks this often within [`INSISTENCE`] has a decoder that does
/// not recover by itself.
const INSISTENT_REQUESTS: usize = 3;
const INSISTENCE: Duration = Duration::from_secs(2);

/// The feedback of a viewer on a stream.
///
/// Players ask for a keyframe when they have shown no frame for some seconds (Chromium: three),
/// also when there was none because the publisher pauses. A replay of the GOP would then show them
/// frames that they have seen already.
#[derive(Debug, Default)]
pub(super) struct Reception {
    /// When a packet was sent last.
    sent: Option<Instant>,
    /// When the last report came.
    reported: Option<Instant>,
    /// When a report was compared with the packets sent, and the index of the next packet at that
    /// time.
    reference: Option<(Instant, u64)>,
    /// True if the last report lacks packets that were sent.
    is_behind: bool,
    /// When the viewer sent a NACK last.
    nacked: Option<Instant>,
    /// When the viewer asked for keyframes, the newest first.
    requests: [Option<Instant>; INSISTENT_REQUESTS],
}

impl Reception {
    /// Records that a packet is sent.
    pub(super) fn note_sent(&mut self, now: Instant) {
        self.sent = Some(now);
    }

    /// Records a NACK.
    pub(super) fn note_nack(&mut self, now: Instant) {
        self.nacked = Some(now);
    }

    /// Records a receiver report. `highest` is the highest sequence number that has arrived,
    /// `next_index` the index of the next packet. `is_lossy`: packets are missing that will not be
    /// retransmitted.
    pub(super) fn note_report(
        &mut self,
        now: Instant,
        highest: u16,
        is_lossy: bool,
        next_index: u64,
    ) {
        self.reported = Some(now);
        let (since, index) = *self.reference.get_or_insert((now, next_index));
        if now.saturating_duration_since(since) >= REPORT_LAG {
            // Sequence numbers count modulo 2^16.
            let missing = (index.wrapping_sub(1) as u16).wrapping_sub(highest);
            self.is_behind = is_lossy || (1..0x8000).contains(&missing);
            self.reference = Some((now, next_index));
        }
    }

    /// Records a keyframe request. Returns whether the viewer may lack packets that were sent.
    pub(super) fn note_keyframe_request(&mut self, now: Instant) -> bool {
        self.requests.rotate_right(1);
        self.requests[0] = Some(now);
        let is_within = |at: Option<Instant>, time: Duration| {
            at.is_some_and(|at| now.saturating_duration_since(at) < time)
        };
        let is_insistent = self.requests.iter().all(|at| is_within(*at, INSISTENCE));
        let is_paused = !is_within(self.sent, PAUSE);
        // Without a report the viewer may have decoded nothing so far.
        !is_within(self.reported, REPORT_TIMEOUT)
            || is_within(self.nacked, REPAIR_TIME)
            || self.is_behind
            || is_insistent && !is_paused
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    /// Returns a viewer that has received a hundred packets a second for three seconds and has
    /// reported so each second, and the time of the last report.
    fn watching() -> (Reception, Instant) {
        let start = Instant::now();
        let mut reception = Reception::default();
        assert!(reception.note_keyframe_request(start), "nothing is known");
        for hundredth in 0..300 {
            reception.note_sent(start + Duration::from_millis(10 * hundredth));
            if hundredth % 100 == 99 {
                let now = start + Duration::from_millis(10 * hundredth);
                // The last three are under way.
                reception.note_report(now, hundredth as u16 - 3, false, hundredth + 1);
            }
        }
        (reception, start + Duration::from_secs(3))
    }

    #[test]
    fn viewer_without_loss_lacks_nothing_when_the_publisher_pauses() {
        let (mut reception, now) = watching();
        for second in 1..10 {
            let now = now + Duration::from_secs(second);
            reception.note_report(now, 299, false, 300);
            for millis in [100, 200, 300, 400] {
                let now = now + Duration::from_millis(millis);
                assert!(!reception.note_keyframe_request(now), "after {second} s");
            }
        }
    }

    #[test]
    fn viewer_that_lost_packets_before_a_pause_lacks_them() {
        let (mut reception, now) = watching();
        for (second, lacks) in [(1, false), (2, true)] {
            let now = now + Duration::from_secs(second);
            // The packet missing in the first report was under way; it is lost by the second.
            reception.note_report(now, 298, false, 300);
            if lacks {
                assert!(reception.note_keyframe_request(now));
            }
        }
        let now = now + Duration::from_secs(3);
        reception.note_report(now, 299, false, 300);
        assert!(!reception.note_keyframe_request(now), "it has come");
    }

    #[test]
    fn viewer_that_sends_nacks_or_no_reports_lacks_something() {
        let (mut reception, now) = watching();
        assert!(!reception.note_keyframe_request(now));
        reception.note_nack(now);
        assert!(reception.note_keyframe_request(now + Duration::from_secs(1)));
        let (mut reception, now) = watching();
        assert!(reception.note_keyframe_request(now + Duration::from_secs(5)));
    }

    #[test]
    fn decoder_that_does_not_recover_by_itself_is_helped_while_frames_arrive() {
        let (mut reception, now) = watching();
        let lacks: Vec<bool> = (0..4)
            .map(|n| {
                let now = now + Duration::from_millis(300 * n);
                reception.note_sent(now);
                reception.note_keyframe_request(now)
            })
            .collect();
        assert_eq!(lacks, [false, false, true, true]);
        // A viewer that always asks every two seconds is not helped.
        let (mut reception, now) = watching();
        for n in 1..5 {
            let now = now + Duration::from_secs(2 * n);
            reception.note_sent(now);
            reception.note_report(now, 299, false, 300);
            assert!(!reception.note_keyframe_request(now));
        }
    }
}
