//! `cargo xtask test`: the steps, the commands behind them, and the order in which they run.
//!
//! Tests run under cargo-nextest where it is installed, else under `cargo test`. Dependencies are
//! checked where cargo-deny is installed.
//!
//! No dependency (OpenSSL is built from source) is compiled twice: all steps share one target
//! directory and one profile, and one set of features. Only the second Clippy command has others: it
//! uses the locks of shuttle. Cargo enables the features that development dependencies ask for only where it
//! builds tests or examples; so the steps that need neither select the examples as well, although
//! there are none.
//!
//! A step that fails does not hide the results of the next: all of them run, and the table at
//! the end names those that failed.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use crate::summary::{Outcome, StepReport, print_table};
use crate::tools::{self, Tool};
use crate::{node, npm, python};

/// Command-line arguments.
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
    /// Clippy on all targets, and on the tests of interleavings, warnings denied.
    Clippy,
    /// Licenses, versions and sources of the dependencies, by the rules of `deny.toml`.
    ///
    /// Not the advisories: they need the network, and fail without any change here.
    Deny,
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
    /// The default steps. The tests come last, so that their results end the output.
    const DEFAULT: [Self; 6] = [
        Self::Fmt,
        Self::Deny,
        Self::Clippy,
        Self::Doc,
        Self::Build,
        Self::Test,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Clippy => "clippy",
            Self::Deny => "deny",
            Self::Doc => "doc",
            Self::Build => "build",
            Self::Test => "test",
            Self::E2e => "e2e",
        }
    }

    /// Returns the programs beyond the Rust toolchain that this step runs.
    fn tools(self) -> Vec<&'static Tool> {
        match self {
            Self::Fmt | Self::Deny => vec![],
            Self::Clippy | Self::Doc | Self::Build => tools::BUILD.iter().collect(),
            Self::Test | Self::E2e => {
                [tools::BUILD, tools::FFMPEG, tools::CHROMIUM, tools::CLIENTS]
                    .into_iter()
                    .flatten()
                    .collect()
            }
        }
    }

    /// Returns whether clients from PyPI and npm are run.
    fn runs_clients(self) -> bool {
        matches!(self, Self::Test | Self::E2e)
    }

    /// Returns the arguments of each cargo command of the step.
    fn commands(self, has_nextest: bool) -> Vec<&'static str> {
        match (self, has_nextest) {
            (Self::Fmt, _) => vec!["fmt --all --check"],
            (Self::Clippy, _) => {
                vec![
                    "clippy --locked --workspace --all-targets -- -D warnings",
                    // The tests of interleavings, with the locks of shuttle. This checks only shuttle and
                    // the workspace again.
                    "clippy --locked --workspace --lib --profile test \
                     --features distributary-egress/shuttle -- -D warnings",
                ]
            }
            (Self::Deny, _) => vec!["deny --locked check licenses bans sources"],
            (Self::Doc, _) => {
                vec!["doc --locked --workspace --no-deps --keep-going --lib --bins --examples"]
            }
            (Self::Build, _) => vec![BUILD],
            (Self::Test, true) => vec![
                "nextest run --locked --workspace --no-fail-fast",
                // Nextest runs no documentation tests.
                "test --locked --workspace --no-fail-fast --doc",
            ],
            (Self::Test, false) => vec!["test --locked --workspace --no-fail-fast"],
            // The tests use the gateway of this build.
            (Self::E2e, true) => vec![
                BUILD,
                "nextest run --locked --package distributary-tests --no-fail-fast",
            ],
            (Self::E2e, false) => vec![
                BUILD,
                "test --locked --package distributary-tests --no-fail-fast",
            ],
        }
    }
}

/// Builds all programs.
pub(crate) const BUILD: &str = "build --locked --workspace --bins --examples";

fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Returns whether a subcommand of cargo is installed.
fn has_subcommand(name: &str) -> bool {
    let mut command = cargo();
    command.args([name, "--version"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs the chosen steps and prints the result of each.
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
    let has_nextest = has_subcommand("nextest");
    let reports = steps
        .iter()
        .map(|step| run_step(*step, has_nextest, &root))
        .collect::<Vec<_>>();
    print_table(&reports);
    let failed = reports
        .iter()
        .any(|report| report.outcome == Outcome::Failed);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn run_step(step: Step, has_nextest: bool, root: &Path) -> StepReport {
    let started = now();
    let outcome = if step == Step::Deny && !has_subcommand("deny") {
        println!("\n== deny: skipped, install it by: cargo install --locked cargo-deny ==");
        Outcome::Skipped
    } else {
        let mut commands = step.commands(has_nextest).into_iter();
        if commands.all(|arguments| run_shown(step, arguments, root)) {
            Outcome::Passed
        } else {
            Outcome::Failed
        }
    };
    StepReport {
        name: step.name(),
        time: since(started),
        outcome,
    }
}

/// Runs cargo with `arguments`; its output goes where this program's goes.
fn run_shown(step: Step, arguments: &str, root: &Path) -> bool {
    println!("\n== {}: cargo {arguments} ==", step.name());
    let mut command = cargo();
    command.current_dir(root).args(arguments.split(' '));
    command.stdin(Stdio::null());
    if step == Step::Doc {
        command.env("RUSTDOCFLAGS", "-D warnings");
    }
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("error: cargo: {error}");
            false
        }
    }
}

/// Returns the build folder, in which this program lies: `target/<profile>/xtask`.
pub(crate) fn target_folder() -> io::Result<PathBuf> {
    let executable = env::current_exe()?;
    let folder = executable.ancestors().nth(2);
    Ok(folder.unwrap_or(&executable).to_owned())
}

/// Returns the root of the source.
pub(crate) fn workspace_root() -> PathBuf {
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
