//! The frames of one rendition, while one encoder takes over from another.

use std::collections::VecDeque;

use distributary_media::{MediaTime, VideoFrame};

/// Maximum frames that wait on each side of a cut. An encoder that is further behind is not waited
/// for.
const MAX_HELD: usize = 64;

/// Maximum difference between the times of one frame in the source and in the outputs of both
/// encoders, in nanoseconds: FLV rounds to milliseconds. Frames are further apart than that.
const ROUNDING: i64 = 3_000_000;

/// Joins the frames of two encoders of the same source at a *cut*: the frames before it are those
/// of the first encoder, and the others those of the second, which has a keyframe there.
///
/// The cut is a keyframe of the source, chosen before either encoder returns its frame. So no frame
/// is missing and none comes twice.
#[derive(Debug, Default)]
pub(crate) struct Splice {
    /// Presentation time of the last frame passed on.
    last: Option<MediaTime>,
    /// True while the frames of the present encoder do not follow the last frame passed on: then
    /// none leaves before a keyframe that is later.
    awaits_keyframe: bool,
    cut: Option<Cut>,
}

#[derive(Debug)]
struct Cut {
    /// A little before the keyframe.
    from: MediaTime,
    /// Set when the first encoder has passed the cut.
    is_passed: bool,
    /// Its frames from the cut on, in case that the second has no keyframe there.
    first: VecDeque<VideoFrame>,
    /// The frames of the second from the cut on.
    second: VecDeque<VideoFrame>,
    is_failed: bool,
}

impl Splice {
    /// Returns the presentation time of the last frame passed on.
    pub(crate) fn last(&self) -> Option<MediaTime> {
        self.last
    }

    /// Returns the time after which a keyframe is awaited, if one is.
    pub(crate) fn awaited(&self) -> Option<MediaTime> {
        self.last.filter(|_| self.awaits_keyframe)
    }

    /// Forgets the encoders so far: the next frame is another encoder's. It may be an old one, so
    /// nothing is passed on before a keyframe that is later than the last frame.
    pub(crate) fn reset(&mut self) {
        self.cut = None;
        self.awaits_keyframe = true;
    }

    /// Returns whether the second encoder, whose last frame is at `own`, can take over at a keyframe
    /// that goes to it: neither encoder has returned that frame.
    pub(crate) fn can_cut(&self, at: MediaTime, own: MediaTime) -> bool {
        let is_new = self.last.is_none_or(|last| is_later(at, last));
        self.cut.is_none() && is_new && is_later(at, own)
    }

    /// Sets the cut, for which [`Self::can_cut`] returned `true`.
    pub(crate) fn cut(&mut self, at: MediaTime) {
        self.cut = Some(Cut {
            from: MediaTime::from_nanos(at.as_nanos().saturating_sub(ROUNDING)),
            is_passed: false,
            first: VecDeque::new(),
            second: VecDeque::new(),
            is_failed: false,
        });
    }

    /// Handles a frame of the first encoder. Returns it if it is passed on.
    pub(crate) fn first(&mut self, frame: VideoFrame) -> Option<VideoFrame> {
        match &mut self.cut {
            Some(cut) if frame.pts >= cut.from => {
                cut.is_passed = true;
                cut.is_failed |= cut.first.len() >= MAX_HELD;
                cut.first.push_back(frame);
                None
            }
            _ => self.admit(frame),
        }
    }

    /// Handles a frame of the second encoder.
    pub(crate) fn second(&mut self, frame: VideoFrame) {
        let Some(cut) = &mut self.cut else {
            return;
        };
        if frame.pts < cut.from {
            return;
        }
        cut.is_failed |= cut.second.is_empty() && !frame.keyframe;
        // The first encoder is late, so its last frames are not waited for.
        cut.is_passed |= cut.second.len() >= MAX_HELD;
        cut.second.push_back(frame);
    }

    /// Returns whether the second encoder can take over now.
    pub(crate) fn is_ready(&self) -> bool {
        let cut = self.cut.as_ref();
        cut.is_some_and(|cut| cut.is_passed && !cut.is_failed && !cut.second.is_empty())
    }

    /// Returns whether the second encoder has no keyframe at the cut, or is too late.
    pub(crate) fn is_failed(&self) -> bool {
        self.cut.as_ref().is_some_and(|cut| cut.is_failed)
    }

    /// Lets the second encoder take over, also before it is ready. Returns its frames so far, to be
    /// passed on.
    pub(crate) fn take_over(&mut self) -> Vec<VideoFrame> {
        let frames = self.cut.take().map(|cut| cut.second);
        self.awaits_keyframe = true;
        self.passed(frames)
    }

    /// Leaves the rendition to the first encoder. Returns its frames that waited, to be passed on.
    pub(crate) fn abandon(&mut self) -> Vec<VideoFrame> {
        let frames = self.cut.take().map(|cut| cut.first);
        self.passed(frames)
    }

    fn passed(&mut self, frames: Option<VecDeque<VideoFrame>>) -> Vec<VideoFrame> {
        let frames = frames.unwrap_or_default().into_iter();
        frames.filter_map(|frame| self.admit(frame)).collect()
    }

    /// Returns a frame of the present encoder if it is passed on. Those of one encoder are in order,
    /// so only where its frames begin can one be an old one.
    fn admit(&mut self, frame: VideoFrame) -> Option<VideoFrame> {
        if self.awaits_keyframe {
            let is_new = self.last.is_none_or(|last| is_later(frame.pts, last));
            if !frame.keyframe || !is_new {
                return None;
            }
            self.awaits_keyframe = false;
        }
        self.last = self.last.max(Some(frame.pts));
        Some(frame)
    }
}

/// Returns whether one time is that of a later frame than another, although times are rounded.
fn is_later(one: MediaTime, other: MediaTime) -> bool {
    one.as_nanos() > other.as_nanos().saturating_add(ROUNDING)
}

#[cfg(test)]
mod tests {
    use super::*;
    use distributary_media::{FrameInfo, VideoCodec};

    fn frame(millis: i64, keyframe: bool) -> VideoFrame {
        VideoFrame {
            codec: VideoCodec::H264,
            pts: MediaTime::from_millis(millis),
            dts: MediaTime::from_millis(millis),
            keyframe,
            info: FrameInfo::default(),
            units: Vec::new(),
        }
    }

    fn times(frames: impl IntoIterator<Item = VideoFrame>) -> Vec<i64> {
        let frames = frames.into_iter();
        frames.map(|frame| frame.pts.as_millis()).collect()
    }

    /// Feeds both encoders' frames from 0 to 400 ms, of which 200 is the cut, in this order: `true`
    /// is the next frame of the second. Returns what was passed on.
    fn spliced(order: impl IntoIterator<Item = bool>) -> Vec<i64> {
        let mut splice = Splice::default();
        let mut passed = Vec::new();
        let (mut first, mut second) = (0, 40);
        splice.cut(MediaTime::from_millis(200));
        let mut has_taken_over = false;
        for is_second in order {
            let next = if is_second { &mut second } else { &mut first };
            let frame = frame(*next, is_second && *next == 200);
            *next += 40;
            match (is_second, has_taken_over) {
                (true, true) => passed.extend(splice.first(frame)),
                (true, false) => splice.second(frame),
                (false, true) => {}
                (false, false) => passed.extend(splice.first(frame)),
            }
            if splice.is_ready() {
                has_taken_over = true;
                passed.extend(splice.take_over());
            }
            assert!(!splice.is_failed());
        }
        times(passed)
    }

    #[test]
    fn no_frame_is_missing_or_comes_twice_whichever_encoder_is_faster() {
        let all: Vec<i64> = (0..400).step_by(40).collect();
        let (first, second) = ([false; 10], [true; 9]);
        let in_turns = || (0..20).map(|n| n % 2 == 1).take(19);
        assert_eq!(spliced(first.into_iter().chain(second)), all);
        assert_eq!(spliced(second.into_iter().chain(first)), all);
        assert_eq!(spliced(in_turns()), all);
        let seconds_later = first[..7].iter().chain(&second[..5]).copied();
        assert_eq!(
            spliced(seconds_later.chain(second[5..].to_vec())),
            all,
            "the first had passed the cut"
        );
    }

    #[test]
    fn frame_at_the_cut_comes_once_although_its_time_is_rounded() {
        let mut splice = Splice::default();
        splice.cut(MediaTime::from_millis(41));
        assert!(splice.first(frame(0, true)).is_some());
        assert!(splice.first(frame(40, true)).is_none());
        splice.second(frame(8, false));
        splice.second(frame(40, true));
        assert_eq!(times(splice.take_over()), [40]);
    }

    #[test]
    fn rendition_stays_with_the_first_without_a_keyframe_at_the_cut() {
        let mut splice = Splice::default();
        splice.cut(MediaTime::from_millis(40));
        assert!(splice.first(frame(0, true)).is_some());
        assert!(splice.first(frame(40, true)).is_none());
        splice.second(frame(0, true));
        splice.second(frame(40, false));
        assert!(splice.is_failed() && !splice.is_ready());
        assert_eq!(times(splice.abandon()), [40]);
        assert_eq!(splice.last(), Some(MediaTime::from_millis(40)));
        assert!(splice.first(frame(80, false)).is_some());
    }

    #[test]
    fn successor_25_frames_behind_repeats_and_loses_nothing() {
        let time = MediaTime::from_millis;
        let mut splice = Splice::default();
        let mut passed: Vec<_> = (0..30)
            .filter_map(|n| splice.first(frame(40 * n, n == 0)))
            .collect();
        let own = time(40 * 4);
        assert!(!splice.can_cut(time(40 * 5), own), "its next is an old one");
        assert!(!splice.can_cut(time(40 * 29), own), "it was passed on");
        assert!(splice.can_cut(time(40 * 30), own));
        splice.cut(time(40 * 30));
        for n in 30..55 {
            assert!(splice.first(frame(40 * n, n == 30)).is_none());
            splice.second(frame(40 * (n - 25), n == 40));
            assert!(!splice.is_ready() && !splice.is_failed());
        }
        for n in 30..35 {
            splice.second(frame(40 * n, n == 30));
        }
        assert!(splice.is_ready());
        passed.extend(splice.take_over());
        passed.extend((35..60).filter_map(|n| splice.first(frame(40 * n, false))));
        assert_eq!(times(passed), (0..60).map(|n| 40 * n).collect::<Vec<_>>());
    }

    #[test]
    fn cut_is_refused_at_a_keyframe_that_either_encoder_has_returned() {
        let time = MediaTime::from_millis;
        let mut splice = Splice::default();
        splice.first(frame(0, true));
        splice.first(frame(40, true));
        // The source's time of the frame is not rounded.
        assert!(!splice.can_cut(time(41), time(0)), "the first has");
        assert!(!splice.can_cut(time(80), time(80)), "the second has");
        assert!(splice.can_cut(time(80), time(0)));
        splice.cut(time(80));
        assert!(!splice.can_cut(time(120), time(40)), "there is one");
    }

    #[test]
    fn nothing_old_leaves_where_an_encoder_replaces_another_at_once() {
        for is_forced in [false, true] {
            let mut splice = Splice::default();
            for n in 0..30 {
                splice.first(frame(40 * n, n == 0));
            }
            if is_forced {
                assert!(splice.take_over().is_empty());
            } else {
                splice.reset();
            }
            let last = Some(MediaTime::from_millis(40 * 29));
            assert_eq!(splice.awaited(), last);
            // The next encoder begins with old frames, and has a keyframe every ten.
            let frames = (5..60).map(|n| frame(40 * n + 1, n % 10 == 9));
            let passed = times(frames.filter_map(|frame| splice.first(frame)));
            let expected: Vec<i64> = (39..60).map(|n| 40 * n + 1).collect();
            assert_eq!(passed, expected, "from a keyframe that is later");
            assert_eq!(splice.awaited(), None);
        }
    }

    #[test]
    fn frames_that_wait_are_bounded() {
        let mut splice = Splice::default();
        splice.cut(MediaTime::ZERO);
        for n in 0..=MAX_HELD as i64 {
            splice.second(frame(n, n == 0));
        }
        assert!(splice.is_ready(), "the first is too late");
        let mut splice = Splice::default();
        splice.cut(MediaTime::ZERO);
        for n in 0..=MAX_HELD as i64 {
            splice.first(frame(n, false));
        }
        assert!(splice.is_failed(), "the second is too late");
    }
}
