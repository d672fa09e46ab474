//! The frames that a viewer has seen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use distributary_bench::mark::Mark;

/// A frame that a viewer has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// When its last packet came, since the encoders' origin.
    pub(crate) at: Duration,
    /// Its mark.
    pub(crate) mark: Mark,
}

impl Frame {
    /// Returns the time since it was sent.
    pub(crate) fn age(&self) -> Duration {
        self.at
            .saturating_sub(Duration::from_micros(self.mark.sent))
    }
}

/// The frames that a viewer has seen, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen(pub(crate) Vec<Frame>);

impl Seen {
    /// Returns the frames from a moment to another.
    pub(crate) fn between(&self, from: Duration, until: Duration) -> Self {
        let frames = self.0.iter().copied();
        Self(
            frames
                .filter(|frame| (from..until).contains(&frame.at))
                .collect(),
        )
    }

    /// Returns the longest time without a frame from a moment to another.
    pub(crate) fn longest_gap(&self, from: Duration, until: Duration) -> Duration {
        let frames = self.0.iter().map(|frame| frame.at);
        let before = frames.clone().filter(|at| *at < from).max();
        let within = frames.filter(|at| (from..until).contains(at));
        let moments: Vec<_> = [before.unwrap_or(from)]
            .into_iter()
            .chain(within)
            .chain([until])
            .collect();
        let gaps = moments
            .windows(2)
            .map(|pair| pair[1].saturating_sub(pair[0]));
        gaps.max().unwrap_or_default()
    }

    /// Returns when the first frame of an encoder came.
    pub(crate) fn first_of(&self, encoder: u8) -> Option<Duration> {
        let mut frames = self.0.iter();
        frames
            .find(|frame| frame.mark.encoder == encoder)
            .map(|frame| frame.at)
    }

    /// Returns the number of frames that came after one of another encoder, although theirs had been
    /// shown before.
    pub(crate) fn stale(&self) -> usize {
        let mut replaced = BTreeSet::new();
        let mut current = None;
        let mut stale = 0;
        for frame in &self.0 {
            let encoder = frame.mark.encoder;
            if replaced.contains(&encoder) {
                stale += 1;
            } else if current != Some(encoder) {
                replaced.extend(current.replace(encoder));
            }
        }
        stale
    }

    /// Returns the number of frames that are missing between the first and the last of each encoder.
    pub(crate) fn missing(&self) -> usize {
        let mut numbers: BTreeMap<u8, BTreeSet<u32>> = BTreeMap::new();
        for frame in &self.0 {
            let of_encoder = numbers.entry(frame.mark.encoder).or_default();
            of_encoder.insert(frame.mark.number);
        }
        let missing = numbers
            .values()
            .map(|seen| match (seen.first(), seen.last()) {
                (Some(first), Some(last)) => (last - first + 1) as usize - seen.len(),
                _ => 0,
            });
        missing.sum()
    }

    /// Returns the time that each frame took longer to this viewer than to `other`.
    pub(crate) fn later_than(&self, other: &Self) -> Vec<Duration> {
        let key = |frame: &Frame| (frame.mark.encoder, frame.mark.number);
        let others: BTreeMap<_, _> = other.0.iter().map(|frame| (key(frame), frame.at)).collect();
        let frames = self.0.iter();
        frames
            .filter_map(|frame| Some(frame.at.saturating_sub(*others.get(&key(frame))?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(frames: &[(u64, u8, u32)]) -> Seen {
        let frame = |&(millis, encoder, number): &(u64, u8, u32)| Frame {
            at: Duration::from_millis(millis),
            mark: Mark {
                encoder,
                number,
                sent: 0,
            },
        };
        Seen(frames.iter().map(frame).collect())
    }

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn gap_counts_from_the_last_frame_before_and_to_the_end() {
        let seen = seen(&[(0, 1, 0), (90, 1, 1), (200, 1, 2), (230, 1, 3)]);
        assert_eq!(seen.longest_gap(millis(100), millis(240)), millis(110));
        assert_eq!(seen.longest_gap(millis(210), millis(500)), millis(270));
        assert_eq!(Seen::default().longest_gap(millis(1), millis(5)), millis(4));
    }

    #[test]
    fn frames_of_a_replaced_encoder_are_stale() {
        assert_eq!(seen(&[(0, 1, 0), (1, 1, 1), (2, 2, 0)]).stale(), 0);
        assert_eq!(
            seen(&[(0, 1, 0), (1, 2, 0), (2, 1, 1), (3, 2, 1)]).stale(),
            1
        );
    }

    #[test]
    fn frames_between_those_of_the_same_encoder_are_missing() {
        let seen = seen(&[(0, 1, 5), (1, 1, 8), (2, 2, 0), (3, 2, 1)]);
        assert_eq!(seen.missing(), 2);
        assert_eq!(Seen::default().missing(), 0);
    }

    #[test]
    fn frames_of_two_viewers_are_compared_by_number() {
        let near = seen(&[(10, 1, 0), (20, 1, 1)]);
        let far = seen(&[(13, 1, 0), (30, 1, 2)]);
        assert_eq!(far.later_than(&near), [millis(3)]);
    }
}
