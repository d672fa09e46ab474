//! Measures the bitrate that a path must carry for a video.

use std::time::Duration;

use distributary_media::MediaTime;

/// Length of one slot of the window.
const SLOT: Duration = Duration::from_millis(250);

/// Slots in the window, four seconds: long enough that the keyframe interval does not show.
const SLOTS: usize = 16;

/// Slots before the first result, a second: the first keyframe alone says nothing.
const WARM_UP: u64 = 4;

/// Slots in which a peak fades to about a third: 16 s, several scenes of a film.
const FADING: u64 = 64;

/// Percentage by which a peak may exceed the mean before it counts: a viewer moves up when its path
/// has carried 17 % more than the rate of a rendition.
const RESERVE: u64 = 15;

/// Empty slots after which nothing is left of any peak.
const MAX_EMPTY: u64 = 16 * FADING;

/// Measures the bitrate by the timestamps of the frames, and not by their arrival: an encoder that
/// starts, or a publisher after a stall, delivers some seconds at once, and then no more than others.
#[derive(Debug, Default)]
pub(crate) struct VideoLoad {
    /// The timestamp at which slot 0 began; `None` before the first frame.
    began: Option<MediaTime>,
    /// Number of the slot that is being filled.
    slot: u64,
    /// Bytes of the slots, by their numbers modulo the length.
    bytes: [u64; SLOTS + 1],
    /// The peak of the bitrate, which fades.
    peak: u64,
}

impl VideoLoad {
    /// Counts a frame of `bytes` bytes.
    pub(crate) fn handle(&mut self, dts: MediaTime, bytes: u64) {
        if self
            .began
            .is_some_and(|began| dts + 2 * SLOT < began + self.elapsed())
        {
            self.change_clock();
        }
        let began = *self.began.get_or_insert(dts);
        let passed = dts.saturating_since(began).as_millis() / SLOT.as_millis();
        let target = u64::try_from(passed).unwrap_or(u64::MAX);
        // The slots of a longer gap would change nothing.
        self.slot = self.slot.max(target.saturating_sub(MAX_EMPTY));
        while self.slot < target {
            self.slot += 1;
            *self.current() = 0;
            self.follow_peak();
        }
        *self.current() += bytes;
    }

    /// Prepares for frames whose timestamps are on another clock. The peak goes on to fade.
    ///
    /// Timestamps that go back are on another clock, too.
    pub(crate) fn change_clock(&mut self) {
        let peak = self.peak;
        *self = Self {
            peak,
            ..Self::default()
        };
    }

    /// Returns the bitrate in bit/s: the mean of the window, or more if an earlier peak exceeded it by
    /// more than the [reserve](RESERVE). 0 in the first second, and too much for a part of a GOP in
    /// the next three.
    pub(crate) fn rate(&self) -> u64 {
        let beyond = self.peak * 100 / (100 + RESERVE);
        self.mean().unwrap_or(0).max(beyond)
    }

    /// Returns the mean of the whole slots of the window; `None` if there are too few.
    fn mean(&self) -> Option<u64> {
        if self.slot < WARM_UP {
            return None;
        }
        let whole = self.slot.min(SLOTS as u64);
        let slots = (1..=whole).map(|back| self.bytes[index(self.slot - back)]);
        let millis = SLOT.as_millis() as u64 * whole;
        Some(slots.sum::<u64>() * 8 * 1000 / millis)
    }

    /// Lets the peak fade by one slot, or raises it to the mean of the window. A window that is not
    /// full has a larger part of keyframes than the stream, so it is no peak.
    fn follow_peak(&mut self) {
        let mean = self.mean().unwrap_or(0);
        self.peak -= self.peak.saturating_sub(mean) / FADING;
        if self.slot >= SLOTS as u64 {
            self.peak = self.peak.max(mean);
        }
    }

    /// Returns the time from the begin to the present slot.
    fn elapsed(&self) -> Duration {
        SLOT.saturating_mul(u32::try_from(self.slot).unwrap_or(u32::MAX))
    }

    fn current(&mut self) -> &mut u64 {
        &mut self.bytes[index(self.slot)]
    }
}

/// Returns the index at which the slot of this number is stored.
fn index(slot: u64) -> usize {
    (slot % (SLOTS as u64 + 1)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds slots, each with frames of this many bytes in all, and returns the load.
    fn feed(load: &mut VideoLoad, slots: std::ops::Range<u64>, bytes: u64) -> u64 {
        for slot in slots {
            load.handle(MediaTime::ZERO + SLOT * slot as u32, bytes);
        }
        load.rate()
    }

    #[test]
    fn peak_counts_beyond_the_reserve_and_fades_slowly() {
        let mut load = VideoLoad::default();
        // 1000 bytes in 250 ms are 32 kbit/s.
        assert_eq!(feed(&mut load, 0..4, 1000), 0, "too early to tell");
        assert_eq!(feed(&mut load, 4..40, 1000), 32_000);
        assert_eq!(feed(&mut load, 40..57, 10_000), 320_000);
        let fading = feed(&mut load, 57..121, 1000);
        assert!((115_000..175_000).contains(&fading), "{fading}");
        assert_eq!(feed(&mut load, 121..600, 1000), 32_000);
        feed(&mut load, 600..617, 1100);
        assert_eq!(
            feed(&mut load, 617..640, 1000),
            32_000,
            "the reserve covers it"
        );
    }

    #[test]
    fn first_keyframe_is_forgotten_with_the_first_window() {
        let mut load = VideoLoad::default();
        let mut rate = 0;
        for slot in 0..17 {
            let bytes = if slot % 8 == 0 { 9000 } else { 1000 };
            rate = feed(&mut load, slot..slot + 1, bytes);
        }
        assert_eq!(rate, 64_000);
    }

    #[test]
    fn video_with_few_frames_has_its_mean() {
        let mut load = VideoLoad::default();
        let mut rates = Vec::new();
        for frame in 0..20 {
            // A frame in five seconds.
            rates.push(feed(&mut load, 20 * frame..20 * frame + 1, 25_000));
        }
        assert!(
            rates[1..]
                .iter()
                .all(|rate| (40_000..=50_000).contains(rate)),
            "{rates:?}"
        );
    }

    #[test]
    fn nothing_is_left_of_a_peak_after_a_long_gap() {
        let mut load = VideoLoad::default();
        feed(&mut load, 0..40, 10_000);
        let far = 1 << 31;
        assert_eq!(feed(&mut load, far..far + 30, 1000), 32_000);
    }

    #[test]
    fn timestamps_that_go_back_begin_a_window() {
        let mut load = VideoLoad::default();
        feed(&mut load, 1000..1040, 1000);
        assert_eq!(feed(&mut load, 0..40, 1000), 32_000);
        assert_eq!(feed(&mut load, 40..1100, 1000), 32_000);
    }

    #[test]
    fn peak_outlives_a_change_of_the_clock() {
        let mut load = VideoLoad::default();
        feed(&mut load, 0..40, 10_000);
        load.change_clock();
        let rate = feed(&mut load, 0..6, 1000);
        assert!((200_000..290_000).contains(&rate), "{rate}");
    }
}
