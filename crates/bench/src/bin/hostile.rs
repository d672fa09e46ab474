//! Attacks a gateway in one way and reports the outcome.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use distributary_bench::arguments::parse_duration;
use distributary_bench::attack::{Attack, Target};

/// Attacks a gateway of your own in one way, and reports the outcome as one line of JSON.
///
/// Bounded in time, bytes and connections; it ends by itself. `cargo xtask attack` runs all
/// attacks, each on a gateway of its own, and measures the harm.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Attack
    #[arg(value_enum)]
    attack: Attack,
    /// The gateway's RTMP port
    #[arg(long)]
    rtmp: SocketAddr,
    /// The gateway's HTTP port
    #[arg(long)]
    http: SocketAddr,
    /// The gateway's media port
    #[arg(long)]
    media: SocketAddr,
    /// Address at which to play the origin of streams with names that start with pull/
    #[arg(long)]
    origin: Option<SocketAddr>,
    /// The attacker's addresses, with commas; the system chooses when there is none
    #[arg(long, value_delimiter = ',')]
    from: Vec<IpAddr>,
    /// Name of a stream that is live
    #[arg(long, default_value = "live/bench-0")]
    stream: String,
    /// FLV file with H264 and AAC to make streams of
    #[arg(long)]
    clip: Option<PathBuf>,
    /// Time to attack: 500ms, 20s, 2m
    #[arg(long, default_value = "20s", value_parser = parse_duration)]
    duration: Duration,
    /// Megabits per second, of all connections together
    #[arg(long, default_value_t = 50)]
    rate: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let target = Target {
        rtmp: arguments.rtmp,
        http: arguments.http,
        media: arguments.media,
        origin: arguments.origin,
        sources: arguments.from,
        stream: arguments.stream,
        clip: arguments.clip,
        duration: arguments.duration,
        rate: arguments.rate.saturating_mul(1_000_000),
    };
    let outcome = arguments.attack.run(target);
    let json = outcome.map(|outcome| serde_json::to_string(&outcome));
    match json {
        Ok(Ok(json)) => {
            println!("{json}");
            ExitCode::SUCCESS
        }
        Ok(Err(error)) => fail(&error),
        Err(error) => fail(&error),
    }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("hostile: {error}");
    ExitCode::FAILURE
}
