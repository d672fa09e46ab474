//! One RTP stream to one viewer: a cursor in the log of a track.
//!
//! * [`RtpSender`]: the cursor, and writing packets.
//! * [`SenderConfig`]: what was negotiated for it.
//! * `placement`: where the cursor may go on, and what is left out.
//! * `reception`: what the viewer is known to have.
//! * `resend`: which packets are sent again, and how often.

mod config;
mod placement;
mod reception;
mod resend;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use crate::bandwidth::{SendClock, SentPackets};
use crate::log::{Log, LoggedPacket, OSN_LEN};
use crate::peer::MediaClock;
use crate::rtcp::{ReportBlock, SenderInfo};
use crate::rtp::extension::{Extras, PacketFields};
use crate::rtp::{HeaderTemplate, Payload, red};
use crate::send_buffer::SendBuffer;
use crate::srtp::SrtpSealer;
use placement::{Cursor, Place};
use reception::Reception;
use resend::RecentResends;

pub use config::{Resend, SenderConfig};
pub use placement::MAX_BEHIND;

/// How often a stream tells its capture time; receivers work out the times between
/// (<http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time>).
const CAPTURE_TIME_INTERVAL: Duration = Duration::from_secs(1);

/// Set in the first byte of the header when padding follows the payload (RFC 3550 section 5.1).
const PADDING_BIT: u8 = 0x20;

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

/// What packets are written with: the same for all streams of a viewer.
pub struct Wire<'a> {
    /// When the packets are sent.
    now: Instant,
    /// Ties it to the wall clock.
    clock: &'a MediaClock,
    sealer: &'a SrtpSealer,
    /// Where they are written.
    buffer: &'a mut SendBuffer,
    /// What was sent with a sequence number of the transport.
    sent: &'a mut SentPackets,
    /// `now` as it is noted there, and as the packets have it.
    sent_at: SendClock,
    send_time: u32,
}

/// Sends a track to one viewer.
///
/// It holds no packets: its sequence numbers are those of the log plus an offset, so a packet that
/// must be sent again is looked up in the log that all viewers share.
#[derive(Debug)]
pub struct RtpSender {
    config: SenderConfig,
    cursor: Cursor,
    next_rtx_index: u64,
    timestamp_offset: u32,
    /// The header of the present picture's packets.
    header: HeaderTemplate,
    extras: Extras,
    rtx_header: Option<HeaderTemplate>,
    /// Whether a report has shown that the viewer knows the stream.
    is_known: bool,
    /// When the capture time is told next.
    next_capture_time: Option<Instant>,
    recent_resends: RecentResends,
    reception: Reception,
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
    /// Pictures left out because the path was slower than the stream, and no other picture referred
    /// to them.
    pub dropped_frames: u64,
    /// How often the group of pictures was sent anew because the viewer asked for a keyframe.
    pub replays: u64,
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
        let config = SenderConfig {
            extensions: config.usable_extensions(),
            ..config
        };
        let (extensions, extras) = (&config.extensions, Extras::ANNOUNCEMENT);
        // Retransmissions are so few that the name of their section costs nothing.
        let rtx_header = |(ssrc, payload_type)| {
            HeaderTemplate::new(payload_type, ssrc, &extensions.without_delay(), extras)
        };
        Self {
            cursor: Cursor::new(first(start.sequence), config.codec, config.reorders),
            next_rtx_index: first(start.rtx_sequence),
            timestamp_offset: start.timestamp,
            header: HeaderTemplate::new(config.packet_type(), config.ssrc, extensions, extras),
            extras,
            rtx_header: config.rtx().map(rtx_header),
            is_known: false,
            next_capture_time: None,
            recent_resends: RecentResends::default(),
            reception: Reception::default(),
            stats: SenderStats::default(),
            config,
        }
    }

    /// The sources it sends as: the media, and the retransmissions if there are any.
    pub fn ssrcs(&self) -> impl Iterator<Item = u32> {
        std::iter::once(self.config.ssrc).chain(self.config.rtx().map(|(ssrc, _)| ssrc))
    }

    /// The source of the media.
    pub fn ssrc(&self) -> u32 {
        self.config.ssrc
    }

    /// What was sent so far.
    pub fn stats(&self) -> SenderStats {
        SenderStats {
            skips: self.cursor.skips,
            dropped_frames: self.cursor.dropped_frames,
            replays: self.cursor.replays,
            ..self.stats
        }
    }

    /// Notes that a report of the viewer names the stream: it need not be announced any more, and it is
    /// known what has arrived.
    pub fn note_report(&mut self, now: Instant, block: &ReportBlock) {
        let is_lossy = self.config.resend == Resend::Never && block.fraction_lost > 0;
        // The low half is the sequence number, the high one counts its cycles.
        let highest = block.highest_sequence as u16;
        let next_index = self.cursor.next_index();
        self.reception
            .note_report(now, highest, is_lossy, next_index);
        // The headers of what may be sent again must not change.
        self.is_known = self.config.resend != Resend::Same;
    }

    /// What is sent from now on comes from another log with the same clock.
    pub fn change_log(&mut self) {
        self.cursor.change_log();
    }

    /// Sends what the log has from the cursor on, until `budget` bytes are used up or the buffer is
    /// full. The stream begins, and after a gap goes on, at a keyframe. `slow_path`: the path is
    /// slower than the stream, so that pictures are left out rather than sent late.
    pub fn send_video(
        &mut self,
        log: &Log,
        budget: usize,
        slow_path: bool,
        wire: &mut Wire<'_>,
    ) -> Progress {
        let mut sent = 0;
        loop {
            let (number, packet) = match self.cursor.place(log, wire.now, slow_path) {
                Place::At(number, packet) => (number, packet),
                Place::Head => return Progress::AtHead,
                Place::Nowhere => return Progress::Waiting,
            };
            match self.send_packet(packet, budget.saturating_sub(sent), wire) {
                Some(len) => sent += len,
                None => return Progress::Behind,
            }
            if log.keyframe() == Some(number) {
                self.cursor.keyframe_sent = Some(wire.now);
            }
        }
    }

    /// Sends the sound that the log has from the cursor on, as [`Self::send_video`] does. The past is
    /// never sent: sound begins with what comes next, and what is no longer in the log is passed over.
    pub fn send_audio(&mut self, log: &Log, wire: &mut Wire<'_>) -> Progress {
        let mut number = self.cursor.place_sound(log);
        while let Some(packet) = log.get(number) {
            if self.send_packet(packet, usize::MAX, wire).is_none() {
                return Progress::Behind;
            }
            number += 1;
        }
        Progress::AtHead
    }

    /// Sends the packet at the cursor and moves on. Returns its length, or `None` when it would not
    /// fit.
    fn send_packet(
        &mut self,
        packet: &LoggedPacket,
        budget: usize,
        wire: &mut Wire<'_>,
    ) -> Option<usize> {
        if packet.first {
            self.prepare_header(packet, wire);
        }
        let octets = self.payload_of(packet).len() as u64;
        let len = self.len_of(packet, wire);
        if len > budget || len > wire.buffer.remaining() {
            return None;
        }
        let index = self.cursor.advance(packet);
        self.reception.note_sent(wire.now);
        self.write(packet, index, len, wire);
        self.stats.packets += 1;
        self.stats.octets += octets;
        Some(len)
    }

    /// Chooses the extensions of a picture's packets. They are the same in all of them, so that the
    /// packets have equal sizes and go out with one call.
    fn prepare_header(&mut self, packet: &LoggedPacket, wire: &Wire<'_>) {
        let extensions = &self.config.extensions;
        let is_due = self.next_capture_time.is_none_or(|due| wire.now >= due);
        let extras = Extras {
            announcement: !self.is_known,
            capture_time: is_due && extensions.abs_capture_time.is_some(),
        };
        if extras != self.extras {
            let (payload_type, ssrc) = (self.config.packet_type(), self.config.ssrc);
            self.header = HeaderTemplate::new(payload_type, ssrc, extensions, extras);
            self.extras = extras;
        }
        if self.header.has_capture_time() {
            self.header
                .set_capture_time(wire.clock.ntp_of(packet.pts).0);
            self.next_capture_time = Some(wire.now + CAPTURE_TIME_INTERVAL);
        }
    }

    /// Sends the packet with this sequence number again, as a retransmission where they were
    /// negotiated, but not twice within `interval`. Returns the bytes written: none when the log does
    /// not have it any more, or the buffer no room.
    pub fn retransmit(
        &mut self,
        sequence: u16,
        log: &Log,
        interval: Duration,
        wire: &mut Wire<'_>,
    ) -> usize {
        self.reception.note_nack(wire.now);
        let Some((index, number)) = self.cursor.sent_as(sequence) else {
            return 0;
        };
        let Some(packet) = log.get(number) else {
            return 0;
        };
        let len = match &self.rtx_header {
            Some(header) => header.len() + OSN_LEN + packet.payload.len() + wire.sealer.tag_len(),
            None => self.len_of(packet, wire),
        };
        if self.config.resend == Resend::Never
            || len > wire.buffer.remaining()
            || !self.recent_resends.permit(sequence, wire.now, interval)
        {
            return 0;
        }
        match self.config.rtx() {
            Some((ssrc, _)) => self.write_rtx(packet, ssrc, sequence, len, wire),
            None => self.write(packet, index, len, wire),
        }
        self.stats.retransmitted += 1;
        len
    }

    /// The length of a packet of the media with everything.
    fn len_of(&self, packet: &LoggedPacket, wire: &Wire<'_>) -> usize {
        let padded = self.payload_of(packet).len() + usize::from(packet.padding);
        self.header.len() + padded + wire.sealer.tag_len()
    }

    /// Header, payload, padding and tag of a packet of the media, `len` bytes together.
    fn write(&self, packet: &LoggedPacket, index: u64, len: usize, wire: &mut Wire<'_>) {
        let fields = self.fields(packet, index, &self.header, len, wire);
        let out = wire.buffer.packet(len);
        self.header.write(fields, out);
        let payload = self.payload_of(packet);
        let payload_end = self.header.len() + payload.len();
        let room = &mut out[self.header.len()..payload_end];
        payload.copy_to(room);
        if packet.red.is_some() && self.config.red.is_some() {
            red::set_payload_type(room, self.config.payload_type);
        }
        if packet.padding > 0 {
            pad(out, payload_end, packet.padding);
        }
        wire.sealer
            .seal(out, self.header.len(), self.config.ssrc, index);
    }

    /// What a packet carries to this viewer.
    fn payload_of<'p>(&self, packet: &'p LoggedPacket) -> &'p Payload {
        match (&packet.red, self.config.red) {
            (Some(red), Some(_)) => red,
            _ => &packet.payload,
        }
    }

    /// A packet of the retransmission stream: its payload begins with the sequence number that the
    /// packet had at first (RFC 4588 section 4).
    fn write_rtx(
        &mut self,
        packet: &LoggedPacket,
        ssrc: u32,
        sequence: u16,
        len: usize,
        wire: &mut Wire<'_>,
    ) {
        let Some(header) = &self.rtx_header else {
            return;
        };
        let index = self.next_rtx_index;
        self.next_rtx_index += 1;
        let fields = self.fields(packet, index, header, len, wire);
        let out = wire.buffer.packet(len);
        header.write(fields, out);
        let (osn, payload) = out[header.len()..].split_at_mut(OSN_LEN);
        osn.copy_from_slice(&sequence.to_be_bytes());
        packet.payload.copy_to(payload);
        wire.sealer.seal(out, header.len(), ssrc, index);
    }

    fn fields(
        &self,
        packet: &LoggedPacket,
        index: u64,
        header: &HeaderTemplate,
        len: usize,
        wire: &mut Wire<'_>,
    ) -> PacketFields {
        let transport_sequence = match header.has_transport_sequence() {
            true => wire.sent.record(wire.sent_at, len),
            false => 0,
        };
        PacketFields {
            marker: packet.marker,
            sequence: index as u16,
            timestamp: packet
                .timestamp
                .wrapping_sub(self.lag(packet))
                .wrapping_add(self.timestamp_offset),
            send_time: wire.send_time,
            transport_sequence,
        }
    }

    /// How many ticks earlier the picture is that comes out of the viewer's decoder when this one goes in.
    fn lag(&self, packet: &LoggedPacket) -> u32 {
        match self.config.resend {
            // What is sent again under the same index must be the same, also when the decoder has changed.
            Resend::Same => 0,
            Resend::Never | Resend::Rtx { .. } => packet.lag(self.cursor.held()),
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

    /// How many packets of the log are to be sent.
    pub fn pending(&self, log: &Log) -> u64 {
        self.cursor.pending(log)
    }

    /// Whether the viewer is noticeably behind what is in the log.
    pub fn is_late(&self, log: &Log, now: Instant) -> bool {
        self.cursor.is_late(log, now)
    }

    /// Lets the group of pictures be sent anew from its keyframe on, if that is of use to a viewer
    /// that asks for a keyframe: not to one that has everything there is. Returns whether it will be.
    pub fn replay(&mut self, log: &Log, now: Instant, round_trip: Duration) -> bool {
        self.reception.note_keyframe_request(now) && self.cursor.replay(log, now, round_trip)
    }
}

/// Fills `count` bytes from `behind` on; the last of them says how many they are, and a bit of the
/// header that they are there (RFC 3550 section 5.1).
fn pad(packet: &mut [u8], behind: usize, count: u8) {
    packet[0] |= PADDING_BIT;
    let padding = &mut packet[behind..behind + usize::from(count)];
    padding.fill(0);
    if let Some(last) = padding.last_mut() {
        *last = count;
    }
}

impl<'a> Wire<'a> {
    /// Bytes in the buffer.
    pub(crate) fn written(&self) -> usize {
        self.buffer.len()
    }

    /// What is written to `buffer` and sent at `now`.
    pub fn new(
        now: Instant,
        clock: &'a MediaClock,
        sealer: &'a SrtpSealer,
        buffer: &'a mut SendBuffer,
        sent: &'a mut SentPackets,
    ) -> Self {
        // The middle of the NTP timestamp: 6 bits of seconds, 18 of fractions
        // (<http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time>).
        let send_time = (clock.wall.at(now).0 >> 14) as u32 & 0xff_ffff;
        Self {
            now,
            clock,
            sealer,
            buffer,
            sent_at: sent.clock(now),
            sent,
            send_time,
        }
    }
}
