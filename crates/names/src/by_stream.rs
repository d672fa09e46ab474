//! Settings that differ by stream.

use crate::{StreamName, StreamPattern};

/// A setting for all streams, with exceptions by pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByStream<T> {
    default: T,
    exceptions: Vec<(StreamPattern, T)>,
}

impl<T> ByStream<T> {
    /// Creates a setting that is `default` unless a pattern of `exceptions` matches the stream's name; the
    /// first match counts.
    pub fn new(default: T, exceptions: Vec<(StreamPattern, T)>) -> Self {
        Self {
            default,
            exceptions,
        }
    }

    /// Returns the setting of the stream `name`.
    pub fn of(&self, name: &StreamName) -> &T {
        let mut exceptions = self.exceptions.iter();
        exceptions
            .find(|(pattern, _)| pattern.matches(name).is_some())
            .map_or(&self.default, |(_, setting)| setting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_exception_that_matches_counts() {
        let pattern = |text: &str| text.parse::<StreamPattern>().unwrap();
        let settings = ByStream::new(1, vec![(pattern("live/show"), 2), (pattern("live/*"), 3)]);
        let of = |name| *settings.of(&StreamName::parse(name).unwrap());
        assert_eq!(of("live/show"), 2);
        assert_eq!(of("live/other"), 3);
        assert_eq!(of("test/show"), 1);
    }
}
