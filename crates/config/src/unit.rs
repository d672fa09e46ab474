//! Whole numbers with a unit.

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};

/// A value is not a whole number with a unit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a whole number with a unit ({names}) instead of {value}: write {:?}",
    .suggestion.as_deref().unwrap_or(.example)
)]
pub struct UnitError {
    /// The value as it is written.
    value: String,
    names: String,
    /// The value with the unit that is most likely meant.
    suggestion: Option<String>,
    example: &'static str,
}

/// The units of a quantity.
pub(crate) struct Units {
    /// Name and factor of each unit, the largest first.
    pub(crate) units: &'static [(&'static str, u64)],
    /// The unit that is suggested for a number without one.
    pub(crate) usual: &'static str,
    /// A value for error messages.
    pub(crate) example: &'static str,
}

impl Units {
    /// Parses a number and its unit, with or without a space between them.
    pub(crate) fn parse(&self, text: &str) -> Result<u64, UnitError> {
        self.value(text).ok_or_else(|| self.invalid(text))
    }

    /// Returns the error for a text.
    pub(crate) fn invalid(&self, text: &str) -> UnitError {
        self.error(text, format!("{text:?}"))
    }

    /// Returns the error for `text`, which is written as `value`.
    fn error(&self, text: &str, value: String) -> UnitError {
        let names: Vec<_> = self.units.iter().rev().map(|(name, _)| *name).collect();
        let with_unit = format!("{text}{}", self.usual);
        UnitError {
            value,
            names: names.join(", "),
            suggestion: self.value(&with_unit).is_some().then_some(with_unit),
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

    /// Deserializes a text with `parse`. A number is an error that says how to write it.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>, T>(
        &'static self,
        deserializer: D,
        parse: fn(&str) -> Result<T, UnitError>,
    ) -> Result<T, D::Error> {
        deserializer.deserialize_any(Quantity { units: self, parse })
    }
}

struct Quantity<T> {
    units: &'static Units,
    parse: fn(&str) -> Result<T, UnitError>,
}

impl<T> Quantity<T> {
    fn refuse<E: Error>(&self, number: &impl ToString) -> Result<T, E> {
        let number = number.to_string();
        Err(E::custom(self.units.error(&number, number.clone())))
    }
}

impl<T> Visitor<'_> for Quantity<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a text with a unit, such as {:?}", self.units.example)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        self.refuse(&number)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        self.refuse(&number)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        self.refuse(&number)
    }
}
