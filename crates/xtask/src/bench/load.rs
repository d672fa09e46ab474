//! A number of streams with viewers.

use std::fmt;
use std::str::FromStr;

/// Streams, each of which has so many viewers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) streams: usize,
    pub(super) viewers_each: usize,
}

impl Load {
    /// Returns the number of viewers of all streams.
    pub(super) fn viewers(self) -> usize {
        self.streams * self.viewers_each
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {}", self.streams, self.viewers_each)
    }
}

impl FromStr for Load {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().ok().filter(|number| *number > 0);
        let load = text.split_once('x').and_then(|(streams, viewers)| {
            Some(Self {
                streams: number(streams)?,
                viewers_each: number(viewers)?,
            })
        });
        load.ok_or_else(|| format!("`{text}` is not a number of streams and viewers such as 50x10"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_has_streams_and_viewers_of_each() {
        let load: Load = "50x10".parse().unwrap();
        assert_eq!((load.streams, load.viewers()), (50, 500));
        for text in ["", "50", "x10", "0x5", "5x0", "5x", "axb"] {
            assert!(text.parse::<Load>().is_err(), "{text}");
        }
    }
}
