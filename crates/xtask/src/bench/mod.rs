//! `cargo xtask bench`: the cost of a viewer, as one table.
//!
//! ```text
//! rtmp-swarm ──RTMP──► distributary (release build) ──WebRTC──► whep-swarm
//! ```
//!
//! Everything runs on this machine over loopback, so the viewers take their share of it: the
//! CPU times are those of the gateway's process alone.
//!
//! * `load`: streams with viewers. `run`: a gateway under such a load.
//! * `table`: the table.
//! * `compare`: two builds in turns.

mod compare;
mod load;
mod run;
mod table;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;

use clap::{Args, ValueEnum};

use crate::document;
use crate::load::{LoadError, Programs, machine};
use compare::Comparison;
use load::Load;
use run::Bench;
use table::Row;

/// The command that writes the table to the documentation.
pub(crate) const WRITE: &str = "cargo xtask bench --write";

/// Command-line arguments.
#[derive(Args)]
pub(crate) struct Options {
    /// Streams and the viewers of each, one run each
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1x1,1x100,1x1000,50x1,200x1,50x10"
    )]
    matrix: Vec<Load>,
    /// Number of shards send, one series of runs each; 0 is one per core
    #[arg(long, value_delimiter = ',', default_values_t = [1, 0])]
    shards: Vec<usize>,
    /// Seconds to measure in each run; the gateway's own stats cover ten of them
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Joins begun each second
    #[arg(long, default_value_t = 100)]
    ramp: u32,
    /// True if the viewers take many packets from the kernel at once
    #[arg(long, value_enum, default_value_t = Receive::Gro)]
    receive: Receive,
    /// The viewers, unlike browsers, do not report when each packet arrived
    #[arg(long)]
    no_feedback: bool,
    /// Write the table to docs/performance.md
    #[arg(long, conflicts_with = "compare")]
    write: bool,
    /// Another build of the gateway: measure both in turns, and print the ratio of their CPU time
    /// per packet
    #[arg(long)]
    compare: Option<PathBuf>,
    /// Number of turns of such a comparison
    #[arg(long, default_value_t = 5, requires = "compare")]
    rounds: u32,
}

/// Receive mode of the viewers.
#[derive(Clone, Copy, ValueEnum)]
enum Receive {
    /// With `UDP_GRO`: segmentation costs the sender as much as on a wire.
    Gro,
    /// One packet per call: loopback charges the sender for the delivery of each.
    Plain,
}

impl Receive {
    /// As the programs of the load have it.
    fn name(self) -> &'static str {
        match self {
            Self::Gro => "gro",
            Self::Plain => "plain",
        }
    }
}

/// Measures and prints the table.
pub(crate) fn run(options: &Options) -> Result<(), LoadError> {
    let programs = Programs::build(&["distributary-gateway", "distributary-bench"])?;
    let bench = Bench {
        clip: programs.clip()?,
        programs,
        options,
    };
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let text = match &options.compare {
        Some(other) => compare(&bench, other, cores)?,
        None => table(&bench, cores)?,
    };
    let text = format!("{}\n\n{text}", machine::describe(cores));
    println!("\n{text}");
    if options.write {
        document::write(WRITE, &text)?;
    }
    Ok(())
}

/// Returns the number of shards of a gateway with this configuration.
fn actual_shards(configured: usize, cores: usize) -> usize {
    if configured == 0 { cores } else { configured }
}

/// Measures each load beside the floor of the same minute.
fn table(bench: &Bench<'_>, cores: usize) -> Result<String, LoadError> {
    let program = bench.program();
    let mut rows = Vec::new();
    for &shards in &bench.options.shards {
        let actual = actual_shards(shards, cores);
        for &load in &bench.options.matrix {
            println!("{load} viewers, {actual} shards");
            let floor = bench.floor(load)?;
            let (report, states) = bench.measure(&program, load, shards)?;
            rows.push(Row::new(load, actual, &report, &states, &floor));
        }
    }
    Ok(table::render(&rows))
}

/// Measures each load with this build and another one in turns.
fn compare(bench: &Bench<'_>, other: &Path, cores: usize) -> Result<String, LoadError> {
    let this = bench.program();
    let mut comparisons = Vec::new();
    for &shards in &bench.options.shards {
        let actual = actual_shards(shards, cores);
        for &load in &bench.options.matrix {
            let mut comparison = Comparison::new(load, actual);
            for round in 1..=bench.options.rounds {
                println!("{load} viewers, {actual} shards, round {round}");
                let this = bench.cost(&this, load, shards)?;
                let other = bench.cost(other, load, shards)?;
                comparison.add(this, other);
            }
            comparisons.push(comparison);
        }
    }
    Ok(compare::render(&comparisons))
}
