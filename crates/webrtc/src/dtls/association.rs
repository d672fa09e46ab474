//! One association: handshake, keys, close.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::context::DtlsContext;
use super::engine::Engine;
use super::pipe::MAX_OUTBOUND;
use super::record::{self, EPOCH, HANDSHAKE, Records, Sifted};
use super::record_layer::{Alert, Opened, RecordLayer};
use super::{DtlsError, DtlsEvent, DtlsRole};
use crate::certificate::Fingerprint;

/// Time that a handshake may take from its first datagram.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);

/// A flight that got no answer is sent again after this time at first, and then after twice the
/// time before. RFC 6347 section 4.2.4.1 suggests a second and allows less where that suits the
/// use: a viewer is waiting, and a flight is some two kilobytes to an address that has proved
/// itself.
const FIRST_RESEND: Duration = Duration::from_millis(200);

/// The longest such time.
const MAX_RESEND: Duration = Duration::from_millis(3200);

/// Time that a handshake goes on after an alert in the clear that ends it. Nothing tells who has
/// sent that: if it was the peer, nothing else comes, and if not, the next flight does.
const ALERT_GRACE: Duration = Duration::from_secs(2);

/// Time that OpenSSL is kept to send our last flight again. By then a peer that did not get it has
/// asked several times, or given up.
const SETTLE_AFTER: Duration = Duration::from_secs(10);

/// Packets of application data that wait to be taken, at most; what is too many is lost, as it
/// might be on the network.
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
/// and [`Dtls::close`]: take events, received packets and datagrams until there are none, then wait
/// for the next datagram or for [`Dtls::poll_timeout`].
///
/// **Time.** A lost flight is sent again by the clock of the caller: the same records once more,
/// which is all that is needed when they never arrived. OpenSSL beside it has a timer on the clock
/// of the system, a second at first, that cannot be set from outside; whenever it is called after
/// that, it makes the flight's records anew. That is needed in one case: a client whose own flight
/// did arrive and whose peer's last flight did not, since a record that is sent twice is taken for
/// a replay (RFC 6347 section 4.1.2.6) and goes unanswered.
pub struct Dtls {
    role: DtlsRole,
    state: State,
    /// At most [`MAX_OUTBOUND`]; what is too many is lost, as it might be on the network.
    outbound: VecDeque<Vec<u8>>,
    /// Two at most: connected, and how it ended.
    events: VecDeque<DtlsEvent>,
    /// Application data, at most [`MAX_RECEIVED`] packets; `None` where nobody wants it.
    received: Option<VecDeque<Vec<u8>>>,
}

enum State {
    /// Nothing has been sent or received.
    Idle(Engine),
    Handshaking(Handshake),
    /// OpenSSL is still there for a peer that may not have got our last flight.
    Connected {
        engine: Engine,
        /// Reads all but repeated messages of the handshake, where there is one for the cipher.
        reader: Option<Box<RecordLayer>>,
        /// Our last flight, and when it may be sent again.
        flight: Vec<Vec<u8>>,
        resend_from: Instant,
        settle_at: Option<Instant>,
    },
    /// Only goodbyes are left.
    Settled(Box<RecordLayer>),
    /// Closed or failed: nothing goes in or out any more, but what is queued already.
    Ended,
}

struct Handshake {
    engine: Engine,
    give_up_at: Instant,
    /// An alert in the clear that ends the handshake if nothing else comes, and when.
    alert: Option<(u8, Instant)>,
    resend_at: Instant,
    resend_after: Duration,
    /// The datagrams of our last flight.
    flight: Vec<Vec<u8>>,
}

impl Dtls {
    /// Creates an association that only a peer with a certificate of `expected` can complete.
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
        Ok(Self::with_engine(Engine::new(ssl, expected)?, role))
    }

    /// Creates an association over an OpenSSL session that has been configured.
    pub(super) fn with_engine(engine: Engine, role: DtlsRole) -> Self {
        Self {
            role,
            state: State::Idle(engine),
            outbound: VecDeque::new(),
            events: VecDeque::new(),
            received: None,
        }
    }

    /// Keeps the application data that comes, for a data channel (RFC 8831). Without this it is
    /// dropped.
    #[must_use]
    pub fn with_application_data(mut self) -> Self {
        self.received = Some(VecDeque::new());
        self
    }

    /// Sends a packet of application data, which is one record in a datagram of its own (RFC 8261
    /// section 3). Before the handshake is complete, and after the end, it is lost.
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

    /// Starts the handshake: as client with a ClientHello, as server with waiting for one.
    ///
    /// To be called when there is an address to send to. A server that gets a datagram first begins
    /// by itself. Again, it does nothing.
    pub fn start(&mut self, now: Instant) {
        self.state = match std::mem::replace(&mut self.state, State::Ended) {
            State::Idle(engine) => State::Handshaking(Handshake {
                engine,
                give_up_at: now + HANDSHAKE_TIMEOUT,
                alert: None,
                resend_at: now + FIRST_RESEND,
                resend_after: FIRST_RESEND,
                flight: Vec::new(),
            }),
            state => {
                self.state = state;
                return;
            }
        };
        if self.role == DtlsRole::Client {
            self.drive_handshake(now);
        }
    }

    /// Takes a datagram of the peer. It has to come from a pair that ICE has found valid.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) {
        self.start(now);
        match &mut self.state {
            State::Handshaking(handshake) => {
                let Sifted { records, alert } = record::sift(datagram, self.role);
                if let (Some(alert), None) = (alert, handshake.alert) {
                    handshake.alert = Some((alert, now + ALERT_GRACE));
                }
                if records.is_empty() {
                    return;
                }
                handshake.engine.push_inbound(&records);
                if self.drive_handshake(now) {
                    self.resend_after(FIRST_RESEND, now);
                }
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
            State::Handshaking(handshake) if now >= handshake.give_up_at => {
                self.fail(DtlsError::HandshakeTimeout);
            }
            State::Handshaking(Handshake {
                alert: Some((description, at)),
                ..
            }) if now >= *at => {
                let error = match description {
                    0 => DtlsError::ClosedEarly,
                    _ => DtlsError::Alert {
                        description: *description,
                    },
                };
                self.fail(error);
            }
            State::Handshaking(handshake) if now >= handshake.resend_at => {
                let backoff = handshake.resend_after * 2;
                if !self.drive_handshake(now) {
                    self.resend_flight();
                }
                self.resend_after(backoff.min(MAX_RESEND), now);
            }
            State::Connected { settle_at, .. } if settle_at.is_some_and(|at| now >= at) => {
                self.settle();
            }
            _ => {}
        }
    }

    /// Gives up what is only needed as long as the peer may not have got our last flight.
    ///
    /// Happens by itself some time after the handshake. To be called as soon as the peer has shown
    /// that it has the keys, by an SRTCP packet that was authentic: it saves some 70 KiB.
    /// Application data shows the same, and is noticed here.
    pub fn settle(&mut self) {
        // What OpenSSL has read already and not yet handed out would be lost with it.
        self.read();
        self.leave_openssl();
    }

    fn leave_openssl(&mut self) {
        let State::Connected {
            engine,
            reader,
            settle_at,
            ..
        } = &mut self.state
        else {
            return;
        };
        *settle_at = None;
        if let Some(last_sealed) = engine.last_sealed()
            && let Some(mut record_layer) = reader.take()
        {
            record_layer.take_over(last_sealed);
            self.state = State::Settled(record_layer);
        }
    }

    /// Ends the association, with a close_notify if it had come about (RFC 5246 section 7.2.1).
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

    /// Returns when [`Dtls::handle_timeout`] is to be called, if at all.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Handshaking(handshake) => {
                let give_up_at = handshake.alert.map(|(_, at)| at);
                let give_up_at = give_up_at.unwrap_or(handshake.give_up_at);
                Some(handshake.resend_at.min(give_up_at))
            }
            State::Connected { settle_at, .. } => *settle_at,
            State::Idle(_) | State::Settled(_) | State::Ended => None,
        }
    }

    /// Returns whether the handshake is complete and the association not closed.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected { .. } | State::Settled(_))
    }

    /// Returns the role of this side.
    #[must_use]
    pub fn role(&self) -> DtlsRole {
        self.role
    }

    /// Lets OpenSSL do what it can; says whether it had a flight to send.
    fn drive_handshake(&mut self, now: Instant) -> bool {
        let State::Handshaking(handshake) = &mut self.state else {
            return false;
        };
        let result = handshake.engine.handshake();
        let flight = handshake.engine.take_outbound();
        let has_flight = !flight.is_empty();
        if has_flight {
            handshake.flight.clone_from(&flight);
            // It goes on: whoever wanted it ended was not the peer.
            handshake.alert = None;
        }
        self.transmit(flight);
        match result {
            Ok(true) => self.complete(now),
            Ok(false) => {}
            Err(error) => self.fail(error),
        }
        has_flight
    }

    /// The handshake is done, as OpenSSL sees it.
    fn complete(&mut self, now: Instant) {
        let State::Handshaking(handshake) = std::mem::replace(&mut self.state, State::Ended) else {
            return;
        };
        let agreed = handshake.engine.agreed_keys(self.role);
        let reader = handshake.engine.record_layer(self.role);
        self.state = State::Connected {
            engine: handshake.engine,
            reader: reader.map(Box::new),
            flight: handshake.flight,
            resend_from: now + FIRST_RESEND,
            settle_at: Some(now + SETTLE_AFTER),
        };
        match agreed {
            Ok((profile, keys)) => {
                self.events
                    .push_back(DtlsEvent::Connected { profile, keys });
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

    fn resend_flight(&mut self) {
        if let State::Handshaking(handshake) = &self.state {
            let flight = handshake.flight.clone();
            self.transmit(flight);
        }
    }

    fn resend_after(&mut self, resend_after: Duration, now: Instant) {
        if let State::Handshaking(handshake) = &mut self.state {
            handshake.resend_after = resend_after;
            handshake.resend_at = now + resend_after;
        }
    }

    /// Reads what comes after the handshake as long as OpenSSL is there: it is for repeated
    /// messages of the handshake, whole flights as they are sent, and for everything under a cipher
    /// that is not known here.
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

    /// Sends our last flight again to a peer that repeats its own (RFC 6347 section 4.2.4). OpenSSL
    /// does so where the peer has made its records anew, and takes the same records for a replay.
    /// Nothing tells the peer from a forger here: the interval bounds what that is worth.
    fn resend_last_flight(&mut self, now: Instant, datagram: &[u8]) {
        let State::Connected {
            flight,
            resend_from,
            ..
        } = &mut self.state
        else {
            return;
        };
        let mut records = Records(datagram);
        let repeats =
            records.any(|record| (record.epoch, record.content_type) == (EPOCH, HANDSHAKE));
        if self.role == DtlsRole::Server && repeats && now >= *resend_from {
            *resend_from = now + FIRST_RESEND;
            let flight = flight.clone();
            self.transmit(flight);
        }
    }

    /// Lets OpenSSL read what has come after the handshake.
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

    /// Reads what comes after the handshake without OpenSSL. A repeated Finished is answered
    /// already and dropped. Returns whether application data came.
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

    /// RFC 5246 section 7.2.1: a close_notify is answered by one.
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
            State::Idle(_) | State::Handshaking(_) | State::Ended => return,
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

/// Keeps a packet of application data, where somebody wants it and there is room.
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
