//! Measures what viewers of a cluster see when parts of it fail.
//!
//! ```text
//!   this process: encoders, viewers     node 1: gateway, NATS    node 2: ...    node 3: ...
//! ```
//!
//! * [`network`]: machines as network namespaces, with a link for clients and one for NATS.
//! * [`lab`]: a cluster on them, with [`encoder`]s that mark their frames, and [`watcher`]s.
//! * [`seen`]: the frames of a viewer: gaps, ages, missing and stale ones.
//! * [`rows`]: what happens to the cluster; [`sample`]: the results and their table.
//!
//! `cargo xtask cluster` builds this program and starts it in namespaces of its own.

mod encoder;
mod lab;
mod network;
mod rows;
mod sample;
mod seen;
mod watcher;

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::thread;

use clap::{Parser, ValueEnum as _};
use distributary_bench::process::load_average;
use distributary_bench::publishers::Clip;

use crate::lab::Settings;
use crate::rows::{Row, Size};
use crate::sample::{HEAD, Sample};

/// Measures what viewers of a cluster see when parts of it fail.
///
/// Each row prints times against their targets, and fails if something happens that must not, however
/// slow the machine is: two nodes with one name, frames of a replaced encoder, viewers without frames.
#[derive(Parser)]
#[command(name = "cargo xtask cluster", bin_name = "cargo xtask cluster")]
struct Cli {
    /// The rows to measure; all by default
    #[arg(value_enum)]
    rows: Vec<Row>,
    /// Runs of each row, each with a fresh cluster; for `claims` the number of names
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    times: Option<u32>,
    /// Streams of the rows with many
    #[arg(long, default_value_t = 20)]
    streams: usize,
    /// Nodes with viewers, of the row `cost`
    #[arg(long, default_value_t = 4)]
    edges: usize,
    /// Another gateway to measure; by default that of this tree is built
    #[arg(
        long,
        value_name = "PROGRAM",
        default_value = "distributary",
        hide_default_value = true
    )]
    gateway: PathBuf,
    /// The gateway of the second node, such as that of the previous release; in `upgrade` the one that
    /// is replaced
    #[arg(long, value_name = "PROGRAM")]
    other: Option<PathBuf>,
    /// FLV file with H264 and AAC that the encoders send in a loop
    #[arg(long, value_name = "FILE")]
    clip: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    end_with_parent();
    match run(cli).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Ends this process, and with it everything in its namespaces, when standard input ends: `cargo
/// xtask cluster` holds the other end, and lets it go in whatever way it ends.
fn end_with_parent() {
    thread::spawn(|| {
        let ended = io::copy(&mut io::stdin(), &mut io::sink());
        ended.map_or_else(|_| process::exit(1), |_| process::exit(1))
    });
}

/// Measures, and prints the table. Returns whether nothing happened that must not.
async fn run(cli: Cli) -> Result<bool, Box<dyn Error>> {
    let settings = Settings {
        clip: Arc::new(Clip::read(&cli.clip)?),
        gateway: cli.gateway.clone(),
        other: cli.other.clone(),
    };
    let size = Size {
        streams: cli.streams,
        edges: cli.edges,
    };
    let rows = if cli.rows.is_empty() {
        Row::value_variants().to_vec()
    } else {
        cli.rows
    };
    let mut table = HEAD.to_owned();
    let mut is_good = true;
    for row in rows {
        let sample = measure(row, &settings, size, cli.times).await;
        let lines = sample.lines(&row.name());
        eprint!("{lines}");
        for what in &sample.broken {
            eprintln!("BROKEN {}: {what}", row.name());
        }
        is_good &= sample.broken.is_empty();
        table += &lines;
    }
    println!(
        "{}, load average {:.1}\n",
        cli.gateway.display(),
        load_average()?
    );
    print!("{table}");
    Ok(is_good)
}

/// Runs a row some times. A run that does not come to its end is broken.
async fn measure(row: Row, settings: &Settings, size: Size, times: Option<u32>) -> Sample {
    let (runs, names) = row.runs(times);
    let mut sample = Sample::default();
    for number in 1..=runs {
        match row.run(settings, size, names).await {
            Ok(run) => sample.merge(run),
            Err(error) => sample.fail(format!("run {number}: {error}")),
        }
    }
    sample
}
