//! The media of a viewer once the handshake is done: keys, and an RTP stream per track.

use std::sync::Arc;
use std::time::Instant;

use distributary_media::MediaTime;

use super::config::PeerConfig;
use super::control::Control;
use super::playout_delay::{DelayController, DelayPolicy, PathState};
use super::repairs::{self, Repairs};
use super::report_schedule::ReportSchedule;
use super::stats::PeerStats;
use crate::bandwidth::{PathEstimator, StreamPart};
use crate::log::Log;
use crate::media_clock::MediaClock;
use crate::pacer::Pacer;
use crate::rtcp::{SenderInfo, write_bye, write_dlrr, write_sender_report};
use crate::send_buffer::SendBuffer;
use crate::sender::{
    LogChange, Progress, RandomStart, RepairLogs, RtpSender, SenderConfig, SenderStats, Wire,
};
use crate::srtp::{SrtcpError, SrtcpOpener, SrtcpSealer, SrtpKeys, SrtpSealer};

/// Frames of more packets than this are paced.
const LARGE_FRAME: u64 = 64;

/// Ticks per second of the media clocks (RFC 6184 section 5.1, RFC 7587 section 4.1).
const VIDEO_RATE: u32 = 90_000;
const AUDIO_RATE: u32 = 48_000;

pub(super) struct Media {
    sealer: SrtpSealer,
    rtcp_sealer: SrtcpSealer,
    rtcp_opener: SrtcpOpener,
    pub(super) video: Option<RtpSender>,
    pub(super) audio: Option<RtpSender>,
    pub(super) clock: MediaClock,
    cname: Arc<str>,
    pace_frames: bool,
    /// Set while the viewer is behind the live edge, or its path slower than the stream.
    pacer: Option<Pacer>,
    /// True if the pacer or a full buffer held back packets that are in the log.
    is_behind: bool,
    /// True if the pacer spreads a large frame of a viewer that was at the live edge.
    spreads_frame: bool,
    pub(super) repairs: Repairs,
    pub(super) path: PathEstimator,
    /// Set if the playout delay follows the path.
    delay: Option<DelayController>,
    /// The viewer's RTCP feedback.
    pub(super) control: Control,
    pub(super) reports: ReportSchedule,
}

impl Media {
    pub(super) fn new(
        config: &PeerConfig,
        keys: &SrtpKeys,
        clock: MediaClock,
        now: Instant,
    ) -> Self {
        let sender = |config: SenderConfig| RtpSender::new(config, random_start());
        let has_feedback = |config: &SenderConfig| config.has_transport_feedback();
        let expects_feedback = config.video.as_ref().is_some_and(has_feedback);
        let mut path = PathEstimator::new(now, config.start_pacing, expects_feedback);
        if config
            .video
            .as_ref()
            .is_none_or(|video| video.rtx().is_none())
        {
            path.forbid_probes();
        }
        let mut video = config.video.map(sender);
        match (config.playout_delay, &mut video) {
            (DelayPolicy::Fixed(delay), Some(video)) => video.set_playout_delay(now, delay),
            (DelayPolicy::Auto, Some(video)) => video.hurry_after_leaps(),
            _ => {}
        }
        Self {
            sealer: SrtpSealer::new(&keys.local),
            rtcp_sealer: SrtcpSealer::new(&keys.local),
            rtcp_opener: SrtcpOpener::new(&keys.remote),
            video,
            audio: config.audio.map(sender),
            clock,
            cname: Arc::clone(&config.cname),
            pace_frames: config.pace_frames,
            pacer: Some(Pacer::new(config.start_pacing, now)),
            is_behind: true,
            spreads_frame: false,
            repairs: Repairs::new(now),
            path,
            delay: (config.playout_delay == DelayPolicy::Auto).then(DelayController::default),
            control: Control::default(),
            reports: ReportSchedule::new(clock.epoch, config.reports_silence, now),
        }
    }

    /// Returns whether no more may be sealed with the keys.
    pub(super) fn is_used_up(&self) -> bool {
        self.rtcp_sealer.is_used_up()
    }

    /// See [`super::Peer::change_video`].
    pub(super) fn change_video(
        &mut self,
        from: &Log,
        to: &Log,
        now: Instant,
        change: LogChange,
    ) -> bool {
        let video = self.video.as_mut();
        let has_changed = video.is_none_or(|video| video.change_log(from, to, now, change));
        if has_changed {
            self.path.note_moved(now);
        }
        has_changed
    }

    pub(super) fn sent_until(&self) -> Option<MediaTime> {
        self.video.as_ref()?.sent_until()
    }

    pub(super) fn is_catching_up(&self) -> bool {
        self.pacer.is_some() && self.is_behind || self.path.is_probing()
    }

    pub(super) fn send(
        &mut self,
        video_log: &Log,
        audio_log: &Log,
        now: Instant,
        buffer: &mut SendBuffer,
    ) -> Progress {
        let tracks_before = self.begun_tracks();
        let limit = self.path.limit();
        let is_opening = self.video.as_ref().is_some_and(RtpSender::is_opening);
        self.pace_large_frame(video_log, now);
        let catch_up = self.catch_up_rate(video_log, is_opening);
        self.set_pace(limit, catch_up, now);
        let before = buffer.len();
        let mut wire = Wire::new(now, &self.clock, &self.sealer, buffer, self.path.sent_mut());
        // A frame that fills the buffer must not delay the audio. At the live edge none does, and
        // audio after a frame is sent with the same system call.
        let audio_first = self.pacer.is_some();
        let mut progress = Progress::AtHead;
        if audio_first {
            progress = send_audio(&mut self.audio, audio_log, &mut wire);
        }
        let audio_len = wire.written() - before;
        let mut video_progress = Progress::AtHead;
        if let Some(video) = &mut self.video {
            let credit = |pacer: &mut Pacer| pacer.credit(now);
            let budget = self.pacer.as_mut().map_or(usize::MAX, credit);
            video_progress = video.send_video(video_log, budget, limit.is_some(), &mut wire);
            if progress != Progress::Behind {
                progress = video_progress;
            }
        }
        if !audio_first && send_audio(&mut self.audio, audio_log, &mut wire) == Progress::Behind {
            progress = Progress::Behind;
        }
        self.is_behind = progress == Progress::Behind;
        let total = buffer.len() - before;
        if total > 0 {
            self.reports.note_sent(now);
        }
        if self.pacer.is_some() && total > 0 {
            self.path.note_catch_up(now, total);
        }
        if limit.is_some() {
            self.spend(total);
            if self
                .video
                .as_ref()
                .is_some_and(|video| video.is_late(video_log, now))
            {
                self.path.note_held(now);
            }
        } else {
            match video_progress {
                Progress::Behind if self.pacer.is_some() => self.spend(total - audio_len),
                // The socket buffer was full, so send at a slower pace from here on.
                Progress::Behind => self.pacer = Some(pacer(&self.path, catch_up, now)),
                Progress::AtHead | Progress::Waiting => self.pacer = None,
            }
        }
        let has_opened = self.video.as_ref().is_some_and(|video| !video.is_opening());
        if is_opening && has_opened && self.is_behind {
            // What is left of the credit for the keyframe is not for the frames that follow.
            let rate = self.catch_up_rate(video_log, false);
            self.pacer = Some(Pacer::smooth(rate, now));
        }
        if self.path.is_probing() {
            self.send_cluster(video_log, now, buffer);
        }
        if self.begun_tracks() != tracks_before {
            // At once, so that the browser can synchronize audio and video from the first frame.
            self.reports.hurry(now);
        }
        progress
    }

    /// Sends the packets of a cluster that are due, unless media waits.
    fn send_cluster(&mut self, video_log: &Log, now: Instant, buffer: &mut SendBuffer) {
        let due = self.path.probe_due(now).filter(|_| !self.is_behind);
        let mut bytes = 0;
        if let (Some(due), Some(video)) = (due, &mut self.video) {
            let mut wire = Wire::new(now, &self.clock, &self.sealer, buffer, self.path.sent_mut());
            bytes = video.repeat(video_log, due, &mut wire);
        }
        self.path.note_probe(now, bytes);
        if self.path.wants_report() {
            self.reports.hurry(now);
        }
    }

    /// Starts pacing if a frame is too large for the queues of a slow last mile, so that it is
    /// spread over some milliseconds. Newcomers get the GOP at the same pace.
    fn pace_large_frame(&mut self, video_log: &Log, now: Instant) {
        let pending = self
            .video
            .as_ref()
            .map_or(0, |video| video.pending(video_log));
        if self.pacer.is_none() {
            self.spreads_frame = self.pace_frames && pending > LARGE_FRAME;
            if self.spreads_frame {
                let rate = self.catch_up_rate(video_log, false);
                self.pacer = Some(pacer(&self.path, rate, now));
            }
        }
    }

    /// Returns the rate at which the viewer is sent what it lacks.
    fn catch_up_rate(&mut self, video_log: &Log, is_opening: bool) -> u64 {
        let part = if is_opening {
            StreamPart::Opening
        } else if self.spreads_frame {
            StreamPart::Live
        } else {
            StreamPart::Backlog
        };
        self.path.catch_up_rate(video_log.bitrate(), part)
    }

    /// Paces packets to the path bandwidth if the path is slower than the stream, and to the rate
    /// for catching up otherwise.
    fn set_pace(&mut self, limit: Option<u64>, catch_up: u64, now: Instant) {
        let Some(limit) = limit.filter(|_| self.video.is_some()) else {
            if let Some(pacer) = &mut self.pacer {
                pacer.set_rate(catch_up, now);
            }
            return;
        };
        let rate = limit.min(catch_up);
        self.pacer
            .get_or_insert_with(|| Pacer::smooth(rate, now))
            .set_rate(rate, now);
    }

    fn spend(&mut self, bytes: usize) {
        if let Some(pacer) = &mut self.pacer {
            pacer.spend(bytes);
        }
    }

    /// Retransmits lost packets, and schedules a replay of the GOP if the viewer asked for a
    /// keyframe and that helps.
    pub(super) fn retransmit(
        &mut self,
        logs: RepairLogs<'_>,
        now: Instant,
        buffer: &mut SendBuffer,
    ) {
        let Some(video) = &mut self.video else { return };
        let round_trip = self.path.round_trip();
        let is_slow = self.path.limit().is_some();
        if self.control.take_keyframe_request()
            // On a slow path the next keyframe comes sooner than the end of a replay.
            && !is_slow
            && video.replay(logs.present, now, round_trip.unwrap_or_default())
        {
            let rate = self
                .path
                .catch_up_rate(logs.present.bitrate(), StreamPart::Opening);
            self.pacer
                .get_or_insert_with(|| pacer(&self.path, rate, now));
            self.is_behind = true;
        }
        if !self.control.nacks.is_empty() {
            self.path.handle_nack(now);
            self.repairs.add(now, &self.control.nacks, video, logs);
            self.control.nacks.clear();
        }
        if self.repairs.is_empty() {
            return;
        }
        let interval = repairs::resend_interval(round_trip, self.path.reordering());
        let pacer = self.pacer.as_mut().filter(|_| is_slow);
        let credit = pacer.map_or(usize::MAX, |pacer| pacer.credit(now));
        let is_blind = self.path.is_blind();
        let mut wire = Wire::new(now, &self.clock, &self.sealer, buffer, self.path.sent_mut());
        let total = self
            .repairs
            .send(video, logs, interval, credit, is_blind, &mut wire);
        if is_slow {
            self.spend(total);
            // What waited would take all that the path carries from the live video.
            self.repairs.clear();
        }
        self.adapt_playout_delay(now);
    }

    /// Lets the playout delay follow the losses of the path.
    pub(super) fn adapt_playout_delay(&mut self, now: Instant) {
        let (Some(controller), Some(video)) = (&mut self.delay, &mut self.video) else {
            return;
        };
        let stats = video.stats();
        let path = PathState {
            packets: stats.packets,
            resent: stats.retransmitted - stats.of_outages,
            round_trip: self.path.round_trip(),
            reordering: self.path.reordering(),
            is_queueing: self.path.is_queueing(),
        };
        if let Some(delay) = controller.update(now, path) {
            video.set_playout_delay(now, delay);
        }
    }

    pub(super) fn open_rtcp<'a>(&mut self, datagram: &'a mut [u8]) -> Result<&'a [u8], SrtcpError> {
        self.rtcp_opener.open(datagram)
    }

    /// Returns when the next sender report is due; `None` if none is.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.reports.poll_timeout(self.packets())
    }

    /// Returns the number of packets sent of both tracks.
    fn packets(&self) -> u64 {
        let (video, audio) = self.sender_stats();
        video.packets + audio.packets
    }

    /// Returns the next sender report, sealed, when it is due: one packet per SSRC.
    pub(super) fn poll_report(&mut self, now: Instant) -> Option<Vec<u8>> {
        let since_epoch = MediaTime::ZERO + now.saturating_duration_since(self.clock.epoch);
        let info = |sender: &Option<RtpSender>, rate: u32| {
            let sender = sender.as_ref()?;
            // RTP timestamps count modulo 2^32.
            sender.sender_info(since_epoch.ticks(rate) as u32)
        };
        let video = info(&self.video, VIDEO_RATE);
        if self.reports.begin(now, self.packets(), video.is_some())
            && let Some(info) = video
        {
            let time = self.clock.wall.at(now).middle();
            self.path.note_sender_report(now, time);
            return Some(self.report(info, now));
        }
        if !self.reports.take_audio() {
            return None;
        }
        let info = info(&self.audio, AUDIO_RATE)?;
        Some(self.report(info, now))
    }

    fn report(&mut self, info: SenderInfo, now: Instant) -> Vec<u8> {
        let mut report = Vec::with_capacity(160);
        write_sender_report(&mut report, self.clock.wall.at(now), &info, &self.cname);
        if let Some((time, came)) = self.control.reference_time.take() {
            let held = now.saturating_duration_since(came);
            // 65536ths of a second (RFC 3611 section 4.5). The receiver has forgotten delays that
            // do not fit.
            let delay = (held.as_nanos() << 16) / 1_000_000_000;
            write_dlrr(&mut report, info.ssrc, time, delay as u32);
        }
        self.rtcp_sealer.seal(&mut report);
        report
    }

    /// Returns a sealed BYE for the streams that have started.
    pub(super) fn goodbye(&mut self) -> Option<Vec<u8>> {
        let ssrcs: Vec<u32> = [&self.video, &self.audio]
            .into_iter()
            .flatten()
            .filter(|sender| sender.stats().packets > 0)
            .map(RtpSender::ssrc)
            .collect();
        let mut bye = Vec::new();
        write_bye(&mut bye, &ssrcs);
        if bye.is_empty() {
            return None;
        }
        self.rtcp_sealer.seal(&mut bye);
        Some(bye)
    }

    /// Returns the SSRC whose receiver reports are used: of the video, or of the audio if there is
    /// no video.
    pub(super) fn main_ssrc(&self) -> Option<u32> {
        self.video
            .as_ref()
            .or(self.audio.as_ref())
            .map(RtpSender::ssrc)
    }

    /// Returns the stats of the viewer's path and feedback.
    pub(super) fn stats(&self) -> PeerStats {
        PeerStats {
            round_trip: self.path.round_trip(),
            bandwidth: self.path.estimate(),
            is_limited: self.path.limit().is_some(),
            playout_delay: self.delay.as_ref().map(DelayController::asked),
            ..self.control.stats
        }
    }

    pub(super) fn sender_stats(&self) -> (SenderStats, SenderStats) {
        let stats =
            |sender: &Option<RtpSender>| sender.as_ref().map(RtpSender::stats).unwrap_or_default();
        (stats(&self.video), stats(&self.audio))
    }

    /// Returns whether any packet was sent of the video and of the audio.
    fn begun_tracks(&self) -> [bool; 2] {
        let (video, audio) = self.sender_stats();
        [video, audio].map(|stats| stats.packets > 0)
    }
}

fn send_audio(audio: &mut Option<RtpSender>, log: &Log, wire: &mut Wire<'_>) -> Progress {
    let send = |audio: &mut RtpSender| audio.send_audio(log, wire);
    audio.as_mut().map_or(Progress::AtHead, send)
}

/// Returns a pacer of `rate` bits per second. A burst would only queue on a path that is known to
/// carry no more.
fn pacer(path: &PathEstimator, rate: u64, now: Instant) -> Pacer {
    if path.is_explored() {
        Pacer::smooth(rate, now)
    } else {
        Pacer::new(rate, now)
    }
}

fn random_start() -> RandomStart {
    RandomStart {
        sequence: rand::random::<u16>() & 0x7fff,
        rtx_sequence: rand::random::<u16>() & 0x7fff,
        timestamp: rand::random(),
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use std::time::{Duration, SystemTime};

    use distributary_media::VideoCodec;
    use distributary_media::test_util::video_frame;

    use super::*;
    use crate::dtls::DtlsRole;
    use crate::ice::Credentials;
    use crate::log::LogLimits;
    use crate::peer::report_schedule::{MAX_QUIET_REPORTS, SILENCE_INTERVAL};
    use crate::rtcp::ntp::WallClock;
    use crate::rtp::StreamExtensions;
    use crate::sender::Resend;
    use crate::srtp::SrtpProfile;
    use crate::srtp::test_support::master;

    fn media(pace_frames: bool, now: Instant) -> Media {
        configured(pace_frames, false, now)
    }

    fn configured(pace_frames: bool, reports_silence: bool, now: Instant) -> Media {
        let config = PeerConfig {
            local: Credentials::generate().unwrap(),
            remote: Credentials::generate().unwrap(),
            fingerprints: Vec::new(),
            role: DtlsRole::Server,
            video: Some(SenderConfig {
                ssrc: 1,
                codec: Some(VideoCodec::H264),
                payload_type: 96,
                red: None,
                resend: Resend::Same,
                extensions: StreamExtensions::default(),
                reorders: false,
            }),
            audio: None,
            data: None,
            cname: "cname".into(),
            start_pacing: 40_000_000,
            pace_frames,
            playout_delay: DelayPolicy::Auto,
            reports_silence,
        };
        let key = master(SrtpProfile::AeadAes128Gcm, 1);
        let keys = SrtpKeys {
            local: key.clone(),
            remote: key,
        };
        let clock = MediaClock {
            epoch: now,
            wall: WallClock::new(now, SystemTime::UNIX_EPOCH),
        };
        Media::new(&config, &keys, clock, now)
    }

    #[test]
    fn reports_pause_while_nothing_is_sent_and_resume_with_the_next_packet() {
        let start = Instant::now();
        let (audio, mut log) = (
            Log::new(48_000, LogLimits::default()),
            Log::new(90_000, LogLimits::default()),
        );
        let mut media = media(true, start);
        let mut buffer = SendBuffer::new(1 << 20);
        assert_eq!(media.poll_timeout(), None, "nothing was sent yet");
        let mut now = start;
        for millis in [0, 60_000] {
            now = start + Duration::from_millis(millis as u64);
            log.push_video(&video_frame(millis, true, 1000), now);
            media.send(&log, &audio, now, &mut buffer);
            assert!(media.poll_timeout().is_some_and(|due| due <= now));
            let mut reports = 0;
            while let Some(due) = media.poll_timeout() {
                now = now.max(due);
                assert!(now < start + Duration::from_millis(millis as u64 + 3000));
                reports += usize::from(media.poll_report(now).is_some());
                assert_eq!(media.poll_report(now), None, "there is no audio");
            }
            assert_eq!(reports, 1 + usize::from(MAX_QUIET_REPORTS));
        }
        assert_eq!(media.poll_report(now + Duration::from_secs(60)), None);
    }

    #[test]
    fn viewer_of_a_silent_publisher_hears_from_the_gateway_several_times_a_second() {
        let start = Instant::now();
        let (audio, mut log) = (
            Log::new(48_000, LogLimits::default()),
            Log::new(90_000, LogLimits::default()),
        );
        let mut media = configured(true, true, start);
        let mut buffer = SendBuffer::new(1 << 20);
        assert_eq!(media.poll_timeout(), None, "nothing was sent yet");
        let mut reports = Vec::new();
        let mut heard = start;
        let mut run = |media: &mut Media, until: u64, reports: &mut Vec<Duration>| {
            while let Some(due) = media.poll_timeout()
                && due < start + Duration::from_millis(until)
            {
                if media.poll_report(due).is_some() {
                    reports.push(due.saturating_duration_since(heard));
                    heard = due;
                }
            }
        };
        // A frame each 100 ms, and then none.
        for millis in (0..=2000).step_by(100) {
            run(&mut media, millis, &mut reports);
            let now = start + Duration::from_millis(millis);
            log.push_video(&video_frame(millis as i64, true, 1000), now);
            media.send(&log, &audio, now, &mut buffer);
        }
        assert!(reports.len() <= 3, "{reports:?}");
        reports.clear();
        run(&mut media, 20_000, &mut reports);
        assert!(
            // The first one ends what began with the last frame at the latest.
            reports[1..].iter().all(|pause| *pause <= SILENCE_INTERVAL),
            "{reports:?}"
        );
        assert!((70..=130).contains(&reports.len()), "{}", reports.len());
        // It costs less when it lasts.
        run(&mut media, 30_000, &mut reports);
        reports.clear();
        run(&mut media, 630_000, &mut reports);
        assert!((290..=320).contains(&reports.len()), "{}", reports.len());
    }

    /// Returns the bytes sent in each tick of 5 ms after a keyframe of `len` bytes comes to a
    /// viewer at the live edge, until everything is sent.
    fn bursts(pace_frames: bool, len: usize) -> Vec<usize> {
        let start = Instant::now();
        let (audio, mut log) = (
            Log::new(48_000, LogLimits::default()),
            Log::new(90_000, LogLimits::default()),
        );
        let mut media = media(pace_frames, start);
        let mut buffer = SendBuffer::new(1 << 20);
        log.push_video(&video_frame(0, true, 1000), start);
        media.send(&log, &audio, start, &mut buffer);
        assert!(!media.is_catching_up());

        log.push_video(
            &video_frame(1000, true, len),
            start + Duration::from_secs(1),
        );
        let mut bursts = Vec::new();
        for tick in 0..100 {
            buffer.clear();
            let now = start + Duration::from_millis(1000 + 5 * tick);
            let progress = media.send(&log, &audio, now, &mut buffer);
            bursts.push(buffer.len());
            if progress == Progress::AtHead {
                assert!(!media.is_catching_up());
                return bursts;
            }
        }
        panic!("never at the live edge: {bursts:?}");
    }

    #[test]
    fn only_large_frames_are_spread_over_some_milliseconds() {
        let spread = bursts(true, 200_000);
        assert!(spread.iter().all(|burst| *burst <= 66_000), "{spread:?}");
        assert!((3..=8).contains(&spread.len()), "{spread:?}");
        assert_eq!(bursts(true, 60_000).len(), 1);
        assert_eq!(bursts(false, 200_000).len(), 1);
    }
}
