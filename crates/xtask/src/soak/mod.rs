//! `cargo xtask soak`: whether the gateway holds more and more while clients come and go.
//!
//! ```text
//! rtmp-swarm (they leave       ──RTMP──►              ──WebRTC──► whep-swarm (they leave with and
//!  and come back)                        distributary              without DELETE, others come)
//! SIGHUP, once a minute        ────────►      ▲
//!                                             └── /proc, /api/server, /api/streams and /metrics,
//!                                                 every ten seconds
//! ```
//!
//! After the warm-up, nothing may grow ([`trend`]). When all have left, everything has to be as before
//! they came ([`rest`]). Each line of the log at `warn` or above has to be an expected one ([`log`]).

mod course;
mod log;
mod outcome;
mod reload;
mod report;
mod rest;
mod sample;
mod scene;
mod trend;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use clap::Args;

use crate::check;
use crate::load::{self, LoadError, Programs, machine};
use outcome::Soak;
use scene::{Load, Scene};

/// Command-line arguments.
#[derive(Args)]
pub(crate) struct Options {
    /// Minutes of load, after a warm-up
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    minutes: u32,
    /// Viewers at a time
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    viewers: u32,
    /// Viewers that leave each second and are replaced
    #[arg(long, default_value_t = 5.0)]
    churn: f64,
    /// Publishers, each of a stream of its own
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    publishers: u32,
    /// Seconds after which a publisher leaves for three seconds
    #[arg(long, default_value_t = 45, value_parser = clap::value_parser!(u32).range(1..))]
    stay: u32,
    /// Use unoptimized builds, which are ready sooner and carry fewer viewers
    #[arg(long)]
    debug: bool,
    /// Another gateway, such as an older build; by default that of this tree is built
    #[arg(long, value_name = "PROGRAM")]
    gateway: Option<PathBuf>,
    /// File for the samples, as comma-separated values; by default soak.csv beside the programs
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

/// Runs the load, and prints what was seen. The exit code tells whether all is well.
pub(crate) fn run(options: &Options) -> Result<ExitCode, LoadError> {
    let programs = programs(options)?;
    let gateway = options.gateway.clone();
    let scene = Scene {
        clip: programs.clip()?,
        gateway: gateway.unwrap_or_else(|| programs.folder.join("distributary")),
        load: Load {
            seconds: u64::from(options.minutes) * 60,
            viewers: options.viewers,
            churn: options.churn,
            publishers: options.publishers,
            stay: options.stay,
        },
        programs,
    };
    let soak = scene.play()?;
    let csv = options.csv.clone();
    let csv = csv.unwrap_or_else(|| scene.programs.folder.join("soak.csv"));
    std::fs::write(&csv, report::csv(&soak.course)).map_err(load::io_error("the samples"))?;
    print(&soak, &csv);
    Ok(if soak.findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print(soak: &Soak, csv: &Path) {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    println!("\n{}\n", machine::describe(cores));
    println!("{}", report::table(soak));
    println!("{}", report::curves(&soak.course));
    for line in &soak.notes {
        println!("{line}");
    }
    println!("samples: {}", csv.display());
    for finding in &soak.findings {
        println!("FINDING: {finding}");
    }
    if soak.findings.is_empty() {
        println!("Nothing grows, and everything returns.");
    }
}

fn programs(options: &Options) -> Result<Programs, LoadError> {
    if options.debug {
        // In the way of the checks: no dependency is compiled twice.
        load::succeed(load::cargo().args(check::BUILD.split(' ')))?;
        let release = Programs::built()?;
        let folder = release.folder.with_file_name("debug");
        return Ok(Programs { folder });
    }
    let mut crates = vec!["distributary-bench"];
    crates.extend(options.gateway.is_none().then_some("distributary-gateway"));
    Programs::build(&crates)
}
