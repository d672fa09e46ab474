//! The log of a track's packets. Each viewer is a cursor in it.
//!
//! * [`Log`]: packetises frames, once for all viewers of a shard.
//! * `packet`: [`LoggedPacket`], and the [`Audience`] that is sent it.
//! * `window`: which packets are kept, within [`LogLimits`].

mod packet;
#[cfg(test)]
mod tests;
mod window;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use distributary_media::{AudioFrame, LONG_GOP, MediaTime, VideoCodec, VideoFrame};

use crate::reorder;
use crate::rtp::{self, Payload, red};
use packet::MAX_HELD;
use window::Window;

pub(crate) use packet::OSN_LEN;
pub use packet::{Audience, LoggedPacket, MAX_PACKET, MAX_PAYLOAD};
pub use window::LogLimits;

/// Most bytes of padding. Fragments of equal size leave the last one shorter by less than there are
/// fragments: longer padding would be for an odd unit behind them, which is not worth it.
const MAX_PADDING: u8 = 64;

/// Least distance between two frames: one tick of the 90 kHz clock, rounded up.
const TICK: Duration = Duration::from_nanos(11_112);

/// Most that each frame held back adds to the lag of a decoder. After a long pause, frames that the
/// decoder still holds are too old to matter.
pub(crate) const MAX_INTERVAL: Duration = Duration::from_millis(100);

/// The packets of one track of a stream, packetised once for all viewers of a shard.
///
/// Packets are numbered from zero and never renumbered. The log keeps those since the newest
/// keyframe, for newcomers, and those of the last seconds, for retransmission.
#[derive(Debug)]
pub struct Log {
    clock_rate: u32,
    pads: bool,
    makes_red: bool,
    window: Window,
    /// The newest keyframe, unpacketised.
    last_keyframe: Option<VideoFrame>,
    /// Time of the newest frame.
    newest: Option<MediaTime>,
    /// Presentation times of the frames that decoders hold back to reorder them.
    held: BinaryHeap<Reverse<MediaTime>>,
    /// Presentation times of the previous frames, the newest first.
    before: VecDeque<MediaTime>,
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

impl Log {
    /// Creates an empty log of a track whose media clock runs at `clock_rate` Hz.
    pub fn new(clock_rate: u32, limits: LogLimits) -> Self {
        Self {
            clock_rate,
            pads: false,
            makes_red: false,
            window: Window::new(limits),
            last_keyframe: None,
            newest: None,
            held: BinaryHeap::new(),
            before: VecDeque::with_capacity(MAX_HELD),
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
        self.window.move_start(fields.start);
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
            let first = self.window.head() == fields.start;
            self.window.push(LoggedPacket {
                payload,
                codec: Some(codec),
                red: None,
                pts: fields.time,
                timestamp: fields.timestamp,
                lags: fields.lags,
                first,
                marker: false,
                disposable: fields.disposable,
                audience,
                padding: 0,
                at: fields.at,
            });
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
        self.window.end_frame(padding);
        if fields.keyframe {
            self.window.begin_gop(start, now);
        }
        self.window.trim(now);
    }

    /// Returns the number of bytes by which the last packet is shorter than the one before it, up
    /// to [`MAX_PADDING`]; 0 if the one before is not of the frame that starts with the packet
    /// `start`.
    fn missing_bytes(&self, start: u64) -> u8 {
        let (Some(before), Some(last)) = (self.head().checked_sub(2), self.window.last()) else {
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
            let before = self.window.last().map(|packet| {
                let offset = timestamp.wrapping_sub(packet.timestamp);
                (offset, packet.payload.body())
            });
            Box::new(red::payload(&frame.data, before, MAX_PAYLOAD))
        });
        self.window.push(LoggedPacket {
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
        });
        self.window.trim(now);
    }

    /// Returns the number that the next packet will have.
    pub fn head(&self) -> u64 {
        self.window.head()
    }

    /// Returns the packet with this number, if it is kept.
    pub fn get(&self, number: u64) -> Option<&LoggedPacket> {
        self.window.get(number)
    }

    /// Returns the codec of the newest frame, if that is kept.
    pub fn codec(&self) -> Option<VideoCodec> {
        self.window.last()?.codec
    }

    /// Returns the number of the newest keyframe's first packet, while its whole GOP is kept.
    pub fn keyframe(&self) -> Option<u64> {
        self.window.keyframe()
    }

    /// Returns the time until the next keyframe if the last interval repeats itself: zero when it
    /// is overdue, `None` before the second keyframe.
    pub fn next_keyframe_in(&self, now: Instant) -> Option<Duration> {
        self.window.next_keyframe_in(now)
    }

    /// Returns the memory that the packets take, in bytes.
    pub fn bytes(&self) -> usize {
        self.window.bytes()
    }

    /// Ends the GOP: frames that follow do not continue it.
    pub fn end_gop(&mut self) {
        self.window.end_gop();
        self.last_keyframe = None;
        self.held.clear();
    }

    fn timestamp(&self, time: MediaTime) -> u32 {
        // RTP timestamps count modulo 2^32 (RFC 3550 section 5.1).
        time.ticks(self.clock_rate) as u32
    }
}
