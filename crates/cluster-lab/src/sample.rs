//! The results of rows, as a table.

use std::fmt::Write as _;
use std::time::Duration;

/// The results of one or more runs of a row.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    figures: Vec<Figure>,
    /// Broken invariants, in words.
    pub(crate) broken: Vec<String>,
}

/// Times of one kind.
#[derive(Debug)]
struct Figure {
    what: &'static str,
    target: Option<Duration>,
    values: Vec<Duration>,
}

impl Sample {
    /// Adds times; the target is for all of them, and only printed.
    pub(crate) fn add(
        &mut self,
        what: &'static str,
        target: Option<Duration>,
        values: impl IntoIterator<Item = Duration>,
    ) {
        let index = self.figures.iter().position(|figure| figure.what == what);
        let index = index.unwrap_or_else(|| {
            self.figures.push(Figure {
                what,
                target,
                values: Vec::new(),
            });
            self.figures.len() - 1
        });
        self.figures[index].values.extend(values);
    }

    /// Says what must not happen and did.
    pub(crate) fn fail(&mut self, what: impl Into<String>) {
        self.broken.push(what.into());
    }

    /// Adds another run.
    pub(crate) fn merge(&mut self, other: Self) {
        for figure in other.figures {
            self.add(figure.what, figure.target, figure.values);
        }
        self.broken.extend(other.broken);
    }

    /// Returns the lines of the table.
    pub(crate) fn lines(&self, row: &str) -> String {
        let mut text = String::new();
        for figure in &self.figures {
            let mut values = figure.values.clone();
            values.sort_unstable();
            let at = |percent: usize| {
                let rank = (values.len() * percent).div_ceil(100).max(1);
                values.get(rank - 1).copied().map_or_else(String::new, show)
            };
            let target = figure.target.map_or_else(String::new, show);
            // Writing to a String does not fail.
            let _ = writeln!(
                text,
                "| {row} | {} | {} | {} | {} | {} | {target} |",
                figure.what,
                values.len(),
                at(50),
                at(95),
                at(100),
            );
        }
        text
    }
}

/// The head of the table.
pub(crate) const HEAD: &str = "| row | | values | median | p95 | worst | target |\n\
                               |---|---|---|---|---|---|---|\n";

/// Returns a duration in the unit that suits it.
fn show(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds >= 1.0 {
        format!("{seconds:.2} s")
    } else if seconds >= 0.001 {
        format!("{:.1} ms", seconds * 1e3)
    } else {
        format!("{:.1} us", seconds * 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_merged_by_figure() {
        let run = |values: &[u64], broken: &[&str]| {
            let mut sample = Sample::default();
            let target = Some(Duration::from_millis(600));
            let values = values.iter().copied().map(Duration::from_micros);
            sample.add("gap", target, values);
            broken.iter().for_each(|what| sample.fail(*what));
            sample
        };
        let mut sample = run(&[900, 20_500], &[]);
        sample.merge(run(&[1_250_000], &["two owners"]));
        assert_eq!(
            sample.lines("owner-killed"),
            "| owner-killed | gap | 3 | 20.5 ms | 1.25 s | 1.25 s | 600.0 ms |\n"
        );
        assert_eq!(sample.broken, ["two owners"]);
    }
}
