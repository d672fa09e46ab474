//! The order in which decoders output the frames of a stream, and its effect on timestamps.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use distributary_media::{MediaTime, VideoFrame};

/// Least distance between two frames: one tick of the 90 kHz clock, rounded up.
pub(crate) const TICK: Duration = Duration::from_nanos(11_112);

/// Most frames that a decoder is assumed to hold back.
const MAX_HELD: usize = 4;

/// Most that each frame held back adds to the lag of a decoder. After a long pause, frames that the
/// decoder still holds are too old to matter.
const MAX_INTERVAL: Duration = Duration::from_millis(100);

/// The presentation times of a stream's frames, as decoders output them.
#[derive(Debug)]
pub(crate) struct DisplayOrder {
    /// Those of the frames that decoders hold back to reorder them.
    held: BinaryHeap<Reverse<MediaTime>>,
    /// Those of the frames output before, the newest first.
    shown: VecDeque<MediaTime>,
    /// The time that the newest frame is sent with.
    newest: Option<MediaTime>,
}

/// For a decoder that holds back one, two and so on frames: ticks by which the frame that comes out
/// is earlier than the one that goes in. Zero where the timestamp already accounts for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lags([u16; MAX_HELD]);

impl DisplayOrder {
    pub(crate) fn new() -> Self {
        Self {
            held: BinaryHeap::new(),
            shown: VecDeque::with_capacity(MAX_HELD),
            newest: None,
        }
    }

    /// Adds the next frame of a stream that is sent in display order, with its own time. Returns
    /// its lags, in ticks of a clock of `clock_rate` Hz.
    pub(crate) fn push(&mut self, frame: &VideoFrame, clock_rate: u32) -> Lags {
        while let Some(Reverse(time)) = self.held.pop() {
            self.note_shown(time);
        }
        let lags = self.lags(frame.pts, clock_rate);
        self.note_shown(frame.pts);
        self.newest = Some(frame.pts);
        lags
    }

    /// Adds the next frame of a stream that is sent in decoding order. Returns the time that it is
    /// sent with: that of the frame that comes out of a decoder when this one goes in.
    ///
    /// A decoder that holds back `depth` frames outputs the earliest that it has. Decoding times
    /// would fit most encoders; some let them run ahead by more frames than are held back. While
    /// the decoder is primed, the keyframe comes out repeatedly, at decoding times. After a stream
    /// without reordering, time must not step back.
    pub(crate) fn push_reordered(&mut self, frame: &VideoFrame, depth: u8) -> MediaTime {
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
        let time = self.newest.map_or(time, |newest| time.max(newest + TICK));
        self.newest = Some(time);
        time
    }

    /// Forgets the frames that decoders hold back: the frames that follow begin with a keyframe.
    pub(crate) fn end_gop(&mut self) {
        self.held.clear();
    }

    fn note_shown(&mut self, time: MediaTime) {
        self.shown.truncate(MAX_HELD - 1);
        self.shown.push_front(time);
    }

    fn lags(&self, time: MediaTime, clock_rate: u32) -> Lags {
        let mut lags = Lags::default();
        let mut most = Duration::ZERO;
        let mut shown = self.shown.iter();
        let mut lag = Duration::ZERO;
        for ticks in &mut lags.0 {
            most += MAX_INTERVAL;
            // Where no frame came before, the lag is that of the previous step.
            lag = shown
                .next()
                .map_or(lag, |before| time.saturating_since(*before))
                .min(most);
            let rate = u128::from(clock_rate);
            *ticks = u16::try_from(lag.as_nanos() * rate / 1_000_000_000).unwrap_or(u16::MAX);
        }
        lags
    }
}

impl Lags {
    /// Returns the lag of a decoder that holds back `held` frames, in ticks.
    pub(super) fn of(self, held: u8) -> u32 {
        let index = usize::from(held).checked_sub(1);
        index.map_or(0, |index| self.0[index.min(MAX_HELD - 1)].into())
    }

    /// Returns an upper bound for the lag of a decoder that holds back `held` frames.
    pub(super) fn longest(held: u8) -> Duration {
        MAX_INTERVAL * held.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use distributary_media::{FrameInfo, VideoCodec};

    fn frame(pts: i64) -> VideoFrame {
        VideoFrame {
            codec: VideoCodec::H264,
            pts: MediaTime::from_millis(pts),
            dts: MediaTime::ZERO,
            keyframe: false,
            info: FrameInfo::default(),
            units: Vec::new(),
        }
    }

    #[test]
    fn lag_is_the_distance_to_the_frame_that_comes_out() {
        let mut order = DisplayOrder::new();
        // Millisecond ticks. The first frame has nothing before it.
        assert_eq!(order.push(&frame(0), 1000).0, [0; 4]);
        assert_eq!(order.push(&frame(40), 1000).0, [40; 4]);
        let lags = order.push(&frame(100), 1000);
        assert_eq!(lags.0, [60, 100, 100, 100]);
        assert_eq!([0, 1, 2, 9].map(|held| lags.of(held)), [0, 60, 100, 100]);
        // After a pause, what the decoder still holds does not count in full.
        assert_eq!(order.push(&frame(60_000), 1000).0, [100, 200, 300, 300]);
    }

    #[test]
    fn frames_held_back_come_out_before_those_of_a_stream_in_display_order() {
        let mut order = DisplayOrder::new();
        for pts in [80, 160, 120] {
            order.push_reordered(&frame(pts), 2);
        }
        // 120 and 160 ms are still held back.
        assert_eq!(order.push(&frame(200), 1000).0, [40, 80, 120, 120]);
        order.push_reordered(&frame(280), 2);
        order.end_gop();
        assert_eq!(order.push(&frame(240), 1000).0, [40, 80, 120, 160]);
    }
}
