//! Aggregate messages: several messages in one (RTMP 1.0 section 7.1.6).
//!
//! ```text
//! type (1)  length (3)  timestamp (3)  its bits 24 to 31 (1)  stream (3)  body  back pointer (4)
//! ```

use bytes::{Buf, Bytes};

use crate::proto::chunk::RawMessage;

/// Iterates over the messages in the payload of an aggregate message. It ends at a truncated
/// message.
///
/// Times are shifted so that the first message has the time of the aggregate. Only media is
/// returned: aggregates are not nested, and an aggregate of a million pings would cause unlimited
/// responses.
#[derive(Debug)]
pub(crate) struct Aggregate {
    rest: Bytes,
    stream_id: u32,
    timestamp: u32,
    /// The shift of the times inside, once the first is known.
    offset: Option<u32>,
}

impl Aggregate {
    pub(crate) fn new(message: RawMessage) -> Self {
        Self {
            rest: message.payload,
            stream_id: message.stream_id,
            timestamp: message.timestamp,
            offset: None,
        }
    }

    /// Returns the next message; `Some(None)` for one that is not media.
    fn take(&mut self) -> Option<Option<RawMessage>> {
        let type_id = self.rest.try_get_u8().ok()?;
        let len = self.rest.try_get_uint(3).ok()? as usize;
        let low = self.rest.try_get_uint(3).ok()? as u32;
        let high = self.rest.try_get_u8().ok()?;
        self.rest.try_get_uint(3).ok()?;
        if self.rest.len() < len {
            return None;
        }
        let body = self.rest.split_to(len);
        // Some senders omit the last back pointer.
        self.rest.advance(self.rest.len().min(4));
        let timestamp = u32::from(high) << 24 | low;
        let offset = *self
            .offset
            .get_or_insert(self.timestamp.wrapping_sub(timestamp));
        let message = RawMessage {
            timestamp: timestamp.wrapping_add(offset),
            type_id,
            stream_id: self.stream_id,
            payload: body,
        };
        Some(message.is_media().then(|| RawMessage {
            // A copy: a slice would keep the whole aggregate alive for as long as one frame of it
            // is cached.
            payload: Bytes::copy_from_slice(&message.payload),
            ..message
        }))
    }
}

impl Iterator for Aggregate {
    type Item = RawMessage;

    fn next(&mut self) -> Option<RawMessage> {
        loop {
            if let Some(media) = self.take()? {
                return Some(media);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::message::type_id;

    fn messages(payload: &[u8]) -> Vec<(u8, u32, Vec<u8>)> {
        let aggregate = Aggregate::new(RawMessage {
            timestamp: 1000,
            type_id: type_id::AGGREGATE,
            stream_id: 1,
            payload: Bytes::copy_from_slice(payload),
        });
        aggregate
            .map(|message| (message.type_id, message.timestamp, message.payload.to_vec()))
            .collect()
    }

    #[test]
    fn message_does_not_keep_its_aggregate_in_memory() {
        let payload = [
            &[9, 0, 0, 2, 0, 0, 5, 1, 0, 0, 0, 0x17, 1][..],
            &[0; 1 << 20],
        ]
        .concat();
        let payload = Bytes::from(payload);
        let mut aggregate = Aggregate::new(RawMessage {
            timestamp: 0,
            type_id: type_id::AGGREGATE,
            stream_id: 1,
            payload: payload.clone(),
        });
        let message = aggregate.next().unwrap();
        drop(aggregate);
        assert_eq!(*message.payload, [0x17, 1]);
        assert!(payload.is_unique());
    }

    #[test]
    fn messages_get_the_time_of_the_aggregate() {
        let payload = [
            &[9, 0, 0, 2, 0, 0, 5, 1, 0, 0, 0, 0x17, 1, 0, 0, 0, 13][..],
            &[22, 0, 0, 1, 0, 0, 6, 1, 0, 0, 0, 0, 0, 0, 0, 12],
            // A ping.
            &[
                4, 0, 0, 6, 0, 0, 6, 1, 0, 0, 0, 0, 6, 0, 0, 0, 1, 0, 0, 0, 17,
            ],
            &[8, 0, 0, 1, 0, 0, 25, 1, 0, 0, 0, 0xAF, 0, 0, 0, 12],
        ]
        .concat();
        let expected = [(9, 1000, vec![0x17, 1]), (8, 1020, vec![0xAF])];
        assert_eq!(messages(&payload), expected);
        // Without the last back pointer, and cut within the second message.
        assert_eq!(messages(&payload[..payload.len() - 4]), expected);
        assert_eq!(messages(&payload[..payload.len() - 5]), expected[..1]);
    }
}
