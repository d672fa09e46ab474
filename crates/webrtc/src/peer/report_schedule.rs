//! The times at which sender reports are due.

use std::time::{Duration, Instant};

/// Interval of sender reports. It is no part of usual keyframe intervals: reports that always follow
/// keyframes would show the queues of these alone.
const REPORT_INTERVAL: Duration = Duration::from_millis(900);

/// Reports that are sent after the last packet, in case one is lost.
pub(super) const MAX_QUIET_REPORTS: u8 = 2;

/// The same while nothing is sent, if silence is reported, and later when it lasts: few wait so long.
pub(super) const SILENCE_INTERVAL: Duration = Duration::from_millis(250);
const LATE_SILENCE_INTERVAL: Duration = Duration::from_secs(2);
const LATE_SILENCE: Duration = Duration::from_secs(20);

/// Sender reports are due at multiples of this interval on the clock of the stream, so that one
/// wake-up of the driver serves many viewers.
const REPORT_GRID: Duration = Duration::from_millis(100);

/// The times at which sender reports are due: one on the video, and then one on the audio.
///
/// They pause while nothing is sent, because a receiver learns nothing new from a further one, unless
/// silence is reported.
#[derive(Debug)]
pub(super) struct ReportSchedule {
    /// Origin of the clock of the stream.
    epoch: Instant,
    /// See [`PeerConfig::reports_silence`](super::PeerConfig::reports_silence).
    reports_silence: bool,
    next: Instant,
    /// Set between the report on the video and the one on the audio.
    is_audio_due: bool,
    /// Time of the last packet.
    sent_at: Instant,
    /// Time of the last report.
    reported_at: Instant,
    /// Packets sent before the last report, and the reports since then without another packet.
    reported: (u64, u8),
}

impl ReportSchedule {
    pub(super) fn new(epoch: Instant, reports_silence: bool, now: Instant) -> Self {
        Self {
            epoch,
            reports_silence,
            next: now,
            is_audio_due: false,
            sent_at: now,
            reported_at: now,
            reported: (0, 0),
        }
    }

    /// Records that a packet is sent.
    pub(super) fn note_sent(&mut self, now: Instant) {
        self.sent_at = now;
    }

    /// Lets the next reports be due at once.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.next = self.next.min(now);
    }

    /// Returns when the next reports are due; `None` before anything was sent, and while they pause.
    /// `packets` is the number of packets sent of both tracks.
    pub(super) fn poll_timeout(&self, packets: u64) -> Option<Instant> {
        let (before, quiet_reports) = self.reported;
        if self.reports_silence && packets > 0 {
            let silence = self.sent_at + SILENCE_INTERVAL;
            let is_next = self.reported_at < silence && silence < self.next;
            return Some(if is_next { silence } else { self.next });
        }
        let is_paused = quiet_reports >= MAX_QUIET_REPORTS && packets == before;
        (packets > 0 && !is_paused).then_some(self.next)
    }

    /// Returns whether reports begin now: that on the video is due, and that on the audio will be.
    /// `has_video`: any packet of the video was sent.
    pub(super) fn begin(&mut self, now: Instant, packets: u64, has_video: bool) -> bool {
        if self.is_audio_due || self.poll_timeout(packets).is_none_or(|due| now < due) {
            return false;
        }
        let (before, quiet_reports) = self.reported;
        let quiet_reports = if packets == before {
            quiet_reports.saturating_add(1)
        } else {
            0
        };
        self.reported = (packets, quiet_reports);
        self.reported_at = now;
        self.next = self.on_grid(now) + self.interval(now);
        // One report is enough to say that the gateway is there.
        self.is_audio_due = !self.reports_silence || quiet_reports == 0 || !has_video;
        true
    }

    /// Returns whether the report on the audio is due, and takes it for sent.
    pub(super) fn take_audio(&mut self) -> bool {
        std::mem::take(&mut self.is_audio_due)
    }

    /// Returns the time from a report at `now` to the next one.
    fn interval(&self, now: Instant) -> Duration {
        match now.saturating_duration_since(self.sent_at) {
            _ if !self.reports_silence => REPORT_INTERVAL,
            silence if silence < SILENCE_INTERVAL => REPORT_INTERVAL,
            silence if silence < LATE_SILENCE => SILENCE_INTERVAL,
            _ => LATE_SILENCE_INTERVAL,
        }
    }

    /// Returns the last point of the grid at or before `now`.
    fn on_grid(&self, now: Instant) -> Instant {
        let since_epoch = now.saturating_duration_since(self.epoch);
        let behind = since_epoch.as_nanos() % REPORT_GRID.as_nanos();
        // Less than the grid, which fits.
        now - Duration::from_nanos(behind as u64)
    }
}
