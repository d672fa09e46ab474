//! `cargo xtask test`: the steps, the commands behind them, and the order in which they run.
//!
//! No dependency (OpenSSL is built from source) is compiled twice: all steps share one target
//! directory, one profile and one set of features. Cargo enables the features that development
//! dependencies ask for only where it builds tests or examples; so the steps that need neither
//! select the examples as well, of which there are none.
//!
//! A step that fails does not hide what the next one would say: all of them run, and the table at
//! the end names those that failed.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use crate::summary::{StepReport, TestSummary, print_table};
use crate::tools::{self, Tool};
use crate::{node, npm, python};

/// What to run, from the command line.
#[derive(Args)]
pub(crate) struct Options {
    /// Run this step alone (may be given more than once).
    #[arg(long, value_enum)]
    only: Vec<Step>,

    /// Say which programs are missing, but install nothing.
    #[arg(long)]
    no_install: bool,
}

/// One step of the check.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// Formatting.
    Fmt,
    /// Clippy on all targets, warnings denied.
    Clippy,
    /// The API documentation, warnings denied.
    Doc,
    /// All programs: the gateway and the fuzz targets.
    Build,
    /// All tests of the workspace, with ffmpeg and Chromium.
    Test,
    /// The end-to-end tests alone (they are part of `test`).
    E2e,
}

impl Step {
    /// What runs when nothing is chosen. The tests come last, so that their results end the output.
    const DEFAULT: [Self; 5] = [Self::Fmt, Self::Clippy, Self::Doc, Self::Build, Self::Test];

    fn name(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Clippy => "clippy",
            Self::Doc => "doc",
            Self::Build => "build",
            Self::Test => "test",
            Self::E2e => "e2e",
        }
    }

    /// The programs beyond the Rust toolchain that this step runs.
    fn tools(self) -> Vec<&'static Tool> {
        match self {
            Self::Fmt => vec![],
            Self::Clippy | Self::Doc | Self::Build => tools::BUILD.iter().collect(),
            Self::Test | Self::E2e => [tools::BUILD, tools::FFMPEG, tools::CLIENTS]
                .into_iter()
                .flatten()
                .collect(),
        }
    }

    /// Whether clients from PyPI and npm are run.
    fn runs_clients(self) -> bool {
        matches!(self, Self::Test | Self::E2e)
    }

    fn arguments(self) -> &'static str {
        match self {
            Self::Fmt => "fmt --all --check",
            Self::Clippy => "clippy --locked --workspace --all-targets -- -D warnings",
            Self::Doc => "doc --locked --workspace --no-deps --keep-going --lib --bins --examples",
            Self::Build => "build --locked --workspace --bins --examples",
            Self::Test => "test --locked --workspace --no-fail-fast",
            Self::E2e => "test --locked --package distributary-tests --no-fail-fast",
        }
    }

    fn command(self, root: &Path) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(root).args(self.arguments().split(' '));
        if self == Self::Doc {
            command.env("RUSTDOCFLAGS", "-D warnings");
        }
        command
    }
}

/// Runs the chosen steps and prints what became of each.
pub(crate) fn run(options: &Options) -> Result<ExitCode, tools::ToolError> {
    let steps = if options.only.is_empty() {
        &Step::DEFAULT[..]
    } else {
        &options.only
    };
    let wanted = steps
        .iter()
        .flat_map(|step| step.tools())
        .collect::<Vec<_>>();
    tools::ensure(&wanted, !options.no_install)?;
    if steps.iter().any(|step| step.runs_clients()) {
        let target = target_folder()?;
        python::ensure(&target, !options.no_install)?;
        npm::ensure(&target, !options.no_install)?;
        node::ensure(&target, !options.no_install)?;
    }

    let root = workspace_root();
    let reports = steps
        .iter()
        .map(|step| run_step(*step, &root))
        .collect::<Vec<_>>();
    print_table(&reports);
    let passed = reports.iter().all(|report| report.passed);
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn run_step(step: Step, root: &Path) -> StepReport {
    println!("\n== {}: cargo {} ==", step.name(), step.arguments());
    let started = now();
    let mut tests = Vec::new();
    let passed = run_shown(step.command(root), &mut tests).unwrap_or_else(|error| {
        eprintln!("error: {error}");
        false
    });
    StepReport {
        name: step.name(),
        time: since(started),
        passed,
        tests,
    }
}

/// Runs `command`, shows its output as it comes and keeps the results of the tests in it.
fn run_shown(mut command: Command, tests: &mut Vec<TestSummary>) -> io::Result<bool> {
    // One pipe for both streams: cargo names a test binary on stderr, and the binary gives its
    // result on stdout. Their order tells which result belongs to which.
    let (reader, writer) = io::pipe()?;
    command.stdin(Stdio::null());
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // The command holds the write ends too, and the reader would never see the end.
    drop(command);

    let mut running = String::new();
    let mut lines = BufReader::new(reader);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        io::stdout().write_all(&line)?;
        let text = String::from_utf8_lossy(&line);
        if let Some(binary) = TestSummary::announced(&text) {
            running = binary.to_owned();
        } else if let Some(summary) = TestSummary::parse(&running, &text) {
            tests.push(summary);
        }
        line.clear();
    }
    Ok(child.wait()?.success())
}

/// The build folder, in which this program lies: `target/<profile>/xtask`.
fn target_folder() -> io::Result<PathBuf> {
    let executable = env::current_exe()?;
    let folder = executable.ancestors().nth(2);
    Ok(folder.unwrap_or(&executable).to_owned())
}

fn workspace_root() -> PathBuf {
    // crates/xtask, two levels below the root.
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest).to_owned()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a task that reports how long its steps took"
)]
fn now() -> Instant {
    Instant::now()
}

fn since(started: Instant) -> Duration {
    now().duration_since(started)
}
