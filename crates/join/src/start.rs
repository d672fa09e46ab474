//! A viewer that asks for a rendition which nobody makes yet.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::join::{Notes, median};

/// The steps of one start, in milliseconds since the WHEP request; `None` if they were not reached.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Start {
    /// The answer to the offer had arrived.
    pub(crate) answer: Option<f64>,
    /// The transcoder ran.
    pub(crate) child: Option<f64>,
    /// The first frame was shown, of whatever rendition.
    pub(crate) frame: Option<f64>,
    /// The first frame of the last height was shown.
    pub(crate) wanted: Option<f64>,
    /// Height of the last frame in pixels.
    pub(crate) height: f64,
    /// The longest time between two frames.
    pub(crate) gap: f64,
}

impl Start {
    /// Takes the notes of the page, and the time since 1970 at which the transcoder was there.
    pub(crate) fn new(notes: &Notes, child: Option<Duration>) -> Self {
        let frames = notes.shown();
        let since = |time: f64| time - notes.begin();
        let height = frames.last().map_or(0.0, |frame| frame.height);
        let wanted = frames.iter().find(|frame| frame.height == height);
        let gaps = frames.windows(2).map(|pair| pair[1].at - pair[0].at);
        Self {
            answer: notes.answer().map(since),
            child: child.map(|child| since(1000.0 * child.as_secs_f64())),
            frame: frames.first().map(|frame| since(frame.at)),
            wanted: wanted.map(|frame| since(frame.at)),
            height,
            gap: gaps.fold(0.0, f64::max),
        }
    }
}

/// Returns the table of several starts: median and worst.
pub(crate) fn table(layer: &str, starts: &[Start]) -> String {
    let mut text = String::from(
        "| rendition | answer | transcoder | first frame | first of the rendition | height | longest gap |\n\
         |---|---|---|---|---|---|---|\n",
    );
    let spread = |of: fn(&Start) -> Option<f64>| {
        let values = || starts.iter().filter_map(of);
        let worst = values().reduce(f64::max).unwrap_or_default();
        median(values()).map_or_else(String::new, |value| format!("{value:.0} / {worst:.0}"))
    };
    // Writing to a String does not fail.
    let _ = writeln!(
        text,
        "| {layer} | {} | {} | {} | {} | {} | {} |",
        spread(|start| start.answer),
        spread(|start| start.child),
        spread(|start| start.frame),
        spread(|start| start.wanted),
        spread(|start| Some(start.height)),
        spread(|start| Some(start.gap)),
    );
    text
}
