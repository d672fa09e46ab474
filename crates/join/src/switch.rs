//! A viewer whose path slows down and recovers, or swings: when it gets another rendition, and what it
//! sees meanwhile.

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

/// The time in which at most one switch is wanted, in milliseconds.
const WINDOW: f64 = 10_000.0;

/// The course of a viewer over a link that swings. Times are in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Swinging {
    /// Changes of the height, and the most within ten seconds.
    pub(crate) switches: (usize, usize),
    /// The longest time without a new frame.
    pub(crate) gap: f64,
    /// Least, median and greatest height.
    pub(crate) heights: (f64, f64, f64),
    /// Frames shown per second.
    pub(crate) rate: f64,
    /// Freezes that the browser counted over the whole time, and their duration.
    pub(crate) freezes: (f64, f64),
    /// Age of the last frames.
    pub(crate) latency_at_end: Option<f64>,
}

impl Swinging {
    /// Takes the notes of the page, and the time since 1970 at which the link began to swing.
    pub(crate) fn new(notes: &Notes, from: f64) -> Self {
        let mut frames = notes.shown();
        frames.retain(|frame| frame.at >= from);
        let pairs = frames.windows(2);
        let switched = pairs.filter(|pair| pair[0].height != pair[1].height);
        let switches: Vec<f64> = switched.map(|pair| pair[1].at).collect();
        let within = |at: &f64| {
            let later = switches.iter().filter(|other| *other >= at);
            later.take_while(|other| **other < at + WINDOW).count()
        };
        let gaps = frames.windows(2).map(|pair| pair[1].at - pair[0].at);
        let heights = || frames.iter().map(|frame| frame.height);
        let first = frames.first().map_or(from, |frame| frame.at);
        let elapsed = frames.last().map_or(from, |frame| frame.at) - first;
        Self {
            switches: (
                switches.len(),
                switches.iter().map(within).max().unwrap_or(0),
            ),
            gap: gaps.fold(0.0, f64::max),
            heights: (
                heights().reduce(f64::min).unwrap_or_default(),
                median(heights()).unwrap_or_default(),
                heights().reduce(f64::max).unwrap_or_default(),
            ),
            rate: 1000.0 * frames.len() as f64 / elapsed.max(1.0),
            freezes: (notes.stats().freezes, notes.stats().frozen),
            latency_at_end: notes.last_latency(),
        }
    }
}

/// Returns the table of several viewers over links that swing.
pub(crate) fn swing_table(rows: &[(String, Swinging)]) -> String {
    let mut text = String::from(
        "| link Mbit/s | switches | most in 10 s | longest gap | freezes | frozen ms | fps | heights | \
         latency at the end |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for (name, row) in rows {
        let (least, usual, most) = row.heights;
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {:.0} | {} | {:.0} | {:.1} | {least}, {usual}, {most} | {} |",
            row.switches.0,
            row.switches.1,
            row.gap,
            row.freezes.0,
            row.freezes.1,
            row.rate,
            time(row.latency_at_end),
        );
    }
    text
}

/// Returns a time in whole milliseconds.
fn time(time: Option<f64>) -> String {
    time.map_or_else(|| "never".to_owned(), |ms| format!("{ms:.0}"))
}

/// Returns the table of several viewers.
pub(crate) fn table(rows: &[(String, Switching)]) -> String {
    let mut text = String::from(
        "| link Mbit/s | first lower frame | height | longest gap, slow | after | best again after | \
         switches down, up | back in time | latency at the end |\n|---|---|---|---|---|---|---|---|---|\n",
    );
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
