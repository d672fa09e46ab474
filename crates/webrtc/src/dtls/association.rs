//! One association: handshake, keys, close.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openssl::error::ErrorStack;
use openssl::ssl::{ErrorCode, Ssl, SslRef, SslStream};
use thiserror::Error;

use super::context::{self, DtlsContext};
use super::pipe::DatagramPipe;
use super::{DtlsRole, record};
use crate::certificate::Fingerprint;
use crate::srtp::profile::SrtpKeyingMaterial;
use crate::srtp::{SrtpKeys, SrtpProfile};

/// How long a handshake may take from its first datagram.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);

/// A flight that got no answer is sent again after this time at first, and then after twice the time
/// before. RFC 6347 section 4.2.4.1 suggests a second and allows less where that suits the use: a
/// viewer is waiting, and a flight is some two kilobytes to an address that has proved itself.
const FIRST_RESEND: Duration = Duration::from_millis(200);

/// The longest such time.
const MAX_RESEND: Duration = Duration::from_millis(3200);

/// Label of the exporter (RFC 5764 section 4.2).
const EXPORTER_LABEL: &str = "EXTRACTOR-dtls_srtp";

/// A DTLS association without a socket.
///
/// ```text
///         start / handle_datagram            handshake done
///   Idle ------------------------> Handshaking ------------> Connected
///                                       |                        |
///            alert, wrong certificate,  |                        | close_notify, close()
///            no answer, close()         v                        v
///                                     Ended <--------------------+
/// ```
///
/// After each [`Dtls::start`], [`Dtls::handle_datagram`], [`Dtls::handle_timeout`] and
/// [`Dtls::close`]: take events and datagrams until there are none, then wait for the next datagram
/// or for [`Dtls::poll_timeout`].
///
/// **Time.** A lost flight is sent again by the clock of the caller: the same records once more,
/// which is all that is needed when they never arrived. OpenSSL beside it has a timer on the clock
/// of the system, a second at first, that cannot be set from outside; whenever it is called after
/// that, it makes the flight's records anew. That is needed in one case: a client whose own flight
/// did arrive and whose peer's last flight did not, since a record that is sent twice is taken for a
/// replay (RFC 6347 section 4.1.2.6) and goes unanswered.
pub struct Dtls {
    stream: SslStream<DatagramPipe>,
    role: DtlsRole,
    expected: Arc<[Fingerprint]>,
    state: State,
    /// Two at most: connected, and how it ended.
    events: VecDeque<DtlsEvent>,
}

/// What has happened to an association.
#[derive(Debug)]
#[non_exhaustive]
pub enum DtlsEvent {
    /// The handshake is complete, and the peer's certificate is the one that was announced.
    Connected {
        /// What SRTP is to be protected with.
        profile: SrtpProfile,
        /// The keys for it.
        keys: SrtpKeys,
    },
    /// The peer has said goodbye.
    Closed,
    /// There is no association, or no longer one.
    Failed(DtlsError),
}

/// Why there is no association.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DtlsError {
    /// OpenSSL could not be set up: not a matter of the peer.
    #[error("could not set up DTLS")]
    Setup(#[source] ErrorStack),
    /// The offer had no fingerprint, so that no certificate could be right.
    #[error("no fingerprint to check the certificate of the peer against")]
    NoFingerprint,
    /// The certificate of the peer is not the one its offer announced: somebody is in between, or
    /// the peer is broken.
    #[error("the certificate of the peer does not match its fingerprint")]
    FingerprintMismatch,
    /// The peer does not know `use_srtp`, or no profile of ours.
    #[error("the peer shares no SRTP protection profile with us")]
    NoSrtpProfile,
    /// The handshake was not complete after [`HANDSHAKE_TIMEOUT`].
    #[error("the DTLS handshake took too long")]
    HandshakeTimeout,
    /// The peer closed before the handshake was complete.
    #[error("the peer closed the association during the handshake")]
    ClosedEarly,
    /// The peer sent a fatal alert, or something that is answered by one.
    #[error("DTLS protocol failure: {0}")]
    Protocol(#[source] ErrorStack),
}

#[derive(Debug)]
enum State {
    /// Nothing has been sent or received.
    Idle,
    Handshaking(Handshake),
    Connected,
    /// Closed or failed: nothing goes in or out any more, but what is queued already.
    Ended,
}

#[derive(Debug)]
struct Handshake {
    give_up_at: Instant,
    resend_at: Instant,
    resend_after: Duration,
    /// The datagrams of our last flight.
    flight: Vec<Vec<u8>>,
}

impl Dtls {
    /// An association that only a peer with a certificate of `expected` can complete.
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
        Self::with_ssl(ssl, role, expected)
    }

    /// An association over an OpenSSL session that has been configured.
    pub(super) fn with_ssl(
        ssl: Ssl,
        role: DtlsRole,
        expected: Arc<[Fingerprint]>,
    ) -> Result<Self, DtlsError> {
        let stream = SslStream::new(ssl, DatagramPipe::default()).map_err(DtlsError::Setup)?;
        Ok(Self {
            stream,
            role,
            expected,
            state: State::Idle,
            events: VecDeque::new(),
        })
    }

    /// Begins the handshake: as client with a ClientHello, as server with waiting for one.
    ///
    /// To be called when there is an address to send to. A server that gets a datagram first begins
    /// by itself. Again, it does nothing.
    pub fn start(&mut self, now: Instant) {
        if !matches!(self.state, State::Idle) {
            return;
        }
        self.state = State::Handshaking(Handshake {
            give_up_at: now + HANDSHAKE_TIMEOUT,
            resend_at: now + FIRST_RESEND,
            resend_after: FIRST_RESEND,
            flight: Vec::new(),
        });
        if self.role == DtlsRole::Client {
            self.drive_handshake();
        }
    }

    /// Takes a datagram of the peer. It has to come from a pair that ICE has found valid.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) {
        self.start(now);
        let records = record::usable(datagram);
        if records.is_empty() || matches!(self.state, State::Ended) {
            return;
        }
        self.stream.get_mut().push_inbound(records);
        if self.is_connected() {
            self.read_records();
        } else if self.drive_handshake() {
            self.resend_after(FIRST_RESEND, now);
        }
    }

    /// Takes the passing of time; does nothing before [`Dtls::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        let State::Handshaking(handshake) = &self.state else {
            return;
        };
        if now >= handshake.give_up_at {
            self.fail(DtlsError::HandshakeTimeout);
        } else if now >= handshake.resend_at {
            let backoff = handshake.resend_after * 2;
            if !self.drive_handshake() {
                self.resend_flight();
            }
            self.resend_after(backoff.min(MAX_RESEND), now);
        }
    }

    /// Ends the association, with a close_notify if it had come about (RFC 5246 section 7.2.1).
    pub fn close(&mut self) {
        if matches!(self.state, State::Connected) {
            self.send_close_notify();
        }
        self.state = State::Ended;
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.stream.get_mut().pop_outbound()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<DtlsEvent> {
        self.events.pop_front()
    }

    /// When [`Dtls::handle_timeout`] is to be called; `None` outside of the handshake.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Handshaking(handshake) => Some(handshake.resend_at.min(handshake.give_up_at)),
            State::Idle | State::Connected | State::Ended => None,
        }
    }

    /// Whether the handshake is complete and the association not closed.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected)
    }

    /// The role of this side.
    #[must_use]
    pub fn role(&self) -> DtlsRole {
        self.role
    }

    /// Lets OpenSSL do what it can; says whether it had a flight to send.
    fn drive_handshake(&mut self) -> bool {
        let already_queued = self.stream.get_ref().outbound().len();
        forget_errors();
        let result = self.stream.do_handshake();
        let outbound = self.stream.get_ref().outbound();
        let flight: Vec<_> = outbound.skip(already_queued).cloned().collect();
        let has_flight = !flight.is_empty();
        if has_flight && let State::Handshaking(handshake) = &mut self.state {
            handshake.flight = flight;
        }
        match result {
            Ok(()) => self.complete(),
            Err(error) if is_pending(error.code()) => {}
            Err(error) => {
                let error = self.handshake_error(&error);
                self.fail(error);
            }
        }
        has_flight
    }

    fn resend_flight(&mut self) {
        if let State::Handshaking(handshake) = &self.state {
            for datagram in &handshake.flight {
                self.stream.get_mut().push_outbound(datagram.clone());
            }
        }
    }

    fn resend_after(&mut self, resend_after: Duration, now: Instant) {
        if let State::Handshaking(handshake) = &mut self.state {
            handshake.resend_after = resend_after;
            handshake.resend_at = now + resend_after;
        }
    }

    /// The handshake is done, as OpenSSL sees it. The certificate has been looked at in its course;
    /// that is done again here, so that no way of completing a handshake can go around it.
    fn complete(&mut self) {
        match agreed_keys(self.stream.ssl(), self.role, &self.expected) {
            Ok((profile, keys)) => {
                self.state = State::Connected;
                self.events
                    .push_back(DtlsEvent::Connected { profile, keys });
            }
            Err(error) => {
                self.send_close_notify();
                self.fail(error);
            }
        }
    }

    /// Takes the records that come after the handshake: alerts, and repeated Finished messages, to
    /// which OpenSSL repeats ours (RFC 6347 section 4.2.4).
    ///
    /// Application data would be that of a data channel (RFC 8831). None is negotiated, so there is
    /// nobody to give it to, and it is dropped.
    fn read_records(&mut self) {
        let mut application_data = [0; 2048];
        loop {
            forget_errors();
            let Err(error) = self.stream.ssl_read(&mut application_data) else {
                continue;
            };
            match error.code() {
                code if is_pending(code) => {}
                ErrorCode::ZERO_RETURN => {
                    self.send_close_notify();
                    self.end(DtlsEvent::Closed);
                }
                _ => self.fail(protocol_error(&error)),
            }
            return;
        }
    }

    fn send_close_notify(&mut self) {
        forget_errors();
        // An association that is in no state to send an alert any more needs none.
        let _ = self.stream.shutdown();
    }

    fn handshake_error(&self, error: &openssl::ssl::Error) -> DtlsError {
        if self.stream.ssl().verify_result() == context::FINGERPRINT_MISMATCH {
            DtlsError::FingerprintMismatch
        } else if error.code() == ErrorCode::ZERO_RETURN {
            DtlsError::ClosedEarly
        } else {
            protocol_error(error)
        }
    }

    fn fail(&mut self, error: DtlsError) {
        self.end(DtlsEvent::Failed(error));
    }

    fn end(&mut self, event: DtlsEvent) {
        self.state = State::Ended;
        self.events.push_back(event);
    }
}

impl fmt::Debug for Dtls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dtls")
            .field("role", &self.role)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// Profile and keys of a complete handshake with the right peer.
fn agreed_keys(
    ssl: &SslRef,
    role: DtlsRole,
    expected: &[Fingerprint],
) -> Result<(SrtpProfile, SrtpKeys), DtlsError> {
    let certificate = ssl
        .peer_certificate()
        .and_then(|certificate| certificate.to_der().ok());
    if !certificate.is_some_and(|der| Fingerprint::any_matches(expected, &der)) {
        return Err(DtlsError::FingerprintMismatch);
    }
    let profile = ssl
        .selected_srtp_profile()
        .and_then(|profile| u16::try_from(profile.id().as_raw()).ok())
        .and_then(SrtpProfile::from_id)
        .ok_or(DtlsError::NoSrtpProfile)?;
    let mut exported = vec![0; profile.keying_material_len()];
    ssl.export_keying_material(&mut exported, EXPORTER_LABEL, None)
        .map_err(DtlsError::Protocol)?;
    let material = SrtpKeyingMaterial::split(profile, &exported).ok_or(DtlsError::NoSrtpProfile)?;
    let keys = match role {
        DtlsRole::Client => material.for_client(),
        DtlsRole::Server => material.for_server(),
    };
    Ok((profile, keys))
}

/// Whether OpenSSL only waits for the next datagram.
fn is_pending(code: ErrorCode) -> bool {
    code == ErrorCode::WANT_READ || code == ErrorCode::WANT_WRITE
}

fn protocol_error(error: &openssl::ssl::Error) -> DtlsError {
    DtlsError::Protocol(error.ssl_error().cloned().unwrap_or_else(ErrorStack::get))
}

/// Empties OpenSSL's error queue. It belongs to the thread: what one association left there, the next
/// one on this thread would take for its own.
fn forget_errors() {
    drop(ErrorStack::get());
}
