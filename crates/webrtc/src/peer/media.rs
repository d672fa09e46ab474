//! What a viewer has once the handshake is done: keys, and a stream for each track.

use std::sync::Arc;
use std::time::{Duration, Instant};

use distributary_media::MediaTime;

use super::{MediaClock, PeerConfig};
use crate::log::Log;
use crate::pacer::Pacer;
use crate::rtcp::packet::NackPairs;
use crate::rtcp::{ReportBlock, SenderInfo, write_bye, write_sender_reports};
use crate::send_buffer::SendBuffer;
use crate::sender::{Progress, RandomStart, RtpSender, SenderConfig, SenderStats};
use crate::srtp::{SrtcpError, SrtcpOpener, SrtcpSealer, SrtpKeys, SrtpSealer};

/// How often sender reports are sent.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Lost packets remembered between two calls of [`Media::retransmit`].
const MAX_PENDING_NACKS: usize = 512;

/// Most bits per second of retransmissions to one viewer: a viewer that asks for everything again
/// must not cost more than one that watches.
const RETRANSMIT_RATE: u64 = 10_000_000;

/// Ticks per second of the media clocks (RFC 6184 section 5.1, RFC 7587 section 4.1).
const VIDEO_RATE: u32 = 90_000;
const AUDIO_RATE: u32 = 48_000;

pub(super) struct Media {
    sealer: SrtpSealer,
    rtcp_sealer: SrtcpSealer,
    rtcp_opener: SrtcpOpener,
    video: Option<RtpSender>,
    audio: Option<RtpSender>,
    clock: MediaClock,
    cname: Arc<str>,
    start_pacing: u64,
    /// Set while the viewer is behind the live edge.
    pacer: Option<Pacer>,
    retransmit_pacer: Pacer,
    /// Sequence numbers of the video that the viewer misses.
    nacks: Vec<u16>,
    next_report: Instant,
}

impl Media {
    pub(super) fn new(
        config: &PeerConfig,
        keys: &SrtpKeys,
        clock: MediaClock,
        now: Instant,
    ) -> Self {
        let sender = |config: SenderConfig| RtpSender::new(config, random_start());
        Self {
            sealer: SrtpSealer::new(&keys.local),
            rtcp_sealer: SrtcpSealer::new(&keys.local),
            rtcp_opener: SrtcpOpener::new(&keys.remote),
            video: config.video.map(sender),
            audio: config.audio.map(sender),
            clock,
            cname: Arc::clone(&config.cname),
            start_pacing: config.start_pacing,
            pacer: Some(Pacer::new(config.start_pacing, now)),
            retransmit_pacer: Pacer::new(RETRANSMIT_RATE, now),
            nacks: Vec::new(),
            next_report: now,
        }
    }

    pub(super) fn is_catching_up(&self) -> bool {
        self.pacer.is_some()
    }

    pub(super) fn send(
        &mut self,
        video_log: &Log,
        audio_log: &Log,
        now: Instant,
        buffer: &mut SendBuffer,
    ) -> Progress {
        let was_silent = self.is_silent();
        // Sound first: it is small, and a picture that fills the buffer must not hold it up.
        let mut progress = Progress::AtHead;
        if let Some(audio) = &mut self.audio {
            progress = audio.send_audio(audio_log, usize::MAX, &self.sealer, buffer);
        }
        if let Some(video) = &mut self.video {
            let budget = self
                .pacer
                .as_mut()
                .map_or(usize::MAX, |pacer| pacer.credit(now));
            let before = buffer.len();
            let video = video.send_video(video_log, now, budget, &self.sealer, buffer);
            match (video, &mut self.pacer) {
                (Progress::Behind, Some(pacer)) => pacer.spend(buffer.len() - before),
                // The socket could not take it, so the path is asked gently from here on.
                (Progress::Behind, None) => self.pacer = Some(Pacer::new(self.start_pacing, now)),
                (Progress::AtHead | Progress::Waiting, _) => self.pacer = None,
            }
            if progress != Progress::Behind {
                progress = video;
            }
        } else {
            self.pacer = None;
        }
        if was_silent && !self.is_silent() {
            // At once, so that the browser can put picture and sound together from the first frame.
            self.next_report = now;
        }
        progress
    }

    /// Keeps in mind which packets of the video the viewer misses. Returns how many it named.
    pub(super) fn note_nack(&mut self, media_ssrc: u32, pairs: &NackPairs<'_>) -> u64 {
        if self
            .video
            .as_ref()
            .is_none_or(|video| video.ssrc() != media_ssrc)
        {
            return 0;
        }
        let mut count = 0;
        for sequence in pairs.sequences() {
            count += 1;
            if self.nacks.len() < MAX_PENDING_NACKS && !self.nacks.contains(&sequence) {
                self.nacks.push(sequence);
            }
        }
        count
    }

    pub(super) fn retransmit(&mut self, video_log: &Log, now: Instant, buffer: &mut SendBuffer) {
        let Some(video) = &mut self.video else { return };
        let mut credit = self.retransmit_pacer.credit(now);
        for sequence in self.nacks.drain(..) {
            if credit == 0 {
                break;
            }
            let sent = video.retransmit(sequence, video_log, &self.sealer, buffer);
            self.retransmit_pacer.spend(sent);
            credit = credit.saturating_sub(sent);
        }
    }

    pub(super) fn open_rtcp<'a>(&mut self, datagram: &'a mut [u8]) -> Result<&'a [u8], SrtcpError> {
        self.rtcp_opener.open(datagram)
    }

    /// The sender reports, sealed, when they are due.
    pub(super) fn poll_report(&mut self, now: Instant) -> Option<Vec<u8>> {
        if now < self.next_report {
            return None;
        }
        let since_epoch = MediaTime::ZERO + now.saturating_duration_since(self.clock.epoch);
        let info = |sender: &Option<RtpSender>, rate: u32| {
            // RTP timestamps count modulo 2^32.
            sender
                .as_ref()
                .and_then(|sender| sender.sender_info(since_epoch.ticks(rate) as u32))
        };
        let sources: Vec<SenderInfo> =
            [info(&self.video, VIDEO_RATE), info(&self.audio, AUDIO_RATE)]
                .into_iter()
                .flatten()
                .collect();
        if sources.is_empty() {
            return None;
        }
        self.next_report = now + REPORT_INTERVAL;
        let mut report = Vec::with_capacity(160);
        write_sender_reports(&mut report, self.clock.wall.at(now), &sources, &self.cname);
        self.rtcp_sealer.seal(&mut report);
        Some(report)
    }

    /// A sealed BYE for what has been sent.
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

    /// The source whose reports tell how the viewer fares: the video, or the audio without one.
    pub(super) fn main_ssrc(&self) -> Option<u32> {
        self.video
            .as_ref()
            .or(self.audio.as_ref())
            .map(RtpSender::ssrc)
    }

    /// Round-trip time that a report block tells (RFC 3550 section 6.4.1): now minus when our report
    /// left minus how long the viewer kept it.
    pub(super) fn round_trip(&self, block: &ReportBlock, now: Instant) -> Option<Duration> {
        if block.last_sender_report == 0 {
            return None;
        }
        let now = self.clock.wall.at(now).middle();
        let ticks = now
            .wrapping_sub(block.last_sender_report)
            .wrapping_sub(block.delay);
        // A clock difference or a forged block would make it hours.
        let round_trip = Duration::from_nanos((u64::from(ticks) * 1_000_000_000) >> 16);
        (round_trip < Duration::from_secs(60)).then_some(round_trip)
    }

    pub(super) fn sender_stats(&self) -> (SenderStats, SenderStats) {
        let stats =
            |sender: &Option<RtpSender>| sender.as_ref().map(RtpSender::stats).unwrap_or_default();
        (stats(&self.video), stats(&self.audio))
    }

    fn is_silent(&self) -> bool {
        let (video, audio) = self.sender_stats();
        video.packets == 0 && audio.packets == 0
    }
}

fn random_start() -> RandomStart {
    RandomStart {
        sequence: rand::random::<u16>() & 0x7fff,
        rtx_sequence: rand::random::<u16>() & 0x7fff,
        timestamp: rand::random(),
    }
}
