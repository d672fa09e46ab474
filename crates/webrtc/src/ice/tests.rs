//! The agent against the checks of a peer.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::agent::MAX_VALID_PAIRS;
use super::*;
use crate::stun::{
    AttributeType, Class, ErrorCode, IceRole, Message, MessageWriter, Method, StunError,
    TransactionId,
};

const LOCAL_PASSWORD: &str = "localpasswordlocalpassword";
const REMOTE_PASSWORD: &str = "remotepasswordremotepassword";

fn agent(now: Instant) -> IceLite {
    let local = Credentials::new("LOCL", LOCAL_PASSWORD).unwrap();
    IceLite::new(now, local, remote("REMO"))
}

fn remote(ufrag: &str) -> Credentials {
    Credentials::new(ufrag, REMOTE_PASSWORD).unwrap()
}

#[allow(clippy::disallowed_methods, reason = "an origin for driven time")]
fn origin() -> Instant {
    Instant::now()
}

fn pair(remote: &str) -> CandidatePair {
    CandidatePair::udp(None, remote.parse().unwrap())
}

/// Returns a check as a browser sends it, with a test's changes.
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
fn valid_check_is_answered_with_the_address_it_came_from() {
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
fn repeated_check_is_answered_alike() {
    let (now, mut first, mut second) = (origin(), Vec::new(), Vec::new());
    let mut ice = agent(now);
    let from = pair("192.0.2.7:5000");
    let _ = ice.handle_stun(now, from, &check(), &mut first);
    let _ = ice.handle_stun(now, from, &check(), &mut second);
    assert!(!first.is_empty());
    assert_eq!(first, second);
}

/// Returns a request that names the session and is not signed at all.
fn unsigned() -> Vec<u8> {
    let mut datagram = Vec::new();
    let transaction = TransactionId([9; 12]);
    MessageWriter::new(&mut datagram, Class::Request, Method::BINDING, transaction)
        .username("LOCL:REMO")
        .use_candidate()
        .finish();
    datagram
}

#[test]
fn request_that_does_not_name_the_session_gets_no_answer_and_changes_nothing() {
    let now = origin();
    let wrong_ufrag = TestCheck {
        username: "LOCX:REMO",
        ..TestCheck::default()
    };
    let mut nameless = Vec::new();
    let transaction = TransactionId([9; 12]);
    MessageWriter::new(&mut nameless, Class::Request, Method::BINDING, transaction).finish();
    let mut broken_crc = check();
    *broken_crc.last_mut().unwrap() ^= 1;
    let mut no_crc = check();
    no_crc.truncate(no_crc.len() - 8);
    no_crc[3] -= 8;
    let rows = [
        (wrong_ufrag.datagram(), DropReason::Username),
        (nameless, DropReason::Username),
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
fn request_without_a_valid_signature_gets_an_unsigned_error() {
    let now = origin();
    let wrong_password = TestCheck {
        password: "anotherpasswordanotherpassword",
        ..TestCheck::default()
    };
    let wrong_peer = TestCheck {
        username: "LOCL:REMX",
        ..TestCheck::default()
    };
    let rows = [
        (unsigned(), ErrorCode::BAD_REQUEST),
        (wrong_password.datagram(), ErrorCode::UNAUTHENTICATED),
        (wrong_peer.datagram(), ErrorCode::UNAUTHENTICATED),
    ];
    for (datagram, error) in rows {
        let (mut ice, mut out, mut again) = (agent(now), Vec::new(), Vec::new());
        let from = pair("192.0.2.66:666");
        let outcome = ice.handle_stun(now, from, &datagram, &mut out);
        assert_eq!(outcome, IceOutcome::Refused { code: error.code });
        let response = Message::parse(&out).unwrap();
        assert_eq!(response.class, Class::Error);
        assert_eq!(response.transaction, TransactionId([9; 12]));
        assert_eq!(response.error_code, Some(error));
        assert!(response.has_fingerprint);
        assert!(!response.has_integrity() && response.username.is_none());
        assert!(out.len() <= datagram.len(), "no amplification");
        assert_eq!(ice.selected_pair(), None);
        assert!(!ice.is_valid(from));
        assert_eq!(ice.last_valid_check(), None);
        let _ = ice.handle_stun(now, from, &datagram, &mut again);
        assert_eq!(out, again, "a retransmission is answered alike");
    }
}

#[test]
fn indications_and_responses_are_not_answered() {
    let (now, mut out) = (origin(), Vec::new());
    let mut ice = agent(now);
    for (class, reason) in [
        (Class::Indication, DropReason::Indication),
        (Class::Success, DropReason::NoAnswer),
        (Class::Error, DropReason::NotBindingRequest),
    ] {
        let mut datagram = Vec::new();
        let transaction = TransactionId([0; 12]);
        MessageWriter::new(&mut datagram, class, Method::BINDING, transaction)
            .username("LOCL:REMO")
            .message_integrity(LOCAL_PASSWORD.as_bytes())
            .finish();
        assert_eq!(
            ice.handle_stun(now, pair("192.0.2.7:5000"), &datagram, &mut out),
            IceOutcome::Dropped(reason)
        );
    }
    assert!(out.is_empty());
    assert_eq!(ice.selected_pair(), None);
}

#[test]
fn indications_do_not_refresh_consent() {
    let (start, mut out) = (origin(), Vec::new());
    let mut ice = agent(start);
    let from = pair("192.0.2.7:5000");
    let _ = ice.handle_stun(start, from, &check(), &mut out);
    let mut indication = Vec::new();
    let transaction = TransactionId([0; 12]);
    MessageWriter::new(
        &mut indication,
        Class::Indication,
        Method::BINDING,
        transaction,
    )
    .finish();
    let later = start + Duration::from_secs(10);
    let _ = ice.handle_stun(later, from, &indication, &mut out);
    assert!(ice.is_expired(start + CONSENT_TIMEOUT));
}

#[test]
fn first_valid_pair_is_used_without_waiting_for_a_nomination() {
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
fn nomination_moves_the_selected_pair_and_so_does_the_next() {
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
fn same_peer_asking_another_address_of_ours_is_another_pair() {
    let (now, mut out) = (origin(), Vec::new());
    let mut ice = agent(now);
    let remote = "192.0.2.7:5000".parse().unwrap();
    let [first, second] = ["203.0.113.1", "203.0.113.2"]
        .map(|local| CandidatePair::udp(Some(local.parse().unwrap()), remote));
    let _ = ice.handle_stun(now, first, &check(), &mut out);
    let _ = ice.handle_stun(now, second, &nominating_check(), &mut out);
    assert_eq!(ice.selected_pair(), Some(second));
}

#[test]
fn nomination_without_the_password_moves_nothing() {
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
    assert_eq!(outcome, IceOutcome::Refused { code: 401 });
    assert_eq!(ice.selected_pair(), Some(victim));
    assert!(!ice.is_valid(attacker));
}

#[test]
fn controlled_peer_gets_a_role_conflict_error() {
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
fn unsupported_comprehension_required_attribute_is_refused() {
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
fn session_without_checks_expires() {
    let start = origin();
    let mut ice = agent(start);
    assert!(!ice.is_expired(start + FIRST_CHECK_TIMEOUT - Duration::from_millis(1)));
    assert!(ice.is_expired(start + FIRST_CHECK_TIMEOUT));

    let (mut out, from) = (Vec::new(), pair("192.0.2.7:5000"));
    let first = start + Duration::from_secs(20);
    let _ = ice.handle_stun(first, from, &check(), &mut out);
    assert_eq!(ice.consent_ends(), first + CONSENT_TIMEOUT);
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
fn number_of_valid_pairs_is_bounded_and_the_selected_one_is_kept() {
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
    assert_eq!(known, MAX_VALID_PAIRS);
}

/// Returns the check of ours that is due on a pair.
fn challenge(ice: &mut IceLite, now: Instant, from: CandidatePair) -> Option<Vec<u8>> {
    let mut request = Vec::new();
    ice.poll_challenge(now, from, &mut request)
        .then_some(request)
}

/// Returns the answer of a peer that has got a check of ours.
fn answer(request: &[u8], password: &str) -> Vec<u8> {
    let request = Message::parse(request).unwrap();
    assert_eq!(request.username, Some("REMO:LOCL"));
    assert!(matches!(request.ice_role, Some(IceRole::Controlled(_))));
    assert!(request.has_fingerprint && request.priority.is_some() && !request.use_candidate);
    assert!(request.verify_integrity(REMOTE_PASSWORD.as_bytes()));
    let mut response = Vec::new();
    MessageWriter::new(
        &mut response,
        Class::Success,
        Method::BINDING,
        request.transaction,
    )
    .message_integrity(password.as_bytes())
    .finish();
    response
}

/// Lets the peer answer the check of ours on a pair.
fn prove(ice: &mut IceLite, now: Instant, from: CandidatePair) -> IceOutcome {
    let request = challenge(ice, now, from).unwrap();
    let answer = answer(&request, REMOTE_PASSWORD);
    ice.handle_stun(now, from, &answer, &mut Vec::new())
}

#[test]
fn unproven_pair_is_limited_to_three_times_the_bytes_received() {
    let (now, mut out) = (origin(), Vec::new());
    let mut ice = agent(now);
    let from = pair("192.0.2.7:5000");
    assert!(!ice.spend(from, 1), "nothing has come from there");
    let request = check();
    let _ = ice.handle_stun(now, from, &request, &mut out);
    let ours = challenge(&mut ice, now, from).unwrap();
    let left = AMPLIFICATION_LIMIT as usize * request.len() - out.len() - ours.len();
    assert!(!ice.spend(from, left + 1));
    assert!(ice.spend(from, left));
    assert!(!ice.spend(from, 1));
    ice.note_received(from, 10);
    assert!(ice.spend(from, 30) && !ice.spend(from, 1));

    let answer = answer(&ours, REMOTE_PASSWORD);
    let outcome = ice.handle_stun(now, from, &answer, &mut out);
    assert_eq!(
        outcome,
        IceOutcome::Proven {
            selected: false,
            round_trip: Some(Duration::ZERO)
        }
    );
    assert!(ice.is_proven(from) && ice.spend(from, 1 << 30));
    let later = now + Duration::from_secs(1);
    assert_eq!(challenge(&mut ice, later, from), None, "it is known");
}

#[test]
fn response_to_a_check_of_ours_tells_the_round_trip_since_the_first_one() {
    let (start, mut out) = (origin(), Vec::new());
    let mut ice = agent(start);
    let from = pair("192.0.2.7:5000");
    let _ = ice.handle_stun(start, from, &check(), &mut out);
    let ours = challenge(&mut ice, start, from).unwrap();
    let now = start + Duration::from_millis(60);
    let _ = ice.handle_stun(now, from, &check(), &mut out);
    assert!(challenge(&mut ice, now, from).is_some(), "once more");
    let now = start + Duration::from_millis(80);
    let answer = answer(&ours, REMOTE_PASSWORD);
    let proven = |round_trip| IceOutcome::Proven {
        selected: false,
        round_trip,
    };
    let outcome = ice.handle_stun(now, from, &answer, &mut out);
    assert_eq!(outcome, proven(Some(Duration::from_millis(80))));
    let outcome = ice.handle_stun(now, from, &answer, &mut out);
    assert_eq!(outcome, proven(None), "a repeated response tells nothing");
}

#[test]
fn next_check_of_ours_is_due_before_consent_ends_until_the_pair_is_proven() {
    let (start, mut out) = (origin(), Vec::new());
    let mut ice = agent(start);
    let from = pair("192.0.2.7:5000");
    let _ = ice.handle_stun(start, from, &nominating_check(), &mut out);
    let _ = challenge(&mut ice, start, from).unwrap();
    let due = ice.poll_timeout();
    assert!(due > start && due < start + Duration::from_millis(200));
    let request = challenge(&mut ice, due, from).unwrap();
    assert!(ice.poll_timeout() > due);
    let _ = ice.handle_stun(due, from, &answer(&request, REMOTE_PASSWORD), &mut out);
    assert_eq!(ice.poll_timeout(), ice.consent_ends());
}

#[test]
fn nominated_pair_takes_the_media_over_once_it_is_proven_and_not_before() {
    let (start, mut out) = (origin(), Vec::new());
    let mut ice = agent(start);
    let (wifi, mobile) = (pair("192.0.2.7:5000"), pair("198.51.100.8:6000"));
    let _ = ice.handle_stun(start, wifi, &nominating_check(), &mut out);
    let _ = prove(&mut ice, start, wifi);
    let now = start + Duration::from_secs(1);
    let outcome = ice.handle_stun(now, mobile, &nominating_check(), &mut out);
    assert!(matches!(outcome, IceOutcome::Valid(check) if !check.selected && !check.consent));
    assert_eq!(ice.selected_pair(), Some(wifi));
    assert_eq!(ice.unproven().collect::<Vec<_>>(), [mobile]);
    assert_eq!(
        ice.consent_ends(),
        start + CONSENT_TIMEOUT,
        "no consent by it"
    );

    assert_eq!(
        prove(&mut ice, now, mobile),
        IceOutcome::Proven {
            selected: true,
            round_trip: Some(Duration::ZERO)
        }
    );
    assert_eq!(ice.selected_pair(), Some(mobile));
    assert!(ice.is_nominated());
    assert_eq!(ice.consent_ends(), now + CONSENT_TIMEOUT);
    // Back to one that is proven: at once.
    let outcome = ice.handle_stun(now, wifi, &nominating_check(), &mut out);
    assert!(matches!(outcome, IceOutcome::Valid(check) if check.selected));
    assert_eq!(ice.selected_pair(), Some(wifi));
}

#[test]
fn only_the_answer_from_where_a_check_went_proves_the_pair() {
    let (now, mut out) = (origin(), Vec::new());
    let mut ice = agent(now);
    let (real, victim) = (pair("192.0.2.7:5000"), pair("203.0.113.9:9"));
    for from in [real, victim] {
        let _ = ice.handle_stun(now, from, &check(), &mut out);
    }
    let to_real = challenge(&mut ice, now, real).unwrap();
    let to_victim = challenge(&mut ice, now, victim).unwrap();
    let dropped = IceOutcome::Dropped(DropReason::NoAnswer);
    // What the viewer got itself, with the address of somebody else as the source.
    for (from, datagram) in [
        (victim, answer(&to_real, REMOTE_PASSWORD)),
        (real, answer(&to_victim, REMOTE_PASSWORD)),
        (victim, answer(&to_victim, LOCAL_PASSWORD)),
        (pair("192.0.2.7:5001"), answer(&to_real, REMOTE_PASSWORD)),
    ] {
        assert_eq!(ice.handle_stun(now, from, &datagram, &mut out), dropped);
        assert!(!ice.is_proven(from));
    }
}

#[test]
fn checks_without_end_from_forged_addresses_leave_the_proven_pairs_alone() {
    let (now, mut out) = (origin(), Vec::new());
    let mut ice = agent(now);
    let real = pair("192.0.2.7:5000");
    let _ = ice.handle_stun(now, real, &nominating_check(), &mut out);
    let _ = prove(&mut ice, now, real);
    for port in 1..1000 {
        let victim = pair(&format!("203.0.113.9:{port}"));
        let _ = ice.handle_stun(now, victim, &nominating_check(), &mut out);
        assert_eq!(ice.selected_pair(), Some(real));
        assert!(ice.is_proven(real));
    }
}

#[test]
fn connection_is_proven_by_itself() {
    let (now, mut out) = (origin(), Vec::new());
    let mut ice = agent(now);
    let from = CandidatePair {
        transport: Transport::Tcp(7),
        ..pair("192.0.2.7:5000")
    };
    let _ = ice.handle_stun(now, from, &check(), &mut out);
    assert!(ice.is_proven(from));
    assert_eq!(challenge(&mut ice, now, from), None);
}

/// Returns a full check that says that the short form is known.
fn announcing_check() -> Vec<u8> {
    let mut buffer = Vec::new();
    let transaction = TransactionId([9; 12]);
    MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, transaction)
        .username("LOCL:REMO")
        .ice_role(IceRole::Controlling(7))
        .goog_ping_version(1)
        .message_integrity(LOCAL_PASSWORD.as_bytes())
        .finish();
    buffer
}

fn goog_ping(password: &str) -> Vec<u8> {
    let mut buffer = Vec::new();
    let transaction = TransactionId([5; 12]);
    MessageWriter::new(&mut buffer, Class::Request, Method::GOOG_PING, transaction)
        .finish_with_integrity_32(password.as_bytes());
    buffer
}

#[test]
fn short_check_is_used_with_peers_that_announce_it() {
    let (start, mut out) = (origin(), Vec::new());
    let mut ice = agent(start);
    let from = pair("192.0.2.7:5000");
    let _ = ice.handle_stun(start, from, &announcing_check(), &mut out);
    assert_eq!(Message::parse(&out).unwrap().goog_ping_version, Some(1));

    let later = start + Duration::from_secs(10);
    let ping = goog_ping(LOCAL_PASSWORD);
    assert_eq!(ping[..2], [0x02, 0x00]);
    let outcome = ice.handle_stun(later, from, &ping, &mut out);
    assert_eq!(
        outcome,
        IceOutcome::Valid(Check {
            selected: false,
            nominated: false,
            consent: true
        })
    );
    assert_eq!(out[..2], [0x03, 0x00]);
    assert_eq!(out.len(), ping.len());
    let response = Message::parse(&out).unwrap();
    assert_eq!(response.transaction, TransactionId([5; 12]));
    assert!(response.verify_integrity_32(LOCAL_PASSWORD.as_bytes()));
    assert_eq!(ice.consent_ends(), later + CONSENT_TIMEOUT);
}

#[test]
fn short_check_adds_no_address_and_needs_the_right_password() {
    let (now, mut out) = (origin(), Vec::new());
    let from = pair("192.0.2.7:5000");
    let dropped = IceOutcome::Dropped(DropReason::GoogPing);
    let mut ice = agent(now);
    let _ = ice.handle_stun(now, from, &check(), &mut out);
    assert_eq!(Message::parse(&out).unwrap().goog_ping_version, None);
    let unannounced = ice.handle_stun(now, from, &goog_ping(LOCAL_PASSWORD), &mut out);
    assert_eq!(unannounced, dropped);

    let _ = ice.handle_stun(now, from, &announcing_check(), &mut out);
    let elsewhere = pair("192.0.2.66:666");
    let outcome = ice.handle_stun(now, elsewhere, &goog_ping(LOCAL_PASSWORD), &mut out);
    assert_eq!(outcome, dropped);
    assert!(!ice.is_valid(elsewhere));
    let forged = goog_ping("anotherpasswordanotherpassword");
    assert_eq!(ice.handle_stun(now, from, &forged, &mut out), dropped);
}

const NEXT_PASSWORD: &str = "thenextpasswordthenextpassword";

/// Returns a check of the generation after a restart.
fn next_check(use_candidate: bool) -> Vec<u8> {
    TestCheck {
        username: "NEXT:OREM",
        password: NEXT_PASSWORD,
        use_candidate,
        ..TestCheck::default()
    }
    .datagram()
}

fn restart(ice: &mut IceLite) {
    ice.restart(
        Credentials::new("NEXT", NEXT_PASSWORD).unwrap(),
        remote("OREM"),
    );
}

#[test]
fn restart_keeps_the_old_credentials_until_a_pair_of_the_new_ones_is_nominated() {
    let (now, mut out) = (origin(), Vec::new());
    let (wifi, mobile) = (pair("192.0.2.7:5000"), pair("198.51.100.8:6000"));
    let mut ice = agent(now);
    let _ = ice.handle_stun(now, wifi, &nominating_check(), &mut out);
    restart(&mut ice);
    assert_eq!(ice.selected_pair(), Some(wifi), "media goes on");
    let valid = |outcome| matches!(outcome, IceOutcome::Valid(_));
    assert!(valid(ice.handle_stun(now, wifi, &check(), &mut out)));
    assert!(valid(ice.handle_stun(
        now,
        mobile,
        &next_check(false),
        &mut out
    )));
    let response = Message::parse(&out).unwrap();
    assert!(response.verify_integrity(NEXT_PASSWORD.as_bytes()));
    assert_eq!(ice.selected_pair(), Some(wifi), "not nominated yet");
    assert!(valid(ice.handle_stun(now, wifi, &check(), &mut out)));

    let outcome = ice.handle_stun(now, mobile, &next_check(true), &mut out);
    assert_eq!(
        outcome,
        IceOutcome::Valid(Check {
            selected: true,
            nominated: true,
            consent: true
        })
    );
    assert_eq!(ice.selected_pair(), Some(mobile));
    assert!(!ice.is_valid(wifi), "a pair of the generation before");
    let late = ice.handle_stun(now, wifi, &nominating_check(), &mut out);
    assert_eq!(late, IceOutcome::Dropped(DropReason::Username));
    assert_eq!(ice.selected_pair(), Some(mobile));
}

#[test]
fn restart_on_the_same_pair_does_not_move_it() {
    let (now, mut out) = (origin(), Vec::new());
    let from = pair("192.0.2.7:5000");
    let mut ice = agent(now);
    let _ = ice.handle_stun(now, from, &nominating_check(), &mut out);
    restart(&mut ice);
    let outcome = ice.handle_stun(now, from, &next_check(true), &mut out);
    assert!(matches!(outcome, IceOutcome::Valid(check) if !check.selected && check.consent));
    assert_eq!(ice.selected_pair(), Some(from));
}

#[test]
fn restart_of_a_restart_keeps_the_generation_that_carries_the_media() {
    let (now, mut out) = (origin(), Vec::new());
    let from = pair("192.0.2.7:5000");
    let mut ice = agent(now);
    let _ = ice.handle_stun(now, from, &nominating_check(), &mut out);
    let unused = Credentials::new("MIDD", "themiddlepasswordthemiddle").unwrap();
    ice.restart(unused, remote("EMID"));
    restart(&mut ice);
    let valid = |outcome| matches!(outcome, IceOutcome::Valid(_));
    assert!(valid(ice.handle_stun(now, from, &check(), &mut out)));
    assert!(valid(ice.handle_stun(
        now,
        from,
        &next_check(false),
        &mut out
    )));
    let middle = TestCheck {
        username: "MIDD:EMID",
        password: "themiddlepasswordthemiddle",
        ..TestCheck::default()
    };
    let outcome = ice.handle_stun(now, from, &middle.datagram(), &mut out);
    assert_eq!(outcome, IceOutcome::Dropped(DropReason::Username));
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
