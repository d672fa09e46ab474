//! The table at the end of a check: a line per step.

use std::time::Duration;

/// The outcome of one step.
pub(crate) struct StepReport {
    /// Name of the step, as for `--only`.
    pub(crate) name: &'static str,
    /// Time that it took.
    pub(crate) time: Duration,
    /// True if all its commands succeeded.
    pub(crate) passed: bool,
}

/// Prints the table of steps, and one plain last line.
pub(crate) fn print_table(reports: &[StepReport]) {
    println!("\n== steps ==");
    for report in reports {
        let outcome = if report.passed { "ok" } else { "FAILED" };
        println!(
            "{:<8} {:>7.1} s  {outcome}",
            report.name,
            report.time.as_secs_f64()
        );
    }

    let failed = reports
        .iter()
        .filter(|report| !report.passed)
        .map(|report| report.name);
    let failed = failed.collect::<Vec<_>>();
    if failed.is_empty() {
        println!("\nEverything passed.");
    } else {
        println!("\nFAILED: {}", failed.join(", "));
    }
}
