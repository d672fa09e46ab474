//! Tests of two associations over a wire that loses, repeats and reorders, and of associations with
//! OpenSSL peers that behave differently from ours.

use std::time::{Duration, Instant, SystemTime};

use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{
    ErrorCode, Ssl, SslContext, SslContextBuilder, SslMethod, SslStream, SslVerifyMode,
};
use openssl::x509::{X509, X509Builder};
use proptest::prelude::*;

use super::engine::Engine;
use super::pipe::DatagramPipe;
use super::record_layer::{Alert, RecordLayer, Sealed, Secrets};
use super::*;
use crate::certificate::{Certificate, Fingerprint, HashAlgorithm};
use crate::demux::DatagramKind;
use crate::srtp::profile::SrtpKeyingMaterial;
use crate::srtp::{SrtpKeys, SrtpProfile};

#[allow(clippy::disallowed_methods, reason = "an origin for driven time")]
fn origin() -> Instant {
    Instant::now()
}

fn certificate() -> Certificate {
    let new_year = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    Certificate::generate(new_year).unwrap()
}

fn association(role: DtlsRole, own: &Certificate, peer: &Fingerprint) -> Dtls {
    let context = DtlsContext::new(own).unwrap();
    Dtls::new(&context, role, vec![peer.clone()]).unwrap()
}

/// Direction of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Towards {
    Client,
    Server,
}

/// A client and a server, and the clock of both.
struct Pair {
    now: Instant,
    client: Dtls,
    server: Dtls,
    /// Everything that was sent, lost or not.
    sent: Vec<(Towards, Vec<u8>)>,
}

impl Pair {
    fn new() -> Self {
        let (ours, theirs) = (certificate(), certificate());
        Self::of(
            association(DtlsRole::Client, &theirs, ours.fingerprint()),
            association(DtlsRole::Server, &ours, theirs.fingerprint()),
        )
    }

    fn of(client: Dtls, server: Dtls) -> Self {
        Self {
            now: origin(),
            client,
            server,
            sent: Vec::new(),
        }
    }

    /// Returns a pair that is connected, with the keys of client and server.
    fn connected() -> (Self, SrtpKeys, SrtpKeys) {
        let mut pair = Self::new();
        pair.run(|_, _| true);
        let client = connected_keys(&mut pair.client);
        let server = connected_keys(&mut pair.server);
        (pair, client, server)
    }

    /// Starts, and delivers the datagrams that `is_delivered` accepts by their number, until both
    /// sides are silent and at rest.
    fn run(&mut self, is_delivered: impl Fn(usize, &[u8]) -> bool) {
        self.client.start(self.now);
        self.server.start(self.now);
        for _ in 0..50 {
            while self.deliver(&is_delivered) {}
            let deadlines = [self.client.poll_timeout(), self.server.poll_timeout()];
            let Some(deadline) = deadlines.into_iter().flatten().min() else {
                return;
            };
            self.now = self.now.max(deadline);
            self.client.handle_timeout(self.now);
            self.server.handle_timeout(self.now);
        }
        panic!("handshake does not come to an end");
    }

    fn deliver(&mut self, is_delivered: impl Fn(usize, &[u8]) -> bool) -> bool {
        let datagram = self
            .client
            .poll_transmit()
            .map(|datagram| (Towards::Server, datagram))
            .or_else(|| {
                let datagram = self.server.poll_transmit()?;
                Some((Towards::Client, datagram))
            });
        let Some((towards, datagram)) = datagram else {
            return false;
        };
        if is_delivered(self.sent.len(), &datagram) {
            match towards {
                Towards::Client => self.client.handle_datagram(self.now, &datagram),
                Towards::Server => self.server.handle_datagram(self.now, &datagram),
            }
        }
        self.sent.push((towards, datagram));
        true
    }
}

#[track_caller]
fn connected_keys(dtls: &mut Dtls) -> SrtpKeys {
    match dtls.poll_event() {
        Some(DtlsEvent::Connected { profile, keys }) => {
            assert_eq!(keys.local.profile(), profile);
            assert_eq!(keys.remote.profile(), profile);
            keys
        }
        other => panic!("not connected: {other:?}"),
    }
}

#[track_caller]
fn failure(dtls: &mut Dtls) -> DtlsError {
    match dtls.poll_event() {
        Some(DtlsEvent::Failed(error)) => error,
        other => panic!("not failed: {other:?}"),
    }
}

fn drain(dtls: &mut Dtls) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| dtls.poll_transmit()).collect()
}

#[test]
fn both_sides_get_the_same_keys_for_the_preferred_profile() {
    let (pair, client, server) = Pair::connected();
    assert_eq!(client.local, server.remote);
    assert_eq!(client.remote, server.local);
    assert_ne!(client.local, client.remote);
    assert_eq!(client.local.profile(), SrtpProfile::AeadAes128Gcm);
    assert!(pair.client.is_connected() && pair.server.is_connected());
    assert_eq!(pair.client.poll_timeout(), None);
    assert_eq!(pair.server.poll_timeout(), None);
}

#[test]
fn two_handshakes_have_different_keys() {
    let (_, first, _) = Pair::connected();
    let (_, second, _) = Pair::connected();
    assert_ne!(first, second);
}

#[test]
fn every_datagram_is_classified_as_dtls_and_fits_the_mtu() {
    let (mut pair, ..) = Pair::connected();
    pair.client.close();
    pair.deliver(|_, _| true);
    assert!(pair.sent.len() >= 5);
    for (_, datagram) in &pair.sent {
        assert_eq!(DatagramKind::of(datagram), DatagramKind::Dtls);
        assert!(datagram.len() <= MTU as usize);
    }
}

/// The server's last flight is excluded: see the next test.
#[test]
fn handshake_completes_after_the_loss_of_any_datagram() {
    let (pair, ..) = Pair::connected();
    for lost in 0..pair.sent.len() - 1 {
        let mut pair = Pair::new();
        pair.run(|number, _| number != lost);
        let client = connected_keys(&mut pair.client);
        let server = connected_keys(&mut pair.server);
        assert_eq!(client.local, server.remote, "datagram {lost}");
        assert!(pair.sent.len() > lost + 1);
    }
}

#[test]
fn handshake_completes_after_the_loss_of_any_two_datagrams() {
    let (pair, ..) = Pair::connected();
    for first in 0..pair.sent.len() {
        for second in first + 1..=pair.sent.len() {
            let mut pair = Pair::new();
            pair.run(|number, datagram| {
                // The last flight of the server, which begins with ChangeCipherSpec: see below.
                let is_last_flight = datagram[0] == 20;
                is_last_flight || (number != first && number != second)
            });
            let client = connected_keys(&mut pair.client);
            let server = connected_keys(&mut pair.server);
            assert_eq!(client.local, server.remote, "datagrams {first}, {second}");
        }
    }
}

/// OpenSSL's own timer is on the clock of the system, so this test has to wait for it: a second.
#[test]
fn last_flight_of_the_server_is_retransmitted() {
    let (pair, ..) = Pair::connected();
    let lost = pair.sent.len() - 1;
    assert_eq!(pair.sent[lost].0, Towards::Client);

    let mut pair = Pair::new();
    pair.client.start(pair.now);
    while pair.deliver(|number, _| number != lost) {}
    assert!(pair.server.is_connected() && !pair.client.is_connected());
    let begin = origin();
    while !pair.client.is_connected() {
        pair.now = pair.client.poll_timeout().unwrap();
        std::thread::sleep(
            pair.now
                .duration_since(begin)
                .saturating_sub(begin.elapsed()),
        );
        pair.client.handle_timeout(pair.now);
        while pair.deliver(|_, _| true) {}
    }
    let client = connected_keys(&mut pair.client);
    assert_eq!(client.local, connected_keys(&mut pair.server).remote);
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn handshake_completes_with_a_third_of_all_datagrams_lost() {
    for seed in 0..10_usize {
        let mut pair = Pair::new();
        pair.run(|number, datagram| {
            // The last flight of the server, which begins with ChangeCipherSpec: see above.
            let is_last_flight = datagram[0] == 20;
            let hash = (number + seed * 100 + 1).wrapping_mul(2_654_435_761);
            is_last_flight || (hash >> 16) % 3 != 0
        });
        let client = connected_keys(&mut pair.client);
        let server = connected_keys(&mut pair.server);
        assert_eq!(client.local, server.remote, "seed {seed}");
    }
}

#[test]
fn repeated_and_reordered_flights_are_sorted_out() {
    let mut pair = Pair::new();
    pair.client.start(pair.now);
    for _ in 0..20 {
        for datagram in drain(&mut pair.client).iter().rev() {
            pair.server.handle_datagram(pair.now, datagram);
            pair.server.handle_datagram(pair.now, datagram);
        }
        for datagram in drain(&mut pair.server).iter().rev() {
            pair.client.handle_datagram(pair.now, datagram);
            pair.client.handle_datagram(pair.now, datagram);
        }
    }
    let client = connected_keys(&mut pair.client);
    assert_eq!(client.local, connected_keys(&mut pair.server).remote);
}

/// Browsers always send two: a post-quantum key share does not fit into one datagram.
#[test]
fn client_hello_in_two_datagrams_is_accepted_in_either_order() {
    for order in [[0, 1], [1, 0]] {
        let mut pair = Pair::new();
        pair.client.start(pair.now);
        let hello = pair.client.poll_transmit().unwrap();
        let fragments = split_client_hello(&hello);
        for index in order {
            pair.server.handle_datagram(pair.now, &fragments[index]);
        }
        pair.run(|_, _| true);
        let client = connected_keys(&mut pair.client);
        assert_eq!(client.local, connected_keys(&mut pair.server).remote);
    }
}

/// A ClientHello as long as a post-quantum key share makes it, in fragments that the network
/// delivers as it likes.
#[test]
fn client_hello_in_many_datagrams_is_accepted_in_any_order_and_with_repetitions() {
    type Flight = Vec<Vec<u8>>;
    let orders: [fn(Flight) -> Flight; 4] = [
        |flight| flight,
        |flight| flight.into_iter().rev().collect(),
        |mut flight| {
            flight.rotate_left(1);
            flight
        },
        |flight| {
            let (even, odd): (Vec<_>, Vec<_>) = flight
                .into_iter()
                .enumerate()
                .partition(|(n, _)| n % 2 == 0);
            let datagrams = even.into_iter().chain(odd).map(|(_, datagram)| datagram);
            datagrams
                .flat_map(|datagram| [datagram.clone(), datagram])
                .collect()
        },
    ];
    for order in orders {
        let theirs = certificate();
        let mut server = association(DtlsRole::Server, &certificate(), theirs.fingerprint());
        let mut client = RawClient::new(|builder| {
            use_certificate(builder, &theirs);
            builder
                .set_tlsext_use_srtp("SRTP_AEAD_AES_128_GCM")
                .unwrap();
            builder.set_alpn_protos(&b"\x02ab".repeat(600)).unwrap();
        });
        let _ = client.stream.do_handshake();
        let flight: Vec<_> =
            std::iter::from_fn(|| client.stream.get_mut().pop_outbound()).collect();
        assert!(flight.len() > 5, "{} datagrams", flight.len());
        for datagram in order(flight) {
            server.handle_datagram(origin(), &datagram);
        }
        for datagram in drain(&mut server) {
            client.stream.get_mut().push_inbound(&datagram);
            let _ = client.stream.do_handshake();
        }
        client.run(&mut server);
        connected_keys(&mut server);
    }
}

/// Cuts a record with one handshake message into two records with a fragment each.
///
/// ```text
/// RFC 6347: content type (1) version (2) epoch (2) sequence (6) length (2)
///           message type (1) length (3) message sequence (2) offset (3) fragment length (3) body
/// ```
fn split_client_hello(record: &[u8]) -> [Vec<u8>; 2] {
    let (record_header, message) = record.split_at(13);
    let (message_header, body) = message.split_at(12);
    let middle = body.len() / 2;
    [(0, &body[..middle]), (middle, &body[middle..])].map(|(offset, part)| {
        let mut fragment = record_header[..11].to_vec();
        if offset > 0 {
            // Within the replay window, and not one the client will use.
            fragment[10] = 40;
        }
        fragment.extend((12 + part.len() as u16).to_be_bytes());
        fragment.extend(&message_header[..6]);
        fragment.extend(&(offset as u32).to_be_bytes()[1..]);
        fragment.extend(&(part.len() as u32).to_be_bytes()[1..]);
        fragment.extend(part);
        fragment
    })
}

#[test]
fn server_refuses_a_client_with_another_certificate() {
    let (ours, theirs, announced) = (certificate(), certificate(), certificate());
    let mut pair = Pair::of(
        association(DtlsRole::Client, &theirs, ours.fingerprint()),
        association(DtlsRole::Server, &ours, announced.fingerprint()),
    );
    pair.run(|_, _| true);
    let error = failure(&mut pair.server);
    assert!(matches!(error, DtlsError::FingerprintMismatch), "{error}");
    // The client gets an alert.
    let error = failure(&mut pair.client);
    assert!(matches!(error, DtlsError::Alert { .. }), "{error}");
}

#[test]
fn client_refuses_a_server_with_another_certificate() {
    let (ours, theirs, announced) = (certificate(), certificate(), certificate());
    let mut pair = Pair::of(
        association(DtlsRole::Client, &theirs, announced.fingerprint()),
        association(DtlsRole::Server, &ours, theirs.fingerprint()),
    );
    pair.run(|_, _| true);
    let error = failure(&mut pair.client);
    assert!(matches!(error, DtlsError::FingerprintMismatch), "{error}");
    let error = failure(&mut pair.server);
    assert!(matches!(error, DtlsError::Alert { .. }), "{error}");
}

/// Plaintext records that do not belong to a handshake. OpenSSL ends the handshake on each of them.
fn junk() -> Vec<Vec<u8>> {
    let record = |content_type: u8, fragment: &[u8]| {
        let mut record = vec![content_type, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 1, 0];
        record.extend_from_slice(&(fragment.len() as u16).to_be_bytes());
        record.extend_from_slice(fragment);
        record
    };
    vec![
        record(23, b"application data"),
        record(24, &[1, 0, 1, 0]),
        record(25, &[7; 40]),
        // HelloRequest, messages of the other side, garbage.
        record(22, &[0; 12]),
        record(22, &[20, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
        record(22, &[0x5a; 60]),
        record(22, b"x"),
        record(20, &[7]),
        // Alerts: unexpected_message, close_notify.
        record(21, &[2, 10]),
        record(21, &[1, 0]),
    ]
}

#[test]
fn junk_from_a_forged_address_ends_no_handshake_and_no_association() {
    for junk in junk() {
        for victim in [Towards::Client, Towards::Server] {
            let mut pair = Pair::new();
            pair.client.start(pair.now);
            pair.server.start(pair.now);
            // Before and after everything that is said.
            loop {
                let dtls = match victim {
                    Towards::Client => &mut pair.client,
                    Towards::Server => &mut pair.server,
                };
                dtls.handle_datagram(pair.now, &junk);
                if !pair.deliver(|_, _| true) {
                    break;
                }
            }
            connected_keys(&mut pair.client);
            connected_keys(&mut pair.server);
            for dtls in [&mut pair.client, &mut pair.server] {
                dtls.handle_datagram(pair.now, &junk);
                dtls.settle();
                dtls.handle_datagram(pair.now, &junk);
                assert!(
                    dtls.is_connected() && dtls.poll_event().is_none(),
                    "{junk:?}"
                );
            }
        }
    }
}

#[test]
fn plaintext_alert_ends_the_handshake_after_a_delay_with_its_reason() {
    let mut pair = Pair::new();
    pair.client.start(pair.now);
    let begun = pair.now;
    pair.client.handle_datagram(pair.now, &junk()[8]);
    while pair.client.poll_timeout().is_some() {
        pair.now = pair.client.poll_timeout().unwrap();
        pair.client.handle_timeout(pair.now);
        drain(&mut pair.client);
    }
    let error = failure(&mut pair.client);
    assert!(
        matches!(error, DtlsError::Alert { description: 10 }),
        "{error}"
    );
    assert!(pair.now.duration_since(begun) < Duration::from_secs(5));
}

#[test]
fn record_from_before_openssl_was_dropped_is_detected_as_a_replay() {
    let theirs = certificate();
    let server = association(DtlsRole::Server, &certificate(), theirs.fingerprint());
    let mut server = server.with_application_data();
    let mut client = RawClient::new(|builder| {
        use_certificate(builder, &theirs);
        builder
            .set_tlsext_use_srtp("SRTP_AES128_CM_SHA1_80")
            .unwrap();
    });
    client.run(&mut server);
    connected_keys(&mut server);
    client.stream.ssl_write(b"once").unwrap();
    let data = client.stream.get_mut().pop_outbound().unwrap();
    for _ in 0..3 {
        server.handle_datagram(origin(), &data);
        server.settle();
    }
    assert_eq!(server.poll_received().as_deref(), Some(&b"once"[..]));
    assert_eq!(server.poll_received(), None);
}

#[test]
fn last_flight_is_retransmitted_to_a_client_that_repeats_the_same_records() {
    let mut pair = Pair::new();
    pair.client.start(pair.now);
    pair.server.start(pair.now);
    // The server is done, and its last flight is lost.
    while pair.server.poll_event().is_none() {
        assert!(pair.deliver(|_, _| true));
    }
    let lost = drain(&mut pair.server);
    let of_client = |(towards, _): &&(Towards, Vec<u8>)| *towards == Towards::Server;
    let last = pair.sent.iter().rev().find(of_client);
    let last = last.map(|(_, datagram)| datagram.clone()).unwrap();
    pair.server.handle_datagram(pair.now, &last);
    assert!(drain(&mut pair.server).is_empty(), "not at once");
    pair.now += Duration::from_millis(300);
    for expected in [lost.len(), 0, 0] {
        pair.server.handle_datagram(pair.now, &last);
        let again = drain(&mut pair.server);
        assert_eq!(again.len(), expected);
        for datagram in again {
            pair.client.handle_datagram(pair.now, &datagram);
        }
    }
    connected_keys(&mut pair.client);
}

#[test]
fn second_verification_of_the_certificate_is_independent() {
    let (ours, theirs) = (certificate(), certificate());
    // The handshake itself accepts any certificate here, as a bug might make it.
    let ssl = DtlsContext::new(&ours)
        .unwrap()
        .association(DtlsRole::Server, [theirs.fingerprint().clone()].into())
        .unwrap();
    let announced = [certificate().fingerprint().clone()].into();
    let engine = Engine::new(ssl, announced).unwrap();
    let server = Dtls::with_engine(engine, DtlsRole::Server);
    let client = association(DtlsRole::Client, &theirs, ours.fingerprint());
    let mut pair = Pair::of(client, server);
    pair.run(|_, _| true);
    let error = failure(&mut pair.server);
    assert!(matches!(error, DtlsError::FingerprintMismatch), "{error}");
    assert!(!pair.server.is_connected());
}

#[test]
fn association_without_a_fingerprint_is_refused() {
    let context = DtlsContext::new(&certificate()).unwrap();
    let result = Dtls::new(&context, DtlsRole::Server, Vec::new());
    assert!(matches!(result, Err(DtlsError::NoFingerprint)));
}

#[test]
fn every_hash_function_can_announce_the_certificate() {
    for algorithm in [
        HashAlgorithm::Sha1,
        HashAlgorithm::Sha224,
        HashAlgorithm::Sha256,
        HashAlgorithm::Sha384,
        HashAlgorithm::Sha512,
    ] {
        let (ours, theirs) = (certificate(), certificate());
        let der = theirs.x509().to_der().unwrap();
        let announced = Fingerprint::of(algorithm, &der);
        let mut pair = Pair::of(
            association(DtlsRole::Client, &theirs, ours.fingerprint()),
            association(DtlsRole::Server, &ours, &announced),
        );
        pair.run(|_, _| true);
        connected_keys(&mut pair.server);
    }
}

#[test]
fn unanswered_handshake_times_out() {
    for role in [DtlsRole::Client, DtlsRole::Server] {
        let peer = certificate();
        let mut dtls = association(role, &certificate(), peer.fingerprint());
        assert_eq!(dtls.poll_timeout(), None);
        let start = origin();
        dtls.start(start);
        let mut sent = 0;
        let mut end = start;
        while let Some(deadline) = dtls.poll_timeout() {
            end = deadline;
            dtls.handle_timeout(deadline);
            sent += drain(&mut dtls).len();
        }
        assert_eq!(end, start + HANDSHAKE_TIMEOUT);
        let error = failure(&mut dtls);
        assert!(matches!(error, DtlsError::HandshakeTimeout), "{error}");
        match role {
            DtlsRole::Client => assert!((5..20).contains(&sent), "{sent} datagrams"),
            DtlsRole::Server => assert_eq!(sent, 0, "nothing is sent before a ClientHello"),
        }
    }
}

#[test]
fn close_notify_is_sent_and_answered() {
    for closing in [Towards::Client, Towards::Server] {
        let (mut pair, ..) = Pair::connected();
        let (closer, other) = match closing {
            Towards::Client => (&mut pair.client, &mut pair.server),
            Towards::Server => (&mut pair.server, &mut pair.client),
        };
        closer.close();
        let notify = drain(closer);
        assert_eq!(notify.len(), 1);
        other.handle_datagram(pair.now, &notify[0]);
        assert!(matches!(other.poll_event(), Some(DtlsEvent::Closed)));
        assert!(!other.is_connected());
        let answer = drain(other);
        assert_eq!(answer.len(), 1);
        // A closed side ignores further datagrams.
        closer.handle_datagram(pair.now, &answer[0]);
        assert!(closer.poll_event().is_none());
        assert!(closer.poll_transmit().is_none());
    }
}

#[test]
fn server_settles_some_time_after_the_handshake() {
    let mut pair = Pair::new();
    pair.client.start(pair.now);
    while pair.deliver(|_, _| true) {}
    let settles_at = pair.server.poll_timeout().unwrap();
    assert!(settles_at >= pair.now + Duration::from_secs(5));
    assert_eq!(pair.client.poll_timeout(), None, "it has got everything");
    pair.server.handle_timeout(settles_at);
    assert_eq!(pair.server.poll_timeout(), None);
    assert!(pair.server.is_connected());
}

#[test]
fn closing_an_unfinished_handshake_is_silent() {
    let peer = certificate();
    let mut dtls = association(DtlsRole::Server, &certificate(), peer.fingerprint());
    dtls.start(origin());
    dtls.close();
    assert!(dtls.poll_transmit().is_none());
    assert_eq!(dtls.poll_timeout(), None);
}

#[test]
fn lost_last_flight_of_the_server_does_not_disturb_its_association() {
    let (mut pair, ..) = Pair::connected();
    let repeated: Vec<_> = pair.sent.clone();
    for (towards, datagram) in &repeated {
        if *towards == Towards::Server {
            pair.server.handle_datagram(pair.now, datagram);
        }
    }
    assert!(pair.server.is_connected());
    assert!(pair.server.poll_event().is_none());
}

/// An OpenSSL client with settings that ours does not have.
struct RawClient {
    stream: SslStream<DatagramPipe>,
    first_flight: Vec<u8>,
}

impl RawClient {
    fn new(configure: impl FnOnce(&mut SslContextBuilder)) -> Self {
        let mut builder = SslContext::builder(SslMethod::dtls()).unwrap();
        builder.set_verify(SslVerifyMode::NONE);
        configure(&mut builder);
        let mut ssl = Ssl::new(&builder.build()).unwrap();
        ssl.set_connect_state();
        ssl.set_mtu(300).unwrap();
        let stream = SslStream::new(ssl, DatagramPipe::default()).unwrap();
        Self {
            stream,
            first_flight: Vec::new(),
        }
    }

    /// Runs the handshake as far as it goes; the server may fail.
    fn run(&mut self, server: &mut Dtls) {
        let now = origin();
        for _ in 0..20 {
            let _ = self.stream.do_handshake();
            while let Some(datagram) = self.stream.get_mut().pop_outbound() {
                if self.first_flight.is_empty() {
                    self.first_flight.clone_from(&datagram);
                }
                server.handle_datagram(now, &datagram);
            }
            while let Some(datagram) = server.poll_transmit() {
                self.stream.get_mut().push_inbound(&datagram);
                let _ = self.stream.do_handshake();
            }
        }
    }
}

impl RawClient {
    fn close(&mut self) {
        self.stream.shutdown().unwrap();
    }

    /// Returns whether a datagram is an authentic close_notify.
    fn hears_goodbye(&mut self, datagram: &[u8]) -> bool {
        self.stream.get_mut().push_inbound(datagram);
        let error = self.stream.ssl_read(&mut [0; 100]).unwrap_err();
        error.code() == ErrorCode::ZERO_RETURN
    }
}

/// Returns a raw client and a server of ours that have completed the handshake.
fn connected_to_raw_client(configure: impl FnOnce(&mut SslContextBuilder)) -> (RawClient, Dtls) {
    let theirs = certificate();
    let mut server = association(DtlsRole::Server, &certificate(), theirs.fingerprint());
    let mut client = RawClient::new(|builder| {
        use_certificate(builder, &theirs);
        builder
            .set_tlsext_use_srtp("SRTP_AES128_CM_SHA1_80")
            .unwrap();
        configure(builder);
    });
    client.run(&mut server);
    connected_keys(&mut server);
    (client, server)
}

fn use_certificate(builder: &mut SslContextBuilder, certificate: &Certificate) {
    builder.set_certificate(certificate.x509()).unwrap();
    builder.set_private_key(certificate.key()).unwrap();
}

#[test]
fn client_without_a_certificate_is_refused() {
    let mut server = association(
        DtlsRole::Server,
        &certificate(),
        certificate().fingerprint(),
    );
    let mut client = RawClient::new(|builder| {
        builder
            .set_tlsext_use_srtp("SRTP_AES128_CM_SHA1_80")
            .unwrap();
    });
    client.run(&mut server);
    let error = failure(&mut server);
    assert!(matches!(error, DtlsError::Protocol(_)), "{error}");
    assert!(!server.is_connected());
}

#[test]
fn client_without_a_profile_is_refused() {
    let theirs = certificate();
    let mut server = association(DtlsRole::Server, &certificate(), theirs.fingerprint());
    let mut client = RawClient::new(|builder| use_certificate(builder, &theirs));
    client.run(&mut server);
    let error = failure(&mut server);
    assert!(matches!(error, DtlsError::NoSrtpProfile), "{error}");
}

#[test]
fn server_picks_the_profile_it_likes_best_among_those_offered() {
    let rows = [
        ("SRTP_AES128_CM_SHA1_32", SrtpProfile::AesCm128HmacSha1_32),
        (
            "SRTP_AES128_CM_SHA1_32:SRTP_AES128_CM_SHA1_80",
            SrtpProfile::AesCm128HmacSha1_80,
        ),
        (
            "SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_256_GCM",
            SrtpProfile::AeadAes256Gcm,
        ),
        (
            "SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_256_GCM:SRTP_AEAD_AES_128_GCM",
            SrtpProfile::AeadAes128Gcm,
        ),
    ];
    for (offered, expected) in rows {
        let theirs = certificate();
        let mut server = association(DtlsRole::Server, &certificate(), theirs.fingerprint());
        let mut client = RawClient::new(|builder| {
            use_certificate(builder, &theirs);
            builder.set_tlsext_use_srtp(offered).unwrap();
        });
        client.run(&mut server);
        let keys = connected_keys(&mut server);
        assert_eq!(keys.local.profile(), expected, "{offered}");
        let mut exported = vec![0; expected.keying_material_len()];
        client
            .stream
            .ssl()
            .export_keying_material(&mut exported, "EXTRACTOR-dtls_srtp", None)
            .unwrap();
        let material = SrtpKeyingMaterial::split(expected, &exported).unwrap();
        assert_eq!(keys, material.for_server());
    }
}

#[test]
fn every_cipher_is_supported() {
    for cipher in [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES128-SHA",
        "ECDHE-ECDSA-AES256-SHA",
    ] {
        connected_to_raw_client(|builder| builder.set_cipher_list(cipher).unwrap());
    }
}

/// The record layer of one side has to interoperate with OpenSSL on the other.
#[test]
fn settled_association_receives_and_sends_close_notify() {
    for (cipher, closer) in [
        ("ECDHE-ECDSA-AES128-GCM-SHA256", Towards::Client),
        ("ECDHE-ECDSA-AES128-GCM-SHA256", Towards::Server),
        ("ECDHE-ECDSA-AES256-GCM-SHA384", Towards::Client),
        ("ECDHE-ECDSA-AES256-GCM-SHA384", Towards::Server),
        ("ECDHE-ECDSA-AES128-SHA", Towards::Client),
        ("ECDHE-ECDSA-AES128-SHA", Towards::Server),
    ] {
        let (mut client, mut server) = connected_to_raw_client(|builder| {
            builder.set_cipher_list(cipher).unwrap();
        });
        server.settle();
        assert!(server.is_connected());
        assert_eq!(server.poll_timeout(), None);
        match closer {
            Towards::Client => {
                client.close();
                let notify = client.stream.get_mut().pop_outbound().unwrap();
                server.handle_datagram(origin(), &notify);
                assert!(matches!(server.poll_event(), Some(DtlsEvent::Closed)));
            }
            Towards::Server => server.close(),
        }
        assert!(!server.is_connected());
        assert!(client.hears_goodbye(&server.poll_transmit().unwrap()));
    }
}

#[test]
fn application_data_and_repeated_handshakes_do_not_disturb_a_settled_association() {
    let (mut client, mut server) = connected_to_raw_client(|_| {});
    server.settle();
    client.stream.ssl_write(b"nobody is there").unwrap();
    let data = client.stream.get_mut().pop_outbound().unwrap();
    server.handle_datagram(origin(), &data);
    server.handle_datagram(origin(), &client.first_flight);
    assert!(server.is_connected());
    assert!(server.poll_event().is_none() && server.poll_transmit().is_none());
}

/// Returns the record layer of a client after the handshake, for records that OpenSSL does not
/// send.
fn record_layer_of(client: &RawClient) -> RecordLayer {
    let ssl = client.stream.ssl();
    let mut master_secret = [0; 48];
    let (mut client_random, mut server_random) = ([0; 32], [0; 32]);
    ssl.session().unwrap().master_key(&mut master_secret);
    ssl.client_random(&mut client_random);
    ssl.server_random(&mut server_random);
    let secrets = Secrets {
        cipher: ssl.current_cipher().unwrap().name(),
        master_secret: &master_secret,
        client_random: &client_random,
        server_random: &server_random,
    };
    let last_sealed = Sealed {
        sequence: 1000,
        explicit_nonce: 1000,
    };
    RecordLayer::new(&secrets, DtlsRole::Client, last_sealed).unwrap()
}

#[test]
fn fatal_alert_ends_the_association_and_a_warning_does_not() {
    for is_settled in [false, true] {
        let (client, mut server) = connected_to_raw_client(|_| {});
        if is_settled {
            server.settle();
        }
        let mut layer = record_layer_of(&client);
        // user_canceled (RFC 5246 section 7.2.2).
        let warning = layer.seal_alert(Alert {
            level: 1,
            description: 90,
        });
        server.handle_datagram(origin(), &warning.unwrap());
        assert!(server.is_connected() && server.poll_event().is_none());
        // internal_error
        let fatal = layer.seal_alert(Alert {
            level: 2,
            description: 80,
        });
        server.handle_datagram(origin(), &fatal.unwrap());
        assert!(!server.is_connected());
        let error = failure(&mut server);
        assert!(
            !is_settled || matches!(error, DtlsError::Alert { description: 80 }),
            "{error}"
        );
        assert!(
            server.poll_transmit().is_none(),
            "a fatal alert has no answer"
        );
    }
}

#[test]
fn renegotiation_is_refused_and_the_association_continues() {
    for is_settled in [false, true] {
        let (mut client, mut server) = connected_to_raw_client(|_| {});
        if is_settled {
            server.settle();
        }
        // A second ClientHello under the keys, as a renegotiation begins (RFC 5246 section
        // 7.4.1.2).
        let mut layer = record_layer_of(&client);
        let (_, hello) = client.first_flight.split_at(13);
        let hello = layer.seal_handshake(hello);
        server.handle_datagram(origin(), &hello);
        assert!(server.is_connected() && server.poll_event().is_none());
        let _ = drain(&mut server);
        server.settle();
        client.close();
        let notify = client.stream.get_mut().pop_outbound().unwrap();
        server.handle_datagram(origin(), &notify);
        assert!(matches!(server.poll_event(), Some(DtlsEvent::Closed)));
    }
}

#[test]
fn changed_records_do_not_end_an_association() {
    for (cipher, is_settled) in [
        ("ECDHE-ECDSA-AES128-GCM-SHA256", false),
        ("ECDHE-ECDSA-AES128-GCM-SHA256", true),
        ("ECDHE-ECDSA-AES128-SHA", false),
    ] {
        let (mut client, mut server) = connected_to_raw_client(|builder| {
            builder.set_cipher_list(cipher).unwrap();
        });
        if is_settled {
            server.settle();
        }
        client.close();
        let notify = client.stream.get_mut().pop_outbound().unwrap();
        // Type and version, the first three bytes, are not authenticated as they are on the wire:
        // OpenSSL puts in what they have to be.
        for bit in 24..notify.len() * 8 {
            let mut changed = notify.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            server.handle_datagram(origin(), &changed);
            assert!(server.is_connected(), "{cipher}, bit {bit}");
        }
        for length in 0..notify.len() {
            let mut cut = notify[..length].to_vec();
            server.handle_datagram(origin(), &cut);
            if let Some(body) = length.checked_sub(13) {
                cut[12] = body as u8;
                server.handle_datagram(origin(), &cut);
            }
            assert!(server.is_connected(), "{cipher}, {length} bytes");
        }
        server.handle_datagram(origin(), &notify);
        assert!(matches!(server.poll_event(), Some(DtlsEvent::Closed)));
    }
}

#[test]
fn expired_rsa_certificate_is_accepted_if_it_is_the_announced_one() {
    let (certificate_of_peer, key) = expired_rsa_certificate();
    let der = certificate_of_peer.to_der().unwrap();
    let announced = Fingerprint::of(HashAlgorithm::Sha256, &der);
    let mut server = association(DtlsRole::Server, &certificate(), &announced);
    let mut client = RawClient::new(|builder| {
        builder.set_certificate(&certificate_of_peer).unwrap();
        builder.set_private_key(&key).unwrap();
        builder
            .set_tlsext_use_srtp("SRTP_AES128_CM_SHA1_80")
            .unwrap();
    });
    client.run(&mut server);
    connected_keys(&mut server);
}

fn expired_rsa_certificate() -> (X509, PKey<Private>) {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut builder = X509Builder::new().unwrap();
    let long_ago = openssl::asn1::Asn1Time::from_unix(0).unwrap();
    let day_after = openssl::asn1::Asn1Time::from_unix(86_400).unwrap();
    builder.set_not_before(&long_ago).unwrap();
    builder.set_not_after(&day_after).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    (builder.build(), key)
}

#[test]
fn application_data_without_a_data_channel_is_dropped() {
    let (mut client, mut server) = connected_to_raw_client(|_| {});
    for length in [1, 100, 4000] {
        client.stream.ssl_write(&vec![7; length]).unwrap();
        let datagram = client.stream.get_mut().pop_outbound().unwrap();
        server.handle_datagram(origin(), &datagram);
    }
    assert!(server.is_connected());
    assert!(server.poll_event().is_none() && server.poll_transmit().is_none());
    client.close();
    let notify = client.stream.get_mut().pop_outbound().unwrap();
    server.handle_datagram(origin(), &notify);
    assert!(matches!(server.poll_event(), Some(DtlsEvent::Closed)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn garbage_never_panics_and_is_never_answered_without_bound(
        datagrams in proptest::collection::vec(
            (20_u8..64, proptest::collection::vec(any::<u8>(), 0..100)),
            0..50,
        ),
    ) {
        let peer = certificate();
        let mut server = association(DtlsRole::Server, &certificate(), peer.fingerprint());
        for (content_type, rest) in datagrams {
            let mut datagram = vec![content_type];
            datagram.extend(rest);
            server.handle_datagram(origin(), &datagram);
            prop_assert!(!server.is_connected());
        }
        prop_assert!(drain(&mut server).len() <= 2);
    }

    #[test]
    fn changed_handshake_never_leads_to_different_keys(
        target in 0_usize..6,
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
    ) {
        let mut pair = Pair::new();
        pair.client.start(pair.now);
        for number in 0..20 {
            let (towards, mut datagram) = if let Some(datagram) = pair.client.poll_transmit() {
                (Towards::Server, datagram)
            } else if let Some(datagram) = pair.server.poll_transmit() {
                (Towards::Client, datagram)
            } else {
                break;
            };
            if number == target {
                let at = at.index(datagram.len());
                datagram[at] = value;
            }
            match towards {
                Towards::Client => pair.client.handle_datagram(pair.now, &datagram),
                Towards::Server => pair.server.handle_datagram(pair.now, &datagram),
            }
        }
        if pair.client.is_connected() && pair.server.is_connected() {
            let client = connected_keys(&mut pair.client);
            prop_assert_eq!(client.local, connected_keys(&mut pair.server).remote);
        }
    }
}
