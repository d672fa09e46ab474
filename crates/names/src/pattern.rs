//! Patterns of stream names.

use std::fmt;
use std::str::FromStr;

use crate::StreamName;

/// A stream name in which `*` may stand once, for any text: `live/*`, `*/main`, `live/show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPattern(String);

/// A text is not a pattern of stream names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a stream name in which * stands at most once, such as live/*, instead of {0:?}")]
pub struct PatternError(String);

impl StreamPattern {
    /// Returns the text that `*` stands for in `name` (empty if the pattern has no `*`), or `None`
    /// if the name does not match.
    pub fn matches<'a>(&self, name: &'a StreamName) -> Option<&'a str> {
        let name = name.as_str();
        match self.0.split_once('*') {
            Some((before, after)) => name.strip_prefix(before)?.strip_suffix(after),
            None => (name == self.0).then_some(""),
        }
    }

    /// Returns whether the pattern can match more than one name.
    pub fn is_wild(&self) -> bool {
        self.0.contains('*')
    }
}

impl FromStr for StreamPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        // A sample name shows that the pattern can match at all.
        let example = text.replacen('*', "a/a", 1);
        match StreamName::parse(&example) {
            Ok(_) if !example.contains('*') => Ok(Self(text.to_owned())),
            _ => Err(PatternError(text.to_owned())),
        }
    }
}

impl fmt::Display for StreamPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

distributary_config::serde_as_text!(StreamPattern);

#[cfg(test)]
mod tests {
    use super::*;

    fn matched<'a>(pattern: &str, name: &'a StreamName) -> Option<&'a str> {
        pattern.parse::<StreamPattern>().unwrap().matches(name)
    }

    #[test]
    fn star_matches_any_text() {
        let name = StreamName::parse("live/eu/show").unwrap();
        assert_eq!(matched("live/*", &name), Some("eu/show"));
        assert_eq!(matched("*/show", &name), Some("live/eu"));
        assert_eq!(matched("live/*/show", &name), Some("eu"));
        assert_eq!(matched("*", &name), Some("live/eu/show"));
        assert_eq!(matched("live/eu/show", &name), Some(""));
        assert_eq!(matched("live/show", &name), None);
        assert_eq!(matched("live/eu/show*", &name), Some(""));
        // Prefix and suffix must not overlap.
        assert_eq!(matched("live/eu/sho*how", &name), None);
    }

    #[test]
    fn names_without_an_application_match_the_star_alone_or_themselves() {
        let name = StreamName::parse("cam").unwrap();
        assert_eq!(matched("cam", &name), Some(""));
        assert_eq!(matched("*", &name), Some("cam"));
        assert_eq!(matched("c*", &name), Some("am"));
        assert_eq!(matched("cam/*", &name), None);
        assert_eq!(matched("*/cam", &name), None);
    }

    #[test]
    fn pattern_that_matches_no_name_is_refused() {
        for text in ["", "live/", "*/*", "live/../*", "live/a?b", "/*"] {
            assert!(text.parse::<StreamPattern>().is_err(), "{text}");
        }
    }
}
