//! What is printed at the end of a check: the result of each test binary, and a line per step.

use std::time::Duration;

/// What became of one step.
pub(crate) struct StepReport {
    /// Name of the step, as `--only` takes it.
    pub(crate) name: &'static str,
    /// How long it took.
    pub(crate) time: Duration,
    /// Whether all its commands succeeded.
    pub(crate) passed: bool,
    /// The results of the test binaries it ran, in order.
    pub(crate) tests: Vec<TestSummary>,
}

/// The result of one test binary.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TestSummary {
    /// What was run, as cargo announces it.
    binary: String,
    /// The words after `test result:`.
    result: String,
    passed: u64,
    failed: u64,
}

impl TestSummary {
    /// The name of a test binary, if `line` is cargo's announcement that it runs now.
    pub(crate) fn announced(line: &str) -> Option<&str> {
        let line = line.trim();
        let name = line
            .strip_prefix("Running ")
            .or_else(|| line.strip_prefix("Doc-tests "))?;
        // What follows is the path of the executable.
        Some(name.split(" (").next().unwrap_or(name))
    }

    /// Reads the line that ends the output of a test binary.
    pub(crate) fn parse(binary: &str, line: &str) -> Option<Self> {
        let result = line.trim().strip_prefix("test result: ")?;
        Some(Self {
            binary: binary.to_owned(),
            result: result.to_owned(),
            passed: count(result, " passed"),
            failed: count(result, " failed"),
        })
    }
}

/// The number in front of `word`, 0 if there is none.
fn count(result: &str, word: &str) -> u64 {
    let before = result.split(word).next().unwrap_or_default();
    before
        .rsplit(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// Prints the results of the tests, the table of steps, and one plain last line.
pub(crate) fn print_table(reports: &[StepReport]) {
    let tests = reports
        .iter()
        .flat_map(|report| &report.tests)
        .collect::<Vec<_>>();
    if !tests.is_empty() {
        println!("\n== tests ==");
        for test in &tests {
            println!("{:<32} {}", test.binary, test.result);
        }
        let passed = tests.iter().map(|test| test.passed).sum::<u64>();
        let failed = tests.iter().map(|test| test.failed).sum::<u64>();
        println!("{passed} tests passed, {failed} failed");
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_announcement_of_a_test_binary_gives_its_name() {
        let unit = "     Running unittests src/lib.rs (target/debug/deps/hub-0123456789abcdef)\n";
        assert_eq!(TestSummary::announced(unit), Some("unittests src/lib.rs"));
        let file = "     Running tests/run.rs (target/debug/deps/run-0123456789abcdef)\n";
        assert_eq!(TestSummary::announced(file), Some("tests/run.rs"));
        assert_eq!(TestSummary::announced("   Doc-tests hub\n"), Some("hub"));
        assert_eq!(TestSummary::announced("test it_works ... ok\n"), None);
    }

    #[test]
    fn the_result_line_of_a_test_binary_is_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; \
                    0 filtered out; finished in 0.01s\n";
        let summary = TestSummary::parse("tests/run.rs", line).unwrap();
        assert_eq!((summary.passed, summary.failed), (12, 3));
        assert_eq!(summary.binary, "tests/run.rs");
        assert_eq!(
            TestSummary::parse("tests/run.rs", "test it_works ... ok\n"),
            None
        );
    }
}
