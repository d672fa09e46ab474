//! The table at the end of a check: a line per step.

use std::time::Duration;

/// The result of one step.
pub(crate) struct StepReport {
    /// Name of the step, as for `--only`.
    pub(crate) name: &'static str,
    /// Time that it took.
    pub(crate) time: Duration,
    /// Its outcome.
    pub(crate) outcome: Outcome,
}

/// The outcome of a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All its commands succeeded.
    Passed,
    /// A command failed.
    Failed,
    /// Its program is not installed, and it is not required.
    Skipped,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Failed => "FAILED",
            Self::Skipped => "skipped",
        }
    }
}

/// Prints the table of steps, and one plain last line.
pub(crate) fn print_table(reports: &[StepReport]) {
    println!("\n== steps ==");
    for report in reports {
        println!(
            "{:<8} {:>7.1} s  {}",
            report.name,
            report.time.as_secs_f64(),
            report.outcome.name()
        );
    }

    let failed = reports
        .iter()
        .filter(|report| report.outcome == Outcome::Failed)
        .map(|report| report.name);
    let failed = failed.collect::<Vec<_>>();
    let skips = reports
        .iter()
        .any(|report| report.outcome == Outcome::Skipped);
    if failed.is_empty() && skips {
        println!("\nEverything that ran passed.");
    } else if failed.is_empty() {
        println!("\nEverything passed.");
    } else {
        println!("\nFAILED: {}", failed.join(", "));
    }
}
