//! Filters SCTP packets between a viewer and the SCTP library.

use std::time::{Duration, Instant};

/// Most that a TSN may be ahead of the acknowledged ones. A packet with one beyond is dropped: an
/// honest viewer has at most the receive buffer in flight, and retransmits packets that are not
/// acknowledged. A SACK has two bytes for each TSN of this window, so it always fits a packet.
pub(super) const TSN_WINDOW: u32 = 256;

/// Bytes that may be sent for each byte received. Besides a SACK of an honest exchange, which is
/// shorter than the DATA it acknowledges, this leaves room for the answer to a handshake.
const OUT_PER_IN: usize = 2;

/// Bytes that may be sent for each byte of our messages, which may be retransmitted.
const OUT_PER_WRITTEN: usize = 4;

/// Header bytes counted for each of our messages.
const MESSAGE_OVERHEAD: usize = 64;

/// Maximum credit in bytes: enough for a handshake and a burst of messages.
const MAX_CREDIT: usize = 256 * 1024;
const FIRST_CREDIT: usize = 16 * 1024;

/// Bytes that may be sent per second in any case: timers send heartbeats and retransmissions.
const REFILL: usize = 4 * 1024;

/// Common header (RFC 9260 section 3).
const HEADER_LEN: usize = 12;

/// Chunk types (RFC 9260 section 3.2, RFC 8260 section 2.1).
const DATA: u8 = 0;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const SACK: u8 = 3;
const I_DATA: u8 = 64;

/// Guards the SCTP library, which does not limit the gap blocks of a SACK: a viewer that omits
/// every second TSN would be answered by up to 59 KB for each byte.
#[derive(Debug)]
pub(super) struct Guard {
    /// The last TSN of the viewer that is acknowledged, with all before it.
    acknowledged: Option<u32>,
    credit: usize,
    refilled: Option<Instant>,
    max_packet: usize,
}

impl Guard {
    /// Creates a guard that lets packets of `max_packet` bytes out at most.
    pub(super) fn new(max_packet: usize) -> Self {
        Self {
            acknowledged: None,
            credit: FIRST_CREDIT,
            refilled: None,
            max_packet,
        }
    }

    /// Returns whether a packet of the viewer may go to the library.
    pub(super) fn admits(&mut self, packet: &[u8]) -> bool {
        self.earn(OUT_PER_IN * packet.len());
        let is_admitted = chunks(packet).all(|chunk| self.is_harmless(chunk));
        if is_admitted && self.acknowledged.is_none() {
            let first = chunks(packet).find(|chunk| matches!(chunk.kind, INIT | INIT_ACK));
            // The initial TSN stands behind tag, window and numbers of streams.
            self.acknowledged = first
                .and_then(|chunk| word(chunk.value, 12))
                .map(|tsn| tsn.wrapping_sub(1));
        }
        is_admitted
    }

    /// Returns whether a packet of the library may be sent.
    pub(super) fn releases(&mut self, now: Instant, packet: &[u8]) -> bool {
        self.refill(now);
        let sack = chunks(packet).find(|chunk| chunk.kind == SACK);
        if let Some(acknowledged) = sack.and_then(|chunk| word(chunk.value, 0)) {
            self.acknowledged = Some(acknowledged);
        }
        if packet.len() > self.max_packet || packet.len() > self.credit {
            return false;
        }
        self.credit -= packet.len();
        true
    }

    /// Records one of our messages.
    pub(super) fn note_written(&mut self, bytes: usize) {
        self.earn(OUT_PER_WRITTEN * (bytes + MESSAGE_OVERHEAD));
    }

    fn is_harmless(&self, chunk: Chunk<'_>) -> bool {
        if !matches!(chunk.kind, DATA | I_DATA) {
            return true;
        }
        let tsn = word(chunk.value, 0);
        let ahead = self.acknowledged.zip(tsn);
        ahead.is_some_and(|(acknowledged, tsn)| {
            // TSNs count modulo 2^32; one that is acknowledged already is far ahead as well.
            let distance = tsn.wrapping_sub(acknowledged);
            distance <= TSN_WINDOW || distance > u32::MAX / 2
        })
    }

    fn earn(&mut self, bytes: usize) {
        self.credit = self.credit.saturating_add(bytes).min(MAX_CREDIT);
    }

    fn refill(&mut self, now: Instant) {
        let since = *self.refilled.get_or_insert(now);
        let elapsed = now
            .saturating_duration_since(since)
            .min(Duration::from_secs(60));
        let bytes = elapsed.as_millis() as usize * REFILL / 1000;
        if bytes > 0 {
            self.earn(bytes);
            self.refilled = Some(now);
        }
    }
}

/// A chunk of a packet (RFC 9260 section 3.2): type, flags, length, value, padding to four bytes.
#[derive(Clone, Copy)]
struct Chunk<'a> {
    kind: u8,
    value: &'a [u8],
}

/// Returns the chunks of a packet that are whole.
fn chunks(packet: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    let mut rest = packet.get(HEADER_LEN..).unwrap_or_default();
    std::iter::from_fn(move || {
        let &[kind, _, hi, lo] = rest.first_chunk()?;
        let length = usize::from(u16::from_be_bytes([hi, lo]));
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Chunk { kind, value })
    })
}

fn word(value: &[u8], at: usize) -> Option<u32> {
    let bytes = value.get(at..)?.first_chunk()?;
    Some(u32::from_be_bytes(*bytes))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "an origin for driven time")]
mod tests {
    use super::*;

    fn packet(chunks: &[(u8, &[u8])]) -> Vec<u8> {
        let mut packet = vec![0; HEADER_LEN];
        for (kind, value) in chunks {
            packet.extend_from_slice(&[*kind, 3]);
            packet.extend_from_slice(&(value.len() as u16 + 4).to_be_bytes());
            packet.extend_from_slice(value);
            packet.resize(packet.len().next_multiple_of(4), 0);
        }
        packet
    }

    /// Returns a DATA chunk with one byte.
    fn data(tsn: u32) -> Vec<u8> {
        let value = [&tsn.to_be_bytes()[..], &[0; 9]].concat();
        packet(&[(DATA, &value)])
    }

    fn begun(first: u32) -> Guard {
        let mut guard = Guard::new(1000);
        assert!(!guard.admits(&data(first)), "nothing is known of it");
        let init = [&[0; 12][..], &first.to_be_bytes()].concat();
        assert!(guard.admits(&packet(&[(INIT, &init)])));
        guard
    }

    #[test]
    fn packet_with_a_tsn_far_ahead_does_not_reach_the_library() {
        let now = Instant::now();
        for first in [7, u32::MAX - 100] {
            let mut guard = begun(first);
            let last = first.wrapping_sub(1);
            for ahead in [1, TSN_WINDOW] {
                assert!(guard.admits(&data(last.wrapping_add(ahead))));
            }
            for ahead in [TSN_WINDOW + 1, 1 << 20] {
                assert!(!guard.admits(&data(last.wrapping_add(ahead))));
            }
            // A TSN far ahead after a valid one.
            let far = [&last.wrapping_add(1000).to_be_bytes()[..], &[0; 9]].concat();
            let near = [&first.to_be_bytes()[..], &[0; 9]].concat();
            assert!(!guard.admits(&packet(&[(DATA, &near), (I_DATA, &far)])));
            // An acknowledgement moves the window.
            let acknowledged = last.wrapping_add(200);
            let sack = [&acknowledged.to_be_bytes()[..], &[0; 8]].concat();
            assert!(guard.releases(now, &packet(&[(SACK, &sack)])));
            assert!(guard.admits(&data(acknowledged.wrapping_add(TSN_WINDOW))));
            assert!(guard.admits(&data(last)), "a repetition");
        }
    }

    #[test]
    fn bytes_out_are_bounded_by_bytes_in() {
        let now = Instant::now();
        let mut guard = begun(1);
        let sack = packet(&[(SACK, &[0; 512])]);
        let (mut sent, mut received) = (0, 0);
        for _ in 0..100_000 {
            let data = data(2);
            guard.admits(&data);
            received += data.len();
            if guard.releases(now, &sack) {
                sent += sack.len();
            }
        }
        assert!(
            sent <= FIRST_CREDIT + OUT_PER_IN * (received + 100),
            "{sent} for {received}"
        );
        let later = now + Duration::from_secs(1);
        let after = std::iter::repeat_with(|| guard.releases(later, &sack));
        let sent = after.take_while(|sent| *sent).count() * sack.len();
        assert!(sent <= REFILL + 2 * sack.len(), "{sent}");
        guard.note_written(1000);
        assert!(guard.releases(later, &sack));
    }

    #[test]
    fn packet_longer_than_a_datagram_does_not_go_out() {
        let now = Instant::now();
        let mut guard = begun(1);
        assert!(!guard.releases(now, &[0; 1001]));
        assert!(guard.releases(now, &[0; 1000]));
    }
}
