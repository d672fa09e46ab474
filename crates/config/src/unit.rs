//! Whole numbers with a unit.

use std::fmt;

/// A value is not a whole number with a unit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a whole number with a unit, such as {example:?}, instead of {value:?}")]
pub struct UnitError {
    value: String,
    example: &'static str,
}

/// The units of a quantity.
pub(crate) struct Units {
    /// Name and factor of each unit, the largest first.
    pub(crate) units: &'static [(&'static str, u64)],
    /// A value for error messages.
    pub(crate) example: &'static str,
}

impl Units {
    /// Parses a number and its unit, with or without a space between them.
    pub(crate) fn parse(&self, text: &str) -> Result<u64, UnitError> {
        self.value(text).ok_or_else(|| self.invalid(text))
    }

    pub(crate) fn invalid(&self, text: &str) -> UnitError {
        UnitError {
            value: text.to_owned(),
            example: self.example,
        }
    }

    fn value(&self, text: &str) -> Option<u64> {
        let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at(unit_at);
        let mut units = self.units.iter();
        let (_, factor) = units.find(|(name, _)| *name == unit.trim_start())?;
        number.parse::<u64>().ok()?.checked_mul(*factor)
    }

    /// Writes a value in the largest unit that keeps it whole.
    pub(crate) fn write(&self, value: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, factor): &&(&str, u64)| value >= *factor && value.is_multiple_of(*factor);
        match self.units.iter().find(fits).or(self.units.last()) {
            Some((name, factor)) => write!(f, "{}{name}", value / factor),
            None => write!(f, "{value}"),
        }
    }
}
