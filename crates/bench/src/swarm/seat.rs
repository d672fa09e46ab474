//! A viewer of the swarm with its socket.

use std::net::IpAddr;
use std::time::Instant;

use distributary_webrtc::dtls::DtlsContext;
use distributary_webrtc::ice::Credentials;
use mio::{Interest, Registry, Token};
use url::{Host, Url};

use super::config::SwarmConfig;
use super::error::SwarmError;
use crate::answer::Answer;
use crate::report::ViewerOutcome;
use crate::socket::{ReadBuffers, ViewerSocket};
use crate::viewer::Viewer;

/// The failure of a viewer whose session did not end in time.
pub(super) const NO_ANSWER: &str = "no answer to DELETE";

/// A viewer with its socket and signaling.
pub(super) struct Seat {
    /// The number of the viewer among all that the swarm ever has.
    pub(super) number: usize,
    pub(super) viewer: Viewer,
    /// Names its socket among the readiness events.
    pub(super) token: Token,
    socket: Option<ViewerSocket>,
    pub(super) session: Option<Url>,
    /// When it was its turn to join.
    pub(super) begun: Option<Instant>,
    pub(super) asked: Option<Instant>,
    answered: Option<Instant>,
    pub(super) failure: Option<String>,
}

impl Seat {
    pub(super) fn new(
        number: usize,
        token: Token,
        config: &SwarmConfig,
    ) -> Result<Self, SwarmError> {
        let credentials =
            Credentials::generate().map_err(|error| SwarmError::Random(error.to_string()))?;
        let inspects = token.0 < config.decrypt;
        let viewer = Viewer::new(credentials, rand::random(), inspects);
        Ok(Self {
            number,
            viewer: viewer.with_feedback(config.feedback),
            token,
            socket: None,
            session: None,
            begun: None,
            asked: None,
            answered: None,
            failure: None,
        })
    }

    /// Takes the answer; the error is the reason for which this viewer cannot connect.
    pub(super) fn connect(
        &mut self,
        now: Instant,
        answer: &str,
        config: &SwarmConfig,
        context: &DtlsContext,
        registry: &Registry,
    ) -> Result<(), String> {
        self.answered = Some(now);
        let answer = Answer::parse(answer).map_err(|error| error.to_string())?;
        let server = answer
            .candidate(signaling_ip(&config.url))
            .ok_or("no candidate")?;
        let mut socket =
            ViewerSocket::connect(server, config.receive).map_err(|error| error.to_string())?;
        registry
            .register(socket.source(), self.token, Interest::READABLE)
            .map_err(|error| error.to_string())?;
        self.socket = Some(socket);
        self.viewer
            .handle_answer(now, answer, server, context)
            .map_err(|error| error.to_string())?;
        self.transmit();
        Ok(())
    }

    pub(super) fn receive(&mut self, now: Instant, buffers: &mut ReadBuffers) {
        let Some(socket) = &self.socket else {
            return;
        };
        let viewer = &mut self.viewer;
        socket.receive(buffers, |datagram| viewer.handle_datagram(now, datagram));
        self.transmit();
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self
            .viewer
            .poll_timeout()
            .is_some_and(|deadline| now >= deadline)
        {
            self.viewer.handle_timeout(now);
            self.transmit();
        }
    }

    fn transmit(&mut self) {
        while let Some(datagram) = self.viewer.poll_transmit() {
            if let Some(socket) = &self.socket {
                socket.send(&datagram);
            }
        }
    }

    /// Returns whether the viewer has joined: there are media (and a keyframe, if this
    /// viewer looks for one), or there will never be.
    pub(super) fn is_settled(&self) -> bool {
        let has_all = if self.viewer.inspects() {
            self.viewer
                .findings()
                .is_some_and(|findings| findings.first_keyframe.is_some())
        } else {
            self.viewer.first_packet().is_some()
        };
        has_all || self.failure.is_some() || self.viewer.error().is_some()
    }

    /// The reason why its session did not end properly.
    pub(super) fn leave_failure(&self) -> Option<String> {
        let unanswered = self.session.is_some().then(|| NO_ANSWER.to_owned());
        let refused = self
            .failure
            .as_ref()
            .map(|reason| format!("DELETE: {reason}"));
        refused.or(unanswered)
    }

    pub(super) fn outcome(&self, now: Instant) -> ViewerOutcome {
        let since_asked = |at: Option<Instant>| Some(at?.saturating_duration_since(self.asked?));
        let findings = self.viewer.findings();
        let error = self.viewer.error().map(ToString::to_string);
        ViewerOutcome {
            answer: since_asked(self.answered),
            first_packet: since_asked(self.viewer.first_packet()),
            first_keyframe: since_asked(findings.and_then(|findings| findings.first_keyframe)),
            measured: self.viewer.traffic().measured(now),
            findings,
            checks: self.viewer.checks(),
            failure: self.failure.clone().or(error),
        }
    }
}

/// Returns the address of the signaling, if the URL has one.
fn signaling_ip(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(ip) => Some(ip.into()),
        Host::Ipv6(ip) => Some(ip.into()),
        Host::Domain(_) => None,
    }
}
