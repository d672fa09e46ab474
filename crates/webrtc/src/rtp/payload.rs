//! The payload of one RTP packet.

use std::ops::Range;

use bytes::Bytes;

/// Most bytes that a payload format puts in front: the descriptor of a VP9 keyframe has six. One
/// more makes no payload larger in memory.
const MAX_PREFIX: usize = 7;

/// The payload of one packet: some bytes that the payload format puts in front, and a slice of
/// the coded frame. The frame's bytes are shared, not copied; they are copied once per viewer, into
/// the buffer in which the packet is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    prefix: [u8; MAX_PREFIX],
    prefix_len: u8,
    body: Bytes,
}

impl Payload {
    /// Creates a payload that is a part of the frame as it is.
    pub fn whole(body: Bytes) -> Self {
        Self::prefixed(&[], body)
    }

    /// Creates a payload of at most seven bytes, as payload formats put them in front, and a part
    /// of the frame.
    pub(super) fn prefixed(prefix: &[u8], body: Bytes) -> Self {
        debug_assert!(prefix.len() <= MAX_PREFIX, "{prefix:?}");
        let mut bytes = [0; MAX_PREFIX];
        let len = prefix.len().min(MAX_PREFIX);
        bytes[..len].copy_from_slice(&prefix[..len]);
        Self {
            prefix: bytes,
            prefix_len: len as u8,
            body,
        }
    }

    /// Returns its length in bytes.
    #[allow(clippy::len_without_is_empty, reason = "a payload is never empty")]
    pub fn len(&self) -> usize {
        usize::from(self.prefix_len) + self.body.len()
    }

    /// Returns the part of the frame.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Returns a copy of it.
    #[cfg(test)]
    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len()];
        self.copy_to(&mut bytes);
        bytes
    }

    /// Copies the payload to the start of `out`, which must be at least [`Self::len`] bytes long.
    pub fn copy_to(&self, out: &mut [u8]) {
        let (prefix, rest) = out.split_at_mut(usize::from(self.prefix_len));
        prefix.copy_from_slice(&self.prefix[..prefix.len()]);
        rest[..self.body.len()].copy_from_slice(&self.body);
    }
}

/// Cuts `len` bytes into the fewest parts of at most `most` bytes, all of one size but the last,
/// which may be shorter: the form that segmentation offload sends with one call.
pub(super) fn equal_parts(len: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let count = len.div_ceil(most.max(1)).max(1);
    let size = len.div_ceil(count).max(1);
    (0..len)
        .step_by(size)
        .map(move |start| start..(start + size).min(len))
}
