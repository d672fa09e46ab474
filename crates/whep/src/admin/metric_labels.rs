//! Label values of metrics: a bounded number of streams.

use std::collections::HashSet;

use distributary_names::StreamName;
use prometheus_client::encoding::EncodeLabelSet;

/// Maximum number of streams with series of their own. Each stream has more than a dozen series.
pub(super) const MAX_STREAMS: usize = 500;

/// Label for the sum of all further streams.
pub(super) const OTHERS: &str = "(others)";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct OfStream {
    pub(super) stream: String,
}

impl OfStream {
    /// Returns the label of a stream. The encoder does not escape values, so quotes are escaped
    /// here; a name contains neither backslashes nor line ends.
    pub(super) fn named(name: &str) -> Self {
        Self {
            stream: name.replace('"', "\\\""),
        }
    }

    /// Returns the label of all streams beyond the maximum.
    pub(super) fn others() -> Self {
        Self {
            stream: OTHERS.to_owned(),
        }
    }
}

/// Assigns label values to streams, up to [`MAX_STREAMS`].
#[derive(Debug, Default)]
pub(super) struct Labels {
    known: HashSet<StreamName>,
}

impl Labels {
    /// Returns the label of a stream.
    pub(super) fn of(&mut self, name: &StreamName) -> OfStream {
        let is_known = self.known.contains(name);
        if !is_known && self.known.len() >= MAX_STREAMS {
            return OfStream::others();
        }
        if !is_known {
            self.known.insert(name.clone());
        }
        OfStream::named(name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_beyond_the_maximum_share_one_label() {
        let mut labels = Labels::default();
        let name = |n| StreamName::parse(&format!("live/{n}")).unwrap();
        for n in 0..MAX_STREAMS {
            assert_eq!(labels.of(&name(n)).stream, format!("live/{n}"));
        }
        assert_eq!(labels.of(&name(MAX_STREAMS)).stream, OTHERS);
        assert_eq!(labels.of(&name(0)).stream, "live/0");
    }
}
