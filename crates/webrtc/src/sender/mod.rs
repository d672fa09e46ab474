//! One RTP stream to one viewer: a cursor in the log of a track.
//!
//! * [`RtpSender`]: the cursor, and writing packets.
//! * [`SenderConfig`]: the negotiated parameters.
//! * `announced_delay`: the bounds of the playout delay that packets carry.
//! * `cursor`: the position in the log, and which packets are skipped.
//! * `outage`: the packets that an outage of the network has lost.
//! * `reception`: which packets the viewer is known to have.
//! * `resend`: the limit of retransmissions of one packet.

mod announced_delay;
mod config;
mod cursor;
mod outage;
mod reception;
mod resend;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use distributary_media::MediaTime;

use crate::bandwidth::{SendClock, SentPackets};
use crate::log::{Log, LoggedPacket, OSN_LEN};
use crate::media_clock::MediaClock;
use crate::rtcp::{ReportBlock, SenderInfo};
use crate::rtp::extension::{Extras, PacketFields, PlayoutDelay};
use crate::rtp::{HeaderTemplate, Payload, red};
use crate::send_buffer::SendBuffer;
use crate::srtp::SrtpSealer;
use announced_delay::AnnouncedDelay;
use cursor::{Cursor, Position, SentPacket, Source};
use outage::Outages;
use reception::Reception;
use resend::RecentResends;

pub use config::{Resend, SenderConfig};
pub use cursor::{LogChange, MAX_BEHIND};

/// Interval at which a stream tells its capture time; receivers interpolate
const CAPTURE_TIME_INTERVAL: Duration = Duration::from_secs(1);

/// The newest packets, among which those that are sent again are taken, and the most that are at a
/// time.
const REPEATED: u64 = 24;
const MAX_REPEATS: usize = 128;

/// A packet from before the newest keyframe is not sent again if it is older than the first value, and
/// the keyframe was sent longer ago than the second, both longer by the playout delay that the viewer is
/// asked to keep: by then players go on with the keyframe. Repairs take less time, unless the network
/// was cut.
const STALE: (Duration, Duration) = (Duration::from_millis(1500), Duration::from_secs(1));

/// Set in the first byte of the header when padding follows the payload (RFC 3550 section 5.1).
const PADDING_BIT: u8 = 0x20;

/// Initial values of an RTP stream, random as RFC 3550 section 5.1 asks for.
#[derive(Clone, Copy, Debug)]
pub struct RandomStart {
    /// Sequence number of the first packet; below 2^15, so that a receiver cannot mistake an early
    /// wrap (RFC 3711 section 3.3.1).
    pub sequence: u16,
    /// Sequence number of the first retransmission; below 2^15 too.
    pub rtx_sequence: u16,
    /// Offset added to the timestamps of the log, in ticks.
    pub timestamp: u32,
}

/// The state that packets are written with, common to all streams of a viewer.
pub struct Wire<'a> {
    /// The time of sending.
    now: Instant,
    /// Maps it to the wall clock.
    clock: &'a MediaClock,
    sealer: &'a SrtpSealer,
    /// The buffer that packets are written to.
    buffer: &'a mut SendBuffer,
    /// Packets sent with a transport-wide sequence number.
    sent: &'a mut SentPackets,
    /// `now` as `sent` records it, and as the packets carry it.
    sent_at: SendClock,
    send_time: u32,
}

/// The logs whose packets a viewer may ask for.
#[derive(Clone, Copy, Debug)]
pub struct RepairLogs<'a> {
    /// The log that it is sent.
    pub present: &'a Log,
    /// The log that it was sent before its last move, if there still is one.
    pub former: Option<&'a Log>,
}

impl RepairLogs<'_> {
    /// Returns a packet that was sent, while it is in its log.
    fn get(&self, sent: &SentPacket) -> Option<&LoggedPacket> {
        let log = match sent.log {
            Source::Present => Some(self.present),
            Source::Former => self.former,
        };
        log?.get(sent.number)
    }
}

/// Sends a track to one viewer.
///
/// It holds no packets: its sequence numbers are those of the log plus an offset, so a packet to
/// retransmit is looked up in the log that all viewers share.
#[derive(Debug)]
pub struct RtpSender {
    config: SenderConfig,
    cursor: Cursor,
    next_rtx_index: u64,
    timestamp_offset: u32,
    /// Header of the current frame's packets.
    header: HeaderTemplate,
    extras: Extras,
    rtx_header: Option<HeaderTemplate>,
    /// True if a receiver report has named the stream.
    is_known: bool,
    /// When the capture time is due next.
    next_capture_time: Option<Instant>,
    delay: AnnouncedDelay,
    recent_resends: RecentResends,
    reception: Reception,
    outages: Outages,
    stats: SenderStats,
}

/// Counters of an RTP stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderStats {
    /// Packets sent, without retransmissions.
    pub packets: u64,
    /// Payload bytes of these packets.
    pub octets: u64,
    /// Packets retransmitted.
    pub retransmitted: u64,
    /// Those of them that an outage of the network had lost.
    pub of_outages: u64,
    /// Times that the viewer was behind and was moved to the newest keyframe.
    pub skips: u64,
    /// Disposable frames dropped because the path was slower than the stream.
    pub dropped_frames: u64,
    /// Times that the GOP was replayed because the viewer asked for a keyframe.
    pub replays: u64,
}

/// The result of a call to `RtpSender::send_video` or `send_audio`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Everything in the log has been sent.
    AtHead,
    /// The budget or the buffer was used up first.
    Behind,
    /// No keyframe to start with has come.
    Waiting,
}

impl RtpSender {
    /// Creates a stream that has not started.
    pub fn new(config: SenderConfig, start: RandomStart) -> Self {
        let first = |sequence: u16| u64::from(sequence & 0x7fff);
        let config = SenderConfig {
            extensions: config.usable_extensions(),
            ..config
        };
        let (extensions, extras) = (&config.extensions, Extras::ANNOUNCEMENT);
        // Retransmissions are so few that naming their media section costs nothing.
        let rtx_header =
            |(ssrc, payload_type)| HeaderTemplate::new(payload_type, ssrc, extensions, extras);
        Self {
            cursor: Cursor::new(first(start.sequence), config.codec, config.reorders),
            next_rtx_index: first(start.rtx_sequence),
            timestamp_offset: start.timestamp,
            header: HeaderTemplate::new(config.packet_type(), config.ssrc, extensions, extras),
            extras,
            rtx_header: config.rtx().map(rtx_header),
            is_known: false,
            next_capture_time: None,
            delay: AnnouncedDelay::default(),
            recent_resends: RecentResends::default(),
            reception: Reception::default(),
            outages: Outages::default(),
            stats: SenderStats::default(),
            config,
        }
    }

    /// Returns the SSRCs: of the media, and of retransmissions if they are negotiated.
    pub fn ssrcs(&self) -> impl Iterator<Item = u32> {
        std::iter::once(self.config.ssrc).chain(self.config.rtx().map(|(ssrc, _)| ssrc))
    }

    /// Returns the SSRC of the media.
    pub fn ssrc(&self) -> u32 {
        self.config.ssrc
    }

    /// Returns the counters so far.
    pub fn stats(&self) -> SenderStats {
        SenderStats {
            skips: self.cursor.skips,
            dropped_frames: self.cursor.dropped_frames,
            replays: self.cursor.replays,
            ..self.stats
        }
    }

    /// Records a receiver report: the stream need not be announced any more, and the report says
    /// which packets have arrived.
    pub fn note_report(&mut self, now: Instant, block: &ReportBlock) {
        let is_lossy = self.config.resend == Resend::Never && block.fraction_lost > 0;
        // The low half is the sequence number, the high one counts its cycles.
        let highest = block.highest_sequence as u16;
        let next_index = self.cursor.next_index();
        self.reception
            .note_report(now, highest, is_lossy, next_index);
        // Headers must not change where packets are resent byte for byte.
        self.is_known = self.config.resend != Resend::Same;
    }

    /// Asks the viewer to keep to these bounds of the playout delay, if it supports the extension.
    pub fn set_playout_delay(&mut self, now: Instant, delay: PlayoutDelay) {
        self.delay.set(now, delay);
    }

    /// Asks the viewer to show frames as they arrive for a while after each leap ahead in time, if it
    /// supports the extension.
    pub fn hurry_after_leaps(&mut self) {
        self.delay.hurry_after_leaps();
    }

    /// Moves from one log to another with the same clock, at a keyframe that is later than
    /// everything sent. Returns whether it has moved; if not, call again when one of the logs has a
    /// new frame or more was sent.
    pub fn change_log(&mut self, from: &Log, to: &Log, now: Instant, change: LogChange) -> bool {
        self.cursor.change_to(from, to, now, change)
    }

    /// Returns the presentation time that a keyframe of another log must exceed for
    /// [`Self::change_log`]; `None` if nothing was sent.
    pub fn sent_until(&self) -> Option<MediaTime> {
        self.cursor.sent_until()
    }

    /// Sends nothing more of the present log, because the path is too slow for it, until
    /// [`Self::change_log`] or [`Self::keep_log`] is called.
    pub fn halt_log(&mut self) {
        self.cursor.halt();
    }

    /// Stays with the present log after [`Self::change_log`] has returned `false`.
    pub fn keep_log(&mut self) {
        self.cursor.stay();
    }

    /// Sends recent packets again in the RTX stream, `bytes` or a little more, to probe the path
    /// bandwidth: a viewer that has them already drops them. Returns the bytes written.
    pub fn repeat(&mut self, log: &Log, bytes: usize, wire: &mut Wire<'_>) -> usize {
        let Some((ssrc, _)) = self.config.rtx() else {
            return 0;
        };
        let mut total = 0;
        for back in (1..=REPEATED).cycle().take(MAX_REPEATS) {
            let index = self.cursor.next_index().checked_sub(back);
            let sent = index.and_then(|index| self.cursor.sent_as(index as u16));
            let sent = sent.filter(|sent| sent.log == Source::Present);
            let packet = sent.and_then(|sent| Some((sent.index, log.get(sent.number)?)));
            let Some((index, packet)) = packet.filter(|_| total < bytes) else {
                break;
            };
            let header = self.rtx_header.as_ref().map_or(0, HeaderTemplate::len);
            let len = header + OSN_LEN + packet.payload.len() + wire.sealer.tag_len();
            if len > wire.buffer.remaining() {
                break;
            }
            self.write_rtx(packet, ssrc, index as u16, len, wire);
            total += len;
        }
        total
    }

    /// Sends the video in the log from the cursor on, until `budget` bytes are used up or the
    /// buffer is full. The stream starts, and continues after a gap, at a keyframe; the call ends
    /// after that frame, as the ones that follow have another budget. `slow_path`: the path is
    /// slower than the stream, so frames are dropped rather than sent late.
    pub fn send_video(
        &mut self,
        log: &Log,
        budget: usize,
        slow_path: bool,
        wire: &mut Wire<'_>,
    ) -> Progress {
        let mut sent = 0;
        let is_opening = self.is_opening();
        loop {
            let (number, packet) = match self.cursor.next_packet(log, wire.now, slow_path) {
                Position::At(number, packet) => (number, packet),
                Position::Head => {
                    self.delay.note_live();
                    return Progress::AtHead;
                }
                Position::Waiting => return Progress::Waiting,
            };
            if is_opening && !self.is_opening() {
                return Progress::Behind;
            }
            if packet.first {
                let age = wire.clock.age(packet.pts, wire.now);
                let is_moved = self.cursor.is_new();
                self.delay.note_frame(wire.now, age, is_moved);
            }
            match self.send_packet(packet, budget.saturating_sub(sent), wire) {
                Some(len) => sent += len,
                None => return Progress::Behind,
            }
            if log.keyframe() == Some(number) {
                self.cursor.keyframe_sent = Some(wire.now);
            }
        }
    }

    /// Sends the audio in the log from the cursor on, as [`Self::send_video`] does. Audio starts at
    /// the head, and packets that are no longer in the log are skipped.
    pub fn send_audio(&mut self, log: &Log, wire: &mut Wire<'_>) -> Progress {
        let mut number = self.cursor.next_audio(log);
        while let Some(packet) = log.get(number) {
            if self.send_packet(packet, usize::MAX, wire).is_none() {
                return Progress::Behind;
            }
            number += 1;
        }
        Progress::AtHead
    }

    /// Sends the packet at the cursor and moves on. Returns its length, or `None` if it does not
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
        self.outages.note_sent(wire.now, index);
        self.write(packet, index, len, wire);
        self.stats.packets += 1;
        self.stats.octets += octets;
        Some(len)
    }

    /// Chooses the extensions of a frame's packets. They are the same in all of them, so that the
    /// packets have equal sizes and go out with one system call.
    fn prepare_header(&mut self, packet: &LoggedPacket, wire: &Wire<'_>) {
        let extensions = &self.config.extensions;
        let is_due = self.next_capture_time.is_none_or(|due| wire.now >= due);
        let extras = Extras {
            announcement: !self.is_known,
            playout_delay: self.delay.bounds(wire.now, self.is_known),
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

    /// Records that transport-wide feedback has come.
    pub fn note_feedback(&mut self, now: Instant) {
        self.outages.note_feedback(now, self.cursor.next_index());
    }

    /// Records a request of the viewer for the packets with these sequence numbers.
    pub fn note_nack(&mut self, now: Instant, lost: &[u16], logs: RepairLogs<'_>) {
        self.reception.note_nack(now);
        self.outages.note_request(now, self.cursor.next_index());
        let sent = lost.iter().filter_map(|sequence| {
            let sent = self.cursor.sent_as(*sequence)?;
            Some((sent.index, logs.get(&sent)?.at))
        });
        self.outages.note_lost(sent);
    }

    /// Puts lost packets into the order in which the viewer needs them: those since the newest keyframe go
    /// first, because it can go on with these alone.
    pub fn sort_by_need(&self, lost: &mut Vec<u16>, logs: RepairLogs<'_>) {
        let oldest = self.cursor.next_index().wrapping_sub(1 << 15);
        let first = self.cursor.keyframe_index(logs.present).unwrap_or(oldest);
        // Sequence numbers are the low bits of indices.
        lost.sort_unstable_by_key(|sequence| sequence.wrapping_sub(first as u16));
        lost.dedup();
    }

    /// Returns whether an outage of the network has lost the packet with this sequence number.
    pub fn has_lost_in_outage(&self, sequence: u16) -> bool {
        let sent = self.cursor.sent_as(sequence);
        sent.is_some_and(|sent| self.outages.cover(sent.index))
    }

    /// Retransmits the packet with this sequence number, in the RTX stream if one was negotiated,
    /// but not twice within `interval`. Returns the bytes written: 0 if the packet is not in its
    /// log any more, is of no use any more, or the buffer is full.
    pub fn retransmit(
        &mut self,
        sequence: u16,
        logs: RepairLogs<'_>,
        interval: Duration,
        wire: &mut Wire<'_>,
    ) -> usize {
        let sent = self.cursor.sent_as(sequence);
        let Some((index, packet)) = sent.and_then(|sent| Some((sent.index, logs.get(&sent)?)))
        else {
            return 0;
        };
        if self.is_stale(index, packet, logs.present, wire.now) {
            return 0;
        }
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
        self.stats.of_outages += u64::from(self.outages.cover(index));
        len
    }

    /// Returns whether a lost packet is of no use any more.
    fn is_stale(&self, index: u64, packet: &LoggedPacket, log: &Log, now: Instant) -> bool {
        let (of_packet, of_keyframe) = STALE;
        let delay = self.delay.minimum();
        let is_past = |at, time| now.saturating_duration_since(at) >= time + delay;
        let sent = self.cursor.keyframe_sent;
        is_past(packet.at, of_packet)
            && sent.is_some_and(|at| is_past(at, of_keyframe))
            && self
                .cursor
                .keyframe_index(log)
                .is_some_and(|keyframe| index < keyframe)
    }

    /// Returns the length of a media packet with header, padding and tag.
    fn len_of(&self, packet: &LoggedPacket, wire: &Wire<'_>) -> usize {
        let padded = self.payload_of(packet).len() + usize::from(packet.padding);
        self.header.len() + padded + wire.sealer.tag_len()
    }

    /// Writes a media packet of `len` bytes: header, payload, padding and tag.
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

    /// Returns the payload that this viewer is sent.
    fn payload_of<'p>(&self, packet: &'p LoggedPacket) -> &'p Payload {
        match (&packet.red, self.config.red) {
            (Some(red), Some(_)) => red,
            _ => &packet.payload,
        }
    }

    /// Writes a packet of the RTX stream: its payload starts with the original sequence number (RFC
    /// 4588 section 4).
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
        let transport_sequence = if header.has_transport_sequence() {
            wire.sent.record(wire.sent_at, len)
        } else {
            0
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

    /// Returns the ticks by which the frame that comes out of the viewer's decoder is earlier than
    /// this one, which goes in.
    fn lag(&self, packet: &LoggedPacket) -> u32 {
        match self.config.resend {
            // A resent packet must be the same, even if the decoder holds back more frames by then.
            Resend::Same => 0,
            Resend::Never | Resend::Rtx { .. } => self.cursor.decoder.lag(packet.lags),
        }
    }

    /// Returns the content of a sender report. `media_now` is the media clock of the stream at the
    /// report's wall-clock time. `None` before the first packet.
    pub fn sender_info(&self, media_now: u32) -> Option<SenderInfo> {
        (self.stats.packets > 0).then(|| SenderInfo {
            ssrc: self.config.ssrc,
            rtp_timestamp: media_now.wrapping_add(self.timestamp_offset),
            // Both counters are modulo 2^32 (RFC 3550 section 6.4.1).
            packets: self.stats.packets as u32,
            octets: self.stats.octets as u32,
        })
    }

    /// Returns the number of packets in the log that are to be sent.
    pub fn pending(&self, log: &Log) -> u64 {
        self.cursor.pending(log)
    }

    /// Returns whether the viewer's decoder waits for the frame that is sent next or being sent:
    /// the stream starts with it, or starts over.
    pub fn is_opening(&self) -> bool {
        self.cursor.is_new()
    }

    /// Returns whether the viewer is noticeably behind the head of the log.
    pub fn is_late(&self, log: &Log, now: Instant) -> bool {
        self.cursor.is_late(log, now)
    }

    /// Schedules a replay of the GOP from its keyframe on, if that helps a viewer that asks for a
    /// keyframe: not one that has received everything. Returns whether it did.
    pub fn replay(&mut self, log: &Log, now: Instant, round_trip: Duration) -> bool {
        self.reception.note_keyframe_request(now) && self.cursor.replay(log, now, round_trip)
    }
}

/// Fills `count` bytes of padding from `behind` on. The last byte holds their number, and a bit of
/// the header says that they are there (RFC 3550 section 5.1).
fn pad(packet: &mut [u8], behind: usize, count: u8) {
    packet[0] |= PADDING_BIT;
    let padding = &mut packet[behind..behind + usize::from(count)];
    padding.fill(0);
    if let Some(last) = padding.last_mut() {
        *last = count;
    }
}

impl<'a> Wire<'a> {
    /// Returns the time at which the packets are sent.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Returns the number of bytes in the buffer.
    pub(crate) fn written(&self) -> usize {
        self.buffer.len()
    }

    /// Creates the state for packets that are written to `buffer` and sent at `now`.
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
