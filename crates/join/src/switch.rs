//! A viewer whose path slows down and recovers: when it gets another rendition, and what it sees
//! meanwhile.

use std::fmt::Write as _;

use serde::Serialize;

use crate::join::{Notes, median};

/// Heights that a viewer had within this time after a change of the path belong to it, in ms.
const LONGEST_GAP: f64 = 150.0;

/// The course of one viewer. Times are in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Switching {
    /// From the slowdown to the first frame of a lower rendition, `None` if there was none.
    pub(crate) down: Option<f64>,
    /// From the recovery to the first frame of the best rendition.
    pub(crate) up: Option<f64>,
    /// Changes of the height from the slowdown to the recovery, and from there on.
    pub(crate) switches: (usize, usize),
    /// The longest time without a new frame from the slowdown to the recovery, and from there on.
    pub(crate) gaps: (f64, f64),
    /// Heights between the slowdown and the recovery: that of the most frames.
    pub(crate) low: f64,
    /// Frames that were shown with an older time than the one before.
    pub(crate) backwards: usize,
    /// Age of the last frames.
    pub(crate) latency_at_end: Option<f64>,
}

impl Switching {
    /// Takes the notes of the page, and the times since 1970 of the slowdown and the recovery.
    pub(crate) fn new(notes: &Notes, slow: f64, recovery: f64) -> Self {
        let frames = notes.shown();
        let before: Vec<f64> = frames
            .iter()
            .filter(|frame| frame.at < slow)
            .map(|frame| frame.height)
            .collect();
        let top = before.iter().copied().fold(0.0, f64::max);
        let last = before.last().copied().unwrap_or_default();
        let first = |from: f64, is_it: &dyn Fn(f64) -> bool| {
            let mut later = frames.iter().filter(|frame| frame.at >= from);
            later
                .find(|frame| is_it(frame.height))
                .map(|frame| frame.at - from)
        };
        let within = |from: f64, to: f64| {
            let part = frames.windows(2).filter(move |pair| {
                let at = pair[1].at;
                at >= from && at < to
            });
            part.fold((0, 0.0), |(switches, gap): (usize, f64), pair| {
                let has_switched = pair[0].height != pair[1].height;
                (
                    switches + usize::from(has_switched),
                    gap.max(pair[1].at - pair[0].at),
                )
            })
        };
        let (down, gap_slow) = within(slow, recovery);
        let (up, gap_fast) = within(recovery, f64::MAX);
        let low = frames
            .iter()
            .filter(|frame| frame.at >= slow && frame.at < recovery)
            .map(|frame| frame.height);
        Self {
            down: first(slow, &|height| height < last),
            up: first(recovery, &|height| height >= top),
            switches: (down, up),
            gaps: (gap_slow, gap_fast),
            low: median(low).unwrap_or_default(),
            backwards: frames
                .windows(2)
                .filter(|pair| pair[1].stamp < pair[0].stamp)
                .count(),
            latency_at_end: notes.last_latency(),
        }
    }
}

/// Returns the table of several viewers.
pub(crate) fn table(rows: &[(String, Switching)]) -> String {
    let mut text = String::from(
        "| link Mbit/s | first lower frame | height | longest gap, slow | after | best again after | \
         switches down, up | back in time | latency at the end |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    let time = |time: Option<f64>| time.map_or_else(|| "never".to_owned(), |ms| format!("{ms:.0}"));
    for (name, row) in rows {
        let gap = |gap: f64| {
            let mark = if gap > LONGEST_GAP { "**" } else { "" };
            format!("{mark}{gap:.0}{mark}")
        };
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} | {} | {} | {}, {} | {} | {} |",
            time(row.down),
            row.low,
            gap(row.gaps.0),
            gap(row.gaps.1),
            time(row.up),
            row.switches.0,
            row.switches.1,
            row.backwards,
            time(row.latency_at_end),
        );
    }
    text
}
