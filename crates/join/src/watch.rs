//! What a viewer on a bad network sees, in the numbers of the table.

use std::fmt::Write as _;

use serde::Serialize;

use crate::join::{Notes, Shown, Stats};

/// The first seconds are those of the instant start, in milliseconds after the first frame: rates and
/// latencies count from there.
const START: f64 = 3000.0;

/// A frame that comes later than this after its time is frozen before, in milliseconds (W3C, "Identifiers
/// for WebRTC's Statistics API", `freezeCount`).
const FREEZE: f64 = 150.0;

/// A viewer has recovered when all frames of such a time were shown as before, in milliseconds.
const CALM: f64 = 1000.0;

/// A frame is shown as before if it is older than the median before by this at most, in milliseconds.
const LATER: f64 = 100.0;

/// The part of the frames that a viewer must see meanwhile.
const MOST: f64 = 0.9;

/// A trouble that passes: its begin and its end, in milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trouble {
    pub(crate) begin: f64,
    pub(crate) end: f64,
}

/// What a viewer has seen. Times are in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Watch {
    /// What is bad about the network.
    network: String,
    /// Frames decoded per second, after the start.
    fps: f64,
    /// Freezes after the first frame: how many, the longest, and all together.
    freezes: usize,
    longest: f64,
    frozen: f64,
    /// Time from the end of a trouble until everything is as before; `None` without trouble, or if that
    /// does not come.
    recovery: Option<f64>,
    /// True if there was a trouble that passed.
    had_trouble: bool,
    /// Bytes received again, in percent of those received for the first time.
    retransmitted: f64,
    /// Age of the frames, after the start: median and 95th percentile.
    latency: Option<[f64; 2]>,
    /// Time from frame to frame, after the start: median and 95th percentile.
    interval: Option<[f64; 2]>,
    /// Processes that ran or waited for a processor, in the mean of the last minute.
    load: f64,
}

impl Watch {
    /// Takes the notes of the page about a stream with `rate` frames per second.
    pub(crate) fn new(
        network: String,
        rate: u32,
        notes: &Notes,
        trouble: Option<Trouble>,
        load: f64,
    ) -> Self {
        let frames = notes.shown();
        let regular = 1000.0 / f64::from(rate);
        let gaps = frames.windows(2).map(|pair| pair[1].at - pair[0].at);
        let freezes: Vec<f64> = gaps.filter(|gap| *gap > regular + FREEZE).collect();
        let start = frames.first().map_or(0.0, |frame| frame.at) + START;
        let settled: Vec<Shown> = frames
            .iter()
            .filter(|frame| frame.at >= start)
            .copied()
            .collect();
        let (early, stats) = (notes.early(), notes.stats());
        let recovery = trouble.and_then(|trouble| recovery(&settled, rate, trouble));
        Self {
            network,
            fps: fps(early, stats),
            freezes: freezes.len(),
            longest: freezes.iter().copied().fold(0.0, f64::max),
            frozen: freezes.iter().fold(0.0, |all, freeze| all + freeze),
            recovery,
            had_trouble: trouble.is_some(),
            retransmitted: retransmitted(stats),
            latency: spread(settled.iter().filter_map(|frame| frame.age)),
            interval: spread(settled.windows(2).map(|pair| pair[1].at - pair[0].at)),
            load,
        }
    }

    /// Returns the row as a line of the table.
    pub(crate) fn line(&self) -> String {
        let pair = |values: Option<[f64; 2]>| {
            values.map_or_else(
                || "- | -".to_owned(),
                |[p50, p95]| format!("{p50:.0} | {p95:.0}"),
            )
        };
        let recovery = match (self.recovery, self.had_trouble) {
            (Some(recovery), _) => format!("{recovery:.0}"),
            (None, true) => "not".to_owned(),
            (None, false) => "-".to_owned(),
        };
        format!(
            "| {} | {:.1} | {} | {:.0} | {:.0} | {recovery} | {:.1} | {} | {} | {:.1} |",
            self.network,
            self.fps,
            self.freezes,
            self.longest,
            self.frozen,
            self.retransmitted,
            pair(self.latency),
            pair(self.interval),
            self.load,
        )
    }
}

/// Returns the frames decoded per second between two moments.
fn fps(early: Stats, late: Stats) -> f64 {
    let seconds = (late.at - early.at) / 1000.0;
    if seconds <= 0.0 {
        return 0.0;
    }
    (late.decoded - early.decoded) / seconds
}

fn retransmitted(stats: Stats) -> f64 {
    let first = stats.bytes - stats.retransmitted_bytes;
    if first <= 0.0 {
        return 0.0;
    }
    100.0 * stats.retransmitted_bytes / first
}

/// Returns the time from the end of a trouble to the first moment from which on frames are shown as they
/// were before it.
fn recovery(frames: &[Shown], rate: u32, trouble: Trouble) -> Option<f64> {
    let before = frames.iter().filter(|frame| frame.at < trouble.begin);
    let [usual, _] = spread(before.filter_map(|frame| frame.age))?;
    let is_late = |frame: &Shown| frame.age.is_none_or(|age| age > usual + LATER);
    let wanted = MOST * f64::from(rate) * CALM / 1000.0;
    let after = frames.iter().position(|frame| frame.at >= trouble.end)?;
    let frames = &frames[after..];
    let calm = (0..frames.len()).find(|&first| {
        let begin = frames[first].at;
        let calm = frames[first..]
            .iter()
            .take_while(|frame| frame.at < begin + CALM);
        calm.clone().count() as f64 >= wanted && !calm.clone().any(is_late)
    });
    calm.map(|first| frames[first].at - trouble.end)
}

/// Returns the median and the 95th percentile; `None` without values.
fn spread(values: impl IntoIterator<Item = f64>) -> Option<[f64; 2]> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    Some([last / 2, last * 95 / 100].map(|place| values[place]))
}

/// Returns the table of several networks.
pub(crate) fn table(rows: &[Watch]) -> String {
    let mut text = String::from(
        "| network | decoded fps | freezes | longest ms | all ms | recovered after ms | \
         retransmitted % | latency ms, p50 | p95 | frame interval ms, p50 | p95 | load |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{}", row.line());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TROUBLE: Trouble = Trouble {
        begin: 5000.0,
        end: 8000.0,
    };

    /// Returns frames every 50 ms for 20 s, without those that are shown within the trouble, and each with
    /// the age that `age` returns for its time.
    fn frames(age: impl Fn(f64) -> f64) -> Vec<Shown> {
        let frame = |number: u32| {
            let at = 50.0 * f64::from(number);
            Shown {
                at,
                age: Some(age(at)),
                ..Shown::default()
            }
        };
        let within = |frame: &Shown| frame.at >= TROUBLE.begin && frame.at < TROUBLE.end;
        (0..400).map(frame).filter(|frame| !within(frame)).collect()
    }

    #[test]
    fn viewer_has_recovered_when_frames_are_as_young_as_before() {
        let at_once = frames(|_| 30.0);
        assert_eq!(recovery(&at_once, 20, TROUBLE), Some(0.0));
        let late = frames(|at| {
            if (8000.0..10_000.0).contains(&at) {
                400.0
            } else {
                30.0
            }
        });
        assert_eq!(recovery(&late, 20, TROUBLE), Some(2000.0));
        let never = frames(|at| if at < 8000.0 { 30.0 } else { 400.0 });
        assert_eq!(recovery(&never, 20, TROUBLE), None);
    }

    #[test]
    fn viewer_with_half_of_the_frames_has_not_recovered() {
        let half: Vec<Shown> = frames(|_| 30.0)
            .into_iter()
            .filter(|frame| frame.at < 9000.0 || frame.at % 100.0 == 0.0)
            .collect();
        assert_eq!(
            recovery(
                &half,
                20,
                Trouble {
                    end: 8500.0,
                    ..TROUBLE
                }
            ),
            None
        );
        assert_eq!(
            recovery(
                &half,
                10,
                Trouble {
                    end: 8500.0,
                    ..TROUBLE
                }
            ),
            Some(0.0)
        );
    }

    #[test]
    fn numbers_become_a_line() {
        let stats = |seconds: f64| Stats {
            at: 1000.0 * seconds,
            decoded: 30.0 * seconds,
            bytes: 1100.0,
            retransmitted_bytes: 100.0,
            ..Stats::default()
        };
        assert_eq!(fps(stats(3.0), stats(20.0)), 30.0);
        assert_eq!(fps(Stats::default(), Stats::default()), 0.0);
        assert_eq!(retransmitted(stats(1.0)), 10.0);
        assert_eq!(retransmitted(Stats::default()), 0.0);
        let watch = Watch::new(
            "nothing".to_owned(),
            30,
            &Notes::default(),
            Some(TROUBLE),
            1.25,
        );
        let text = table(&[watch]);
        let last = "| nothing | 0.0 | 0 | 0 | 0 | not | 0.0 | - | - | - | - | 1.2 |";
        assert_eq!(text.lines().last(), Some(last));
        let widths = text.lines().map(|line| line.matches('|').count());
        assert!(widths.eq([13, 13, 13]), "{text}");
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        assert_eq!(spread((0..=100).map(f64::from)), Some([50.0, 95.0]));
        assert_eq!(spread([7.0]), Some([7.0, 7.0]));
        assert_eq!(spread([]), None);
    }
}
