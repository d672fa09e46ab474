//! Encoded video and audio frames.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::b_frames::BFrameVerdict;
use crate::time::MediaTime;
use crate::track::{AudioCodec, VideoCodec};

/// Age of a keyframe, in media time, from which on a new viewer would take long to reach the live
/// position.
const LONG_GOP: Duration = Duration::from_secs(10);

/// Maximum memory of a frame in addition to its payload: the frame itself, its reference count and
/// its list of units.
const FRAME_OVERHEAD: usize = 256;

/// Maximum memory of a unit in addition to its bytes: the handle of a slice, its shared part, and
/// that of an attached value.
const UNIT_OVERHEAD: usize = 160;

/// Unused bytes of a buffer that a frame of any size may keep alive: headers and delimiters.
const MAX_UNUSED: usize = 128;

/// The same as a fraction of the frame's payload.
const MAX_UNUSED_SHARE: usize = 16;

/// One encoded video or audio frame.
///
/// Payloads are slices of the buffer that was read from the network: cloning a frame copies no
/// media. A slice keeps the whole buffer alive, so [`Frame::compact`] is called if a frame uses
/// little of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A video frame.
    Video(VideoFrame),
    /// An audio frame.
    Audio(AudioFrame),
}

impl Frame {
    /// Returns the decoding time. Frames of a track arrive in this order.
    pub fn dts(&self) -> MediaTime {
        match self {
            Self::Video(frame) => frame.dts,
            Self::Audio(frame) => frame.pts,
        }
    }

    /// Returns whether decoding of video can start here. Audio can start anywhere, so this is
    /// `false` for it.
    pub fn is_keyframe(&self) -> bool {
        matches!(self, Self::Video(frame) if frame.keyframe)
    }

    /// Returns whether new viewers start here, as [`VideoFrame::is_entry_point`] says; `false` for
    /// audio.
    pub fn is_entry_point(&self, keyframe: &Self) -> bool {
        match (self, keyframe) {
            (Self::Video(frame), Self::Video(keyframe)) => frame.is_entry_point(keyframe),
            _ => false,
        }
    }

    /// Returns the bytes of encoded media, without any framing.
    pub fn payload_len(&self) -> usize {
        match self {
            Self::Video(frame) => frame.payload_len(),
            Self::Audio(frame) => frame.data.len(),
        }
    }

    /// Returns the memory that the frame keeps alive, in bytes: an upper bound for a frame that was
    /// compacted.
    pub fn memory(&self) -> usize {
        let units = match self {
            Self::Video(frame) => frame.units.len(),
            Self::Audio(_) => 1,
        };
        let payload = self.payload_len();
        payload + unused_allowance(payload) + FRAME_OVERHEAD + units * UNIT_OVERHEAD
    }

    /// Attaches a value to the payload, which is dropped with the last slice of it, whoever keeps
    /// that.
    pub fn attach<T: Send + Sync + 'static>(&mut self, value: T) {
        let value = Arc::new(value);
        let attach = |payload: &mut Bytes| {
            *payload = Bytes::from_owner(Attached {
                payload: std::mem::take(payload),
                _value: Arc::clone(&value),
            });
        };
        match self {
            Self::Video(frame) => frame.units.iter_mut().for_each(attach),
            Self::Audio(frame) => attach(&mut frame.data),
        }
    }

    /// Copies the payload to a separate buffer if the buffer that it is a slice of, of `held`
    /// bytes, is much larger.
    pub fn compact(&mut self, held: usize) {
        match self {
            Self::Video(frame) => frame.compact(held),
            Self::Audio(frame) => {
                if is_wasteful(held, frame.data.len()) {
                    frame.data = Bytes::copy_from_slice(&frame.data);
                }
            }
        }
    }
}

/// A part of a payload, and what is dropped with it.
struct Attached<T> {
    payload: Bytes,
    _value: Arc<T>,
}

impl<T> AsRef<[u8]> for Attached<T> {
    fn as_ref(&self) -> &[u8] {
        &self.payload
    }
}

/// Returns whether a slice of `kept` bytes would keep too much of a buffer of `held` bytes alive.
fn is_wasteful(held: usize, kept: usize) -> bool {
    held.saturating_sub(kept) > unused_allowance(kept)
}

fn unused_allowance(kept: usize) -> usize {
    MAX_UNUSED + kept / MAX_UNUSED_SHARE
}

/// One video frame: an access unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoFrame {
    /// The codec.
    pub codec: VideoCodec,
    /// Presentation time.
    pub pts: MediaTime,
    /// Decoding time.
    pub dts: MediaTime,
    /// True if decoding can start here: an IDR picture of H264, an IRAP picture of H265 or a
    /// keyframe of AV1, which then start with their parameter sets or sequence header, or a
    /// keyframe of VP9.
    pub keyframe: bool,
    /// Facts about it that ingest has found out.
    pub info: FrameInfo,
    /// H264 and H265: the NAL units in decoding order, without start codes or length prefixes, none
    /// of them empty. AV1: the OBUs in the low-overhead form, in one piece or more, each of whole
    /// OBUs. VP9: the frame as one unit.
    pub units: Vec<Bytes>,
}

impl VideoFrame {
    /// Returns the bytes of encoded media, without any framing.
    pub fn payload_len(&self) -> usize {
        self.units.iter().map(Bytes::len).sum()
    }

    /// Compacts the frame as [`Frame::compact`] does.
    pub fn compact(&mut self, held: usize) {
        let kept = self.payload_len();
        if !is_wasteful(held, kept) {
            return;
        }
        let mut buffer = BytesMut::with_capacity(kept);
        for unit in &self.units {
            buffer.extend_from_slice(unit);
        }
        let mut buffer = buffer.freeze();
        for unit in &mut self.units {
            *unit = buffer.split_to(unit.len());
        }
    }

    /// Returns whether new viewers start here, after the `keyframe` of the GOP, and get none of the
    /// frames between them: if the keyframe is far back and this is a recovery point.
    ///
    /// Streams with intra refresh have one keyframe and then no other. A decoder needs a keyframe
    /// to start at all, and its output is correct after one refresh cycle.
    pub fn is_entry_point(&self, keyframe: &Self) -> bool {
        self.info.recovery_point
            && self.codec == keyframe.codec
            && self.dts.saturating_since(keyframe.dts) > LONG_GOP
    }
}

/// Facts about a video frame that those who pass it on need.
///
/// [`FrameInspector`](crate::FrameInspector) finds it out once, at ingest; after that nobody parses
/// the bitstream for it. The default is that of a frame of which nothing is known: it is needed, no
/// decoder can start at it, and its stream has no B-frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameInfo {
    /// True if no other frame references it, so that it can be dropped. Known of H264 only.
    pub disposable: bool,
    /// True if a decoder that starts here, without a keyframe, shows correct frames after a while.
    /// Known of H264 only.
    pub recovery_point: bool,
    /// The B-frames of its stream, as far as they are known with this frame.
    pub b_frames: BFrameVerdict,
}

/// One audio frame: an AAC access unit or an Opus packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioFrame {
    /// The codec.
    pub codec: AudioCodec,
    /// Time of its first sample.
    pub pts: MediaTime,
    /// The payload.
    pub data: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video(units: Vec<Bytes>) -> Frame {
        Frame::Video(VideoFrame {
            codec: VideoCodec::H264,
            pts: MediaTime::ZERO,
            dts: MediaTime::ZERO,
            keyframe: false,
            info: FrameInfo::default(),
            units,
        })
    }

    #[test]
    fn frame_releases_a_buffer_that_it_uses_little_of() {
        let message = Bytes::from(vec![7; 4 << 20]);
        let units = vec![message.slice(9..12), message.slice(100..103)];
        let mut frame = video(units.clone());
        frame.compact(message.len());
        let Frame::Video(compacted) = &frame else {
            panic!("a video frame stays one")
        };
        assert_eq!(compacted.units, units);
        drop(units);
        assert!(message.is_unique(), "nothing else holds the message");
        assert!(frame.memory() < 1024);

        let mut audio = Frame::Audio(AudioFrame {
            codec: AudioCodec::Opus,
            pts: MediaTime::ZERO,
            data: message.slice(..100),
        });
        audio.compact(message.len());
        assert!(message.is_unique());
    }

    #[test]
    fn frame_that_uses_most_of_its_buffer_is_not_copied() {
        let message = Bytes::from(vec![7; 10_000]);
        let mut frame = video(vec![message.slice(9..5000), message.slice(5004..)]);
        frame.compact(message.len());
        assert!(!message.is_unique());
        assert!(frame.memory() >= message.len());
    }

    #[test]
    fn attached_value_is_dropped_with_the_last_slice_and_nothing_is_copied() {
        let message = Bytes::from(vec![7; 1000]);
        let mut frame = video(vec![message.slice(..500), message.slice(500..)]);
        let value = Arc::new(());
        frame.attach(Arc::clone(&value));
        let Frame::Video(attached) = frame else {
            panic!("a video frame stays one")
        };
        assert_eq!(attached.units[1].as_ptr(), message[500..].as_ptr());
        let slice = attached.units[1].slice(1..2);
        drop(attached);
        assert_eq!(Arc::strong_count(&value), 2);
        drop(slice);
        assert_eq!(Arc::strong_count(&value), 1);
        assert!(message.is_unique());
    }

    #[test]
    fn newcomers_start_at_a_recovery_point_when_the_keyframe_is_far_back() {
        let at = |seconds: i64, recovery_point| {
            let Frame::Video(mut frame) = video(Vec::new()) else {
                panic!("not a video frame")
            };
            frame.dts = MediaTime::from_millis(1000 * seconds);
            frame.info.recovery_point = recovery_point;
            Frame::Video(frame)
        };
        let keyframe = at(5, false);
        assert!(at(16, true).is_entry_point(&keyframe));
        assert!(!at(15, true).is_entry_point(&keyframe), "not far enough");
        assert!(!at(16, false).is_entry_point(&keyframe));
    }

    #[test]
    fn every_unit_counts_as_memory() {
        let units = vec![Bytes::from_static(&[0x41]); 2048];
        assert!(video(units).memory() >= 2048 * size_of::<Bytes>());
    }
}
