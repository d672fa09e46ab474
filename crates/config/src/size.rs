//! Numbers of bytes: a whole number and one of `B`, `KiB`, `MiB`, `GiB`, such as `"32MiB"`.

use std::fmt;

use serde::{Deserializer, Serializer};

use crate::unit::{UnitError, Units};

const UNITS: Units = Units {
    units: &[
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
        ("B", 1),
    ],
    usual: "MiB",
    example: "32MiB",
};

/// Parses a number of bytes.
///
/// # Errors
/// Fails when the text is not a whole number with a unit, or the number is too large for this
/// machine.
pub fn parse(text: &str) -> Result<usize, UnitError> {
    let bytes = UNITS.parse(text)?;
    usize::try_from(bytes).map_err(|_| UNITS.invalid(text))
}

/// Writes a number of bytes in the largest unit that keeps it whole.
#[derive(Clone, Copy, Debug)]
pub struct Display(pub usize);

impl fmt::Display for Display {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        UNITS.write(self.0 as u64, f)
    }
}

/// Serializes a number of bytes as text.
///
/// # Errors
/// Fails when the serializer fails.
pub fn serialize<S: Serializer>(size: &usize, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Display(*size))
}

/// Deserializes a number of bytes from text.
///
/// # Errors
/// Fails when the value is not a text, or not a whole number with a unit.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    UNITS.deserialize(deserializer, parse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("100B", 100), ("64KiB", 65_536), ("32MiB", 33_554_432)] {
            let size = parse(text).unwrap();
            assert_eq!(size, bytes);
            assert_eq!(Display(size).to_string(), text);
        }
    }

    #[test]
    fn size_without_its_unit_or_out_of_range_is_refused() {
        for text in ["18446744073709551615GiB", "32MB", "32"] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("\"32MiB\""), "{error}");
        }
    }
}
