//! Live messages that wait while a stream is joined.

use std::collections::VecDeque;

use bytes::Bytes;

/// Maximum bytes that wait: more than the largest frame, and what follows in a moment.
const MAX_BYTES: usize = 16 << 20;

/// Memory that a message takes beside its bytes.
const OVERHEAD: usize = 128;

/// Live messages that wait while a stream is joined.
#[derive(Debug, Default)]
pub(crate) struct Held {
    messages: VecDeque<Bytes>,
    bytes: usize,
}

impl Held {
    /// Adds a message. One for which there is no room is dropped: what follows has a gap then.
    pub(crate) fn push(&mut self, message: Bytes) {
        let bytes = message.len() + OVERHEAD;
        if self.bytes + bytes <= MAX_BYTES {
            self.bytes += bytes;
            self.messages.push_back(message);
        }
    }

    /// Returns the first message.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.len() + OVERHEAD;
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_in_order_and_their_bytes_are_bounded() {
        let mut held = Held::default();
        let large = Bytes::from(vec![0; 1 << 20]);
        for round in 0..100_u8 {
            held.push(Bytes::from(vec![round]));
            held.push(large.clone());
        }
        let mut total = 0;
        let mut last = None;
        while let Some(message) = held.pop() {
            total += message.len();
            if let [round] = message[..] {
                assert!(last < Some(round));
                last = Some(round);
            }
        }
        assert!(total <= MAX_BYTES && total > MAX_BYTES / 2, "{total}");
        assert_eq!(held.bytes, 0);
    }
}
