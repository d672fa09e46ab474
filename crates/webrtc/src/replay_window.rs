//! Replay protection of DTLS and SRTCP.

/// A replay window: the last 64 sequence numbers, seen or not (RFC 3711 section 3.3.2,
/// RFC 6347 section 4.1.2.6).
#[derive(Debug, Default)]
pub(crate) struct ReplayWindow {
    /// The highest sequence number seen, and one more.
    next: u64,
    /// Bit `n` stands for `next - 1 - n`.
    seen: u64,
}

impl ReplayWindow {
    /// Returns whether a number has not been seen; `false` for one that is too old to tell.
    pub(crate) fn is_new(&self, sequence: u64) -> bool {
        match self.next.checked_sub(sequence + 1) {
            None => true,
            Some(age) => age < 64 && self.seen >> age & 1 == 0,
        }
    }

    /// Records a number, once its packet has proved to be authentic.
    pub(crate) fn accept(&mut self, sequence: u64) {
        if let Some(age) = self.next.checked_sub(sequence + 1) {
            self.seen |= shifted(1, age);
        } else {
            self.seen = shifted(self.seen, sequence + 1 - self.next) | 1;
            self.next = sequence + 1;
        }
    }
}

fn shifted(bits: u64, by: u64) -> u64 {
    u32::try_from(by)
        .ok()
        .and_then(|by| bits.checked_shl(by))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replay_window_covers_64_records() {
        let mut window = ReplayWindow::default();
        assert!(window.is_new(0));
        for sequence in [0, 100, 37, 99] {
            assert!(window.is_new(sequence));
            window.accept(sequence);
            assert!(!window.is_new(sequence));
        }
        assert!(!window.is_new(36), "too old to tell");
        assert!(window.is_new(38) && window.is_new(101));
        let far = (1 << 48) - 1;
        window.accept(far);
        assert!(!window.is_new(100) && !window.is_new(far));
        assert!(window.is_new(far - 1));
    }
}
