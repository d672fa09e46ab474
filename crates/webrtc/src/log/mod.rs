//! The log of a track's packets. Each viewer is a cursor in it.
//!
//! * [`Log`]: packetizes frames, once for all viewers of a shard.
//! * `packet`: [`LoggedPacket`], and the [`Audience`] that is sent it.
//! * `window`: which packets are kept, within [`LogLimits`].

mod packet;
#[cfg(test)]
mod tests;
mod window;

use std::time::{Duration, Instant};

use bytes::Bytes;
use distributary_media::{AudioFrame, MediaTime, VideoCodec, VideoFrame};

use crate::reorder::{Decoders, DisplayOrder, Keyframe, Lags, TICK};
use crate::rtp::{self, Payload, red};
use window::Window;

pub(crate) use packet::OSN_LEN;
pub use packet::{Audience, LoggedPacket, MAX_PACKET, MAX_PAYLOAD};
pub use window::LogLimits;

/// Most bytes of padding. Fragments of equal size leave the last one shorter by less than there are
/// fragments: longer padding would be for an odd unit behind them, which is not worth it.
const MAX_PADDING: u8 = 64;

/// The packets of one track of a stream, packetized once for all viewers of a shard.
///
/// Packets are numbered from zero and never renumbered. The log keeps those since the newest
/// keyframe, for newcomers, and those of the last seconds, for retransmission.
///
/// The hub caches the GOP as well, in frames, for subscribers of every kind: a shard whose first
/// viewer comes fills its log from there. Viewers that come later start in the log, which no other
/// thread touches and in which the packets already are. Both hold slices of the same payload, so
/// the media is in memory once.
#[derive(Debug)]
pub struct Log {
    clock_rate: u32,
    pads: bool,
    makes_red: bool,
    window: Window,
    /// The newest keyframe, unpacketized.
    last_keyframe: Option<VideoFrame>,
    display_order: DisplayOrder,
}

/// The fields that all packets of a frame share.
struct FrameFields {
    codec: VideoCodec,
    /// Number of its first packet.
    start: u64,
    time: MediaTime,
    timestamp: u32,
    lags: Lags,
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
            display_order: DisplayOrder::new(),
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

    /// Returns the rate of the packets kept, in bits per second, to within some percent.
    pub fn bitrate(&self) -> u64 {
        self.window.bitrate()
    }

    /// Sets whether the last packet of each frame is padded to the length of the one before it, so
    /// that audio can be sent after it with the same system call.
    pub fn set_padding(&mut self, pads: bool) {
        self.pads = pads;
    }

    /// Packetizes a frame that arrives at `now`.
    pub fn push_video(&mut self, frame: &VideoFrame, now: Instant) {
        if frame.keyframe {
            self.last_keyframe = Some(frame.clone());
        } else if let Some(keyframe) = self
            .last_keyframe
            .take_if(|keyframe| frame.is_entry_point(keyframe))
        {
            self.push_again(&keyframe, frame.pts - TICK, now);
            self.last_keyframe = Some(keyframe);
        }
        let lags = self.display_order.push(frame, self.clock_rate);
        let fields = FrameFields {
            lags,
            ..self.fields(frame, frame.pts, now)
        };
        self.append(&fields, &frame.units, Audience::All);
        self.end_frame(&fields, now);
    }

    /// Packetizes a frame of a stream with B-frames, for which a decoder holds back `depth` frames.
    /// Viewers whose decoder can do that are sent all frames, the others the keyframes (see
    /// [`crate::reorder`]).
    pub fn push_reordered(&mut self, frame: &VideoFrame, depth: u8, now: Instant) {
        let time = self.display_order.push_reordered(frame, depth);
        let fields = self.fields(frame, time, now);
        if frame.keyframe {
            for (units, decoders) in Keyframe::new(&frame.units, depth).parts() {
                let audience = decoders.map_or(Audience::All, Audience::Reordering);
                self.append(&fields, units, audience);
            }
        } else {
            let audience = Audience::Reordering(Decoders::All);
            self.append(&fields, &frame.units, audience);
        }
        self.end_frame(&fields, now);
    }

    /// Logs the keyframe again, for newcomers, which start at the frame behind it (see
    /// [`VideoFrame::is_entry_point`]). Until the stream has refreshed itself once, they see
    /// partly wrong frames rather than none.
    fn push_again(&mut self, keyframe: &VideoFrame, time: MediaTime, now: Instant) {
        let fields = FrameFields {
            // It does not count for the keyframe interval.
            keyframe: false,
            ..self.fields(keyframe, time, now)
        };
        self.append(&fields, &keyframe.units, Audience::Newcomers);
        self.end_frame(&fields, now);
        self.window.move_start(fields.start);
    }

    fn fields(&self, frame: &VideoFrame, time: MediaTime, now: Instant) -> FrameFields {
        FrameFields {
            codec: frame.codec,
            start: self.head(),
            time,
            timestamp: self.timestamp(time),
            lags: Lags::default(),
            keyframe: frame.keyframe,
            disposable: frame.info.disposable,
            at: now,
        }
    }

    /// Logs the packets of a part of a frame.
    fn append(&mut self, fields: &FrameFields, units: &[Bytes], audience: Audience) {
        let (codec, keyframe) = (fields.codec, fields.keyframe);
        rtp::packetize(codec, units, keyframe, MAX_PAYLOAD, |payload| {
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
            lags: Lags::default(),
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

    /// Returns the time of the newest frame, if that is kept.
    pub fn newest(&self) -> Option<MediaTime> {
        Some(self.window.last()?.pts)
    }

    /// Returns the number of the newest keyframe's first packet, while its whole GOP is kept and not
    /// suspended.
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

    /// Returns the memory that the packets take in addition to their payload, in bytes.
    pub fn records(&self) -> usize {
        self.window.records()
    }

    /// Changes [`LogLimits::max_bytes`] at `now`.
    pub fn bound(&mut self, max_bytes: usize, now: Instant) {
        self.window.bound(max_bytes, now);
    }

    /// Lets newcomers wait for the next frame: the GOP is old, and frames after it are missing. The
    /// next frame continues it, or is a keyframe.
    pub fn suspend_gop(&mut self) {
        self.window.suspend_gop();
    }

    /// Ends the GOP: frames that follow do not continue it.
    pub fn end_gop(&mut self) {
        self.window.end_gop();
        self.last_keyframe = None;
        self.display_order.end_gop();
    }

    fn timestamp(&self, time: MediaTime) -> u32 {
        // RTP timestamps count modulo 2^32 (RFC 3550 section 5.1).
        time.ticks(self.clock_rate) as u32
    }
}
