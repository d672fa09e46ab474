//! Runs simulations by seed.

use std::process::ExitCode;

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
    /// Go on after a failure.
    #[arg(long)]
    all: bool,
}

fn main() -> ExitCode {
    let Cli { seeds, seed, all } = Cli::parse();
    let mut failures = 0;
    for seed in seed..seed + seeds {
        match run(&Scenario::of(seed)) {
            Ok(summary) => println!(
                "seed {seed}: {} sessions, {} video frames, {} audio frames in {:.1} s, trace {:016x}",
                summary.sessions,
                summary.frames,
                summary.audio_frames,
                summary.time.as_secs_f64(),
                summary.hash
            ),
            Err(failure) => {
                failures += 1;
                eprint!("{failure}");
                if !all {
                    break;
                }
            }
        }
    }
    if failures == 0 {
        ExitCode::SUCCESS
    } else {
        eprintln!("{failures} of the seeds failed");
        ExitCode::FAILURE
    }
}
