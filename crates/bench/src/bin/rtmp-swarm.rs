//! Publishes one file as many RTMP publishers and reports the costs of the server.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use distributary_bench::arguments::{parse_duration, parse_ramp, print};
use distributary_bench::publishers::{self, PublishersConfig, Stays};
use url::Url;

/// Publishes one FLV file as many RTMP publishers, each in a loop and in real time, and reports
/// what it cost the server.
///
/// The stats are those of an interval that starts a second after the last publisher was granted its
/// name. The exit code is 0 if every publisher was granted its name and stayed.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// URL to publish to, such as rtmp://127.0.0.1/live/load; the names get -0, -1 and so on
    #[arg(long)]
    url: Url,
    /// Number of publishers
    #[arg(long, default_value_t = 1)]
    publishers: usize,
    /// FLV file to send; without one they publish nothing after they were granted their names
    #[arg(long)]
    file: Option<PathBuf>,
    /// Time to measure once all publish: 500ms, 20s, 2m
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    duration: Duration,
    /// Publishers begun each second
    #[arg(long, default_value_t = 100.0, value_parser = parse_ramp)]
    ramp: f64,
    /// Let each publisher leave after so much time, by turns properly and by an end of the connection
    #[arg(long, value_parser = parse_duration)]
    stay: Option<Duration>,
    /// Time after which one that has left comes back under its name
    #[arg(long, default_value = "3s", value_parser = parse_duration)]
    away: Duration,
    /// Process id of the server, to measure its CPU time and memory
    #[arg(long)]
    server_pid: Option<u32>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let away = arguments.away;
    let config = PublishersConfig {
        url: arguments.url,
        publishers: arguments.publishers,
        file: arguments.file,
        ramp: arguments.ramp,
        duration: arguments.duration,
        stays: arguments.stay.map(|stay| Stays { stay, away }),
        server_pid: arguments.server_pid,
    };
    let report = match publishers::run(&config) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("rtmp-swarm: {error}");
            return ExitCode::FAILURE;
        }
    };
    print(&report, arguments.json);
    if report.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
