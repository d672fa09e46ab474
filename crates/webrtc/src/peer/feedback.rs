//! RTCP feedback of a viewer: reports, NACKs and keyframe requests.

use std::time::{Duration, Instant};

use super::media::Media;
use crate::rtcp::{self, Packet, ReportBlock};
use crate::srtp::SrtcpError;

/// A round trip longer than this is a clock difference or a forged block.
const MAX_ROUND_TRIP: Duration = Duration::from_secs(60);

impl Media {
    /// Handles a compound packet.
    ///
    /// # Errors
    /// Returns [`SrtcpError`] if it is not authentic.
    pub(super) fn handle_rtcp(
        &mut self,
        now: Instant,
        datagram: &mut [u8],
    ) -> Result<(), SrtcpError> {
        let compound = self.open_rtcp(datagram)?;
        let video = self.video.as_ref().map(|video| video.ssrc());
        for packet in rtcp::packets(compound) {
            match packet {
                Packet::Report(blocks) => {
                    for block in blocks.iter() {
                        self.take_report(&block, now);
                    }
                }
                Packet::Nack { media_ssrc, pairs } if Some(media_ssrc) == video => {
                    self.control.note_nack(&pairs);
                }
                Packet::PictureLossIndication { media_ssrc } if Some(media_ssrc) == video => {
                    self.control.note_keyframe_request();
                }
                Packet::FullIntraRequest(requests) => {
                    if let Some(video) = video {
                        self.control.note_intra_request(&requests, video);
                    }
                }
                Packet::Remb(remb) => self.path.handle_remb(remb.bitrate),
                Packet::TransportFeedback(feedback) => {
                    self.path.handle_feedback(now, &feedback);
                    if let Some(video) = &mut self.video {
                        video.note_feedback(now);
                    }
                }
                Packet::ReceiverReferenceTime(time) => {
                    self.control.reference_time = Some((time, now));
                }
                Packet::Nack { .. } | Packet::PictureLossIndication { .. } => {}
            }
        }
        Ok(())
    }

    fn take_report(&mut self, block: &ReportBlock, now: Instant) {
        let is_main = Some(block.ssrc) == self.main_ssrc();
        let reported = [&mut self.video, &mut self.audio].into_iter().flatten();
        if let Some(sender) = reported
            .into_iter()
            .find(|sender| sender.ssrc() == block.ssrc)
        {
            sender.note_report(now, block);
        }
        if self
            .audio
            .as_ref()
            .is_some_and(|audio| audio.ssrc() == block.ssrc)
        {
            self.control.stats.audio_loss = Some(block.fraction_lost);
        }
        if is_main {
            self.control.stats.report = Some(*block);
            let (video, audio) = self.sender_stats();
            let round_trip = self.round_trip(block, now);
            let main = if self.video.is_some() { video } else { audio };
            let sent = (video.octets + audio.octets, main.packets);
            self.path.handle_report(now, block, round_trip, sent);
            if self.path.wants_report() {
                self.reports.hurry(now);
            }
            self.adapt_playout_delay(now);
        }
    }

    /// Returns the round-trip time of a report block (RFC 3550 section 6.4.1): now minus when our
    /// report left minus the time that the viewer kept it.
    fn round_trip(&self, block: &ReportBlock, now: Instant) -> Option<Duration> {
        if block.last_sender_report == 0 {
            return None;
        }
        let now = self.clock.wall.at(now).middle();
        let ticks = now
            .wrapping_sub(block.last_sender_report)
            .wrapping_sub(block.delay);
        let round_trip = Duration::from_nanos((u64::from(ticks) * 1_000_000_000) >> 16);
        (round_trip < MAX_ROUND_TRIP).then_some(round_trip)
    }
}
