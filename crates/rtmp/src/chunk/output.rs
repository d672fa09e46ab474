//! Bytes to be sent.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

/// From this length on, bytes are shared rather than copied.
const SHARE_FROM: usize = 1 << 10;

/// Bytes to be sent, in order: short pieces are put together, long ones share the memory they are in.
#[derive(Debug, Default)]
pub struct Output {
    pieces: VecDeque<Bytes>,
    /// What comes after the last piece.
    tail: BytesMut,
}

impl Output {
    /// The next piece.
    pub fn pop(&mut self) -> Option<Bytes> {
        let piece = self.pieces.pop_front();
        piece.or_else(|| (!self.tail.is_empty()).then(|| self.tail.split().freeze()))
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.tail.is_empty()
    }

    /// Where what is short is written to.
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
