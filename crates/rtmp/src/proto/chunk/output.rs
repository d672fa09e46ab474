//! Bytes to be sent.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

/// Minimum length of bytes that are shared instead of copied.
const SHARE_FROM: usize = 1 << 10;

/// Bytes to be sent, in order: short pieces are merged, long ones share their memory.
#[derive(Debug, Default)]
pub struct Output {
    pieces: VecDeque<Bytes>,
    /// The bytes after the last piece.
    tail: BytesMut,
}

impl Output {
    /// Returns the next piece.
    pub fn pop(&mut self) -> Option<Bytes> {
        let piece = self.pieces.pop_front();
        piece.or_else(|| (!self.tail.is_empty()).then(|| self.tail.split().freeze()))
    }

    /// Returns whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.tail.is_empty()
    }

    /// Returns the buffer for short pieces.
    pub(crate) fn tail(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// Appends part of something larger.
    pub(crate) fn put(&mut self, bytes: Bytes) {
        if bytes.len() < SHARE_FROM {
            self.tail.put_slice(&bytes);
        } else {
            if !self.tail.is_empty() {
                self.pieces.push_back(self.tail.split().freeze());
            }
            self.pieces.push_back(bytes);
        }
    }
}
