//! The checks of a full agent that controls (RFC 8445), and of consent (RFC 7675).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use distributary_webrtc::ice::Credentials;
use distributary_webrtc::stun::{Class, IceRole, Message, MessageWriter, Method, TransactionId};

/// A first check that gets no answer is sent again after this time, and then after twice the time
/// before.
const FIRST_RETRY: Duration = Duration::from_millis(50);

/// The longest such time.
const MAX_RETRY: Duration = Duration::from_millis(1600);

/// From the first answer to the nomination: browsers look for better pairs for about this long.
const NOMINATION_DELAY: Duration = Duration::from_millis(60);

/// From one check of consent to the next, as browsers do it.
const CONSENT_INTERVAL: Duration = Duration::from_millis(2500);

/// Maximum number of checks that wait for a response; responses to older ones are ignored.
const MAX_OUTSTANDING: usize = 8;

/// Priority of a peer-reflexive candidate that the only host candidate would be (RFC 8445 section
/// 5.1.2.1): type preference 110, local preference 65535, component 1.
const PRIORITY: u32 = 110 << 24 | 0xffff << 8 | 255;

/// One pair of a full agent that controls.
///
/// ```text
///             answer                60 ms later
///   Checking --------> Connected ---------------> Nominated: a check of consent every 2.5 s
/// ```
///
/// After each [`Self::handle_message`] and [`Self::handle_timeout`]: take the datagrams, then wait
/// for the next one or for [`Self::poll_timeout`]. It never gives up: that is for its owner.
#[derive(Debug)]
pub struct ControllingAgent {
    local: Credentials,
    remote: Credentials,
    /// Destination of the checks.
    server: SocketAddr,
    tie_breaker: u64,
    state: State,
    next_check: Instant,
    outstanding: VecDeque<TransactionId>,
    outbound: VecDeque<Vec<u8>>,
    checks: Checks,
}

/// Stats of the checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    /// Checks sent.
    pub sent: u32,
    /// Checks that got a valid answer.
    pub answered: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Checking { retry: Duration },
    Connected,
    Nominated,
}

impl ControllingAgent {
    /// Creates an agent that begins to check at `now`. `tie_breaker` is random (RFC 8445 section
    /// 16.1).
    #[must_use]
    pub fn new(
        now: Instant,
        local: Credentials,
        remote: Credentials,
        server: SocketAddr,
        tie_breaker: u64,
    ) -> Self {
        Self {
            local,
            remote,
            server,
            tie_breaker,
            state: State::Checking { retry: FIRST_RETRY },
            next_check: now,
            outstanding: VecDeque::with_capacity(MAX_OUTSTANDING),
            outbound: VecDeque::new(),
            checks: Checks::default(),
        }
    }

    /// Handles a STUN datagram; drops it if it is not valid.
    pub fn handle_message(&mut self, now: Instant, datagram: &[u8]) {
        let Ok(message) = Message::parse(datagram) else {
            return;
        };
        if message.method != Method::BINDING {
            return;
        }
        match message.class {
            Class::Success => self.handle_success(now, &message),
            Class::Request => self.handle_request(&message),
            Class::Error | Class::Indication => {}
        }
    }

    /// Sends the check that is due; does nothing before [`Self::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        if now < self.next_check {
            return;
        }
        let interval = match &mut self.state {
            State::Checking { retry } => {
                let interval = *retry;
                *retry = (interval * 2).min(MAX_RETRY);
                interval
            }
            State::Connected => {
                self.state = State::Nominated;
                CONSENT_INTERVAL
            }
            State::Nominated => CONSENT_INTERVAL,
        };
        self.next_check = now + interval;
        self.check();
    }

    /// Returns the next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.outbound.pop_front()
    }

    /// Returns when [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        self.next_check
    }

    /// Returns whether a check was answered.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        !matches!(self.state, State::Checking { .. })
    }

    /// Returns the stats of the checks.
    #[must_use]
    pub fn checks(&self) -> Checks {
        self.checks
    }

    fn handle_success(&mut self, now: Instant, message: &Message<'_>) {
        let mut outstanding = self.outstanding.iter();
        let Some(at) = outstanding.position(|id| *id == message.transaction) else {
            return;
        };
        // RFC 8489 section 9.1.4: the password of the request is that of the response.
        if !message.verify_integrity(self.remote.password().as_bytes()) {
            return;
        }
        self.outstanding.remove(at);
        self.checks.answered += 1;
        if !self.is_connected() {
            self.state = State::Connected;
            self.next_check = now + NOMINATION_DELAY;
        }
    }

    /// Answers a check of a server that is a full agent itself.
    fn handle_request(&mut self, message: &Message<'_>) {
        let password = self.local.password().as_bytes();
        if !message.verify_integrity(password) || self.outbound.len() >= MAX_OUTSTANDING {
            return;
        }
        let mut datagram = Vec::new();
        MessageWriter::new(
            &mut datagram,
            Class::Success,
            Method::BINDING,
            message.transaction,
        )
        .xor_mapped_address(self.server)
        .message_integrity(password)
        .finish();
        self.outbound.push_back(datagram);
    }

    /// RFC 8445 section 7.2.2.
    fn check(&mut self) {
        let transaction = self.next_transaction();
        if self.outstanding.len() == MAX_OUTSTANDING {
            self.outstanding.pop_front();
        }
        self.outstanding.push_back(transaction);
        let username = format!("{}:{}", self.remote.ufrag(), self.local.ufrag());
        let mut datagram = Vec::with_capacity(128);
        let message =
            MessageWriter::new(&mut datagram, Class::Request, Method::BINDING, transaction)
                .username(&username)
                .ice_role(IceRole::Controlling(self.tie_breaker));
        let message = match self.state {
            State::Nominated => message.use_candidate(),
            State::Checking { .. } | State::Connected => message,
        };
        message
            .priority(PRIORITY)
            .message_integrity(self.remote.password().as_bytes())
            .finish();
        self.outbound.push_back(datagram);
    }

    /// Unique for each check. Nobody is kept from guessing it, which a load generator need not.
    fn next_transaction(&mut self) -> TransactionId {
        self.checks.sent += 1;
        let mut id = [0; 12];
        id[..8].copy_from_slice(&self.tie_breaker.to_be_bytes());
        id[8..].copy_from_slice(&self.checks.sent.to_be_bytes());
        TransactionId(id)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use distributary_webrtc::ice::{CandidatePair, IceLite, IceOutcome, Transport};

    use super::*;

    fn credentials(ufrag: &str) -> Credentials {
        Credentials::new(ufrag, &ufrag.repeat(6)).unwrap()
    }

    fn agent(now: Instant) -> ControllingAgent {
        let server = "127.0.0.1:8189".parse().unwrap();
        ControllingAgent::new(now, credentials("viewer"), credentials("server"), server, 7)
    }

    /// Returns the answer of the server to a check.
    fn success(check: &[u8], password: &[u8]) -> Vec<u8> {
        let transaction = Message::parse(check).unwrap().transaction;
        let mut answer = Vec::new();
        MessageWriter::new(&mut answer, Class::Success, Method::BINDING, transaction)
            .xor_mapped_address("127.0.0.1:4000".parse().unwrap())
            .message_integrity(password)
            .finish();
        answer
    }

    /// Sends the checks due until `now`; returns their times and whether each nominates.
    fn checks_until(agent: &mut ControllingAgent, begin: Instant, millis: u64) -> Vec<(u64, bool)> {
        let mut checks = Vec::new();
        while agent.poll_timeout() <= begin + Duration::from_millis(millis) {
            let at = agent.poll_timeout();
            agent.handle_timeout(at);
            while let Some(check) = agent.poll_transmit() {
                let nominates = Message::parse(&check).unwrap().use_candidate;
                checks.push(((at - begin).as_millis() as u64, nominates));
            }
        }
        checks
    }

    #[test]
    fn unanswered_check_is_repeated_with_backoff() {
        let begin = Instant::now();
        let mut agent = agent(begin);
        let times: Vec<_> = checks_until(&mut agent, begin, 6000)
            .into_iter()
            .map(|(at, nominates)| {
                assert!(!nominates);
                at
            })
            .collect();
        assert_eq!(times, [0, 50, 150, 350, 750, 1550, 3150, 4750]);
        assert!(!agent.is_connected());
        assert_eq!(
            agent.checks(),
            Checks {
                sent: 8,
                answered: 0
            }
        );
    }

    #[test]
    fn first_response_connects_and_leads_to_nomination_and_consent() {
        let begin = Instant::now();
        let mut agent = agent(begin);
        agent.handle_timeout(begin);
        let check = agent.poll_transmit().unwrap();
        let message = Message::parse(&check).unwrap();
        assert_eq!(message.username, Some("server:viewer"));
        assert_eq!(message.ice_role, Some(IceRole::Controlling(7)));
        assert!(message.has_fingerprint && message.priority.is_some());
        assert!(message.verify_integrity(credentials("server").password().as_bytes()));

        let answer = success(&check, credentials("server").password().as_bytes());
        agent.handle_message(begin + Duration::from_millis(5), &answer);
        assert!(agent.is_connected());
        let checks = checks_until(&mut agent, begin, 5100);
        assert_eq!(checks, [(65, true), (2565, true), (5065, true)]);
    }

    #[test]
    fn response_counts_once_and_only_with_the_right_password() {
        let begin = Instant::now();
        let mut agent = agent(begin);
        agent.handle_timeout(begin);
        let check = agent.poll_transmit().unwrap();
        agent.handle_message(begin, &success(&check, b"another"));
        assert!(!agent.is_connected());
        let answer = success(&check, credentials("server").password().as_bytes());
        agent.handle_message(begin, &answer);
        agent.handle_message(begin, &answer);
        assert_eq!(agent.checks().answered, 1);
    }

    #[test]
    fn check_of_the_server_is_answered() {
        let begin = Instant::now();
        let mut agent = agent(begin);
        let mut request = Vec::new();
        MessageWriter::new(
            &mut request,
            Class::Request,
            Method::BINDING,
            TransactionId([9; 12]),
        )
        .username("viewer:server")
        .message_integrity(credentials("viewer").password().as_bytes())
        .finish();
        agent.handle_message(begin, &request);
        let answer = agent.poll_transmit().unwrap();
        let answer = Message::parse(&answer).unwrap();
        assert_eq!(answer.class, Class::Success);
        assert_eq!(answer.transaction, TransactionId([9; 12]));
        assert!(answer.verify_integrity(credentials("viewer").password().as_bytes()));
    }

    #[test]
    fn gateway_accepts_the_checks() {
        let begin = Instant::now();
        let mut agent = agent(begin);
        agent.handle_timeout(begin);
        let check = agent.poll_transmit().unwrap();
        let mut lite = IceLite::new(begin, credentials("server"), credentials("viewer"));
        let pair = CandidatePair {
            transport: Transport::Udp,
            remote: "127.0.0.1:4000".parse().unwrap(),
            local: None,
        };
        let mut answer = Vec::new();
        let outcome = lite.handle_stun(begin, pair, &check, &mut answer);
        assert!(matches!(outcome, IceOutcome::Valid(_)));
        assert!(lite.is_valid(pair));
        agent.handle_message(begin, &answer);
        assert!(agent.is_connected());
    }
}
