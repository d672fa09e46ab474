//! A handshake under way: OpenSSL, its retransmissions and its end.

use std::time::{Duration, Instant};

use super::engine::OpenSslEngine;
use super::record::{self, EPOCH, HANDSHAKE, Record, Records, Sifted};
use super::record_layer::{Alert, RecordLayer};
use super::resend::ResendTimer;
use super::timeouts::{FINISHED_TIMEOUT, HANDSHAKE_TIMEOUT};
use super::{DtlsError, DtlsRole};
use crate::srtp::{SrtpKeys, SrtpProfile};

/// Time that a handshake continues after a plaintext alert that ends it. The alert may be forged:
/// if it is the peer's, nothing else comes, and if not, the next flight does.
const ALERT_GRACE: Duration = Duration::from_secs(2);

/// A handshake under way.
///
/// **Retransmission.** A lost flight is retransmitted by the clock of the caller: the same records
/// once more, which suffices if they never arrived. A peer that did receive them, and whose own
/// last flight was lost, takes the same records for a replay (RFC 6347 section 4.1.2.6) and does
/// not answer. So a client seals its Finished again each time, with its own record layer. Under the
/// CBC ciphers, which that does not support, it is left to OpenSSL, whose timer is on the clock of
/// the system, begins at a second and cannot be set from outside.
///
/// **Early keys.** A client that has sent its Finished has all keys, a round trip before the peer's
/// Finished comes, and may use them under conditions (RFC 7918, see [`OpenSslEngine::early_keys`]).
/// From then on OpenSSL only reads: what is sent is sealed by the record layer, so that no nonce is
/// used twice.
pub(super) struct Handshake {
    role: DtlsRole,
    engine: OpenSslEngine,
    give_up_at: Instant,
    /// A plaintext alert that ends the handshake if nothing else comes, and its time.
    alert: Option<(u8, Instant)>,
    round_trip: Option<Duration>,
    timer: ResendTimer,
    /// The datagrams of our last flight.
    flight: Vec<Vec<u8>>,
    /// Seals all that is sent after the last flight of a client whose keys are in use.
    early: Option<Box<RecordLayer>>,
}

/// The outcome of an input.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The handshake goes on.
    Pending,
    /// The keys are complete and may be used; the handshake goes on.
    EarlyKeys(SrtpProfile, SrtpKeys),
    /// The handshake is complete.
    Complete,
    /// The handshake has failed.
    Failed(DtlsError),
}

/// The parts of a complete handshake.
pub(super) struct Completed {
    pub(super) engine: OpenSslEngine,
    /// The record layer of a client whose keys were used early.
    pub(super) early: Option<Box<RecordLayer>>,
    /// Our last flight.
    pub(super) flight: Vec<Vec<u8>>,
    pub(super) round_trip: Option<Duration>,
}

impl Handshake {
    /// Creates a handshake that starts now.
    pub(super) fn new(
        engine: OpenSslEngine,
        role: DtlsRole,
        round_trip: Option<Duration>,
        now: Instant,
    ) -> Self {
        Self {
            role,
            engine,
            give_up_at: now + HANDSHAKE_TIMEOUT,
            alert: None,
            round_trip,
            timer: ResendTimer::new(now, round_trip),
            flight: Vec::new(),
            early: None,
        }
    }

    /// Returns whether the keys are in use before the handshake is complete.
    pub(super) fn has_early_keys(&self) -> bool {
        self.early.is_some()
    }

    /// Records the round trip to the peer.
    pub(super) fn note_round_trip(&mut self, round_trip: Duration) {
        self.round_trip = Some(round_trip);
        self.timer.note_round_trip(round_trip);
    }

    /// Returns when [`Self::handle_timeout`] is due.
    pub(super) fn poll_timeout(&self) -> Instant {
        let ends_at = self.alert.map_or(self.give_up_at, |(_, at)| at);
        self.timer.due().min(ends_at).min(self.give_up_at)
    }

    /// Handles a datagram of the peer; appends datagrams to send to `outbound`.
    pub(super) fn handle_datagram(
        &mut self,
        now: Instant,
        datagram: &[u8],
        outbound: &mut Vec<Vec<u8>>,
    ) -> Outcome {
        let role = self.role;
        let accepts = |record: &Record<'_>| match self.early {
            Some(_) => record.is_of_last_flight(),
            None => record.is_of_handshake(role),
        };
        let Sifted { records, alert } = record::sift(datagram, accepts);
        if let (Some(alert), None) = (alert, self.alert) {
            self.alert = Some((alert, now + ALERT_GRACE));
        }
        if records.is_empty() {
            return Outcome::Pending;
        }
        self.engine.push_inbound(&records);
        self.drive(now, outbound)
    }

    /// Handles the passing of time; does nothing before [`Self::poll_timeout`].
    pub(super) fn handle_timeout(&mut self, now: Instant, outbound: &mut Vec<Vec<u8>>) -> Outcome {
        if now >= self.give_up_at {
            return Outcome::Failed(match self.early {
                Some(_) => DtlsError::FinishedTimeout,
                None => DtlsError::HandshakeTimeout,
            });
        }
        if let Some((description, _)) = self.alert.filter(|(_, at)| now >= *at) {
            return Outcome::Failed(match description {
                0 => DtlsError::ClosedEarly,
                _ => DtlsError::Alert { description },
            });
        }
        if now < self.timer.due() {
            return Outcome::Pending;
        }
        let timer = self.timer.repeated(now);
        let outcome = self.drive(now, outbound);
        self.timer = timer;
        if outbound.is_empty() && matches!(outcome, Outcome::Pending) {
            outbound.extend(self.repeated_flight());
        }
        outcome
    }

    /// Drives OpenSSL as far as it goes; appends its flight, if it has one, to `outbound`.
    pub(super) fn drive(&mut self, now: Instant, outbound: &mut Vec<Vec<u8>>) -> Outcome {
        let result = self.engine.handshake();
        let flight = self.engine.take_outbound();
        if let Some(record_layer) = &mut self.early {
            return match result {
                Ok(true) => Outcome::Complete,
                Ok(false) => Outcome::Pending,
                Err(error) => {
                    if let DtlsError::Protocol(_) = error {
                        outbound.extend(record_layer.seal_alert(Alert::DECRYPT_ERROR));
                    }
                    Outcome::Failed(error)
                }
            };
        }
        let has_flight = !flight.is_empty();
        if has_flight {
            self.note_flight(now, &flight);
            outbound.extend(flight);
        }
        match result {
            Ok(true) => Outcome::Complete,
            Ok(false) if has_flight => self.take_early_keys(now),
            Ok(false) => Outcome::Pending,
            Err(error) => Outcome::Failed(error),
        }
    }

    /// Returns a close_notify, if the peer may have the keys for it.
    pub(super) fn seal_close_notify(&mut self) -> Option<Vec<u8>> {
        self.early.as_mut()?.seal_alert(Alert::CLOSE_NOTIFY)
    }

    pub(super) fn into_completed(self) -> Completed {
        Completed {
            engine: self.engine,
            early: self.early,
            flight: self.flight,
            round_trip: self.round_trip,
        }
    }

    /// Records a flight of ours, which answers the peer's answer to the one before. If OpenSSL has
    /// only sent that one again, by its own timer, nothing was answered.
    fn note_flight(&mut self, now: Instant, flight: &[Vec<u8>]) {
        let is_repeated = first_message(flight)
            .is_some_and(|message| first_message(&self.flight) == Some(message));
        if !is_repeated && !self.flight.is_empty() && self.round_trip.is_none() {
            self.round_trip = self.timer.round_trip(now);
        }
        self.flight = flight.to_vec();
        if is_repeated {
            return;
        }
        self.timer = ResendTimer::new(now, self.round_trip);
        // The handshake continues: the alert was not the peer's.
        self.alert = None;
    }

    fn take_early_keys(&mut self, now: Instant) -> Outcome {
        let Some(((profile, keys), record_layer)) = self.engine.early_keys(self.role) else {
            return Outcome::Pending;
        };
        self.early = Some(Box::new(record_layer));
        self.give_up_at = self.give_up_at.min(now + FINISHED_TIMEOUT);
        Outcome::EarlyKeys(profile, keys)
    }

    /// Returns our last flight once more; records under the keys are sealed again, if possible.
    fn repeated_flight(&mut self) -> Vec<Vec<u8>> {
        let Some(record_layer) = &mut self.early else {
            return self.flight.clone();
        };
        let mut repeat = |record: Record<'_>| match record.epoch {
            EPOCH => record_layer.seal_again(&record).unwrap_or_default(),
            _ => record.bytes.to_vec(),
        };
        let datagrams = self.flight.iter();
        datagrams
            .map(|datagram| Records(datagram).flat_map(&mut repeat).collect())
            .collect()
    }
}

/// Returns the number (`message_seq`, RFC 6347 section 4.2.2) of the first plaintext message of a
/// flight.
fn first_message(flight: &[Vec<u8>]) -> Option<u16> {
    let mut records = flight.iter().flat_map(|datagram| Records(datagram));
    let is_message = |record: &Record<'_>| (record.epoch, record.content_type) == (0, HANDSHAKE);
    let number = records.find(is_message)?.fragment.get(4..6)?;
    Some(u16::from_be_bytes(number.try_into().ok()?))
}
