//! One continuous clock for a stream, whatever its publishers send.
//!
//! Publishers start at any value, jump, step back, wrap, and reconnect. Viewers must see none of
//! it: an RTP clock that goes back freezes a browser. The timeline adds an offset to the timestamps
//! of a track, normally the same for all tracks, so that they stay in sync, and chooses a new one
//! where the input is not continuous.

mod fault;
mod pace;

use std::time::{Duration, Instant};

use distributary_media::{Frame, MediaTime, nanos_between};

use fault::{MAX_DISORDER, MAX_STEP};
use pace::Pace;

pub use fault::ClockFault;

/// Tracks that are further apart than this when they arrive together have unrelated clocks.
const MAX_APART: Duration = Duration::from_secs(1);

/// The same when a track starts. Its first frame may arrive late by the encoder's delay: with
/// correct timestamps the tracks are in sync only on one clock. Tracks with unrelated clocks are
/// normally further apart, since one starts at zero and the other does not.
pub(crate) const MAX_LATE: Duration = Duration::from_secs(5);

/// Minimum distance between two frames of a track: one tick of the audio clock, 48 kHz, rounded up.
const TICK: Duration = Duration::from_nanos(20_834);

/// Maps the timestamps of a stream's publishers, one after the other, to one continuous timeline.
///
/// The timeline's origin is the stream's `epoch`. A publisher's first frame is placed at the time
/// it arrived; from then on its own clock is followed. A track that jumps continues from where it
/// was, unless the other track has just jumped by the same amount: then it follows that one.
#[derive(Debug)]
pub struct Timeline {
    epoch: Instant,
    /// The offset of both tracks in nanoseconds, if the input is on another continuous timeline, so
    /// that no step is a jump.
    follows: Option<i64>,
    video: TrackClock,
    audio: TrackClock,
}

/// The position of a track on both clocks.
#[derive(Debug, Default)]
struct TrackClock {
    /// The offset of its input times, in nanoseconds, and the last input time; `None` before a
    /// publisher's first frame.
    input: Option<(i64, MediaTime)>,
    /// Output time of the last frame, and its time of arrival.
    output: Option<(MediaTime, Instant)>,
    pace: Pace,
}

impl TrackClock {
    /// Returns the track's output time at `now` if it continues at its pace; `None` before its
    /// first frame.
    fn present(&self, now: Instant) -> Option<MediaTime> {
        let (output, at) = self.output?;
        Some(output + now.saturating_duration_since(at))
    }

    /// Returns the current offset, if `input` continues the track without a jump.
    fn continued_offset(&self, input: MediaTime, now: Instant) -> Option<i64> {
        let (offset, last) = self.input?;
        let waited = self
            .output
            .map_or(Duration::ZERO, |(_, at)| now.saturating_duration_since(at));
        let is_continuous = last.saturating_since(input) <= MAX_DISORDER
            && input.saturating_since(last) <= waited + MAX_STEP;
        is_continuous.then_some(offset)
    }

    /// Returns whether an output time lies before the last one by more than disorder explains.
    fn is_past(&self, output: MediaTime) -> bool {
        self.output
            .is_some_and(|(last, _)| last.saturating_since(output) > MAX_DISORDER)
    }
}

impl Timeline {
    /// Returns a timeline with its origin at `epoch`.
    pub fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            follows: None,
            video: TrackClock::default(),
            audio: TrackClock::default(),
        }
    }

    /// Returns the instant of the origin.
    pub fn epoch(&self) -> Instant {
        self.epoch
    }

    /// Prepares for a publisher with a clock unrelated to the previous one.
    pub fn restart(&mut self) {
        for track in [&mut self.video, &mut self.audio] {
            track.input = None;
            track.pace = Pace::default();
        }
        self.follows = None;
    }

    /// Prepares for a publisher with timestamps on a timeline with its origin at `origin`.
    pub fn follow(&mut self, origin: Instant) {
        self.follows = Some(nanos_between(self.epoch, origin));
    }

    /// Moves a frame that arrived at `now` from its publisher's clock to this timeline. Returns a
    /// fault of that clock when it is noticed.
    ///
    /// Decoding times of a track come out strictly increasing; the distance from decoding to
    /// presentation is kept.
    pub fn place(&mut self, frame: &mut Frame, now: Instant) -> Option<ClockFault> {
        let input = frame.dts();
        let is_video = matches!(frame, Frame::Video(_));
        let (offset, apart) = self.offset(is_video, input, now);
        let arrival = self.arrival(now);
        let track = if is_video {
            &mut self.video
        } else {
            &mut self.audio
        };
        let fault = match self.follows {
            Some(_) => None,
            None => track.pace.observe(input, now).or(apart),
        };
        let shifted = if track.pace.is_useless && self.follows.is_none() {
            arrival
        } else {
            input.shifted(offset)
        };
        let output = track
            .output
            .map_or(shifted, |(last, _)| shifted.max(last + TICK));
        // While the arrival is used, the offset lets the input continue from here once it is
        // correct.
        let offset = if track.pace.is_useless {
            output.as_nanos().saturating_sub(input.as_nanos())
        } else {
            offset
        };
        track.input = Some((offset, input));
        track.output = Some((output, now));
        match frame {
            Frame::Video(video) => {
                let composition = video.pts.as_nanos().saturating_sub(video.dts.as_nanos());
                video.dts = output;
                video.pts = output.shifted(composition);
            }
            Frame::Audio(audio) => audio.pts = output,
        }
        fault
    }

    /// Maps the time of data that arrived at `now` from the publisher's clock to this timeline. A
    /// time that does not fit the tracks counts as the present.
    pub fn locate(&self, input: MediaTime, now: Instant) -> MediaTime {
        if let Some(offset) = self.follows {
            return input.shifted(offset);
        }
        let near = self.offset_near(input).map(|offset| input.shifted(offset));
        near.unwrap_or_else(|| self.present(now))
    }

    /// Returns the offset from the publisher's clock to this timeline, in nanoseconds, for a time
    /// that fits the tracks.
    pub fn offset_near(&self, input: MediaTime) -> Option<i64> {
        let tracks = [&self.video, &self.audio];
        tracks.iter().find_map(|track| {
            let (offset, last) = track.input?;
            is_near(last, input).then_some(offset)
        })
    }

    /// Returns the offset for a track's next frame, in nanoseconds, and the distance from the other
    /// track if their clocks are unrelated.
    fn offset(&self, is_video: bool, input: MediaTime, now: Instant) -> (i64, Option<ClockFault>) {
        if let Some(offset) = self.follows {
            return (offset, None);
        }
        let (own, other) = if is_video {
            (&self.video, &self.audio)
        } else {
            (&self.audio, &self.video)
        };
        if let Some(offset) = own.continued_offset(input, now) {
            return (offset, None);
        }
        let (expected, most) = match own.input {
            Some(_) => (own.present(now).unwrap_or(MediaTime::ZERO), MAX_APART),
            None => (self.present(now), MAX_LATE),
        };
        let own_offset = expected.as_nanos().saturating_sub(input.as_nanos());
        let Some((offset, _)) = other.input.filter(|_| !other.pace.is_useless) else {
            return (own_offset, None);
        };
        let shared = input.shifted(offset);
        let apart = distance(shared, expected);
        if apart <= most && !own.is_past(shared) {
            return (offset, None);
        }
        let begins = own.input.is_none();
        (own_offset, begins.then_some(ClockFault::Apart(apart)))
    }

    fn arrival(&self, now: Instant) -> MediaTime {
        MediaTime::ZERO + now.saturating_duration_since(self.epoch)
    }

    /// Returns the time that the tracks have reached at `now` at their pace, whatever the time since
    /// the origin: publishers' clocks drift. `None` before the first frame.
    pub fn reached(&self, now: Instant) -> Option<MediaTime> {
        let tracks = [&self.video, &self.audio].into_iter();
        tracks.filter_map(|track| track.present(now)).max()
    }

    /// Returns the time on this timeline for something that arrives at `now`: never before a time
    /// already used.
    fn present(&self, now: Instant) -> MediaTime {
        let arrival = self.arrival(now);
        self.reached(now)
            .map_or(arrival, |latest| arrival.max(latest + TICK))
    }
}

/// Returns whether two times are as close as tracks on one clock.
fn is_near(a: MediaTime, b: MediaTime) -> bool {
    distance(a, b) <= MAX_APART
}

fn distance(a: MediaTime, b: MediaTime) -> Duration {
    a.saturating_since(b).max(b.saturating_since(a))
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use distributary_media::{AudioCodec, AudioFrame, FrameInfo, VideoCodec, VideoFrame};

    struct Harness {
        timeline: Timeline,
        epoch: Instant,
    }

    impl Harness {
        fn new() -> Self {
            let epoch = Instant::now();
            Self {
                timeline: Timeline::new(epoch),
                epoch,
            }
        }

        fn place(&mut self, mut frame: Frame, at_millis: u64) -> i64 {
            self.timeline
                .place(&mut frame, self.epoch + Duration::from_millis(at_millis));
            frame.dts().as_millis()
        }

        fn video(&mut self, dts: i64, at: u64) -> i64 {
            self.place(video(dts, dts), at)
        }

        fn audio(&mut self, pts: i64, at: u64) -> i64 {
            self.place(audio(pts), at)
        }
    }

    fn audio(pts: i64) -> Frame {
        Frame::Audio(AudioFrame {
            codec: AudioCodec::Aac,
            pts: MediaTime::from_millis(pts),
            data: Bytes::from_static(&[1]),
        })
    }

    fn video(dts: i64, pts: i64) -> Frame {
        Frame::Video(VideoFrame {
            codec: VideoCodec::H264,
            pts: MediaTime::from_millis(pts),
            dts: MediaTime::from_millis(dts),
            keyframe: false,
            info: FrameInfo::default(),
            units: vec![Bytes::from_static(&[1])],
        })
    }

    #[test]
    fn first_frame_is_placed_at_its_arrival_and_the_tracks_keep_their_distance() {
        let mut clock = Harness::new();
        assert_eq!(clock.video(5_000_000, 70), 70);
        assert_eq!(clock.audio(5_000_010, 75), 80);
        assert_eq!(
            clock.video(5_000_033, 110),
            103,
            "the publisher's clock, not the arrival"
        );
    }

    #[test]
    fn track_that_arrives_late_with_correct_timestamps_stays_in_sync() {
        for late in [900, 1100, 4000] {
            let mut clock = Harness::new();
            for n in 0..late / 40 {
                clock.video(7_000 + 40 * n, 40 * n as u64);
            }
            for n in 0..10 {
                let at = late + 20 * n;
                assert_eq!(
                    clock.audio(7_000 + 20 * n, at as u64),
                    20 * n,
                    "{late} ms late"
                );
            }
            assert_eq!(
                clock.video(7_000 + late + 200, late as u64 + 200),
                late + 200
            );
        }
    }

    #[test]
    fn slow_clock_reaches_the_time_of_its_newest_frame() {
        let mut clock = Harness::new();
        assert_eq!(clock.timeline.reached(clock.epoch), None);
        // At half the speed for an hour.
        for n in 0..90_000 {
            clock.video(20 * n, 40 * n as u64);
        }
        let at = |millis| clock.epoch + Duration::from_millis(millis);
        let reached = |millis| clock.timeline.reached(at(millis)).unwrap().as_millis();
        assert_eq!(reached(40 * 89_999), 20 * 89_999);
        assert_eq!(reached(40 * 89_999 + 30), 20 * 89_999 + 30);
    }

    #[test]
    fn tracks_with_unrelated_clocks_are_a_fault_and_placed_at_their_arrival() {
        let mut clock = Harness::new();
        clock.video(5_000_000, 0);
        let mut first = audio(0);
        let fault = clock.timeline.place(&mut first, clock.epoch);
        assert!(matches!(fault, Some(ClockFault::Apart(_))), "{fault:?}");
        assert_eq!(first.dts().as_millis(), 0);
        let mut second = audio(20);
        assert_eq!(clock.timeline.place(&mut second, clock.epoch), None, "once");
    }

    /// Feeds a minute of 50 frames per second, with timestamps that `stamp` returns for the correct
    /// ones. Returns the faults, and the distance of the last frame from its arrival.
    fn minute(stamp: impl Fn(i64) -> i64) -> (Vec<ClockFault>, i64) {
        let mut clock = Harness::new();
        let (mut faults, mut off) = (Vec::new(), 0);
        for n in 0..3000 {
            let at = 20 * n;
            let mut frame = video(stamp(at), stamp(at));
            let now = clock.epoch + Duration::from_millis(at as u64);
            faults.extend(clock.timeline.place(&mut frame, now));
            off = frame.dts().as_millis() - at;
        }
        (faults, off)
    }

    #[test]
    fn timestamps_that_do_not_run_in_real_time_are_replaced_by_the_arrival() {
        assert_eq!(minute(|_| 0), (vec![ClockFault::Still], 0));
        let (faults, off) = minute(|right| 2 * right);
        assert_eq!(faults, [ClockFault::Fast]);
        assert!((0..25_000).contains(&off), "{off}");
        assert_eq!(minute(|right| right), (vec![], 0));
        // A slow encoder runs at half the speed, and jumps are bridged.
        assert_eq!(minute(|right| right / 2).0, []);
        assert_eq!(minute(|right| right + right / 10_000 * 3_600_000).0, []);
        // Correct again after ten seconds.
        let (faults, off) = minute(|right| if right < 10_000 { 0 } else { right });
        assert_eq!((faults, off.abs() <= 20), (vec![ClockFault::Still], true));
    }

    #[test]
    fn burst_after_a_stall_is_no_fault() {
        let mut clock = Harness::new();
        for n in 0..3000 {
            // Nothing arrives for six of every ten seconds.
            let at = 20 * n;
            let arrives = if at % 10_000 < 6_000 {
                at / 10_000 * 10_000 + 6_000
            } else {
                at
            };
            let mut frame = video(at, at);
            let now = clock.epoch + Duration::from_millis(arrives as u64);
            assert_eq!(clock.timeline.place(&mut frame, now), None);
        }
    }

    #[test]
    fn composition_offsets_are_kept() {
        let mut clock = Harness::new();
        let mut frame = video(1000, 1066);
        clock.timeline.place(&mut frame, clock.epoch);
        let Frame::Video(frame) = frame else {
            panic!("a video frame stays one")
        };
        assert_eq!((frame.dts.as_millis(), frame.pts.as_millis()), (0, 66));
    }

    #[test]
    fn jumps_are_bridged_for_both_tracks_alike() {
        for jump in [3_600_000, -9_000, -600, 20_000] {
            let mut clock = Harness::new();
            clock.video(10_000, 0);
            clock.audio(10_000, 0);
            clock.video(10_040, 40);
            clock.audio(10_040, 40);
            let video = clock.video(10_080 + jump, 80);
            let audio = clock.audio(10_080 + jump, 80);
            assert_eq!((video, audio), (80, 80), "jump of {jump} ms");
        }
    }

    #[test]
    fn timeline_continues_after_a_reconnect() {
        let mut clock = Harness::new();
        assert_eq!(clock.video(0, 0), 0);
        assert_eq!(clock.video(40, 40), 40);
        clock.timeline.restart();
        assert_eq!(clock.video(0, 3000), 3000);
        assert_eq!(clock.audio(20, 3010), 3020);
    }

    #[test]
    fn followed_timeline_has_no_jumps() {
        let mut clock = Harness::new();
        clock.video(5_000, 0);
        clock.timeline.restart();
        clock
            .timeline
            .follow(clock.epoch + Duration::from_millis(100));
        assert_eq!(clock.video(900, 1_500), 1_000);
        assert_eq!(clock.audio(2_900, 1_500), 3_000);
        assert_eq!(clock.video(60_900, 1_600), 61_000);
        clock.timeline.restart();
        assert!(
            clock.video(0, 2_000) >= 61_000,
            "the next one is not followed"
        );
    }

    #[test]
    fn publisher_faster_than_real_time_is_followed() {
        let mut clock = Harness::new();
        for n in 0..1000 {
            assert_eq!(clock.video(n * 1000, 0), n * 1000);
        }
        clock.timeline.restart();
        assert!(clock.video(0, 10) >= 999_000, "time never goes back");
    }

    #[test]
    fn output_stays_monotonic_through_small_disorder() {
        let mut clock = Harness::new();
        let mut last = None;
        for dts in [0, 40, 40, 30, 80, 79, 120] {
            let mut frame = video(dts, dts);
            clock.timeline.place(&mut frame, clock.epoch);
            assert!(last.is_none_or(|last| frame.dts() > last));
            last = Some(frame.dts());
        }
    }
}
