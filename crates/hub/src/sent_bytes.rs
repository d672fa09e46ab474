//! Media sent to viewers, counted per stream for the metrics.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use distributary_names::StreamName;

/// Maximum number of streams with a count of their own.
const MAX_STREAMS: usize = 500;

/// Bytes of media sent to viewers since the start. Unlike the viewers and streams, the counts stay.
#[derive(Debug, Default)]
pub struct SentBytes(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    by_stream: HashMap<Box<str>, u64>,
    others: u64,
}

impl SentBytes {
    /// Counts bytes that were sent to a viewer of `stream`, or of one of its renditions.
    pub fn add(&self, stream: &StreamName, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = stream.as_str();
        let count = if let Some(count) = counts.by_stream.get_mut(name) {
            count
        } else if counts.by_stream.len() < MAX_STREAMS {
            counts.by_stream.entry(name.into()).or_default()
        } else {
            &mut counts.others
        };
        *count += bytes;
    }

    /// Returns the bytes sent by the name of the stream, and those of all streams beyond the first
    /// 500.
    pub fn list(&self) -> (Vec<(Box<str>, u64)>, u64) {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let by_stream = counts.by_stream.iter();
        let by_stream = by_stream.map(|(name, bytes)| (name.clone(), *bytes));
        (by_stream.collect(), counts.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_beyond_the_maximum_are_counted_together() {
        let sent = SentBytes::default();
        let name = |n| StreamName::parse(&format!("live/{n}")).unwrap();
        for n in 0..MAX_STREAMS + 2 {
            sent.add(&name(n), 10);
        }
        sent.add(&name(0), 5);
        sent.add(&name(MAX_STREAMS + 9), 0);
        let (by_stream, others) = sent.list();
        assert_eq!((by_stream.len(), others), (MAX_STREAMS, 20));
        let first = by_stream.iter().find(|(name, _)| &**name == "live/0");
        assert_eq!(first.unwrap().1, 15);
    }
}
