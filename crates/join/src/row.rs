//! Rows and their tables, in Markdown.

use serde::Serialize;

use crate::condition::Condition;
use crate::join::{Join, median};
use crate::stream::Stream;

/// The joins under one condition.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    stream: Stream,
    rtt_ms: u128,
    jitter_ms: u128,
    loss_percent: f64,
    link_megabits: Option<f64>,
    queue_ms: Option<u128>,
    joins: Vec<Join>,
}

/// A column: its title, and its cell of a row.
pub(crate) struct Column(&'static str, fn(&Row) -> String);

/// Round trip time and loss, the steps of a join.
pub(crate) const STEPS: &[Column] = &[
    Column("RTT ms", |row| row.rtt_ms.to_string()),
    Column("loss %", |row| row.loss_percent.to_string()),
    Column("answer", |row| row.median(|join| join.answer)),
    Column("ICE", |row| row.median(|join| join.ice)),
    Column("DTLS", |row| row.median(|join| join.dtls)),
    Column("first RTP", |row| row.median(|join| join.media)),
    Column("first frame", |row| row.median(|join| join.frame)),
    Column("worst", |row| row.worst(|join| join.frame)),
    Column("failed", Row::failed),
];

/// Stream and link, the course of the start.
pub(crate) const RATE: &[Column] = &[
    Column("stream Mbit/s", |row| row.stream.megabits.to_string()),
    Column("GOP s", |row| row.stream.gop.to_string()),
    Column("link Mbit/s", |row| {
        row.link_megabits
            .map_or_else(String::new, |rate| rate.to_string())
    }),
    Column("RTT ms", |row| row.rtt_ms.to_string()),
    Column("first frame", |row| row.spread(|join| join.frame)),
    Column("lost", |row| row.spread(|join| Some(join.stats.lost))),
    Column("retransmitted", |row| {
        row.spread(|join| Some(join.stats.retransmitted))
    }),
    Column("freezes", |row| row.spread(|join| Some(join.stats.freezes))),
    Column("frozen ms", |row| {
        row.spread(|join| Some(join.stats.frozen))
    }),
    Column("longest gap", |row| row.spread(|join| join.longest)),
    Column("latency at 3 s", |row| row.spread(|join| join.latency)),
    Column("at the end", |row| row.spread(|join| join.latency_at_end)),
    Column("failed", Row::failed),
];

/// Path, the course of playing.
pub(crate) const LOSS: &[Column] = &[
    Column("RTT ms", |row| row.rtt_ms.to_string()),
    Column("loss %", |row| row.loss_percent.to_string()),
    Column("jitter ms", |row| row.jitter_ms.to_string()),
    Column("first frame", |row| row.spread(|join| join.frame)),
    Column("freezes", |row| row.spread(|join| Some(join.stats.freezes))),
    Column("frozen ms", |row| {
        row.spread(|join| Some(join.stats.frozen))
    }),
    Column("longest gap", |row| row.spread(|join| join.longest)),
    Column("received", |row| {
        row.spread(|join| Some(join.stats.received))
    }),
    Column("lost", |row| row.spread(|join| Some(join.stats.lost))),
    Column("NACKs", |row| row.spread(|join| Some(join.stats.nacks))),
    Column("retransmitted", |row| {
        row.spread(|join| Some(join.stats.retransmitted))
    }),
    Column("latency at 3 s", |row| row.spread(|join| join.latency)),
    Column("at the end", |row| row.spread(|join| join.latency_at_end)),
    Column("failed", Row::failed),
];

impl Row {
    /// Creates a row.
    pub(crate) fn new(condition: Condition, joins: Vec<Join>) -> Self {
        let Condition { stream, path } = condition;
        Self {
            stream,
            rtt_ms: path.rtt.as_millis(),
            jitter_ms: path.jitter.as_millis(),
            loss_percent: path.loss,
            link_megabits: path.bottleneck.map(|link| link.megabits),
            queue_ms: path.bottleneck.map(|link| link.queue.as_millis()),
            joins,
        }
    }

    /// Returns the median over the joins that have the value.
    fn median(&self, of: impl Fn(&Join) -> Option<f64>) -> String {
        shown(median(self.joins.iter().filter_map(of)))
    }

    /// Returns the greatest value.
    fn worst(&self, of: impl Fn(&Join) -> Option<f64>) -> String {
        shown(self.joins.iter().filter_map(of).reduce(f64::max))
    }

    /// Returns both, or the one value of a single join.
    fn spread(&self, of: impl Fn(&Join) -> Option<f64>) -> String {
        let median = self.median(&of);
        if self.joins.len() == 1 {
            return median;
        }
        format!("{median} / {}", self.worst(of))
    }

    /// Returns the number of joins without a frame.
    fn failed(&self) -> String {
        let failed = self.joins.iter().filter(|join| join.frame.is_none());
        failed.count().to_string()
    }
}

fn shown(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| format!("{value:.0}"))
}

/// Returns the row as a line of a table.
pub(crate) fn line(columns: &[Column], row: &Row) -> String {
    cells(columns.iter().map(|Column(_, cell)| cell(row)))
}

/// Returns all rows under one header.
pub(crate) fn table(columns: &[Column], rows: &[Row]) -> String {
    let mut text = cells(columns.iter().map(|Column(title, _)| (*title).to_owned()));
    text += &cells(columns.iter().map(|_| "---".to_owned()));
    text.extend(rows.iter().map(|row| line(columns, row)));
    text
}

fn cells(cells: impl Iterator<Item = String>) -> String {
    format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::path::PathSettings;

    fn row(frames: &[Option<f64>]) -> Row {
        let condition = Condition {
            stream: Stream {
                height: 720,
                rate: 30,
                megabits: 2.4,
                gop: 2,
            },
            path: PathSettings {
                rtt: Duration::from_millis(100),
                loss: 5.0,
                ..PathSettings::default()
            },
        };
        let join = |frame: &Option<f64>| Join {
            frame: *frame,
            answer: Some(110.4),
            ..Join::default()
        };
        Row::new(condition, frames.iter().map(join).collect())
    }

    #[test]
    fn steps_become_a_line() {
        let row = row(&[Some(431.0), Some(430.0), None, Some(902.0)]);
        let text = table(STEPS, &[row]);
        assert_eq!(
            text.lines().last(),
            Some("| 100 | 5 | 110 |  |  |  | 431 | 902 | 1 |")
        );
        let widths = text.lines().map(|line| line.matches('|').count());
        assert!(widths.eq([10, 10, 10]), "{text}");
    }

    #[test]
    fn single_join_has_no_spread() {
        let many = row(&[Some(1.0), Some(2.0), Some(3.0)]);
        assert_eq!(many.spread(|join| join.frame), "2 / 3");
        assert_eq!(row(&[Some(7.0)]).spread(|join| join.frame), "7");
    }
}
