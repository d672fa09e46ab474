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

/// Part of a rate, in percent, that the choice of a rendition has in reserve. Only what a peak has
/// beyond that needs more of a path.
const RESERVE: u64 = 15;

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
        let began = *self.began.get_or_insert(dts);
        let passed = dts.saturating_since(began).as_millis() / SLOT.as_millis();
        let mut target = u64::try_from(passed).unwrap_or(u64::MAX);
        if target.saturating_sub(self.slot) > SLOTS as u64 {
            // Nothing of the window is left.
            *self = Self {
                began: Some(dts),
                ..Self::default()
            };
            target = 0;
        }
        while self.slot < target {
            self.slot += 1;
            *self.current() = 0;
            self.follow_peak();
        }
        *self.current() += bytes;
    }

    /// Prepares for frames whose timestamps are on another clock. The peak goes on to fade.
    pub(crate) fn change_clock(&mut self) {
        let peak = self.peak;
        *self = Self {
            peak,
            ..Self::default()
        };
    }

    /// Returns the bitrate in bit/s: the mean of the window, or what an earlier peak had beyond the
    /// reserve. 0 in the first second.
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
    fn load_starts_anew_after_a_leap_of_the_timestamps() {
        let mut load = VideoLoad::default();
        feed(&mut load, 0..40, 10_000);
        assert_eq!(feed(&mut load, 1000..1001, 1000), 0);
        assert_eq!(feed(&mut load, 1001..1030, 1000), 32_000);
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
