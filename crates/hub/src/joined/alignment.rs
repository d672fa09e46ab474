//! The clock of a member on that of the stream that it is joined to.
//!
//! Publishers share no clock, so the arrival of their frames is what both have in common: each
//! stream of the hub has its times near it. Encoders of one ladder have their keyframes at the same
//! frames, so where the distance from keyframe to keyframe stays the same, it is the difference
//! of their encoders' delays and of their ways to the gateway, and is removed: then the frames of
//! both have equal times.

use std::collections::VecDeque;
use std::time::Duration;

use distributary_media::{MediaTime, nanos};

use crate::offer::JoinAlignment;

/// Longest distance between two keyframes of the same frame: the threads of an encoder delay frames
/// by some hundred milliseconds, and a smaller size has fewer threads. It is also less than half a
/// GOP. Encoders whose keyframes are not those of the same frames can come this close by chance;
/// lips and voice are then apart by as much.
const MAX_APART: Duration = Duration::from_millis(500);

/// Most by which the distances of several keyframes differ: times are rounded to milliseconds.
const ROUNDING: Duration = Duration::from_millis(4);

/// Number of keyframes in a row that must have the same distance.
const AGREEING: usize = 3;

/// Keyframes of the member that are remembered.
const MAX_KEYFRAMES: usize = 4;

/// The difference between the clocks of a member and its stream.
#[derive(Debug)]
pub(super) struct Alignment {
    /// Difference between the origins of both clocks, in nanoseconds.
    origins: i64,
    /// Correction of its timestamps, in nanoseconds; `None` while it is aligned by arrival.
    correction: Option<i64>,
    /// Number of keyframes of the member.
    seen: usize,
    /// Times of the member's last keyframes on the stream's clock, without the correction.
    keyframes: VecDeque<MediaTime>,
    /// Time of the stream's last keyframe, and from the one before to it.
    stream: Option<(MediaTime, Option<Duration>)>,
    /// Time of the stream's last keyframe that was compared.
    compared: Option<MediaTime>,
    /// Keyframes of the stream in a row that are not near to any of the member.
    misses: usize,
    /// The last distances from keyframes of the member to those of the stream, in nanoseconds.
    distances: VecDeque<i64>,
}

impl Alignment {
    /// Returns an alignment by arrival, for clocks whose origins are this far apart in nanoseconds.
    pub(super) fn new(origins: i64) -> Self {
        Self {
            origins,
            correction: None,
            seen: 0,
            keyframes: VecDeque::new(),
            stream: None,
            compared: None,
            misses: 0,
            distances: VecDeque::new(),
        }
    }

    /// Handles the time of a keyframe of the member, on its own clock.
    pub(super) fn handle_keyframe(&mut self, time: MediaTime) {
        if self.keyframes.len() == MAX_KEYFRAMES {
            self.keyframes.pop_front();
        }
        self.keyframes.push_back(time.shifted(self.origins));
        self.seen += 1;
    }

    /// Corrects times from the member's present keyframe on by what is known of the distance.
    pub(super) fn begin_gop(&mut self) {
        if let Some(distance) = self.agreed() {
            self.correction = Some(distance);
        } else if self.misses >= AGREEING {
            self.correction = None;
        }
    }

    /// Returns whether times are those of the same frames of the stream.
    pub(super) fn is_aligned(&self) -> bool {
        self.correction.is_some()
    }

    /// Returns how times are moved to the clock of the stream.
    pub(super) fn state(&self) -> JoinAlignment {
        match self.correction {
            Some(nanos) => JoinAlignment::Keyframes {
                offset: MediaTime::from_nanos(nanos).as_millis(),
            },
            None => JoinAlignment::Arrival,
        }
    }

    /// Returns whether the clock is found, or enough keyframes have not agreed.
    pub(super) fn is_settled(&self) -> bool {
        self.is_aligned() || self.seen > AGREEING
    }

    /// Handles the time of the stream's last keyframe, which may be known already, and may come
    /// before that of the member or after it.
    pub(super) fn handle_stream_keyframe(&mut self, time: MediaTime) {
        if self.compared == Some(time) {
            return;
        }
        let gop = match self.stream {
            Some((last, gop)) if last == time => gop,
            Some((last, _)) => Some(time.saturating_since(last)),
            None => None,
        };
        self.stream = Some((time, gop));
        let max_apart = gop.map_or(MAX_APART, |gop| MAX_APART.min(gop / 2));
        let distance = |own: &MediaTime| time.as_nanos().saturating_sub(own.as_nanos());
        let nearest = self.keyframes.iter().map(distance);
        let Some(nearest) = nearest.min_by_key(|distance| distance.unsigned_abs()) else {
            return;
        };
        let is_near = nearest.saturating_abs() <= nanos(max_apart);
        // The member's keyframe may not have come yet.
        let has_passed = self
            .keyframes
            .back()
            .is_some_and(|own| own.saturating_since(time) > max_apart);
        if is_near {
            if self.distances.len() == AGREEING {
                self.distances.pop_front();
            }
            self.distances.push_back(nearest);
            self.misses = 0;
            self.compared = Some(time);
        } else if has_passed {
            self.distances.clear();
            self.misses += 1;
            self.compared = Some(time);
        }
    }

    /// Moves a time from the member's clock to that of the stream.
    pub(super) fn place(&self, time: MediaTime) -> MediaTime {
        let correction = self.correction.unwrap_or(0);
        time.shifted(self.origins.saturating_add(correction))
    }

    /// Returns the distance that the last keyframes have, if it is one.
    fn agreed(&self) -> Option<i64> {
        let least = self.distances.iter().min()?;
        let most = self.distances.iter().max()?;
        let agree = most.saturating_sub(*least) <= nanos(ROUNDING);
        (agree && self.distances.len() == AGREEING).then_some(*least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds the frames of both streams, 25 a second, in the order of their arrival. The member's
    /// arrive `late` milliseconds later, and its keyframes are `phase` frames after those of the
    /// stream. Returns, for the frames of the last second, by how many milliseconds the placed time
    /// differs from that of the same frame of the stream.
    fn errors(late: i64, phase: i64, gop: i64) -> Vec<i64> {
        let mut alignment = Alignment::new(5_000_000_000);
        let mut stream_keyframe = None;
        let mut errors = Vec::new();
        for millis in 0..20_000 {
            let is_keyframe = |frame: i64| frame.rem_euclid(gop) == 0;
            if millis % 40 == 0 && is_keyframe(millis / 40) {
                stream_keyframe = Some(MediaTime::from_millis(millis));
            }
            let sent = millis - late;
            if sent >= 0 && sent % 40 == 0 {
                // Its times are near the arrival, on a clock that began five seconds earlier.
                let time = MediaTime::from_millis(millis - 5_000);
                if is_keyframe(sent / 40 - phase) {
                    alignment.handle_keyframe(time);
                }
                if let Some(keyframe) = stream_keyframe {
                    alignment.handle_stream_keyframe(keyframe);
                }
                if is_keyframe(sent / 40 - phase) {
                    alignment.begin_gop();
                }
                let placed = alignment.place(time);
                if millis > 19_000 {
                    errors.push(placed.as_millis() - sent);
                }
            }
        }
        errors
    }

    #[test]
    fn keyframes_of_one_ladder_remove_the_difference_of_the_ways() {
        for late in [0, 20, 39, 80, 100, 340, 480] {
            assert!(
                errors(late, 0, 50).iter().all(|error| *error == 0),
                "{late}"
            );
            assert!(errors(late, 0, 100).iter().all(|error| *error == 0));
        }
    }

    #[test]
    fn encoders_with_other_keyframes_are_aligned_by_arrival() {
        for phase in [14, 25, 36] {
            assert!(errors(30, phase, 50).iter().all(|error| *error == 30));
        }
    }

    #[test]
    fn one_coincidence_is_not_enough() {
        let mut alignment = Alignment::new(0);
        let time = MediaTime::from_millis;
        let mut own = 1000;
        let mut next = |alignment: &mut Alignment, later: i64| {
            alignment.handle_keyframe(time(own));
            alignment.begin_gop();
            let placed = alignment.place(time(own)).as_millis() - own;
            alignment.handle_stream_keyframe(time(own + later));
            own += 2000;
            placed
        };
        let distances = [30, 60, 61, 300, 301, 302, 303];
        let placed = distances.map(|later| next(&mut alignment, later));
        assert_eq!(
            placed,
            [0, 0, 0, 0, 0, 0, 300],
            "three in a row, at a keyframe"
        );
        let aligned = JoinAlignment::Keyframes { offset: 300 };
        assert_eq!(alignment.state(), aligned);
    }

    #[test]
    fn correction_ends_with_keyframes_that_are_far_from_those_of_the_stream() {
        let mut alignment = Alignment::new(0);
        let time = MediaTime::from_millis;
        let mut settled = Vec::new();
        for (n, later) in [(0, -80), (1, -80), (2, -80), (3, 900), (4, -80), (5, 900)] {
            alignment.handle_keyframe(time(2000 * n));
            alignment.handle_stream_keyframe(time(2000 * n + later));
            // The next frames of the member tell that none of its keyframes is near.
            alignment.handle_stream_keyframe(time(2000 * n + later));
            alignment.begin_gop();
            settled.push((alignment.is_settled(), alignment.place(time(0)).as_millis()));
        }
        assert_eq!(settled[..2], [(false, 0), (false, 0)]);
        assert!(
            settled[2..].iter().all(|state| *state == (true, -80)),
            "{settled:?}"
        );
        for n in 6..12 {
            alignment.handle_keyframe(time(2000 * n));
            alignment.handle_stream_keyframe(time(2000 * n - 1000));
            alignment.begin_gop();
        }
        assert_eq!(alignment.state(), JoinAlignment::Arrival);
        assert!(alignment.is_settled());
        assert_eq!(alignment.place(time(0)), time(0));
    }

    proptest! {
        #[test]
        fn error_is_never_more_than_the_way_and_a_coincidence(
            late in 0_i64..400, phase in 0_i64..60, gop in 10_i64..120,
        ) {
            for error in errors(late, phase, gop) {
                prop_assert!(error.abs() <= late.abs() + 500, "{error}");
            }
        }
    }
}
