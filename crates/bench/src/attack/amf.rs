//! AMF0 bombs: few bytes with references that stand for thousands of values.
//!
//! ```text
//! object of 4 nulls ◄── array of 4 references ◄── the same ◄── the same ◄── array of 4 references ◄── reference
//!      5 values               25                     105          425              1705                 1706
//! ```

use bytes::{BufMut, Bytes, BytesMut};

const STRING: u8 = 0x02;
const OBJECT: u8 = 0x03;
const NULL: u8 = 0x05;
const REFERENCE: u8 = 0x07;
const OBJECT_END: u8 = 0x09;
const STRICT_ARRAY: u8 = 0x0a;

/// Values on each level.
const FAN_OUT: u16 = 4;

/// Levels of arrays above the object.
const LEVELS: u16 = 4;

/// The AMF0 message type (RTMP 1.0 section 7.1.2).
pub(super) const DATA_AMF0: u8 = 18;

/// The type of aggregate messages (RTMP 1.0 section 7.1.6).
pub(super) const AGGREGATE: u8 = 22;

/// Returns a data message of 91 bytes that unfolds to 3972 values, most of them members of objects.
pub(super) fn bomb() -> Bytes {
    let mut out = BytesMut::new();
    put_string("x", &mut out);
    put_levels(0, &mut out);
    out.freeze()
}

/// Metadata of some 100 bytes that unfolds as far.
pub(super) fn metadata() -> Bytes {
    let mut out = BytesMut::new();
    put_string("onMetaData", &mut out);
    // The array around the levels is the first that references count.
    out.put_u8(STRICT_ARRAY);
    out.put_u32(u32::from(LEVELS) + 2);
    put_levels(1, &mut out);
    out.freeze()
}

/// Returns an aggregate message of at most `max_len` bytes that repeats one message.
pub(super) fn aggregate(message: &Bytes, bytes: usize) -> Bytes {
    let part = 11 + message.len() + 4;
    let mut out = BytesMut::with_capacity(bytes);
    while out.len() + part <= bytes {
        out.put_u8(DATA_AMF0);
        out.put_uint(message.len() as u64, 3);
        // Timestamp, its upper bits, message stream.
        out.put_bytes(0, 7);
        out.put_slice(message);
        out.put_u32(11 + message.len() as u32);
    }
    out.freeze()
}

fn put_string(text: &str, out: &mut BytesMut) {
    out.put_u8(STRING);
    out.put_u16(text.len() as u16);
    out.put_slice(text.as_bytes());
}

/// The levels one after the other; `first` objects and arrays stand before them or around them.
fn put_levels(first: u16, out: &mut BytesMut) {
    out.put_u8(OBJECT);
    for _ in 0..FAN_OUT {
        out.put_slice(&[0, 0, NULL]);
    }
    out.put_slice(&[0, 0, OBJECT_END]);
    for level in 0..LEVELS {
        out.put_u8(STRICT_ARRAY);
        out.put_u32(FAN_OUT.into());
        for _ in 0..FAN_OUT {
            put_reference(first + level, out);
        }
    }
    put_reference(first + LEVELS, out);
}

fn put_reference(index: u16, out: &mut BytesMut) {
    out.put_u8(REFERENCE);
    out.put_u16(index);
}

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;

    /// Counts values like a decoder that expands each reference.
    struct Counter<'a> {
        message: &'a [u8],
        complex: Vec<usize>,
        values: usize,
    }

    impl Counter<'_> {
        fn value(&mut self, at: &mut usize, revisits: bool) {
            self.values += 1;
            let start = *at;
            let marker = self.message[start];
            *at += 1;
            if !revisits && matches!(marker, OBJECT | STRICT_ARRAY) {
                self.complex.push(start);
            }
            match marker {
                STRING => *at += 2 + usize::from((&self.message[*at..]).get_u16()),
                NULL => {}
                REFERENCE => {
                    let index = usize::from((&self.message[*at..]).get_u16());
                    *at += 2;
                    let mut target = self.complex[index];
                    self.value(&mut target, true);
                }
                STRICT_ARRAY => {
                    let count = (&self.message[*at..]).get_u32();
                    *at += 4;
                    for _ in 0..count {
                        self.value(at, revisits);
                    }
                }
                OBJECT => {
                    while self.message[*at..*at + 3] != [0, 0, OBJECT_END] {
                        *at += 2;
                        self.value(at, revisits);
                    }
                    *at += 3;
                }
                other => panic!("marker {other}"),
            }
        }
    }

    fn values(message: &[u8]) -> usize {
        let mut counter = Counter {
            message,
            complex: Vec::new(),
            values: 0,
        };
        let mut at = 0;
        while at < message.len() {
            counter.value(&mut at, false);
        }
        counter.values
    }

    #[test]
    fn bomb_expands_to_the_given_number_of_values() {
        assert_eq!(bomb().len(), 91);
        assert_eq!(values(&bomb()), 3972);
        assert_eq!(metadata().len(), 105);
        assert_eq!(values(&metadata()), 3973);
    }

    #[test]
    fn aggregate_is_full_of_complete_messages() {
        let message = bomb();
        let mut aggregate = aggregate(&message, 1000);
        let mut parts = 0;
        while aggregate.has_remaining() {
            assert_eq!(aggregate.get_u8(), DATA_AMF0);
            assert_eq!(aggregate.get_uint(3), 91);
            aggregate.advance(7);
            assert_eq!(aggregate.split_to(91), message);
            assert_eq!(aggregate.get_u32(), 102);
            parts += 1;
        }
        assert_eq!(parts, 1000 / 106);
    }
}
