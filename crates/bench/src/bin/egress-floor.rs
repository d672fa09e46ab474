//! Measures the least cost of sending to viewers on this machine.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use distributary_bench::arguments::{parse_duration, parse_profile, print};
use distributary_bench::floor::{self, FloorConfig};
use distributary_bench::socket::ReceiveMode;
use distributary_webrtc::srtp::SrtpProfile;

/// Measures the least cost of sending to viewers on this machine: frames of nine packets, 30 a
/// second, are copied, sealed and handed to the kernel with one call for each receiver, and that is
/// all.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Number of receivers
    #[arg(long, default_value_t = 500)]
    viewers: usize,
    /// Time to measure: 500ms, 20s, 2m
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    duration: Duration,
    /// Receive mode
    #[arg(long, value_enum, default_value_t = ReceiveMode::Gro)]
    receive: ReceiveMode,
    /// SRTP profile
    #[arg(long, default_value = "SRTP_AEAD_AES_128_GCM", value_parser = parse_profile)]
    profile: SrtpProfile,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = FloorConfig {
        viewers: arguments.viewers,
        duration: arguments.duration,
        receive: arguments.receive,
        profile: arguments.profile,
    };
    match floor::run(&config) {
        Ok(report) => {
            print(&report, arguments.json);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("egress-floor: {error}");
            ExitCode::FAILURE
        }
    }
}
