//! The log of a track's packets. Each viewer is a cursor in it.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use distributary_media::{AudioFrame, LONG_GOP, MediaTime, VideoCodec, VideoFrame};

use crate::reorder;
use crate::rtp::extension::MAX_HEADER;
use crate::rtp::{self, Payload, red};
use crate::srtp::rtp::MAX_TAG_LEN;

/// Longest packet in bytes of UDP payload: it passes every path that carries IPv6 in a tunnel.
pub const MAX_PACKET: usize = 1200;

/// Bytes of the original sequence number in front of a retransmitted payload (RFC 4588 section 4).
pub(crate) const OSN_LEN: usize = 2;

/// Longest payload of a packet in bytes: [`MAX_PACKET`] minus the longest header and tag, also in a
/// retransmission.
pub const MAX_PAYLOAD: usize = MAX_PACKET - MAX_HEADER - OSN_LEN - MAX_TAG_LEN;

/// Most bytes of padding. Fragments of equal size leave the last one shorter by less than there are
/// fragments: longer padding would be for an odd unit behind them, which is not worth it.
const MAX_PADDING: u8 = 64;

/// Least distance between two frames: one tick of the 90 kHz clock, rounded up.
const TICK: Duration = Duration::from_nanos(11_112);

/// Most frames that a decoder is assumed to hold back.
const MAX_HELD: usize = 4;

/// Most that each frame held back adds to the lag of a decoder. After a long pause, frames that the
/// decoder still holds are too old to matter.
pub(crate) const MAX_INTERVAL: Duration = Duration::from_millis(100);

/// Bounds of a log.
#[derive(Clone, Copy, Debug)]
pub struct LogLimits {
    /// Time that packets are kept for retransmission, from their arrival on.
    pub history: Duration,
    /// Longest time back to the newest keyframe. A longer GOP is not kept for newcomers.
    pub max_gop: Duration,
    /// Most bytes of memory, with priority over the two limits above. The oldest packets are
    /// dropped; if one of them belongs to the newest GOP, that GOP is not kept for newcomers.
    pub max_bytes: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            history: Duration::from_secs(2),
            max_gop: Duration::from_secs(30),
            max_bytes: 32 << 20,
        }
    }
}

/// Most memory that a packet takes besides its payload: its own fields and the header of the buffer
/// that its slices share.
const PACKET_OVERHEAD: usize = size_of::<LoggedPacket>() + 64;

/// Time that a GOP is kept after the keyframe of the next. Newcomers that are still receiving it
/// finish their current frame and move to the new keyframe.
const HANDOVER_TIME: Duration = Duration::from_millis(200);

/// The packets of one track of a stream, packetised once for all viewers of a shard.
///
/// Packets are numbered from zero and never renumbered. The log keeps those since the newest
/// keyframe, for newcomers, and those of the last seconds, for retransmission.
#[derive(Debug)]
pub struct Log {
    clock_rate: u32,
    limits: LogLimits,
    pads: bool,
    makes_red: bool,
    packets: VecDeque<LoggedPacket>,
    /// Number of the first packet kept.
    first: u64,
    /// Number of the newest keyframe's first packet, while it is kept.
    keyframe: Option<u64>,
    /// The same for the keyframe before it.
    previous_keyframe: Option<u64>,
    /// The newest keyframe, unpacketised.
    last_keyframe: Option<VideoFrame>,
    /// Time of the newest frame.
    newest: Option<MediaTime>,
    /// Presentation times of the frames that decoders hold back to reorder them.
    held: BinaryHeap<Reverse<MediaTime>>,
    /// Presentation times of the previous frames, the newest first.
    before: VecDeque<MediaTime>,
    /// Arrival of the newest keyframe.
    keyframe_at: Option<Instant>,
    keyframe_interval: Option<Duration>,
    bytes: usize,
}

/// One packet of the log.
#[derive(Clone, Debug)]
pub struct LoggedPacket {
    /// The bytes after the RTP header.
    pub payload: Payload,
    /// Codec of the video; `None` for audio.
    pub codec: Option<VideoCodec>,
    /// The payload with the previous audio frame in front (RFC 2198), if the log has redundancy.
    pub red: Option<Box<Payload>>,
    /// Presentation time since the stream's epoch.
    pub pts: MediaTime,
    /// The same in ticks of the media clock, modulo 2^32.
    pub timestamp: u32,
    /// For a decoder that holds back one, two and so on frames: ticks by which the frame that comes
    /// out is earlier than this one. Zero where `timestamp` already accounts for it.
    pub lags: [u16; MAX_HELD],
    /// True if it is the first packet of its frame.
    pub first: bool,
    /// True if it is the last packet of its frame.
    pub marker: bool,
    /// True if no other frame refers to its frame, so that it can be dropped.
    pub disposable: bool,
    /// The viewers that are sent it.
    pub audience: Audience,
    /// Bytes of padding behind the payload (RFC 3550 section 5.1); 0 for none.
    pub padding: u8,
    /// When it was logged.
    pub at: Instant,
}

/// The viewers that are sent a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// All of them.
    All,
    /// Those that start with it.
    Newcomers,
    /// Those whose decoder reorders frames.
    Reordering,
    /// Of [`Self::Reordering`], those whose decoder holds back fewer than this many frames so far.
    Priming(u8),
}

/// The fields that all packets of a frame share.
struct FrameFields {
    codec: VideoCodec,
    /// Number of its first packet.
    start: u64,
    time: MediaTime,
    timestamp: u32,
    lags: [u16; MAX_HELD],
    keyframe: bool,
    disposable: bool,
    at: Instant,
}

impl LoggedPacket {
    /// Returns the memory that the packet takes, in bytes. Its payload is a slice of a frame that
    /// the hub has compacted, so the packets of a frame cost no more than the frame.
    fn memory(&self) -> usize {
        let red = self.red.as_ref();
        let red = red.map_or(0, |red| red.len() + size_of::<Payload>());
        self.payload.len() + red + PACKET_OVERHEAD
    }

    /// Returns the ticks by which the frame that comes out of a decoder is earlier than this one,
    /// which goes in. The decoder holds back `held` frames.
    pub fn lag(&self, held: u8) -> u32 {
        let index = usize::from(held).checked_sub(1);
        let lag = index.and_then(|index| self.lags.get(index.min(MAX_HELD - 1)));
        lag.copied().map_or(0, u32::from)
    }
}

impl Log {
    /// Creates an empty log of a track whose media clock runs at `clock_rate` Hz.
    pub fn new(clock_rate: u32, limits: LogLimits) -> Self {
        Self {
            clock_rate,
            limits,
            pads: false,
            makes_red: false,
            packets: VecDeque::new(),
            first: 0,
            keyframe: None,
            previous_keyframe: None,
            last_keyframe: None,
            newest: None,
            held: BinaryHeap::new(),
            before: VecDeque::with_capacity(MAX_HELD),
            keyframe_at: None,
            keyframe_interval: None,
            bytes: 0,
        }
    }

    /// Sets whether audio packets get a second form that carries the previous one as well (RFC
    /// 2198).
    #[must_use]
    pub fn with_redundancy(self, makes_red: bool) -> Self {
        Self { makes_red, ..self }
    }

    /// Returns the rate of the media clock in Hz.
    pub fn clock_rate(&self) -> u32 {
        self.clock_rate
    }

    /// Sets whether the last packet of each frame is padded to the length of the one before it, so
    /// that audio can be sent after it with the same system call.
    pub fn set_padding(&mut self, pads: bool) {
        self.pads = pads;
    }

    /// Packetises a frame that arrives at `now`.
    pub fn push_video(&mut self, frame: &VideoFrame, now: Instant) {
        while let Some(Reverse(time)) = self.held.pop() {
            self.note_shown(time);
        }
        if frame.keyframe {
            self.last_keyframe = Some(frame.clone());
        } else if frame.is_recovery_point() {
            self.push_entry_point(frame, now);
        }
        let lags = self.lags(frame.pts);
        self.note_shown(frame.pts);
        let fields = FrameFields {
            lags,
            ..self.fields(frame, frame.pts, now)
        };
        self.append(&fields, &frame.units, Audience::All);
        self.end_frame(&fields, now);
    }

    /// Packetises a frame of a stream with B-frames, for which a decoder holds back `depth` frames.
    /// Viewers whose decoder can do that are sent all frames, the others the keyframes (see
    /// [`crate::reorder`]).
    pub fn push_reordered(&mut self, frame: &VideoFrame, depth: u8, now: Instant) {
        let time = self.time_of_next_shown(frame, depth);
        let fields = self.fields(frame, time, now);
        if frame.keyframe {
            let parts = reorder::Keyframe::new(&frame.units, depth);
            self.append(&fields, &parts.parameter_sets, Audience::All);
            self.append(&fields, &[parts.carrier], Audience::Reordering);
            for held in 1..=depth {
                self.append(&fields, &parts.slices, Audience::Priming(held));
            }
            self.append(&fields, &parts.frame, Audience::All);
        } else {
            self.append(&fields, &frame.units, Audience::Reordering);
        }
        self.end_frame(&fields, now);
    }

    /// Returns the time that a frame is sent with: that of the frame that comes out of a decoder
    /// when this one goes in.
    ///
    /// A decoder that holds back `depth` frames outputs the earliest that it has. Decoding times
    /// would fit most encoders; some let them run ahead by more frames than are held back. While
    /// the decoder is primed, the keyframe comes out repeatedly, at decoding times. After a stream
    /// without reordering, time must not step back.
    fn time_of_next_shown(&mut self, frame: &VideoFrame, depth: u8) -> MediaTime {
        self.held.push(Reverse(frame.pts));
        let shown = if self.held.len() > usize::from(depth) {
            self.held.pop()
        } else {
            None
        };
        if let Some(Reverse(time)) = shown {
            self.note_shown(time);
        }
        let time = shown.map_or(frame.dts, |Reverse(time)| time);
        self.newest.map_or(time, |newest| time.max(newest + TICK))
    }

    fn note_shown(&mut self, time: MediaTime) {
        self.before.truncate(MAX_HELD - 1);
        self.before.push_front(time);
    }

    /// Returns the lags of a frame of this time, see [`LoggedPacket::lags`]. A decoder that has
    /// been primed to hold back frames keeps doing so when the stream has no B-frames any more.
    fn lags(&self, time: MediaTime) -> [u16; MAX_HELD] {
        let mut lags = [0; MAX_HELD];
        let mut most = Duration::ZERO;
        let mut before = self.before.iter();
        let mut lag = Duration::ZERO;
        for ticks in &mut lags {
            most += MAX_INTERVAL;
            // Where no frame came before, the lag is that of the previous step.
            lag = before
                .next()
                .map_or(lag, |before| time.saturating_since(*before))
                .min(most);
            let rate = u128::from(self.clock_rate);
            *ticks = u16::try_from(lag.as_nanos() * rate / 1_000_000_000).unwrap_or(u16::MAX);
        }
        lags
    }

    /// Lets newcomers start at a recovery point if the last keyframe is far back. They get that
    /// keyframe first, since a decoder starts with nothing else. Until the stream has refreshed
    /// itself once, they see a partly wrong picture rather than none.
    fn push_entry_point(&mut self, frame: &VideoFrame, now: Instant) {
        let is_far = |keyframe: &VideoFrame| {
            keyframe.codec == frame.codec && frame.dts.saturating_since(keyframe.dts) > LONG_GOP
        };
        let Some(keyframe) = self.last_keyframe.take_if(|keyframe| is_far(keyframe)) else {
            return;
        };
        let mut fields = self.fields(&keyframe, frame.pts - TICK, now);
        // It does not count for the keyframe interval.
        fields.keyframe = false;
        self.append(&fields, &keyframe.units, Audience::Newcomers);
        self.end_frame(&fields, now);
        self.keyframe = Some(fields.start);
        self.last_keyframe = Some(keyframe);
    }

    fn fields(&self, frame: &VideoFrame, time: MediaTime, now: Instant) -> FrameFields {
        FrameFields {
            codec: frame.codec,
            start: self.head(),
            time,
            timestamp: self.timestamp(time),
            lags: [0; MAX_HELD],
            keyframe: frame.keyframe,
            disposable: frame.is_disposable(),
            at: now,
        }
    }

    /// Logs the packets of a part of a frame.
    fn append(&mut self, fields: &FrameFields, units: &[Bytes], audience: Audience) {
        let (codec, keyframe) = (fields.codec, fields.keyframe);
        rtp::packetise(codec, units, keyframe, MAX_PAYLOAD, |payload| {
            let number = self.first + self.packets.len() as u64;
            let packet = LoggedPacket {
                payload,
                codec: Some(codec),
                red: None,
                pts: fields.time,
                timestamp: fields.timestamp,
                lags: fields.lags,
                first: number == fields.start,
                marker: false,
                disposable: fields.disposable,
                audience,
                padding: 0,
                at: fields.at,
            };
            self.bytes += packet.memory();
            self.packets.push_back(packet);
        });
    }

    fn end_frame(&mut self, fields: &FrameFields, now: Instant) {
        let start = fields.start;
        if self.head() == start {
            return;
        }
        self.newest = Some(fields.time);
        let padding = if self.pads {
            self.missing_bytes(start)
        } else {
            0
        };
        if let Some(last) = self.packets.back_mut() {
            last.marker = true;
            last.padding = padding;
        }
        if fields.keyframe {
            self.previous_keyframe = self.keyframe.replace(start);
            self.keyframe_interval = self
                .keyframe_at
                .replace(now)
                .map(|before| now.saturating_duration_since(before));
        }
        self.trim(now);
    }

    /// Returns the number of bytes by which the last packet is shorter than the one before it, up
    /// to [`MAX_PADDING`]; 0 if the one before is not of the frame that starts with the packet
    /// `start`.
    fn missing_bytes(&self, start: u64) -> u8 {
        let (Some(before), Some(last)) = (self.head().checked_sub(2), self.packets.back()) else {
            return 0;
        };
        let before = self.get(before).filter(|_| before >= start);
        let missing =
            before.and_then(|before| before.payload.len().checked_sub(last.payload.len()));
        missing
            .and_then(|missing| u8::try_from(missing).ok())
            .filter(|missing| *missing <= MAX_PADDING)
            .unwrap_or(0)
    }

    /// Adds an audio frame that arrives at `now`, as one packet. Drops one that is empty or does
    /// not fit.
    pub fn push_audio(&mut self, frame: &AudioFrame, now: Instant) {
        if frame.data.is_empty() || frame.data.len() > MAX_PAYLOAD {
            return;
        }
        let payload = Payload::whole(frame.data.clone());
        let timestamp = self.timestamp(frame.pts);
        let red = self.makes_red.then(|| {
            let before = self.packets.back().map(|packet| {
                let offset = timestamp.wrapping_sub(packet.timestamp);
                (offset, packet.payload.body())
            });
            Box::new(red::payload(&frame.data, before, MAX_PAYLOAD))
        });
        let packet = LoggedPacket {
            payload,
            codec: None,
            red,
            pts: frame.pts,
            timestamp,
            lags: [0; MAX_HELD],
            first: true,
            marker: false,
            disposable: false,
            audience: Audience::All,
            padding: 0,
            at: now,
        };
        self.bytes += packet.memory();
        self.packets.push_back(packet);
        self.trim(now);
    }

    /// Returns the number that the next packet will have.
    pub fn head(&self) -> u64 {
        self.first + self.packets.len() as u64
    }

    /// Returns the packet with this number, if it is kept.
    pub fn get(&self, number: u64) -> Option<&LoggedPacket> {
        self.packets
            .get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// Returns the codec of the newest frame, if that is kept.
    pub fn codec(&self) -> Option<VideoCodec> {
        self.packets.back()?.codec
    }

    /// Returns the number of the newest keyframe's first packet, while its whole GOP is kept.
    pub fn keyframe(&self) -> Option<u64> {
        self.keyframe
    }

    /// Returns the time until the next keyframe if the last interval repeats itself: zero when it
    /// is overdue, `None` before the second keyframe.
    pub fn next_keyframe_in(&self, now: Instant) -> Option<Duration> {
        let next = self.keyframe_at? + self.keyframe_interval?;
        Some(next.saturating_duration_since(now))
    }

    /// Returns the memory that the packets take, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Ends the GOP: frames that follow do not continue it.
    pub fn end_gop(&mut self) {
        self.keyframe = None;
        self.previous_keyframe = None;
        self.last_keyframe = None;
        self.keyframe_at = None;
        self.held.clear();
    }

    fn timestamp(&self, time: MediaTime) -> u32 {
        // RTP timestamps count modulo 2^32 (RFC 3550 section 5.1).
        time.ticks(self.clock_rate) as u32
    }

    /// Drops packets that are needed neither to join nor to retransmit, and those over the limits.
    fn trim(&mut self, now: Instant) {
        let gop_age = self
            .keyframe
            .and_then(|keyframe| self.get(keyframe))
            .map_or(Duration::ZERO, |packet| {
                now.saturating_duration_since(packet.at)
            });
        if gop_age > self.limits.max_gop {
            self.keyframe = None;
        }
        let is_new = self
            .keyframe_at
            .is_some_and(|at| now.saturating_duration_since(at) <= HANDOVER_TIME);
        let previous_gop = self.previous_keyframe.filter(|_| is_new);
        while let Some(front) = self.packets.front() {
            let expired = now.saturating_duration_since(front.at) > self.limits.history;
            let is_since = |keyframe: Option<u64>| keyframe.is_some_and(|at| self.first >= at);
            let is_needed = is_since(self.keyframe) || is_since(previous_gop);
            if self.bytes <= self.limits.max_bytes && (!expired || is_needed) {
                break;
            }
            if self.keyframe == Some(self.first) {
                self.keyframe = None;
            }
            self.bytes -= front.memory();
            self.packets.pop_front();
            self.first += 1;
        }
    }
}
