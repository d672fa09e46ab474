//! One association: handshake, keys, close.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::context::DtlsContext;
use super::engine::OpenSslEngine;
use super::handshake::{Completed, Handshake, Outcome};
use super::pipe::MAX_OUTBOUND;
use super::record::{EPOCH, HANDSHAKE, Records};
use super::record_layer::{Alert, Opened, RecordLayer};
use super::resend::{ResendTimer, first_timeout};
use super::{DtlsError, DtlsEvent, DtlsRole};
use crate::certificate::Fingerprint;

/// Time that OpenSSL is kept to retransmit our last flight. By then a peer that did not receive it
/// has repeated its own several times, or given up.
const SETTLE_AFTER: Duration = Duration::from_secs(10);

/// Maximum number of unread packets of application data; further ones are dropped, as on the
/// network.
const MAX_RECEIVED: usize = 32;

/// A DTLS association without a socket.
///
/// ```text
///       start, handle_datagram             done             settle, time
///  Idle ---------------------> Handshaking ----> Connected -------------> Settled
///                                   |                |                       |
///        wrong certificate, alert,  |                |  close_notify, alert, |
///        no answer, close()         v                v  close()              v
///                                 Ended <------------+-----------------------+
/// ```
///
/// After each [`Dtls::start`], [`Dtls::handle_datagram`], [`Dtls::handle_timeout`], [`Dtls::send`]
/// and [`Dtls::close`]: poll datagrams, events and received packets until there are none, then wait
/// for the next input or [`Dtls::poll_timeout`]. What is sealed with the keys of an event has to
/// leave after the datagrams: the peer needs these to open it.
pub struct Dtls {
    role: DtlsRole,
    state: State,
    /// The round trip to the peer, before the handshake starts.
    round_trip: Option<Duration>,
    /// At most [`MAX_OUTBOUND`]; further ones are dropped, as on the network.
    outbound: VecDeque<Vec<u8>>,
    /// Three at most: keys, connected, and the end.
    events: VecDeque<DtlsEvent>,
    /// Application data, at most [`MAX_RECEIVED`] packets; `None` if it is not used.
    received: Option<VecDeque<Vec<u8>>>,
}

enum State {
    /// Nothing has been sent or received.
    Idle(OpenSslEngine),
    Handshaking(Handshake),
    /// OpenSSL is kept for a peer that may not have received our last flight.
    Connected {
        engine: OpenSslEngine,
        /// Reads all but repeated messages of the handshake; `None` if it does not support the
        /// cipher.
        reader: Option<Box<RecordLayer>>,
        /// Our last flight, and when it may be sent again.
        flight: Vec<Vec<u8>>,
        resend_from: Instant,
        /// Least time between two retransmissions.
        resend_interval: Duration,
        /// When a server repeats its last flight by itself: it ends the handshake, so nothing else
        /// shows that it was lost before the peer's own timer, a second or more.
        repeat: Option<ResendTimer>,
        settle_at: Option<Instant>,
    },
    /// OpenSSL is dropped.
    Settled(Box<RecordLayer>),
    /// Closed or failed: nothing goes in or out any more, except queued datagrams.
    Ended,
}

impl Dtls {
    /// Creates an association that accepts only a peer with a certificate of `expected`.
    pub fn new(
        context: &DtlsContext,
        role: DtlsRole,
        expected: Vec<Fingerprint>,
    ) -> Result<Self, DtlsError> {
        if expected.is_empty() {
            return Err(DtlsError::NoFingerprint);
        }
        let expected: Arc<[_]> = expected.into();
        let ssl = context
            .association(role, Arc::clone(&expected))
            .map_err(DtlsError::Setup)?;
        Ok(Self::with_engine(OpenSslEngine::new(ssl, expected)?, role))
    }

    /// Creates an association over a configured OpenSSL session.
    pub(super) fn with_engine(engine: OpenSslEngine, role: DtlsRole) -> Self {
        Self {
            role,
            state: State::Idle(engine),
            round_trip: None,
            outbound: VecDeque::new(),
            events: VecDeque::new(),
            received: None,
        }
    }

    /// Keeps received application data, for a data channel (RFC 8831). Without this it is dropped.
    #[must_use]
    pub fn with_application_data(mut self) -> Self {
        self.received = Some(VecDeque::new());
        self
    }

    /// Sends a packet of application data, as one record in a datagram of its own (RFC 8261 section
    /// 3). Drops it before the handshake is complete and after the end.
    pub fn send(&mut self, packet: &[u8]) {
        let outbound = match &mut self.state {
            State::Connected { engine, .. } => {
                engine.write(packet);
                engine.take_outbound()
            }
            State::Settled(record_layer) => record_layer
                .seal_application_data(packet)
                .into_iter()
                .collect(),
            State::Idle(_) | State::Handshaking(_) | State::Ended => return,
        };
        self.transmit(outbound);
    }

    /// Returns the next packet of application data.
    pub fn poll_received(&mut self) -> Option<Vec<u8>> {
        self.received.as_mut()?.pop_front()
    }

    /// Starts the handshake: a client sends a ClientHello, a server waits for one.
    ///
    /// Call it when there is an address to send to. A server that receives a datagram first starts
    /// by itself. Further calls do nothing.
    pub fn start(&mut self, now: Instant) {
        self.state = match std::mem::replace(&mut self.state, State::Ended) {
            State::Idle(engine) => {
                State::Handshaking(Handshake::new(engine, self.role, self.round_trip, now))
            }
            state => {
                self.state = state;
                return;
            }
        };
        if self.role == DtlsRole::Client {
            self.step(now, |handshake, outbound| handshake.drive(now, outbound));
        }
    }

    /// Records the round trip to the peer, from which lost flights are retransmitted in time.
    pub fn note_round_trip(&mut self, round_trip: Duration) {
        self.round_trip = Some(round_trip);
        if let State::Handshaking(handshake) = &mut self.state {
            handshake.note_round_trip(round_trip);
        }
    }

    /// Handles a datagram of the peer. It has to come from a pair that ICE has found valid.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) {
        self.start(now);
        match &self.state {
            State::Handshaking(_) => {
                self.step(now, |handshake, outbound| {
                    handshake.handle_datagram(now, datagram, outbound)
                });
                // Records behind the peer's Finished.
                self.read_records(datagram);
            }
            State::Connected { .. } => self.read_connected(now, datagram),
            State::Settled(_) => {
                self.read_records(datagram);
            }
            State::Idle(_) | State::Ended => {}
        }
    }

    /// Handles the passing of time; does nothing before [`Dtls::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        match &self.state {
            State::Handshaking(_) => self.step(now, |handshake, outbound| {
                handshake.handle_timeout(now, outbound)
            }),
            State::Connected { settle_at, .. } if settle_at.is_some_and(|at| now >= at) => {
                self.settle();
            }
            State::Connected { .. } => self.repeat_last_flight(now),
            State::Idle(_) | State::Settled(_) | State::Ended => {}
        }
    }

    /// Repeats a server's last flight when that is due: the peer has not shown that it has it.
    fn repeat_last_flight(&mut self, now: Instant) {
        if let State::Connected {
            flight,
            repeat: Some(timer),
            ..
        } = &mut self.state
            && now >= timer.due()
        {
            *timer = timer.repeated(now);
            let flight = flight.clone();
            self.transmit(flight);
        }
    }

    /// Drops the state that is only needed while the peer may not have received our last flight.
    ///
    /// Happens by itself some time after the handshake. Call it as soon as the peer has shown that
    /// it has the keys, by an authentic SRTCP packet: it saves some 70 KiB. Application data shows
    /// the same, and is noticed here.
    pub fn settle(&mut self) {
        // Records that OpenSSL has read and not yet returned would be lost with it.
        self.read();
        self.leave_openssl();
    }

    fn leave_openssl(&mut self) {
        let State::Connected {
            engine,
            reader,
            settle_at,
            repeat,
            ..
        } = &mut self.state
        else {
            return;
        };
        *settle_at = None;
        *repeat = None;
        if let Some(last_sealed) = engine.last_sealed()
            && let Some(mut record_layer) = reader.take()
        {
            record_layer.take_over(last_sealed);
            self.state = State::Settled(record_layer);
        }
    }

    /// Ends the association, with a close_notify if the keys were in use (RFC 5246 section 7.2.1).
    pub fn close(&mut self) {
        self.send_close_notify();
        self.state = State::Ended;
    }

    /// Returns the next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.outbound.pop_front()
    }

    /// Returns the next event.
    pub fn poll_event(&mut self) -> Option<DtlsEvent> {
        self.events.pop_front()
    }

    /// Returns when [`Dtls::handle_timeout`] is due, if at all.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Handshaking(handshake) => Some(handshake.poll_timeout()),
            State::Connected {
                settle_at, repeat, ..
            } => settle_at
                .iter()
                .copied()
                .chain(repeat.map(ResendTimer::due))
                .min(),
            State::Idle(_) | State::Settled(_) | State::Ended => None,
        }
    }

    /// Returns whether the handshake is complete and the association not closed.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected { .. } | State::Settled(_))
    }

    /// Returns whether the SRTP keys may be used: the handshake is complete, or only lacks the
    /// peer's Finished.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        match &self.state {
            State::Handshaking(handshake) => handshake.has_early_keys(),
            _ => self.is_connected(),
        }
    }

    /// Returns the role of this side.
    #[must_use]
    pub fn role(&self) -> DtlsRole {
        self.role
    }

    /// Lets the handshake take a step, and acts on its outcome.
    fn step(
        &mut self,
        now: Instant,
        step: impl FnOnce(&mut Handshake, &mut Vec<Vec<u8>>) -> Outcome,
    ) {
        let State::Handshaking(handshake) = &mut self.state else {
            return;
        };
        let mut outbound = Vec::new();
        let outcome = step(handshake, &mut outbound);
        self.transmit(outbound);
        match outcome {
            Outcome::Pending => {}
            Outcome::EarlyKeys(profile, keys) => {
                self.events.push_back(DtlsEvent::Keys { profile, keys });
            }
            Outcome::Complete => self.complete(now),
            Outcome::Failed(error) => self.fail(error),
        }
    }

    /// Completes the handshake once OpenSSL has.
    fn complete(&mut self, now: Instant) {
        let State::Handshaking(handshake) = std::mem::replace(&mut self.state, State::Ended) else {
            return;
        };
        let Completed {
            engine,
            early,
            flight,
            round_trip,
        } = handshake.into_completed();
        if let Some(record_layer) = early {
            // The last flight was the server's, and it has come.
            self.state = State::Settled(record_layer);
            self.events.push_back(DtlsEvent::Connected);
            return;
        }
        let agreed = engine.agreed_keys(self.role);
        let reader = engine.record_layer(self.role);
        let resend_interval = first_timeout(round_trip);
        self.state = State::Connected {
            engine,
            reader: reader.map(Box::new),
            flight,
            resend_from: now + resend_interval,
            resend_interval,
            // Twice the usual time: most viewers show by their feedback that they are connected.
            repeat: (self.role == DtlsRole::Server)
                .then(|| ResendTimer::new(now, round_trip).repeated(now)),
            settle_at: Some(now + SETTLE_AFTER),
        };
        match agreed {
            Ok((profile, keys)) => {
                self.events.push_back(DtlsEvent::Keys { profile, keys });
                self.events.push_back(DtlsEvent::Connected);
                // The last flight was the server's, and it has come.
                if self.role == DtlsRole::Client {
                    self.settle();
                }
            }
            Err(error) => {
                self.send_close_notify();
                self.fail(error);
            }
        }
    }

    /// Reads a datagram after the handshake while OpenSSL is kept: repeated messages of the
    /// handshake, in whole flights as they are sent, and everything under a cipher that the record
    /// layer does not support.
    fn read_connected(&mut self, now: Instant, datagram: &[u8]) {
        let State::Connected { engine, reader, .. } = &mut self.state else {
            return;
        };
        let (role, has_reader) = (self.role, reader.is_some());
        let records: Vec<u8> = Records(datagram)
            .filter(|record| record.is_of_handshake(role) || record.epoch == EPOCH && !has_reader)
            .flat_map(|record| record.bytes.iter().copied())
            .collect();
        if !records.is_empty() {
            engine.push_inbound(&records);
            let waiting = self.outbound.len();
            self.read();
            if self.outbound.len() == waiting {
                self.resend_last_flight(now, datagram);
            }
        }
        if self.read_records(datagram) {
            // Application data is sealed with the keys of a handshake that the peer has completed.
            self.leave_openssl();
        }
    }

    /// Retransmits our last flight to a peer that repeats its own (RFC 6347 section 4.2.4). OpenSSL
    /// does so if the peer has sealed its records again, and takes the same records for a replay. A
    /// forger can do the same: the interval limits that.
    fn resend_last_flight(&mut self, now: Instant, datagram: &[u8]) {
        let State::Connected {
            flight,
            resend_from,
            resend_interval,
            ..
        } = &mut self.state
        else {
            return;
        };
        let mut records = Records(datagram);
        let repeats =
            records.any(|record| (record.epoch, record.content_type) == (EPOCH, HANDSHAKE));
        if self.role == DtlsRole::Server && repeats && now >= *resend_from {
            *resend_from = now + *resend_interval;
            let flight = flight.clone();
            self.transmit(flight);
        }
    }

    /// Lets OpenSSL read records after the handshake.
    fn read(&mut self) {
        let State::Connected { engine, .. } = &mut self.state else {
            return;
        };
        let received = &mut self.received;
        let mut has_keys = false;
        let result = engine.read(|packet| {
            has_keys = true;
            keep(received, packet.to_vec());
        });
        let outbound = engine.take_outbound();
        self.transmit(outbound);
        match result {
            // Application data is sealed with the keys of a handshake that the peer has completed.
            Ok(true) if has_keys => self.leave_openssl(),
            Ok(true) => {}
            Ok(false) => self.answer_close_notify(),
            Err(error) => self.fail(error),
        }
    }

    /// Reads a datagram after the handshake without OpenSSL. A repeated Finished has been answered
    /// already and is dropped. Returns whether application data came.
    fn read_records(&mut self, datagram: &[u8]) -> bool {
        let mut has_data = false;
        for record in Records(datagram) {
            let opened = match &mut self.state {
                State::Settled(record_layer) => record_layer.open(&record),
                State::Connected { reader, .. } => reader
                    .as_mut()
                    .and_then(|record_layer| record_layer.open(&record)),
                _ => return has_data,
            };
            match opened {
                Some(Opened::Alert(Alert::CLOSE_NOTIFY)) => self.answer_close_notify(),
                Some(Opened::Alert(alert)) if alert.is_fatal() => self.fail(DtlsError::Alert {
                    description: alert.description,
                }),
                Some(Opened::ApplicationData(packet)) => {
                    has_data = true;
                    keep(&mut self.received, packet);
                }
                _ => {}
            }
        }
        has_data
    }

    /// Answers a close_notify with one (RFC 5246 section 7.2.1).
    fn answer_close_notify(&mut self) {
        self.send_close_notify();
        self.end(DtlsEvent::Closed);
    }

    fn send_close_notify(&mut self) {
        let outbound = match &mut self.state {
            State::Connected { engine, .. } => {
                engine.close();
                engine.take_outbound()
            }
            State::Settled(record_layer) => record_layer
                .seal_alert(Alert::CLOSE_NOTIFY)
                .into_iter()
                .collect(),
            State::Handshaking(handshake) => handshake.seal_close_notify().into_iter().collect(),
            State::Idle(_) | State::Ended => return,
        };
        self.transmit(outbound);
    }

    fn transmit(&mut self, datagrams: Vec<Vec<u8>>) {
        let room = MAX_OUTBOUND.saturating_sub(self.outbound.len());
        self.outbound.extend(datagrams.into_iter().take(room));
    }

    fn fail(&mut self, error: DtlsError) {
        self.end(DtlsEvent::Failed(error));
    }

    fn end(&mut self, event: DtlsEvent) {
        self.state = State::Ended;
        self.events.push_back(event);
    }
}

/// Keeps a packet of application data, if it is used and the queue is not full.
fn keep(received: &mut Option<VecDeque<Vec<u8>>>, packet: Vec<u8>) {
    if let Some(received) = received
        && received.len() < MAX_RECEIVED
    {
        received.push_back(packet);
    }
}

impl fmt::Debug for Dtls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Idle(_) => "Idle",
            State::Handshaking(_) => "Handshaking",
            State::Connected { .. } => "Connected",
            State::Settled(_) => "Settled",
            State::Ended => "Ended",
        };
        f.debug_struct("Dtls")
            .field("role", &self.role)
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
