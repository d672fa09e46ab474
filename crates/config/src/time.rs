//! Times: a whole number and one of `ms`, `s`, `m`, `h`, such as `"30s"`.

use std::fmt;
use std::time::Duration;

use serde::{Deserializer, Serializer};

use crate::unit::{UnitError, Units};

const UNITS: Units = Units {
    units: &[("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)],
    usual: "s",
    example: "30s",
};

/// Parses a time.
///
/// # Errors
/// Fails when the text is not a whole number with a unit.
pub fn parse(text: &str) -> Result<Duration, UnitError> {
    UNITS.parse(text).map(Duration::from_millis)
}

/// Writes a time in the largest unit that keeps it whole, in whole milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Display(pub Duration);

impl fmt::Display for Display {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        UNITS.write(millis, f)
    }
}

/// Serializes a time as text.
///
/// # Errors
/// Fails when the serializer fails.
pub fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Display(*time))
}

/// Deserializes a time from text.
///
/// # Errors
/// Fails when the value is not a text, or not a whole number with a unit.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    UNITS.deserialize(deserializer, parse)
}

/// An optional time; `"0s"` means none.
pub mod optional {
    use super::{Deserializer, Duration, Serializer};

    /// Serializes a time as text, and none as `"0s"`.
    ///
    /// # Errors
    /// Fails when the serializer fails.
    pub fn serialize<S: Serializer>(
        time: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => super::serialize(time, serializer),
            // Written as in the reference file: zero would otherwise get the smallest unit.
            None => serializer.serialize_str("0s"),
        }
    }

    /// Deserializes a time from text, and zero as none.
    ///
    /// # Errors
    /// Fails when the value is not a text, or not a whole number with a unit.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let time = super::deserialize(deserializer)?;
        Ok(Some(time).filter(|time| !time.is_zero()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serialize};

    #[test]
    fn times_have_units() {
        for (text, millis) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
        ] {
            let time = parse(text).unwrap();
            assert_eq!(time.as_millis(), millis);
            assert_eq!(Display(time).to_string(), text);
        }
        assert_eq!(Display(parse("90 s").unwrap()).to_string(), "90s");
        assert_eq!(parse("0s").unwrap(), Duration::ZERO);
    }

    #[test]
    fn time_without_its_unit_or_out_of_range_is_refused() {
        for text in [
            "30",
            "",
            "s",
            "-1s",
            "1.5s",
            "30 sec",
            "99999999999999999999s",
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("\"30s\""), "{error}");
        }
    }

    /// The exact text matters: people act on it.
    #[test]
    fn error_says_how_to_write_a_time() {
        let json = |text: &str| {
            let error = deserialize(&mut serde_json::Deserializer::from_str(text)).unwrap_err();
            let error = error.to_string();
            error
                .split(" at line")
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        for (text, words) in [
            (
                "15",
                "expected a whole number with a unit (ms, s, m, h) instead of 15: write \"15s\"",
            ),
            (
                "\"15\"",
                "expected a whole number with a unit (ms, s, m, h) instead of \"15\": write \"15s\"",
            ),
            (
                "1.5",
                "expected a whole number with a unit (ms, s, m, h) instead of 1.5: write \"30s\"",
            ),
            (
                "\"15 sec\"",
                "expected a whole number with a unit (ms, s, m, h) instead of \"15 sec\": write \"30s\"",
            ),
            (
                "true",
                "invalid type: boolean `true`, expected a text with a unit, such as \"30s\"",
            ),
        ] {
            assert_eq!(json(text), words);
        }
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Timeouts {
        #[serde(with = "super")]
        idle: Duration,
        #[serde(with = "super::optional")]
        publish: Option<Duration>,
    }

    #[test]
    fn zero_is_none_where_a_time_is_optional() {
        let text = r#"{"idle":"0ms","publish":"0s"}"#;
        let timeouts: Timeouts = serde_json::from_str(text).unwrap();
        let idle = Duration::ZERO;
        assert_eq!(
            timeouts,
            Timeouts {
                idle,
                publish: None
            }
        );
        assert_eq!(serde_json::to_string(&timeouts).unwrap(), text);
    }
}
