//! Values of the configuration file that carry their unit: `"30s"`, `"32MiB"`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A length of time: a whole number and one of `ms`, `s`, `m`, `h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub Duration);

/// A number of bytes: a whole number and one of `B`, `KiB`, `MiB`, `GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub usize);

/// A value is not a whole number with a unit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a whole number with a unit, such as {example:?}, instead of {value:?}")]
pub struct UnitError {
    value: String,
    example: &'static str,
}

/// The units of time, the largest first, in milliseconds.
const TIME_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The units of size, the largest first, in bytes.
const SIZE_UNITS: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

impl FromStr for Time {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse(text, &TIME_UNITS)
            .map(|millis| Self(Duration::from_millis(millis)))
            .ok_or_else(|| UnitError {
                value: text.to_owned(),
                example: "30s",
            })
    }
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse(text, &SIZE_UNITS)
            .and_then(|bytes| usize::try_from(bytes).ok())
            .map(Self)
            .ok_or_else(|| UnitError {
                value: text.to_owned(),
                example: "32MiB",
            })
    }
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        print(millis, &TIME_UNITS, f)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(self.0 as u64, &SIZE_UNITS, f)
    }
}

/// Writes the value in the largest unit that keeps it whole.
fn print(value: u64, units: &[(&str, u64)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let fits = |(_, factor): &&(&str, u64)| value >= *factor && value.is_multiple_of(*factor);
    match units.iter().find(fits).or(units.last()) {
        Some((name, factor)) => write!(f, "{}{name}", value / factor),
        None => write!(f, "{value}"),
    }
}

/// Reads and writes a type in the configuration as the text of its `FromStr` and `Display`.
macro_rules! serde_as_text {
    ($($type:ty),*) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

serde_as_text!(Time, Size);
pub(crate) use serde_as_text;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, millis) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
        ] {
            let time: Time = text.parse().unwrap();
            assert_eq!(time.0.as_millis(), millis);
            assert_eq!(time.to_string(), text);
        }
        assert_eq!("90 s".parse::<Time>().unwrap().to_string(), "90s");
        assert_eq!("0s".parse::<Time>().unwrap().0, Duration::ZERO);
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("100B", 100), ("64KiB", 65_536), ("32MiB", 33_554_432)] {
            let size: Size = text.parse().unwrap();
            assert_eq!(size.0, bytes);
            assert_eq!(size.to_string(), text);
        }
    }

    #[test]
    fn a_value_without_its_unit_or_out_of_range_is_refused() {
        for text in [
            "30",
            "",
            "s",
            "-1s",
            "1.5s",
            "30 sec",
            "99999999999999999999s",
        ] {
            let error = text.parse::<Time>().unwrap_err().to_string();
            assert!(error.contains("\"30s\""), "{error}");
        }
        assert!("18446744073709551615GiB".parse::<Size>().is_err());
        assert!("32MB".parse::<Size>().is_err());
    }
}
