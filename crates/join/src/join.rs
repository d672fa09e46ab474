//! One join, in the numbers that the tables are made of.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// When latency is measured for the first time, in milliseconds after the begin.
const SETTLED: f64 = 3000.0;

/// Frames within this time are one measurement of latency, in milliseconds.
const WINDOW: f64 = 500.0;

/// The notes of `join.js`. Times are in milliseconds since 1970.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Notes {
    begin: f64,
    answer: Option<f64>,
    ice: Option<f64>,
    dtls: Option<f64>,
    frames: Vec<Frame>,
    /// Counters three seconds after the first frame.
    #[serde(default)]
    early: Stats,
    stats: Stats,
}

/// A frame that was shown: when, its RTP timestamp (90 kHz ticks), when it was captured, which is
/// known from the first sender reports on, and its height.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Frame(f64, f64, Option<f64>, f64);

/// A frame that was shown.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shown {
    /// The time, in milliseconds since 1970.
    pub(crate) at: f64,
    /// Its RTP timestamp.
    pub(crate) stamp: f64,
    /// Its age in milliseconds; `None` without sender reports.
    pub(crate) age: Option<f64>,
    /// Its height in pixels.
    pub(crate) height: f64,
}

/// Sums over audio and video, as the browser counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Stats {
    /// The time since 1970, in milliseconds.
    pub(crate) at: f64,
    /// Packets received.
    pub(crate) received: f64,
    /// Packets lost, also those that a retransmission replaced.
    pub(crate) lost: f64,
    /// NACK messages sent.
    pub(crate) nacks: f64,
    /// Packets received again.
    pub(crate) retransmitted: f64,
    /// Payload bytes received, the next included.
    pub(crate) bytes: f64,
    /// Payload bytes of packets received again.
    pub(crate) retransmitted_bytes: f64,
    /// Number of freezes.
    pub(crate) freezes: f64,
    /// Duration of all freezes, in milliseconds.
    pub(crate) frozen: f64,
    /// Frames decoded.
    pub(crate) decoded: f64,
}

/// One join. Steps are in milliseconds since the begin, `None` if they were never reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Join {
    /// The answer to the offer had arrived.
    pub(crate) answer: Option<f64>,
    /// ICE was connected.
    pub(crate) ice: Option<f64>,
    /// DTLS was connected.
    pub(crate) dtls: Option<f64>,
    /// The first media packet had arrived.
    pub(crate) media: Option<f64>,
    /// The first frame was shown.
    pub(crate) frame: Option<f64>,
    /// The longest time between two frames shown, in milliseconds.
    pub(crate) longest: Option<f64>,
    /// Age of the frames shown three seconds after the begin, in milliseconds.
    pub(crate) latency: Option<f64>,
    /// Age of the frames shown last, in milliseconds.
    pub(crate) latency_at_end: Option<f64>,
    /// Counters at the end.
    pub(crate) stats: Stats,
}

impl Join {
    /// Takes the notes of the page, and the time since 1970 at which the first media packet had
    /// arrived.
    pub(crate) fn new(notes: &Notes, media: Option<Duration>) -> Self {
        let since = |time: Option<f64>| time.map(|time| time - notes.begin);
        let media = since(media.map(|media| 1000.0 * media.as_secs_f64()));
        let settled = notes.begin + SETTLED;
        Self {
            answer: since(notes.answer),
            ice: since(notes.ice),
            dtls: since(notes.dtls),
            // What is older is of the join before.
            media: media.filter(|media| *media > 0.0),
            frame: since(notes.frames.first().map(|frame| frame.0)),
            longest: notes.longest_gap(),
            latency: notes.latency(settled..settled + WINDOW),
            latency_at_end: notes.last_latency(),
            stats: notes.stats,
        }
    }
}

impl Notes {
    /// Returns the time since 1970 at which the player asked, in milliseconds.
    pub(crate) fn begin(&self) -> f64 {
        self.begin
    }

    /// Returns the time since 1970 at which the answer had arrived.
    pub(crate) fn answer(&self) -> Option<f64> {
        self.answer
    }

    /// Returns the counters three seconds after the first frame.
    pub(crate) fn early(&self) -> Stats {
        self.early
    }

    /// Returns the counters at the end.
    pub(crate) fn stats(&self) -> Stats {
        self.stats
    }

    /// Returns the longest time between two frames.
    fn longest_gap(&self) -> Option<f64> {
        let gaps = self.frames.windows(2).map(|pair| pair[1].0 - pair[0].0);
        gaps.max_by(f64::total_cmp)
    }

    /// Returns the frames in the order in which they were shown.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        let origin = self.origin();
        let shown = |Frame(at, stamp, _, height): &Frame| Shown {
            at: *at,
            stamp: *stamp,
            age: origin.map(|origin| at - (origin + stamp / 90.0)),
            height: *height,
        };
        self.frames.iter().map(shown).collect()
    }

    /// Returns the median age of the last frames.
    pub(crate) fn last_latency(&self) -> Option<f64> {
        let last = self.frames.last().map_or(0.0, |frame| frame.0);
        self.latency(last - WINDOW..last)
    }

    /// Returns the median age of the frames shown within `times`.
    fn latency(&self, times: std::ops::Range<f64>) -> Option<f64> {
        let frames = self.shown().into_iter();
        let shown = frames.filter(|frame| times.contains(&frame.at));
        median(shown.filter_map(|frame| frame.age))
    }

    /// Returns the time since 1970 of the timestamp 0: that of all timestamps, the best known for the last
    /// frame.
    fn origin(&self) -> Option<f64> {
        let mut captured = self.frames.iter().rev();
        captured.find_map(|Frame(_, stamp, at, _)| Some(at.as_ref()? - stamp / 90.0))
    }
}

/// Returns the median, the lower one of an even number of values; `None` if there are none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: f64 = 1e12;

    /// Frames from 500 ms after the begin, every 100 ms: 250 ms old at first, 50 ms from the
    /// third second on.
    fn frames() -> Vec<Frame> {
        let frame = |number: u32| {
            let at = BEGIN + 500.0 + 100.0 * f64::from(number);
            let age = if at < BEGIN + SETTLED { 250.0 } else { 50.0 };
            let captured = at - age;
            Frame(
                at,
                (captured - BEGIN) * 90.0,
                (number > 30).then_some(captured),
                720.0,
            )
        };
        (0..40).map(frame).collect()
    }

    #[test]
    fn steps_count_from_the_begin() {
        let notes = Notes {
            begin: BEGIN,
            answer: Some(BEGIN + 110.0),
            frames: frames(),
            ..Notes::default()
        };
        let join = Join::new(&notes, Some(Duration::from_millis(1_000_000_000_400)));
        assert_eq!(join.answer, Some(110.0));
        assert_eq!(join.dtls, None);
        assert_eq!(join.media, Some(400.0));
        assert_eq!(join.frame, Some(500.0));
        assert_eq!(join.longest, Some(100.0));
        let before = Join::new(&notes, Some(Duration::from_millis(999_999_999_999)));
        assert_eq!(before.media, None, "it was of the join before");
    }

    #[test]
    fn latency_of_early_frames_follows_from_capture_times_of_later_ones() {
        let notes = Notes {
            begin: BEGIN,
            frames: frames(),
            ..Notes::default()
        };
        let near = |latency: Option<f64>, expected: f64| {
            assert!((latency.unwrap() - expected).abs() < 0.01, "{latency:?}");
        };
        near(notes.latency(BEGIN..BEGIN + 1000.0), 250.0);
        let join = Join::new(&notes, None);
        near(join.latency, 50.0);
        near(join.latency_at_end, 50.0);
        let unknown = Notes {
            begin: BEGIN,
            frames: frames()[..20].to_vec(),
            ..Notes::default()
        };
        assert_eq!(Join::new(&unknown, None).latency, None);
    }

    #[test]
    fn median_of_an_even_number_is_a_measured_value() {
        assert_eq!(median([4.0, 1.0, 3.0, 2.0]), Some(2.0));
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([]), None);
    }
}
