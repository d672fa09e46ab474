//! Watches a stream as many viewers and reports their observations and the costs of the server.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use distributary_bench::arguments::{parse_duration, parse_profile, parse_ramp, print};
use distributary_bench::socket::ReceiveMode;
use distributary_bench::swarm::{self, Departures, SwarmConfig};
use distributary_webrtc::srtp::SrtpProfile;
use url::Url;

/// Watches a stream as many WHEP viewers, and reports their observations and the costs of the
/// server.
///
/// The stats of the server are those of an interval that starts a second after the last viewer
/// has joined. The exit code is 0 if every viewer joined and stayed.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// WHEP endpoint of the stream, such as http://127.0.0.1:8080/whep/live/test
    #[arg(long)]
    url: Url,
    /// Number of streams, which the viewers watch in turn; with several of them, the URL is that of
    /// the first and ends with -0
    #[arg(long, default_value_t = 1)]
    streams: usize,
    /// Number of viewers
    #[arg(long, default_value_t = 1)]
    viewers: usize,
    /// Time to measure once all have joined: 500ms, 20s, 2m
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    duration: Duration,
    /// Viewers that leave each second of that time and are replaced by new ones
    #[arg(long, value_parser = parse_ramp)]
    churn: Option<f64>,
    /// Ways in which these leave
    #[arg(long, value_enum, default_value_t)]
    departures: Departures,
    /// Joins begun each second
    #[arg(long, default_value_t = 50.0, value_parser = parse_ramp)]
    ramp: f64,
    /// Number of viewers that decrypt and check the media
    #[arg(long, default_value_t = 4)]
    decrypt: usize,
    /// Process id of the server, to measure its CPU time and memory
    #[arg(long)]
    server_pid: Option<u32>,
    /// Receive mode of the viewers
    #[arg(long, value_enum, default_value_t = ReceiveMode::Gro)]
    receive: ReceiveMode,
    /// SRTP profile, such as SRTP_AES128_CM_HMAC_SHA1_80; the server chooses by default
    #[arg(long, value_parser = parse_profile)]
    profile: Option<SrtpProfile>,
    /// Let the viewers tell when each packet arrived, 16 times a second, as browsers do
    #[arg(long)]
    feedback: bool,
    /// Print the report as JSON, with a part for each viewer
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let is_json = arguments.json;
    let report = match swarm::run(arguments.into()) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("whep-swarm: {error}");
            return ExitCode::FAILURE;
        }
    };
    print(&report, is_json);
    if report.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

impl From<Arguments> for SwarmConfig {
    fn from(arguments: Arguments) -> Self {
        Self {
            url: arguments.url,
            streams: arguments.streams,
            viewers: arguments.viewers,
            ramp: arguments.ramp,
            duration: arguments.duration,
            churn: arguments.churn,
            departures: arguments.departures,
            decrypt: arguments.decrypt,
            server_pid: arguments.server_pid,
            receive: arguments.receive,
            feedback: arguments.feedback,
            profiles: arguments
                .profile
                .map_or(SrtpProfile::ALL.to_vec(), |profile| vec![profile]),
        }
    }
}
