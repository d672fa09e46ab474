//! The payload of one RTP packet.

use bytes::Bytes;

/// The payload of one packet: up to two bytes that the payload format puts in front, and a slice of
/// the coded frame. The frame's bytes are shared, not copied; they are copied once per viewer, into
/// the buffer in which the packet is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    prefix: [u8; 2],
    prefix_len: u8,
    body: Bytes,
}

impl Payload {
    /// A payload that is a part of the frame as it is.
    pub fn whole(body: Bytes) -> Self {
        Self {
            prefix: [0; 2],
            prefix_len: 0,
            body,
        }
    }

    /// A payload of two bytes and a part of the frame.
    pub fn prefixed(prefix: [u8; 2], body: Bytes) -> Self {
        Self {
            prefix,
            prefix_len: 2,
            body,
        }
    }

    /// Its length in bytes.
    #[allow(clippy::len_without_is_empty, reason = "a payload is never empty")]
    pub fn len(&self) -> usize {
        usize::from(self.prefix_len) + self.body.len()
    }

    /// The part of the frame.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Copies the payload to the start of `out`, which must be at least [`Self::len`] bytes long.
    pub fn copy_to(&self, out: &mut [u8]) {
        let (prefix, rest) = out.split_at_mut(usize::from(self.prefix_len));
        prefix.copy_from_slice(&self.prefix[..prefix.len()]);
        rest[..self.body.len()].copy_from_slice(&self.body);
    }
}
