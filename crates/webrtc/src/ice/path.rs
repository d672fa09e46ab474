//! A path to the peer, and the limit of bytes before it is proven.

use std::time::{Duration, Instant};

use super::{CandidatePair, Transport};
use crate::stun::TransactionId;

/// Bytes that may be sent to an unproven address for each byte received from it (RFC 9000 section
/// 8.1). Datagrams over the limit wait or are dropped.
pub const AMPLIFICATION_LIMIT: u64 = 3;

/// Least time between two challenges on one path.
const CHALLENGE_INTERVAL: Duration = Duration::from_millis(50);

/// A pair on which a valid check came.
///
/// A valid check proves that its sender knows our password, not that it is at its source address: a
/// viewer can forge that. An unproven address is sent at most [`AMPLIFICATION_LIMIT`] times the
/// bytes received from it. It is proven by the response to a check of ours, whose transaction id
/// only a receiver there knows (as PATH_RESPONSE does in RFC 9000 section 8.2), or by a DTLS
/// handshake on this path alone. An authentic SRTCP packet proves nothing: a viewer that forges the
/// source of its checks can forge that of its reports.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) pair: CandidatePair,
    /// The transaction of our checks on this path.
    challenge: TransactionId,
    challenged: Option<Instant>,
    /// When the first of our checks was sent.
    first_challenged: Option<Instant>,
    is_proven: bool,
    received: u64,
    sent: u64,
}

impl Path {
    pub(super) fn new(pair: CandidatePair) -> Self {
        Self {
            pair,
            challenge: TransactionId(rand::random()),
            challenged: None,
            first_challenged: None,
            // A TCP handshake proves that the peer receives at the address.
            is_proven: matches!(pair.transport, Transport::Tcp(_)),
            received: 0,
            sent: 0,
        }
    }

    pub(super) fn is_proven(&self) -> bool {
        self.is_proven
    }

    pub(super) fn prove(&mut self) {
        self.is_proven = true;
    }

    /// Records bytes received on the path.
    pub(super) fn note_received(&mut self, bytes: usize) {
        self.received = self.received.saturating_add(bytes as u64);
    }

    /// Returns whether `bytes` may be sent, and counts them as sent.
    pub(super) fn spend(&mut self, bytes: usize) -> bool {
        let sent = self.sent.saturating_add(bytes as u64);
        let is_permitted =
            self.is_proven || sent <= self.received.saturating_mul(AMPLIFICATION_LIMIT);
        if is_permitted {
            self.sent = sent;
        }
        is_permitted
    }

    /// Returns the transaction for a check of ours, if one is due.
    pub(super) fn poll_challenge(&mut self, now: Instant) -> Option<TransactionId> {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < CHALLENGE_INTERVAL;
        if self.is_proven || self.challenged.is_some_and(is_recent) {
            return None;
        }
        self.challenged = Some(now);
        Some(self.challenge)
    }

    /// Records that a check of ours was sent.
    pub(super) fn note_challenge(&mut self, now: Instant) {
        self.first_challenged.get_or_insert(now);
    }

    /// Returns the round trip by a response to our checks that comes now. All of them have one
    /// transaction, so it counts from the first: it is too long if that was lost, never too short.
    pub(super) fn round_trip(&self, now: Instant) -> Option<Duration> {
        self.first_challenged
            .map(|at| now.saturating_duration_since(at))
    }

    /// Returns when the next check of ours is due, if the last one has proved nothing yet.
    pub(super) fn challenge_due(&self) -> Option<Instant> {
        let last = self.challenged.filter(|_| !self.is_proven)?;
        Some(last + CHALLENGE_INTERVAL)
    }

    /// Returns whether a response is to a check of ours on this path.
    pub(super) fn is_answer(&self, transaction: TransactionId) -> bool {
        self.challenged.is_some() && self.challenge == transaction
    }
}
