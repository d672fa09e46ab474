//! Watches a stream as many viewers and reports what they saw and what it cost the server.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use distributary_bench::socket::ReceiveMode;
use distributary_bench::swarm::{self, SwarmConfig};
use url::Url;

/// Watches a stream as many WHEP viewers, and reports what they saw and what it cost the server.
///
/// The figures of the server are those of an interval that begins a second after the last viewer
/// has joined. The exit code is 0 if every viewer joined and stayed.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// WHEP endpoint of the stream, such as http://127.0.0.1:8080/whep/live/test
    #[arg(long)]
    url: Url,
    /// How many viewers
    #[arg(long, default_value_t = 1)]
    viewers: usize,
    /// How long to measure once all have joined: 500ms, 20s, 2m
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    duration: Duration,
    /// Joins begun each second
    #[arg(long, default_value_t = 50.0, value_parser = parse_ramp)]
    ramp: f64,
    /// Of how many viewers the media are decrypted and checked
    #[arg(long, default_value_t = 4)]
    decrypt: usize,
    /// Process id of the server, to measure its CPU time and memory
    #[arg(long)]
    server_pid: Option<u32>,
    /// How the viewers receive
    #[arg(long, value_enum, default_value_t = ReceiveMode::Gro)]
    receive: ReceiveMode,
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
    let text = match is_json {
        true => serde_json::to_string_pretty(&report).map(|json| json + "\n"),
        false => Ok(report.to_string()),
    };
    let text = text.expect("the report has no maps but those with text keys");
    // Whoever has closed the pipe has read enough.
    let _ = io::stdout().write_all(text.as_bytes());
    match report.failures.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

impl From<Arguments> for SwarmConfig {
    fn from(arguments: Arguments) -> Self {
        Self {
            url: arguments.url,
            viewers: arguments.viewers,
            ramp: arguments.ramp,
            duration: arguments.duration,
            decrypt: arguments.decrypt,
            server_pid: arguments.server_pid,
            receive: arguments.receive,
        }
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let error = || format!("`{text}` is not a duration such as 500ms, 20s or 2m");
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| error())?;
    match text.strip_prefix(digits) {
        Some("ms") => Ok(Duration::from_millis(number)),
        Some("s") => Ok(Duration::from_secs(number)),
        Some("m") => number
            .checked_mul(60)
            .map(Duration::from_secs)
            .ok_or_else(error),
        _ => Err(error()),
    }
}

fn parse_ramp(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ramp) if ramp > 0.0 && f64::is_finite(ramp) => Ok(ramp),
        _ => Err(format!("`{text}` is not a positive number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("20s"), Ok(Duration::from_secs(20)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for text in [
            "",
            "20",
            "s",
            "-1s",
            "1.5s",
            "20 s",
            "18446744073709551615m",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_ramp_is_a_positive_number() {
        assert_eq!(parse_ramp("0.5"), Ok(0.5));
        for text in ["0", "-1", "inf", "NaN", "fast"] {
            assert!(parse_ramp(text).is_err(), "{text}");
        }
    }
}
