//! What a viewer is known to have of a stream, so that a request for a keyframe is answered only where
//! something is missing.

use std::time::{Duration, Instant};

/// How long after it a request for a lost packet counts: by then the packet has arrived, or the viewer
/// has asked again.
const REPAIR_TIME: Duration = Duration::from_millis(1500);

/// A viewer of which no report came for this long may have lost anything. Viewers report every second.
const REPORT_TIMEOUT: Duration = Duration::from_secs(4);

/// What was sent this long before a report is in the report, if it has arrived.
const REPORT_LAG: Duration = Duration::from_millis(500);

/// When nothing was sent for this long, the publisher pauses.
const PAUSE: Duration = Duration::from_secs(1);

/// A viewer that has lost nothing and asks this often within [`INSISTENCE`] has a decoder that does not
/// go on by itself.
const INSISTENT_REQUESTS: usize = 3;
const INSISTENCE: Duration = Duration::from_secs(2);

/// What a viewer says about a stream.
///
/// Players ask for a keyframe when they have shown no frame for some seconds (Chromium: three), also
/// when there was none: the publisher pauses. To repeat the GOP then would show them what
/// they have seen, in place of what comes next.
#[derive(Debug, Default)]
pub(super) struct Reception {
    /// When something was sent last.
    sent: Option<Instant>,
    /// When the last report came.
    reported: Option<Instant>,
    /// When a report was compared with what was sent, and the index of the next packet at that time.
    reference: Option<(Instant, u64)>,
    /// Something that was sent is missing in the last report.
    is_behind: bool,
    /// When the viewer asked for a lost packet last.
    nacked: Option<Instant>,
    /// When it asked for a keyframe, the newest first.
    requests: [Option<Instant>; INSISTENT_REQUESTS],
}

impl Reception {
    /// Notes that something is sent.
    pub(super) fn note_sent(&mut self, now: Instant) {
        self.sent = Some(now);
    }

    /// Notes that the viewer asks for a lost packet.
    pub(super) fn note_nack(&mut self, now: Instant) {
        self.nacked = Some(now);
    }

    /// Notes a report: the highest sequence number that has arrived, while `next_index` is that of the
    /// next packet. `is_lossy`: packets are missing that will not be sent again.
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

    /// Notes that the viewer asks for a keyframe. Returns whether it may lack something that was sent.
    pub(super) fn note_keyframe_request(&mut self, now: Instant) -> bool {
        self.requests.rotate_right(1);
        self.requests[0] = Some(now);
        let is_within = |at: Option<Instant>, time: Duration| {
            at.is_some_and(|at| now.saturating_duration_since(at) < time)
        };
        let is_insistent = self.requests.iter().all(|at| is_within(*at, INSISTENCE));
        let is_paused = !is_within(self.sent, PAUSE);
        // Without a report it may have decoded nothing so far.
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

    /// A viewer that has reported each second that it has all of a hundred packets a second, which came
    /// for three seconds. Returns the time of the last report, too.
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
    fn viewer_that_has_everything_lacks_nothing_when_the_publisher_pauses() {
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
    fn viewer_that_lost_the_end_before_a_pause_lacks_it() {
        let (mut reception, now) = watching();
        for (second, lacks) in [(1, false), (2, true)] {
            let now = now + Duration::from_secs(second);
            // What came with the first report was under way, what is missing in the second was lost.
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
    fn viewer_that_asks_for_packets_or_says_nothing_lacks_something() {
        let (mut reception, now) = watching();
        assert!(!reception.note_keyframe_request(now));
        reception.note_nack(now);
        assert!(reception.note_keyframe_request(now + Duration::from_secs(1)));
        let (mut reception, now) = watching();
        assert!(reception.note_keyframe_request(now + Duration::from_secs(5)));
    }

    #[test]
    fn decoder_that_does_not_go_on_by_itself_is_helped_while_pictures_come() {
        let (mut reception, now) = watching();
        let lacks: Vec<bool> = (0..4)
            .map(|n| {
                let now = now + Duration::from_millis(300 * n);
                reception.note_sent(now);
                reception.note_keyframe_request(now)
            })
            .collect();
        assert_eq!(lacks, [false, false, true, true]);
        // Who asks every two seconds as a habit does not.
        let (mut reception, now) = watching();
        for n in 1..5 {
            let now = now + Duration::from_secs(2 * n);
            reception.note_sent(now);
            reception.note_report(now, 299, false, 300);
            assert!(!reception.note_keyframe_request(now));
        }
    }
}
