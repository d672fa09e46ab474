//! Runs simulations by seed, several at a time.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use clap::Parser;
use distributary_simulate::run;
use distributary_simulate::scenario::Scenario;

/// Runs simulations of the gateway, its publishers, its viewers and their networks.
#[derive(Parser)]
struct Cli {
    /// The number of seeds.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Stop after the first failure.
    #[arg(long)]
    stop: bool,
    /// Simulations that run at a time; 0 is one per core.
    #[arg(long, default_value_t = 0)]
    jobs: usize,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let first = cli.seed;
    let end = first.saturating_add(cli.seeds);
    let jobs = match cli.jobs {
        0 => thread::available_parallelism().map_or(1, usize::from),
        jobs => jobs,
    };
    let (next, failures) = (AtomicU64::new(first), AtomicU64::new(0));
    let work = || {
        while !(cli.stop && failures.load(Ordering::Relaxed) > 0) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            match run(&Scenario::of(seed)) {
                Ok(summary) => println!(
                    "seed {seed}: {} sessions, {} video and {} audio frames in {:.1} s, trace {:016x}",
                    summary.sessions,
                    summary.frames,
                    summary.audio_frames,
                    summary.time.as_secs_f64(),
                    summary.hash
                ),
                Err(failure) => {
                    failures.fetch_add(1, Ordering::Relaxed);
                    print!("{failure}");
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(work);
        }
    });
    match failures.into_inner() {
        0 => ExitCode::SUCCESS,
        failures => {
            eprintln!("{failures} of the seeds failed; --seed N --seeds 1 replays one");
            ExitCode::FAILURE
        }
    }
}
