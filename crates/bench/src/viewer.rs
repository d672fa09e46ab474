//! One viewer, without a socket and without a clock.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use distributary_webrtc::certificate::Fingerprint;
use distributary_webrtc::demux::DatagramKind;
use distributary_webrtc::dtls::{Dtls, DtlsContext, DtlsError, DtlsEvent};
use distributary_webrtc::ice::Credentials;
use distributary_webrtc::srtp::{SrtcpSealer, SrtpKeys};
use thiserror::Error;

use crate::answer::Answer;
use crate::feedback::{self, Arrivals};
use crate::ice::{Checks, ControllingAgent};
use crate::inspector::{Findings, Inspector};
use crate::mark::Mark;
use crate::offer::offer;
use crate::rtcp::{ReportState, receiver_report};
use crate::rtp::{extension, read_header};
use crate::traffic::Traffic;

/// Interval of receiver reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// A player that connects and receives.
///
/// ```text
///            handle_answer              a check is answered          DTLS is done
///   Offering -------------> (checking) --------------------> (handshaking) -----> (receiving)
///                  \___________________________ Connected ___________________________/
///                                                   | handshake failed, server said goodbye
///                                                   v
///                                                 Failed
/// ```
///
/// After each [`Self::handle_answer`], [`Self::handle_datagram`] and [`Self::handle_timeout`]: take
/// the datagrams that are to be sent, then wait for the next one or for [`Self::poll_timeout`].
pub struct Viewer {
    credentials: Credentials,
    /// Random: the tie-breaker of ICE, and source of the SSRC of the reports.
    identity: u64,
    inspects: bool,
    tells_arrivals: bool,
    state: State,
    traffic: Traffic,
    first_packet: Option<Instant>,
}

/// The reason why a viewer gets no media any more.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ViewerError {
    /// There is no DTLS association.
    #[error("DTLS: {0}")]
    Dtls(#[from] DtlsError),
    /// The keys cannot be used.
    #[error("SRTP: {0}")]
    Srtp(#[from] webrtc_srtp::Error),
    /// The server closed the association.
    #[error("the server said goodbye")]
    Closed,
}

enum State {
    Offering,
    Connected(Box<Connection>),
    Failed(ViewerError),
}

struct Connection {
    agent: ControllingAgent,
    dtls: Dtls,
    media: Option<Media>,
}

/// The state once the keys are known.
struct Media {
    sealer: SrtcpSealer,
    inspector: Option<Inspector>,
    next_report: Instant,
    report: Option<Vec<u8>>,
    arrivals: Option<Arrivals>,
    next_feedback: Instant,
    feedback: Option<Vec<u8>>,
    video: ReportState,
    audio: ReportState,
}

impl Viewer {
    /// Creates a viewer before its offer. If it `inspects`, it decrypts the media.
    #[must_use]
    pub fn new(credentials: Credentials, identity: u64, inspects: bool) -> Self {
        Self {
            credentials,
            identity,
            inspects,
            tells_arrivals: false,
            state: State::Offering,
            traffic: Traffic::default(),
            first_packet: None,
        }
    }

    /// Lets it tell the server when each packet arrives, as browsers do.
    #[must_use]
    pub fn with_feedback(mut self, feedback: bool) -> Self {
        self.tells_arrivals = feedback;
        self
    }

    /// Returns its offer. All viewers may have one certificate.
    #[must_use]
    pub fn offer(&self, fingerprint: &Fingerprint) -> String {
        offer(
            self.identity,
            &self.credentials,
            fingerprint,
            self.tells_arrivals,
        )
    }

    /// Starts to connect to `server`, one of the answer's candidates.
    ///
    /// # Errors
    /// When OpenSSL cannot be set up.
    pub fn handle_answer(
        &mut self,
        now: Instant,
        answer: Answer,
        server: SocketAddr,
        context: &DtlsContext,
    ) -> Result<(), DtlsError> {
        let dtls = Dtls::new(context, answer.role, answer.fingerprints)?;
        let agent = ControllingAgent::new(
            now,
            self.credentials.clone(),
            answer.credentials,
            server,
            self.identity,
        );
        self.state = State::Connected(Box::new(Connection {
            agent,
            dtls,
            media: None,
        }));
        self.handle_timeout(now);
        Ok(())
    }

    /// Takes a datagram of the server.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) {
        let State::Connected(connection) = &mut self.state else {
            return;
        };
        match DatagramKind::of(datagram) {
            DatagramKind::Rtp => {
                let Some((header, _)) = read_header(datagram) else {
                    return;
                };
                self.first_packet.get_or_insert(now);
                self.traffic.handle_packet(now, &header, datagram.len());
                if let Some(media) = &mut connection.media {
                    media.handle_packet(now, datagram);
                }
            }
            DatagramKind::Stun => {
                connection.agent.handle_message(now, datagram);
                if connection.agent.is_connected() {
                    connection.dtls.start(now);
                }
            }
            DatagramKind::Dtls => {
                connection.dtls.handle_datagram(now, datagram);
                self.handle_dtls_events(now);
            }
            DatagramKind::Rtcp | DatagramKind::Unknown => {}
        }
    }

    /// Handles due timeouts; does nothing before [`Self::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        let State::Connected(connection) = &mut self.state else {
            return;
        };
        connection.agent.handle_timeout(now);
        connection.dtls.handle_timeout(now);
        if let Some(media) = &mut connection.media {
            media.handle_timeout(now, self.identity as u32, &self.traffic);
        }
        self.handle_dtls_events(now);
    }

    /// Returns the next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        let State::Connected(connection) = &mut self.state else {
            return None;
        };
        let media = connection.media.as_mut();
        let told = media.and_then(|media| media.report.take().or_else(|| media.feedback.take()));
        told.or_else(|| connection.agent.poll_transmit())
            .or_else(|| connection.dtls.poll_transmit())
    }

    /// Returns when [`Self::handle_timeout`] is due; `None` if there is nothing to wait
    /// for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let State::Connected(connection) = &self.state else {
            return None;
        };
        let check = Some(connection.agent.poll_timeout());
        let report = connection.media.as_ref().map(Media::poll_timeout);
        [check, connection.dtls.poll_timeout(), report]
            .into_iter()
            .flatten()
            .min()
    }

    /// Starts the measured interval.
    pub fn begin_measurement(&mut self, now: Instant) {
        self.traffic.begin(now);
    }

    /// Returns the media as far as they can be seen from outside.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Returns when the first RTP packet came.
    #[must_use]
    pub fn first_packet(&self) -> Option<Instant> {
        self.first_packet
    }

    /// Returns whether it decrypts the media.
    #[must_use]
    pub fn inspects(&self) -> bool {
        self.inspects
    }

    /// Returns the results of decryption; `None` if the viewer does not decrypt or has no keys.
    #[must_use]
    pub fn findings(&self) -> Option<Findings> {
        let State::Connected(connection) = &self.state else {
            return None;
        };
        let inspector = connection.media.as_ref()?.inspector.as_ref()?;
        Some(inspector.findings())
    }

    /// Returns the marks of the frames that have ended since the last call, and when they did; none if
    /// the viewer does not decrypt.
    pub fn take_marks(&mut self) -> Vec<(Instant, Mark)> {
        let State::Connected(connection) = &mut self.state else {
            return Vec::new();
        };
        let media = connection.media.as_mut();
        let inspector = media.and_then(|media| media.inspector.as_mut());
        inspector.map_or_else(Vec::new, Inspector::take_marks)
    }

    /// Returns the stats of the ICE checks.
    #[must_use]
    pub fn checks(&self) -> Checks {
        match &self.state {
            State::Connected(connection) => connection.agent.checks(),
            State::Offering | State::Failed(_) => Checks::default(),
        }
    }

    /// Returns the reason of its failure, if it failed.
    #[must_use]
    pub fn error(&self) -> Option<&ViewerError> {
        match &self.state {
            State::Failed(error) => Some(error),
            State::Offering | State::Connected(_) => None,
        }
    }

    fn handle_dtls_events(&mut self, now: Instant) {
        let State::Connected(connection) = &mut self.state else {
            return;
        };
        while let Some(event) = connection.dtls.poll_event() {
            let error = match event {
                DtlsEvent::Connected => continue,
                DtlsEvent::Keys { keys, .. } => {
                    match Media::new(now, &keys, self.inspects, self.tells_arrivals) {
                        Ok(media) => {
                            connection.media = Some(media);
                            continue;
                        }
                        Err(error) => error.into(),
                    }
                }
                DtlsEvent::Failed(error) => error.into(),
                _ => ViewerError::Closed,
            };
            self.state = State::Failed(error);
            return;
        }
    }
}

impl Media {
    fn new(
        now: Instant,
        keys: &SrtpKeys,
        inspects: bool,
        tells_arrivals: bool,
    ) -> Result<Self, webrtc_srtp::Error> {
        Ok(Self {
            sealer: SrtcpSealer::new(&keys.local),
            inspector: inspects.then(|| Inspector::new(&keys.remote)).transpose()?,
            next_report: now + REPORT_INTERVAL,
            report: None,
            arrivals: tells_arrivals.then(|| Arrivals::new(now)),
            next_feedback: now + feedback::INTERVAL,
            feedback: None,
            video: ReportState::default(),
            audio: ReportState::default(),
        })
    }

    fn handle_packet(&mut self, now: Instant, packet: &[u8]) {
        if let Some(arrivals) = &mut self.arrivals
            && let Some(&[high, low]) = extension(packet, feedback::EXTENSION)
        {
            arrivals.record(now, u16::from_be_bytes([high, low]));
        }
        if let Some(inspector) = &mut self.inspector {
            inspector.handle_packet(now, packet);
        }
    }

    fn poll_timeout(&self) -> Instant {
        match self.arrivals {
            Some(_) => self.next_report.min(self.next_feedback),
            None => self.next_report,
        }
    }

    fn handle_timeout(&mut self, now: Instant, ssrc: u32, traffic: &Traffic) {
        if let Some(arrivals) = self.arrivals.as_mut().filter(|_| now >= self.next_feedback) {
            self.next_feedback = now + feedback::INTERVAL;
            self.feedback = arrivals.feedback(ssrc, traffic.video().ssrc());
            if let Some(feedback) = &mut self.feedback {
                self.sealer.seal(feedback);
            }
        }
        if now < self.next_report {
            return;
        }
        self.next_report = now + REPORT_INTERVAL;
        let mut report = receiver_report(
            ssrc,
            &mut [
                (traffic.video(), &mut self.video),
                (traffic.audio(), &mut self.audio),
            ],
        );
        self.sealer.seal(&mut report);
        self.report = Some(report);
    }
}
