//! Command-line arguments common to the swarms.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::time::Duration;

use distributary_webrtc::srtp::SrtpProfile;
use serde::Serialize;

/// Returns a length of time with its unit: `500ms`, `20s`, `2m`.
///
/// # Errors
/// When it is none.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
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

/// Returns a positive number.
///
/// # Errors
/// When it is none.
pub fn parse_ramp(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ramp) if ramp > 0.0 && f64::is_finite(ramp) => Ok(ramp),
        _ => Err(format!("`{text}` is not a positive number")),
    }
}

/// Parses an SRTP profile by its DTLS name.
///
/// # Errors
/// When there is no such profile.
pub fn parse_profile(text: &str) -> Result<SrtpProfile, String> {
    let mut profiles = SrtpProfile::ALL.into_iter();
    profiles
        .find(|profile| profile.to_string() == text)
        .ok_or_else(|| {
            let names = SrtpProfile::ALL.map(|profile| profile.to_string());
            format!("expected one of {}", names.join(", "))
        })
}

/// Prints a report, as text or as JSON.
///
/// # Panics
/// When the report has a map whose keys are no text.
pub fn print(report: &(impl Serialize + Display), as_json: bool) {
    let text = if as_json {
        serde_json::to_string_pretty(report).map(|json| json + "\n")
    } else {
        Ok(report.to_string())
    };
    let text = text.expect("the report has no maps but those with text keys");
    // A closed pipe means that the reader has read enough.
    let _ = io::stdout().write_all(text.as_bytes());
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
    fn ramp_is_a_positive_number() {
        assert_eq!(parse_ramp("0.5"), Ok(0.5));
        for text in ["0", "-1", "inf", "NaN", "fast"] {
            assert!(parse_ramp(text).is_err(), "{text}");
        }
    }
}
