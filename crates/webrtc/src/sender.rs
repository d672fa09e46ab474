//! One RTP stream to one viewer: a cursor in the log of a track.

use std::time::Instant;

use crate::log::{Log, LoggedPacket};
use crate::rtcp::SenderInfo;
use crate::rtp::RtpHeader;
use crate::send_buffer::SendBuffer;
use crate::srtp::SrtpSealer;

/// Bytes of the original sequence number in front of a retransmitted payload (RFC 4588 section 4).
const OSN_LEN: usize = 2;

/// Media older than this is given up for the newest keyframe when there is one: the viewer's path
/// or socket did not keep up.
const MAX_BEHIND: std::time::Duration = std::time::Duration::from_secs(1);

/// Identifiers of an RTP stream, as the answer announced them.
#[derive(Clone, Copy, Debug)]
pub struct SenderConfig {
    /// The source.
    pub ssrc: u32,
    /// The payload type of the offer.
    pub payload_type: u8,
    /// Source and payload type of retransmissions (RFC 4588), where they were negotiated.
    pub rtx: Option<(u32, u8)>,
}

/// Values an RTP stream starts from; random, as RFC 3550 section 5.1 asks for.
#[derive(Clone, Copy, Debug)]
pub struct RandomStart {
    /// Sequence number of the first packet; below 2^15, so that a receiver cannot mistake an early
    /// wrap (RFC 3711 section 3.3.1).
    pub sequence: u16,
    /// Sequence number of the first retransmission; below 2^15 too.
    pub rtx_sequence: u16,
    /// What is added to the timestamps of the log.
    pub timestamp: u32,
}

/// Sends a track to one viewer.
///
/// It holds no packets: its sequence numbers are those of the log plus an offset, so a packet that
/// must be sent again is looked up in the log that all viewers share.
#[derive(Debug)]
pub struct RtpSender {
    config: SenderConfig,
    /// Number of the packet to send next, once there is one to start with.
    cursor: Option<u64>,
    /// 48-bit packet index minus number in the log, modulo 2^64.
    offset: u64,
    /// Index from which `offset` holds: packets before it cannot be sent again.
    offset_since: u64,
    /// Index of the next packet.
    next_index: u64,
    next_rtx_index: u64,
    timestamp_offset: u32,
    stats: SenderStats,
}

/// What was sent, in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderStats {
    /// Packets sent, retransmissions not counted.
    pub packets: u64,
    /// Payload bytes of them.
    pub octets: u64,
    /// Packets sent again.
    pub retransmitted: u64,
    /// How often the viewer was behind and was moved to the newest keyframe.
    pub skips: u64,
}

/// What a call to `RtpSender::send` left undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Everything in the log has been sent.
    AtHead,
    /// The budget or the buffer was used up first.
    Behind,
    /// There is nothing to start with: no keyframe has come.
    Waiting,
}

impl RtpSender {
    /// A stream that has not begun.
    pub fn new(config: SenderConfig, start: RandomStart) -> Self {
        let first = |sequence: u16| u64::from(sequence & 0x7fff);
        Self {
            config,
            cursor: None,
            offset: 0,
            offset_since: first(start.sequence),
            next_index: first(start.sequence),
            next_rtx_index: first(start.rtx_sequence),
            timestamp_offset: start.timestamp,
            stats: SenderStats::default(),
        }
    }

    /// The sources it sends as: the media, and the retransmissions if there are any.
    pub fn ssrcs(&self) -> impl Iterator<Item = u32> {
        std::iter::once(self.config.ssrc).chain(self.config.rtx.map(|(ssrc, _)| ssrc))
    }

    /// The source of the media.
    pub fn ssrc(&self) -> u32 {
        self.config.ssrc
    }

    /// What was sent so far.
    pub fn stats(&self) -> SenderStats {
        self.stats
    }

    /// Begins with what comes next in the log: for sound, of which the past is never sent.
    pub fn start_at_head(&mut self, log: &Log) {
        self.move_to(log.head());
    }

    /// Sends what the log has from the cursor on, until `budget` bytes are used up or `buffer` is
    /// full. `is_video`: the stream begins, and after a gap goes on, at a keyframe.
    pub fn send_video(
        &mut self,
        log: &Log,
        now: Instant,
        budget: usize,
        sealer: &SrtpSealer,
        buffer: &mut SendBuffer,
    ) -> Progress {
        if !self.place_at_keyframe(log, now) {
            return Progress::Waiting;
        }
        self.send(log, budget, sealer, buffer)
    }

    /// Sends the sound that the log has from the cursor on, as [`Self::send_video`] does. Sound that
    /// is no longer in the log is passed over.
    pub fn send_audio(
        &mut self,
        log: &Log,
        budget: usize,
        sealer: &SrtpSealer,
        buffer: &mut SendBuffer,
    ) -> Progress {
        if self
            .cursor
            .is_none_or(|cursor| cursor < log.head() && log.get(cursor).is_none())
        {
            self.start_at_head(log);
        }
        self.send(log, budget, sealer, buffer)
    }

    /// Puts the cursor where sending can go on: where it is, or at the newest keyframe when the
    /// stream begins or has fallen behind. `false` when there is no such place yet.
    fn place_at_keyframe(&mut self, log: &Log, now: Instant) -> bool {
        let Some(cursor) = self.cursor else {
            let Some(keyframe) = log.keyframe() else {
                return false;
            };
            self.move_to(keyframe);
            return true;
        };
        let is_lost = cursor < log.head() && log.get(cursor).is_none();
        let is_old = log
            .get(cursor)
            .is_some_and(|packet| now.saturating_duration_since(packet.at) > MAX_BEHIND);
        match log.keyframe() {
            Some(keyframe) if (is_lost || is_old) && keyframe > cursor => {
                self.move_to(keyframe);
                self.stats.skips += 1;
                true
            }
            _ => !is_lost,
        }
    }

    /// Moves the cursor; sequence numbers go on without a gap.
    fn move_to(&mut self, number: u64) {
        self.cursor = Some(number);
        self.offset = self.next_index.wrapping_sub(number);
        self.offset_since = self.next_index;
    }

    fn send(
        &mut self,
        log: &Log,
        budget: usize,
        sealer: &SrtpSealer,
        buffer: &mut SendBuffer,
    ) -> Progress {
        let Some(mut number) = self.cursor else {
            return Progress::Waiting;
        };
        let mut sent = 0;
        let progress = loop {
            let Some(packet) = log.get(number) else {
                break Progress::AtHead;
            };
            let len = RtpHeader::LEN + packet.payload.len() + sealer.tag_len();
            if sent + len > budget || len > buffer.remaining() {
                break Progress::Behind;
            }
            self.write(packet, self.next_index, sealer, buffer.packet(len));
            sent += len;
            number += 1;
            self.next_index += 1;
            self.stats.packets += 1;
            self.stats.octets += packet.payload.len() as u64;
        };
        self.cursor = Some(number);
        progress
    }

    /// Sends the packet with this sequence number again, as a retransmission where they were
    /// negotiated. Returns the bytes written: none when the log does not have it any more, or the
    /// buffer no room.
    pub fn retransmit(
        &mut self,
        sequence: u16,
        log: &Log,
        sealer: &SrtpSealer,
        buffer: &mut SendBuffer,
    ) -> usize {
        let Some(index) = self.sent_index(sequence) else {
            return 0;
        };
        let Some(packet) = log.get(index.wrapping_sub(self.offset)) else {
            return 0;
        };
        let plain = RtpHeader::LEN + packet.payload.len() + sealer.tag_len();
        let len = if self.config.rtx.is_some() {
            plain + OSN_LEN
        } else {
            plain
        };
        if len > buffer.remaining() {
            return 0;
        }
        match self.config.rtx {
            Some((ssrc, payload_type)) => {
                let index = self.next_rtx_index;
                self.next_rtx_index += 1;
                let header = self.header(packet, ssrc, payload_type, index);
                let out = buffer.packet(len);
                let (head, rest) = out.split_at_mut(RtpHeader::LEN);
                head.copy_from_slice(&header.to_bytes());
                let (osn, rest) = rest.split_at_mut(OSN_LEN);
                osn.copy_from_slice(&sequence.to_be_bytes());
                packet.payload.copy_to(rest);
                sealer.seal(out, ssrc, index);
            }
            // The same packet under the same index: sealed to the same bytes as the first time.
            None => self.write(packet, index, sealer, buffer.packet(len)),
        }
        self.stats.retransmitted += 1;
        len
    }

    /// The index under which the packet with this sequence number was sent last, if the present
    /// offset leads to it.
    fn sent_index(&self, sequence: u16) -> Option<u64> {
        let last = self.next_index.checked_sub(1)?;
        let age = u64::from((last as u16).wrapping_sub(sequence));
        last.checked_sub(age)
            .filter(|index| *index >= self.offset_since)
    }

    /// Header, payload and tag of a packet of the media.
    fn write(&self, packet: &LoggedPacket, index: u64, sealer: &SrtpSealer, out: &mut [u8]) {
        let SenderConfig {
            ssrc, payload_type, ..
        } = self.config;
        let (head, rest) = out.split_at_mut(RtpHeader::LEN);
        head.copy_from_slice(&self.header(packet, ssrc, payload_type, index).to_bytes());
        packet.payload.copy_to(rest);
        sealer.seal(out, ssrc, index);
    }

    fn header(&self, packet: &LoggedPacket, ssrc: u32, payload_type: u8, index: u64) -> RtpHeader {
        RtpHeader {
            payload_type,
            marker: packet.marker,
            sequence: index as u16,
            timestamp: packet.timestamp.wrapping_add(self.timestamp_offset),
            ssrc,
        }
    }

    /// What a sender report says; `media_now` is the media clock of the stream at the report's
    /// wall-clock time. `None` before the first packet.
    pub fn sender_info(&self, media_now: u32) -> Option<SenderInfo> {
        (self.stats.packets > 0).then(|| SenderInfo {
            ssrc: self.config.ssrc,
            rtp_timestamp: media_now.wrapping_add(self.timestamp_offset),
            // Both counters are modulo 2^32 (RFC 3550 section 6.4.1).
            packets: self.stats.packets as u32,
            octets: self.stats.octets as u32,
        })
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;
    use crate::log::LogLimits;
    use crate::srtp::SrtpProfile;
    use crate::srtp::test_support::{master, webrtc_context};
    use distributary_media::{MediaTime, VideoCodec, VideoFrame};
    use std::time::Duration;

    struct Harness {
        log: Log,
        sender: RtpSender,
        sealer: SrtpSealer,
        opener: webrtc_srtp::context::Context,
        buffer: SendBuffer,
        now: Instant,
    }

    /// Sequence number, timestamp, first payload bytes of a packet that the viewer opened.
    #[derive(Debug, PartialEq, Eq)]
    struct Received {
        payload_type: u8,
        sequence: u16,
        timestamp: u32,
        ssrc: u32,
        payload: Vec<u8>,
    }

    impl Harness {
        fn new(rtx: Option<(u32, u8)>, sequence: u16) -> Self {
            let master = master(SrtpProfile::AeadAes128Gcm, 1);
            let config = SenderConfig {
                ssrc: 5,
                payload_type: 108,
                rtx,
            };
            let start = RandomStart {
                sequence,
                rtx_sequence: 100,
                timestamp: 1000,
            };
            Self {
                log: Log::new(90_000, LogLimits::default()),
                sender: RtpSender::new(config, start),
                sealer: SrtpSealer::new(&master),
                opener: webrtc_context(&master),
                buffer: SendBuffer::new(1 << 20),
                now: Instant::now(),
            }
        }

        /// A picture of one packet whose payload is the NAL header and `mark`.
        fn picture(&mut self, mark: u8, keyframe: bool) {
            let unit = vec![if keyframe { 0x65 } else { 0x41 }, mark];
            let at = MediaTime::from_millis(i64::from(mark) * 33);
            self.log.push_video(
                &VideoFrame {
                    codec: VideoCodec::H264,
                    pts: at,
                    dts: at,
                    keyframe,
                    units: vec![unit.into()],
                },
                self.now,
            );
        }

        fn send(&mut self, budget: usize) -> Progress {
            self.sender
                .send_video(&self.log, self.now, budget, &self.sealer, &mut self.buffer)
        }

        fn retransmit(&mut self, sequence: u16) -> usize {
            self.sender
                .retransmit(sequence, &self.log, &self.sealer, &mut self.buffer)
        }

        /// What the viewer gets of the buffer.
        fn received(&mut self) -> Vec<Received> {
            let mut out = Vec::new();
            for (bytes, segment) in self.buffer.runs() {
                for packet in bytes.chunks(segment) {
                    let plain = self.opener.decrypt_rtp(packet).unwrap();
                    let word =
                        |at: usize| u32::from_be_bytes(plain[at..at + 4].try_into().unwrap());
                    out.push(Received {
                        payload_type: plain[1] & 0x7f,
                        sequence: word(0) as u16,
                        timestamp: word(4),
                        ssrc: word(8),
                        payload: plain[12..].to_vec(),
                    });
                }
            }
            self.buffer.clear();
            out
        }

        fn marks(&mut self) -> Vec<(u16, u8)> {
            self.received()
                .iter()
                .map(|packet| (packet.sequence, packet.payload[1]))
                .collect()
        }
    }

    #[test]
    fn a_newcomer_gets_the_group_from_its_keyframe_on() {
        let mut viewer = Harness::new(None, 10);
        assert_eq!(viewer.send(usize::MAX), Progress::Waiting);
        for mark in 0..5 {
            viewer.picture(mark, mark == 0 || mark == 2);
        }
        assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
        assert_eq!(viewer.marks(), [(10, 2), (11, 3), (12, 4)]);
        viewer.picture(5, false);
        assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
        let packet = viewer.received().remove(0);
        assert_eq!((packet.ssrc, packet.payload_type), (5, 108));
        assert_eq!(packet.timestamp, 1000 + 5 * 33 * 90);
    }

    #[test]
    fn the_budget_ends_a_turn_and_the_next_one_goes_on() {
        let mut viewer = Harness::new(None, 0);
        for mark in 0..4 {
            viewer.picture(mark, mark == 0);
        }
        assert_eq!(viewer.send(2 * 30), Progress::Behind);
        assert_eq!(viewer.marks(), [(0, 0), (1, 1)]);
        assert_eq!(viewer.send(2 * 30), Progress::AtHead);
        assert_eq!(viewer.marks(), [(2, 2), (3, 3)]);
    }

    #[test]
    fn a_lost_packet_is_sent_again_in_the_retransmission_stream() {
        let mut viewer = Harness::new(Some((6, 109)), 0x7ffe);
        for mark in 0..4 {
            viewer.picture(mark, mark == 0);
        }
        viewer.send(usize::MAX);
        viewer.received();
        assert!(viewer.retransmit(0x7fff) > 0);
        let again = viewer.received().remove(0);
        assert_eq!(
            (again.ssrc, again.payload_type, again.sequence),
            (6, 109, 100)
        );
        assert_eq!(again.timestamp, 1000 + 33 * 90);
        assert_eq!(again.payload, [0x7f, 0xff, 0x41, 1]);
        assert_eq!(viewer.retransmit(0x8002), 0, "not sent yet");
        assert_eq!(viewer.retransmit(0x7ffd), 0, "never sent");
        assert_eq!(viewer.sender.stats().retransmitted, 1);
    }

    #[test]
    fn without_a_retransmission_stream_the_same_bytes_are_sent_again() {
        let mut viewer = Harness::new(None, 7);
        viewer.picture(0, true);
        viewer.send(usize::MAX);
        let first = viewer.buffer.runs().next().unwrap().0.to_vec();
        viewer.buffer.clear();
        viewer.retransmit(7);
        assert_eq!(viewer.buffer.runs().next().unwrap().0, first);
    }

    #[test]
    fn the_sequence_number_wraps_and_retransmission_reaches_back_over_the_wrap() {
        let mut viewer = Harness::new(Some((6, 109)), 0x7fff);
        viewer.picture(0, true);
        for _ in 0..0x8002 {
            viewer.picture(1, false);
            viewer.send(usize::MAX);
            viewer.received();
        }
        viewer.picture(9, false);
        viewer.send(usize::MAX);
        assert_eq!(viewer.marks(), [(2, 9)]);
        assert!(viewer.retransmit(0xffff) > 0);
        assert_eq!(viewer.received().remove(0).payload[..2], [0xff, 0xff]);
    }

    #[test]
    fn a_viewer_that_is_behind_skips_to_the_newest_keyframe_without_a_gap_in_its_numbers() {
        let mut viewer = Harness::new(Some((6, 109)), 0);
        viewer.picture(0, true);
        viewer.send(usize::MAX);
        for mark in 1..4 {
            viewer.picture(mark, false);
        }
        viewer.now += Duration::from_millis(1500);
        viewer.picture(4, true);
        viewer.picture(5, false);
        viewer.received();
        assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
        assert_eq!(viewer.marks(), [(1, 4), (2, 5)]);
        assert_eq!(viewer.sender.stats().skips, 1);
        assert!(viewer.retransmit(1) > 0);
        assert_eq!(viewer.received().remove(0).payload[3], 4);
        assert_eq!(viewer.retransmit(0), 0, "from before the skip");
    }

    #[test]
    fn a_viewer_behind_without_a_newer_keyframe_catches_up() {
        let mut viewer = Harness::new(None, 0);
        viewer.picture(0, true);
        viewer.picture(1, false);
        viewer.now += Duration::from_millis(5000);
        viewer.picture(2, false);
        assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
        assert_eq!(viewer.marks(), [(0, 0), (1, 1), (2, 2)]);
    }

    #[test]
    fn a_report_comes_with_the_first_packet() {
        let mut viewer = Harness::new(None, 0);
        assert_eq!(viewer.sender.sender_info(0), None);
        viewer.picture(0, true);
        viewer.send(usize::MAX);
        let info = viewer.sender.sender_info(90_000).unwrap();
        assert_eq!(
            (info.rtp_timestamp, info.packets, info.octets),
            (91_000, 1, 2)
        );
    }
}
