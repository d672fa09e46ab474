//! Measures what a publisher sends: frame rate, bitrates, GOP length and jitter.

use std::time::{Duration, Instant};

use distributary_media::{Frame, MediaTime};

use crate::video_load::VideoLoad;

/// Length of one slot of the window.
const SLOT: Duration = Duration::from_millis(250);

/// Slots in the window, four seconds: long enough that the keyframe interval does not show in
/// the rates, short enough to notice a publisher that stops.
const SLOTS: usize = 16;

/// Measured stats of a publisher.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PublisherStats {
    /// Video frames per second.
    pub frame_rate: f64,
    /// Video bitrate, in bit/s.
    pub video_bps: u64,
    /// Audio bitrate, in bit/s.
    pub audio_bps: u64,
    /// The last complete GOP.
    pub gop: Option<Gop>,
    /// Variation of the frames' transit time, as the interarrival jitter of RFC 3550 section
    /// 6.4.1.
    pub jitter: Duration,
}

/// A group of pictures (GOP): a keyframe and the frames up to the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gop {
    /// Its duration in media time.
    pub duration: Duration,
    /// Its number of frames.
    pub frames: u64,
}

/// Measures one publisher.
#[derive(Debug)]
pub(crate) struct Meter {
    began: Instant,
    /// Number of the slot that is being filled, counted from `began`.
    slot: u64,
    slots: [Slot; SLOTS + 1],
    keyframe: Option<MediaTime>,
    frames: u64,
    gop: Option<Gop>,
    last: Option<(Instant, MediaTime)>,
    jitter: Duration,
    load: VideoLoad,
}

/// Frames and bytes that arrived in one slot.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    frames: u64,
    video_bytes: u64,
    audio_bytes: u64,
}

impl Meter {
    /// Returns a meter for a publisher that starts at `now`.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            began: now,
            slot: 0,
            slots: [Slot::default(); SLOTS + 1],
            keyframe: None,
            frames: 0,
            gop: None,
            last: None,
            jitter: Duration::ZERO,
            load: VideoLoad::default(),
        }
    }

    /// Prepares for frames whose timestamps are on another clock.
    pub(crate) fn change_clock(&mut self) {
        self.keyframe = None;
        self.last = None;
        self.load.change_clock();
    }

    /// Counts a frame that arrived at `now`.
    pub(crate) fn handle(&mut self, frame: &Frame, now: Instant) {
        self.advance(now);
        let bytes = frame.payload_len() as u64;
        let slot = self.current();
        match frame {
            Frame::Audio(_) => slot.audio_bytes += bytes,
            Frame::Video(_) => {
                slot.video_bytes += bytes;
                slot.frames += 1;
                self.load.handle(frame.dts(), bytes);
                self.note_video_frame(frame, now);
            }
        }
    }

    /// Returns the stats at `now`.
    pub(crate) fn stats(&mut self, now: Instant) -> PublisherStats {
        self.advance(now);
        let (sum, millis) = self.window();
        PublisherStats {
            frame_rate: sum.frames as f64 * 1000.0 / millis as f64,
            video_bps: sum.video_bytes * 8 * 1000 / millis,
            audio_bps: sum.audio_bytes * 8 * 1000 / millis,
            gop: self.gop,
            jitter: self.jitter,
        }
    }

    /// Returns the bitrate in bit/s that a path must carry for the video, see [`VideoLoad::rate`]: the
    /// last one if only audio comes; 0 if nothing has come for the length of the window.
    pub(crate) fn load(&mut self, now: Instant) -> u64 {
        self.advance(now);
        self.load.rate()
    }

    /// Returns the sums of the window's whole slots, and its length in ms, at least 1.
    fn window(&self) -> (Slot, u64) {
        let whole = usize::try_from(self.slot).map_or(SLOTS, |slot| slot.min(SLOTS));
        let mut sum = Slot::default();
        for back in 1..=whole as u64 {
            let slot = &self.slots[index(self.slot - back)];
            sum.frames += slot.frames;
            sum.video_bytes += slot.video_bytes;
            sum.audio_bytes += slot.audio_bytes;
        }
        (sum, (SLOT.as_millis() as u64 * whole as u64).max(1))
    }

    fn note_video_frame(&mut self, frame: &Frame, now: Instant) {
        let dts = frame.dts();
        if frame.is_keyframe() {
            if let Some(before) = self.keyframe.replace(dts) {
                self.gop = Some(Gop {
                    duration: dts.saturating_since(before),
                    frames: self.frames,
                });
            }
            self.frames = 0;
        }
        self.frames += 1;
        if let Some((came, stamped)) = self.last.replace((now, dts)) {
            let took = now.saturating_duration_since(came);
            let difference = took.abs_diff(dts.saturating_since(stamped));
            // Both terms are positive: no subtraction below zero.
            self.jitter = self.jitter - self.jitter / 16 + difference / 16;
        }
    }

    /// Empties the slots that have passed since the last call.
    fn advance(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.began).as_millis() / SLOT.as_millis();
        let target = u64::try_from(passed).unwrap_or(u64::MAX);
        if target <= self.slot {
            return;
        }
        if target - self.slot > SLOTS as u64 {
            // Nothing of the window is left.
            self.slots = [Slot::default(); SLOTS + 1];
            self.slot = target;
            self.load = VideoLoad::default();
            return;
        }
        while self.slot < target {
            self.slot += 1;
            *self.current() = Slot::default();
        }
    }

    fn current(&mut self) -> &mut Slot {
        &mut self.slots[index(self.slot)]
    }
}

/// Returns the index at which the slot of this number is stored.
fn index(slot: u64) -> usize {
    (slot % (SLOTS as u64 + 1)) as usize
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;
    use distributary_media::test_util::{opus_frame, video_frame};

    fn video(millis: i64, keyframe: bool) -> Frame {
        Frame::Video(video_frame(millis, keyframe, 1000))
    }

    fn audio(millis: i64) -> Frame {
        Frame::Audio(opus_frame(millis, &[0; 100]))
    }

    /// Returns a meter that was fed 25 video frames, the first a keyframe, and 50 audio frames per
    /// second.
    fn fed(seconds: i64) -> (Meter, Instant) {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        for n in 0..seconds * 25 {
            let at = start + Duration::from_millis(40 * n as u64);
            meter.handle(&video(40 * n, n % 25 == 0), at);
            meter.handle(&audio(40 * n), at);
            meter.handle(&audio(40 * n + 20), at);
        }
        (meter, start + Duration::from_secs(seconds as u64))
    }

    #[test]
    fn even_stream_has_its_rates_and_gop_and_no_jitter() {
        let (mut meter, now) = fed(6);
        assert_eq!(
            meter.stats(now),
            PublisherStats {
                frame_rate: 25.0,
                video_bps: 200_000,
                audio_bps: 40_000,
                gop: Some(Gop {
                    duration: Duration::from_secs(1),
                    frames: 25,
                }),
                jitter: Duration::ZERO,
            }
        );
    }

    #[test]
    fn rates_are_correct_before_the_window_is_full() {
        let (mut meter, now) = fed(1);
        assert_eq!(meter.stats(now).frame_rate, 25.0);
        assert_eq!(meter.stats(now).gop, None);
    }

    #[test]
    fn rates_fall_to_zero_when_the_publisher_stops() {
        let (mut meter, now) = fed(6);
        let half = meter.stats(now + Duration::from_secs(2)).frame_rate;
        assert_eq!(half, 12.5);
        let stats = meter.stats(now + Duration::from_secs(3600));
        assert_eq!((stats.frame_rate, stats.video_bps), (0.0, 0));
    }

    #[test]
    fn load_is_unknown_when_nothing_comes_anymore() {
        let (mut meter, now) = fed(6);
        assert_eq!(meter.load(now), 200_000);
        assert_eq!(meter.load(now + Duration::from_secs(10)), 0);
    }

    #[test]
    fn uneven_arrival_shows_as_jitter() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        for n in 0..200u64 {
            let late = if n % 2 == 0 { 0 } else { 10 };
            let at = start + Duration::from_millis(40 * n + late);
            meter.handle(&video(40 * n as i64, false), at);
        }
        let jitter = meter.stats(start + Duration::from_secs(8)).jitter;
        let expected = Duration::from_millis(9)..Duration::from_millis(11);
        assert!(expected.contains(&jitter), "{jitter:?}");
    }
}
