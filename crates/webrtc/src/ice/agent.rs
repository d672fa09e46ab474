//! The agent: answers the peer's checks and knows where the peer is.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::Credentials;
use crate::stun::{Class, ErrorCode, IceRole, Message, MessageWriter, Method, StunError};

/// Consent has ended when no valid check came for this long. RFC 7675 section 5.1 allows 30 s; peers
/// check every 2.5 to 6 s, so that half of it means several checks in a row were lost.
pub const CONSENT_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a new session waits for its first valid check.
pub const FIRST_CHECK_TIMEOUT: Duration = Duration::from_secs(30);

/// Pairs whose datagrams are accepted at the same time: one for each way the peer has to get here.
const MAX_VALID_PAIRS: usize = 8;

/// Where a datagram came from, and which of our addresses it was sent to.
///
/// Replies have to leave from the address that was asked (RFC 8445 section 7.2.5.2.1), which on a
/// socket that is bound to all addresses is not a matter of course.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CandidatePair {
    /// Our address, where the system tells it.
    pub local: Option<IpAddr>,
    /// The peer's address.
    pub remote: SocketAddr,
}

/// A lite agent with one component: everything is multiplexed on it (RFC 8834 section 4.5).
///
/// ```text
///                 valid check                    valid check
///   (no address) ------------> (selected: first) ----------> unchanged
///                                                + USE-CANDIDATE
///                                                ----------> (selected: that pair)
/// ```
///
/// The first pair with a valid check is used at once, since the peer takes DTLS and media on each
/// pair that works, and a nomination may be another round trip away. From then on only a valid check
/// with USE-CANDIDATE moves the selected pair: neither a check without, nor DTLS or RTP from
/// elsewhere. Nothing is sent, not even an error, to whoever does not know the password; what the
/// peer gets is about as long as what it sent.
///
/// Call [`IceLite::handle_stun`] with each STUN datagram, and drop the session at
/// [`IceLite::poll_timeout`].
#[derive(Debug)]
pub struct IceLite {
    local: Credentials,
    /// What USERNAME has to be: both fragments, ours first (RFC 8445 section 7.1.2).
    username: String,
    created: Instant,
    last_valid_check: Option<Instant>,
    selected: Option<CandidatePair>,
    nominated: bool,
    /// Pairs with a valid check; the oldest is forgotten for a new one.
    valid: [Option<CandidatePair>; MAX_VALID_PAIRS],
    next_valid: usize,
}

/// What came of a STUN datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "an answered request has a response to send"]
pub enum IceOutcome {
    /// The check was valid: send the response back to where the request came from.
    Valid(Check),
    /// The sender is the peer, but the request cannot be granted: send the error response.
    Refused {
        /// Its error code: 420 or 487.
        code: u16,
    },
    /// Nothing is to be sent.
    Dropped(DropReason),
}

/// What a valid check meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// The pair of this check has become the selected one: send there from now on.
    pub selected: bool,
    /// The peer nominates this pair.
    pub nominated: bool,
    /// The check came on the selected pair, so that consent is good for another
    /// [`CONSENT_TIMEOUT`].
    pub consent: bool,
}

/// Why a STUN datagram was dropped without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DropReason {
    /// No well-formed STUN message.
    Malformed(StunError),
    /// An indication, a response or another method. Indications are keepalives (RFC 8445
    /// section 11); responses cannot be for us, who never ask.
    NotBindingRequest,
    /// No FINGERPRINT, which checks have to carry (RFC 8445 section 7.1).
    NoFingerprint,
    /// USERNAME is missing or not of this session.
    Username,
    /// MESSAGE-INTEGRITY is missing or not made with our password.
    Integrity,
}

impl IceLite {
    /// An agent for the session whose answer carried `local` and whose offer carried `remote_ufrag`.
    ///
    /// The password of the peer is not asked for: it would sign checks of ours, and there are none.
    #[must_use]
    pub fn new(now: Instant, local: Credentials, remote_ufrag: &str) -> Self {
        Self {
            username: format!("{}:{remote_ufrag}", local.ufrag()),
            local,
            created: now,
            last_valid_check: None,
            selected: None,
            nominated: false,
            valid: [None; MAX_VALID_PAIRS],
            next_valid: 0,
        }
    }

    /// Takes a STUN datagram; unless the outcome is [`IceOutcome::Dropped`], `response` is what to
    /// send back on `pair`. What `response` held before is lost in that case.
    ///
    /// A repeated request gets the same response again.
    pub fn handle_stun(
        &mut self,
        now: Instant,
        pair: CandidatePair,
        datagram: &[u8],
        response: &mut Vec<u8>,
    ) -> IceOutcome {
        let request = match self.authenticate(datagram) {
            Ok(request) => request,
            Err(reason) => return IceOutcome::Dropped(reason),
        };
        if let Some(error) = refusal(&request) {
            self.write_error(&request, error, response);
            return IceOutcome::Refused { code: error.code };
        }
        MessageWriter::new(
            response,
            Class::Success,
            Method::BINDING,
            request.transaction,
        )
        .xor_mapped_address(pair.remote)
        .message_integrity(self.local.password().as_bytes())
        .finish();
        IceOutcome::Valid(self.accept(now, pair, request.use_candidate))
    }

    /// The pair to send on, as soon as there is one.
    #[must_use]
    pub fn selected_pair(&self) -> Option<CandidatePair> {
        self.selected
    }

    /// Whether the selected pair is one that the peer nominated.
    #[must_use]
    pub fn is_nominated(&self) -> bool {
        self.nominated
    }

    /// Whether datagrams on this pair may be listened to: a valid check came on it.
    #[must_use]
    pub fn is_valid(&self, pair: CandidatePair) -> bool {
        self.selected == Some(pair) || self.valid.contains(&Some(pair))
    }

    /// When the last valid check on the selected pair came.
    #[must_use]
    pub fn last_valid_check(&self) -> Option<Instant> {
        self.last_valid_check
    }

    /// When the peer is to be taken for gone, if no valid check comes before.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        match self.last_valid_check {
            Some(last) => last + CONSENT_TIMEOUT,
            None => self.created + FIRST_CHECK_TIMEOUT,
        }
    }

    /// Whether consent has ended, or never came (RFC 7675 section 5.1): nothing may be sent any more.
    #[must_use]
    pub fn is_expired(&self, now: Instant) -> bool {
        now >= self.poll_timeout()
    }

    /// A request that comes from the peer and nobody else (RFC 8489 section 9.1.3).
    ///
    /// An error response to a stranger would tell him which sessions there are, and could be aimed at
    /// a third party by a forged source address; so there is none.
    fn authenticate<'a>(&self, datagram: &'a [u8]) -> Result<Message<'a>, DropReason> {
        let message = Message::parse(datagram).map_err(DropReason::Malformed)?;
        if message.class != Class::Request || message.method != Method::BINDING {
            return Err(DropReason::NotBindingRequest);
        }
        if !message.has_fingerprint {
            return Err(DropReason::NoFingerprint);
        }
        if message.username != Some(self.username.as_str()) {
            return Err(DropReason::Username);
        }
        if !message.verify_integrity(self.local.password().as_bytes()) {
            return Err(DropReason::Integrity);
        }
        Ok(message)
    }

    /// RFC 8445 section 7.3.2: what a lite agent does with a valid check.
    fn accept(&mut self, now: Instant, pair: CandidatePair, nominated: bool) -> Check {
        if !self.is_valid(pair) {
            if let Some(slot) = self.valid.get_mut(self.next_valid) {
                *slot = Some(pair);
            }
            self.next_valid = (self.next_valid + 1) % MAX_VALID_PAIRS;
        }
        let selected = match self.selected {
            None => true,
            Some(current) => nominated && current != pair,
        };
        if selected {
            self.selected = Some(pair);
        }
        let consent = self.selected == Some(pair);
        if consent {
            self.last_valid_check = Some(now);
            self.nominated |= nominated;
        }
        Check {
            selected,
            nominated,
            consent,
        }
    }

    fn write_error(&self, request: &Message<'_>, error: ErrorCode<'_>, response: &mut Vec<u8>) {
        let mut writer =
            MessageWriter::new(response, Class::Error, Method::BINDING, request.transaction)
                .error_code(error);
        if error == ErrorCode::UNKNOWN_ATTRIBUTE {
            writer = writer.unknown_attributes(&request.unknown_attributes);
        }
        writer
            .message_integrity(self.local.password().as_bytes())
            .finish();
    }
}

/// Why a request of the peer cannot be granted.
fn refusal(request: &Message<'_>) -> Option<ErrorCode<'static>> {
    if !request.unknown_attributes.is_empty() {
        return Some(ErrorCode::UNKNOWN_ATTRIBUTE);
    }
    match request.ice_role {
        Some(IceRole::Controlled(_)) => Some(ErrorCode::ROLE_CONFLICT),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stun::{AttributeType, TransactionId};

    const LOCAL_PASSWORD: &str = "localpasswordlocalpassword";

    fn agent(now: Instant) -> IceLite {
        let local = Credentials::new("LOCL", LOCAL_PASSWORD).unwrap();
        IceLite::new(now, local, "REMO")
    }

    #[allow(clippy::disallowed_methods, reason = "an origin for driven time")]
    fn origin() -> Instant {
        Instant::now()
    }

    fn pair(remote: &str) -> CandidatePair {
        CandidatePair {
            local: None,
            remote: remote.parse().unwrap(),
        }
    }

    /// A check as a browser sends it, but for what a test changes.
    struct TestCheck {
        username: &'static str,
        password: &'static str,
        role: IceRole,
        use_candidate: bool,
    }

    impl Default for TestCheck {
        fn default() -> Self {
            Self {
                username: "LOCL:REMO",
                password: LOCAL_PASSWORD,
                role: IceRole::Controlling(7),
                use_candidate: false,
            }
        }
    }

    impl TestCheck {
        fn datagram(&self) -> Vec<u8> {
            let mut buffer = Vec::new();
            let transaction = TransactionId([9; 12]);
            let mut writer =
                MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, transaction)
                    .username(self.username)
                    .ice_role(self.role)
                    .priority(1);
            if self.use_candidate {
                writer = writer.use_candidate();
            }
            writer.message_integrity(self.password.as_bytes()).finish();
            buffer
        }
    }

    fn check() -> Vec<u8> {
        TestCheck::default().datagram()
    }

    fn nominating_check() -> Vec<u8> {
        TestCheck {
            use_candidate: true,
            ..TestCheck::default()
        }
        .datagram()
    }

    #[test]
    fn a_valid_check_is_answered_with_the_address_it_came_from() {
        for address in ["192.0.2.7:5000", "[2001:db8::7]:5000"] {
            let (now, mut out) = (origin(), Vec::new());
            let mut ice = agent(now);
            let request = check();
            let outcome = ice.handle_stun(now, pair(address), &request, &mut out);
            assert_eq!(
                outcome,
                IceOutcome::Valid(Check {
                    selected: true,
                    nominated: false,
                    consent: true
                })
            );
            let response = Message::parse(&out).unwrap();
            assert_eq!(response.class, Class::Success);
            assert_eq!(response.transaction, TransactionId([9; 12]));
            assert_eq!(response.xor_mapped_address, Some(address.parse().unwrap()));
            assert!(response.has_fingerprint);
            assert!(response.verify_integrity(LOCAL_PASSWORD.as_bytes()));
            assert!(out.len() <= request.len(), "no amplification");
        }
    }

    #[test]
    fn a_repeated_check_is_answered_alike() {
        let (now, mut first, mut second) = (origin(), Vec::new(), Vec::new());
        let mut ice = agent(now);
        let from = pair("192.0.2.7:5000");
        let _ = ice.handle_stun(now, from, &check(), &mut first);
        let _ = ice.handle_stun(now, from, &check(), &mut second);
        assert!(!first.is_empty());
        assert_eq!(first, second);
    }

    #[test]
    fn strangers_get_no_answer_and_change_nothing() {
        let now = origin();
        let wrong_password = TestCheck {
            password: "anotherpasswordanotherpassword",
            ..TestCheck::default()
        };
        let wrong_ufrag = TestCheck {
            username: "LOCX:REMO",
            ..TestCheck::default()
        };
        let wrong_peer = TestCheck {
            username: "LOCL:REMX",
            ..TestCheck::default()
        };
        let mut unsigned = Vec::new();
        let transaction = TransactionId([9; 12]);
        MessageWriter::new(&mut unsigned, Class::Request, Method::BINDING, transaction)
            .username("LOCL:REMO")
            .use_candidate()
            .finish();
        let mut broken_crc = check();
        *broken_crc.last_mut().unwrap() ^= 1;
        let mut no_crc = check();
        no_crc.truncate(no_crc.len() - 8);
        no_crc[3] -= 8;
        let rows = [
            (wrong_password.datagram(), DropReason::Integrity),
            (wrong_ufrag.datagram(), DropReason::Username),
            (wrong_peer.datagram(), DropReason::Username),
            (unsigned, DropReason::Integrity),
            (broken_crc, DropReason::Malformed(StunError::Fingerprint)),
            (no_crc, DropReason::NoFingerprint),
        ];
        for (datagram, reason) in rows {
            let (mut ice, mut out) = (agent(now), Vec::new());
            let from = pair("192.0.2.66:666");
            let outcome = ice.handle_stun(now, from, &datagram, &mut out);
            assert_eq!(outcome, IceOutcome::Dropped(reason));
            assert!(out.is_empty());
            assert_eq!(ice.selected_pair(), None);
            assert!(!ice.is_valid(from));
            assert_eq!(ice.last_valid_check(), None);
        }
    }

    #[test]
    fn indications_and_responses_are_not_answered() {
        let (now, mut out) = (origin(), Vec::new());
        let mut ice = agent(now);
        for class in [Class::Indication, Class::Success, Class::Error] {
            let mut datagram = Vec::new();
            MessageWriter::new(
                &mut datagram,
                class,
                Method::BINDING,
                TransactionId([0; 12]),
            )
            .username("LOCL:REMO")
            .message_integrity(LOCAL_PASSWORD.as_bytes())
            .finish();
            assert_eq!(
                ice.handle_stun(now, pair("192.0.2.7:5000"), &datagram, &mut out),
                IceOutcome::Dropped(DropReason::NotBindingRequest)
            );
        }
        assert!(out.is_empty());
        assert_eq!(ice.selected_pair(), None);
    }

    #[test]
    fn the_first_valid_pair_is_used_without_waiting_for_a_nomination() {
        let (now, mut out) = (origin(), Vec::new());
        let mut ice = agent(now);
        let (first, second) = (pair("192.0.2.7:5000"), pair("192.0.2.8:5000"));
        let _ = ice.handle_stun(now, first, &check(), &mut out);
        assert_eq!(ice.selected_pair(), Some(first));
        assert!(!ice.is_nominated());

        let outcome = ice.handle_stun(now, second, &check(), &mut out);
        assert_eq!(
            outcome,
            IceOutcome::Valid(Check {
                selected: false,
                nominated: false,
                consent: false
            })
        );
        assert_eq!(ice.selected_pair(), Some(first));
        assert!(
            ice.is_valid(second),
            "DTLS may come from there all the same"
        );
    }

    #[test]
    fn a_nomination_moves_the_selected_pair_and_so_does_the_next() {
        let (now, mut out) = (origin(), Vec::new());
        let mut ice = agent(now);
        let (wifi, mobile) = (pair("192.0.2.7:5000"), pair("198.51.100.8:6000"));
        for from in [wifi, mobile, wifi] {
            let _ = ice.handle_stun(now, from, &check(), &mut out);
            let _ = ice.handle_stun(now, from, &nominating_check(), &mut out);
            assert_eq!(ice.selected_pair(), Some(from));
            assert!(ice.is_nominated());
        }
        let again = ice.handle_stun(now, wifi, &nominating_check(), &mut out);
        assert_eq!(
            again,
            IceOutcome::Valid(Check {
                selected: false,
                nominated: true,
                consent: true
            })
        );
    }

    #[test]
    fn the_same_peer_asking_another_address_of_ours_is_another_pair() {
        let (now, mut out) = (origin(), Vec::new());
        let mut ice = agent(now);
        let remote = "192.0.2.7:5000".parse().unwrap();
        let [first, second] = ["203.0.113.1", "203.0.113.2"].map(|local| CandidatePair {
            local: Some(local.parse().unwrap()),
            remote,
        });
        let _ = ice.handle_stun(now, first, &check(), &mut out);
        let _ = ice.handle_stun(now, second, &nominating_check(), &mut out);
        assert_eq!(ice.selected_pair(), Some(second));
    }

    #[test]
    fn a_nomination_without_the_password_moves_nothing() {
        let (now, mut out) = (origin(), Vec::new());
        let mut ice = agent(now);
        let (victim, attacker) = (pair("192.0.2.7:5000"), pair("192.0.2.66:666"));
        let _ = ice.handle_stun(now, victim, &nominating_check(), &mut out);
        let forged = TestCheck {
            password: "guessedpasswordguessedpassword",
            use_candidate: true,
            ..TestCheck::default()
        };
        let outcome = ice.handle_stun(now, attacker, &forged.datagram(), &mut out);
        assert_eq!(outcome, IceOutcome::Dropped(DropReason::Integrity));
        assert_eq!(ice.selected_pair(), Some(victim));
        assert!(!ice.is_valid(attacker));
    }

    #[test]
    fn a_peer_that_believes_to_be_controlled_is_told_to_switch() {
        let (now, mut out) = (origin(), Vec::new());
        let mut ice = agent(now);
        let controlled = TestCheck {
            role: IceRole::Controlled(u64::MAX),
            ..TestCheck::default()
        };
        let request = controlled.datagram();
        let outcome = ice.handle_stun(now, pair("192.0.2.7:5000"), &request, &mut out);
        assert_eq!(outcome, IceOutcome::Refused { code: 487 });
        let response = Message::parse(&out).unwrap();
        assert_eq!(response.class, Class::Error);
        assert_eq!(response.error_code, Some(ErrorCode::ROLE_CONFLICT));
        assert!(response.verify_integrity(LOCAL_PASSWORD.as_bytes()));
        assert!(out.len() <= request.len(), "no amplification");
        assert_eq!(ice.selected_pair(), None);
    }

    #[test]
    fn an_attribute_that_has_to_be_understood_and_is_not_is_refused() {
        let (now, mut out) = (origin(), Vec::new());
        let mut ice = agent(now);
        let request = with_unknown_attribute();
        let outcome = ice.handle_stun(now, pair("192.0.2.7:5000"), &request, &mut out);
        assert_eq!(outcome, IceOutcome::Refused { code: 420 });
        let response = Message::parse(&out).unwrap();
        assert_eq!(response.error_code, Some(ErrorCode::UNKNOWN_ATTRIBUTE));
        assert!(response.verify_integrity(LOCAL_PASSWORD.as_bytes()));
        let listed = [0x00, 0x0a, 0x00, 0x02, 0x7f, 0xfe, 0x00, 0x00];
        assert!(out.windows(listed.len()).any(|bytes| bytes == listed));
        assert_eq!(ice.selected_pair(), None);
    }

    fn with_unknown_attribute() -> Vec<u8> {
        let mut buffer = Vec::new();
        let transaction = TransactionId([9; 12]);
        MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, transaction)
            .username("LOCL:REMO")
            .other(AttributeType(0x7ffe), b"unknown")
            .message_integrity(LOCAL_PASSWORD.as_bytes())
            .finish();
        buffer
    }

    #[test]
    fn a_session_without_checks_expires() {
        let start = origin();
        let mut ice = agent(start);
        assert!(!ice.is_expired(start + FIRST_CHECK_TIMEOUT - Duration::from_millis(1)));
        assert!(ice.is_expired(start + FIRST_CHECK_TIMEOUT));

        let (mut out, from) = (Vec::new(), pair("192.0.2.7:5000"));
        let first = start + Duration::from_secs(20);
        let _ = ice.handle_stun(first, from, &check(), &mut out);
        assert_eq!(ice.poll_timeout(), first + CONSENT_TIMEOUT);
        let second = first + Duration::from_secs(10);
        let _ = ice.handle_stun(second, from, &check(), &mut out);
        assert_eq!(ice.last_valid_check(), Some(second));
        assert!(!ice.is_expired(first + CONSENT_TIMEOUT));
        assert!(ice.is_expired(second + CONSENT_TIMEOUT));
    }

    #[test]
    fn checks_elsewhere_do_not_refresh_consent_for_the_selected_pair() {
        let (start, mut out) = (origin(), Vec::new());
        let mut ice = agent(start);
        let _ = ice.handle_stun(start, pair("192.0.2.7:5000"), &check(), &mut out);
        let later = start + Duration::from_secs(5);
        let _ = ice.handle_stun(later, pair("192.0.2.8:5000"), &check(), &mut out);
        assert_eq!(ice.last_valid_check(), Some(start));
    }

    #[test]
    fn the_table_of_valid_pairs_has_a_bound_and_keeps_the_selected_one() {
        let (now, mut out) = (origin(), Vec::new());
        let mut ice = agent(now);
        let pairs: Vec<_> = (1..=1000)
            .map(|port| pair(&format!("192.0.2.7:{port}")))
            .collect();
        for &from in &pairs {
            let _ = ice.handle_stun(now, from, &check(), &mut out);
        }
        assert!(ice.is_valid(pairs[0]), "selected");
        let known = pairs.iter().filter(|&&pair| ice.is_valid(pair)).count();
        assert_eq!(known, MAX_VALID_PAIRS + 1);
    }

    proptest! {
        #[test]
        fn changed_checks_are_never_taken_for_valid(
            at in 0_usize..60,
            value in any::<u8>(),
            cut in 0_usize..10,
        ) {
            let (now, mut out) = (origin(), Vec::new());
            let mut ice = agent(now);
            let original = nominating_check();
            let mut datagram = original.clone();
            datagram[at] = value;
            datagram.truncate(datagram.len() - cut);
            let outcome = ice.handle_stun(now, pair("192.0.2.7:5000"), &datagram, &mut out);
            prop_assert_eq!(
                matches!(outcome, IceOutcome::Valid(_)),
                datagram == original
            );
        }
    }
}
