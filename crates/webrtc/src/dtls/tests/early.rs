//! Keys in use before the peer's Finished has come (RFC 7918).

use std::sync::Arc;
use std::time::{Duration, Instant};

use openssl::ssl::SslContextBuilder;
use proptest::prelude::*;

use super::forgery::junk;
use super::raw_peer::{RawPeer, use_certificate};
use super::{association, certificate, connected_keys, drain, failure, origin};
use crate::dtls::engine::OpenSslEngine;
use crate::dtls::record::Records;
use crate::dtls::{Dtls, DtlsContext, DtlsError, DtlsEvent, DtlsRole, FINISHED_TIMEOUT};
use crate::srtp::profile::SrtpKeyingMaterial;
use crate::srtp::{SrtpKeys, SrtpProfile};

const CIPHERS: [&str; 2] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
];

const PROFILES: [(&str, SrtpProfile); 2] = [
    ("SRTP_AEAD_AES_128_GCM", SrtpProfile::AeadAes128Gcm),
    ("SRTP_AEAD_AES_256_GCM", SrtpProfile::AeadAes256Gcm),
];

/// A client of ours that has sent its Finished, and a server that has received it.
struct Early {
    now: Instant,
    client: Dtls,
    /// The client's event at that point.
    event: Option<DtlsEvent>,
    server: RawPeer,
    /// The server's flight that the client has received.
    first_flight: Vec<Vec<u8>>,
    /// Its last flight, which is still under way.
    last_flight: Vec<Vec<u8>>,
}

impl Early {
    fn new() -> Self {
        Self::with_server(CIPHERS[0], PROFILES[0].0)
    }

    fn with_server(cipher: &str, profile: &str) -> Self {
        let configure = |builder: &mut SslContextBuilder| {
            builder.set_cipher_list(cipher).unwrap();
            builder.set_tlsext_use_srtp(profile).unwrap();
        };
        let theirs = certificate();
        let mut server = RawPeer::server(|builder| {
            use_certificate(builder, &theirs);
            configure(builder);
        });
        let client = association(DtlsRole::Client, &certificate(), theirs.fingerprint());
        let (mut client, now) = (client.with_application_data(), origin());
        client.start(now);
        let first_flight = server.answer(&drain(&mut client));
        for datagram in &first_flight {
            client.handle_datagram(now, datagram);
        }
        let event = client.poll_event();
        let last_flight = server.answer(&drain(&mut client));
        Self {
            now,
            client,
            event,
            server,
            first_flight,
            last_flight,
        }
    }

    #[track_caller]
    fn keys(&self) -> SrtpKeys {
        match &self.event {
            Some(DtlsEvent::Keys { keys, .. }) => keys.clone(),
            other => panic!("no keys: {other:?}"),
        }
    }

    fn receive(&mut self, datagram: &[u8]) {
        self.client.handle_datagram(self.now, datagram);
    }

    /// Delivers the server's last flight.
    #[track_caller]
    fn complete(&mut self) {
        for datagram in std::mem::take(&mut self.last_flight) {
            self.receive(&datagram);
        }
        let event = self.client.poll_event();
        assert!(matches!(event, Some(DtlsEvent::Connected)), "{event:?}");
        assert!(self.client.is_connected());
    }

    /// Lets time pass until the client's next deadline, and returns what it sends.
    fn wait(&mut self) -> Vec<Vec<u8>> {
        self.now = self.client.poll_timeout().unwrap();
        self.client.handle_timeout(self.now);
        drain(&mut self.client)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn early_keys_are_those_that_both_sides_export_at_the_end(
        cipher in prop::sample::select(&CIPHERS[..]),
        (name, profile) in prop::sample::select(&PROFILES[..]),
    ) {
        let mut early = Early::with_server(cipher, name);
        let keys = early.keys();
        prop_assert!(early.client.has_keys() && !early.client.is_connected());
        early.complete();
        prop_assert!(early.client.poll_event().is_none(), "the keys are given once");
        let mut exported = vec![0; profile.keying_material_len()];
        let ssl = early.server.stream.ssl();
        ssl.export_keying_material(&mut exported, "EXTRACTOR-dtls_srtp", None).unwrap();
        let material = SrtpKeyingMaterial::split(profile, &exported).unwrap();
        prop_assert_eq!(keys, material.for_client());
    }

    /// OpenSSL exports before the handshake is complete what it exports afterwards.
    #[test]
    fn early_keys_are_those_of_the_same_engine_at_the_end(
        cipher in prop::sample::select(&CIPHERS[..]),
        (name, _) in prop::sample::select(&PROFILES[..]),
    ) {
        let theirs = certificate();
        let mut server = RawPeer::server(|builder| {
            use_certificate(builder, &theirs);
            builder.set_cipher_list(cipher).unwrap();
            builder.set_tlsext_use_srtp(name).unwrap();
        });
        let expected: Arc<[_]> = [theirs.fingerprint().clone()].into();
        let context = DtlsContext::new(&certificate()).unwrap();
        let ssl = context.association(DtlsRole::Client, expected.clone()).unwrap();
        let mut engine = OpenSslEngine::new(ssl, expected).unwrap();
        let mut run = |engine: &mut OpenSslEngine, datagrams: Vec<Vec<u8>>| {
            for datagram in server.answer(&datagrams) {
                engine.push_inbound(&datagram);
                engine.handshake().unwrap();
            }
            engine.take_outbound()
        };
        engine.handshake().unwrap();
        let hello = engine.take_outbound();
        prop_assert!(engine.early_keys(DtlsRole::Client).is_none());
        let finished = run(&mut engine, hello);
        let (agreed, _) = engine.early_keys(DtlsRole::Client).unwrap();
        prop_assert!(!engine.handshake().unwrap());
        run(&mut engine, finished);
        prop_assert!(engine.handshake().unwrap());
        prop_assert_eq!(agreed, engine.agreed_keys(DtlsRole::Client).unwrap());
    }
}

#[test]
fn keys_wait_for_finished_where_cipher_or_profile_could_have_been_weakened() {
    for (cipher, profile) in [
        ("ECDHE-ECDSA-AES128-SHA", "SRTP_AEAD_AES_128_GCM"),
        ("ECDHE-ECDSA-AES128-GCM-SHA256", "SRTP_AES128_CM_SHA1_80"),
        ("ECDHE-ECDSA-AES128-GCM-SHA256", "SRTP_AES128_CM_SHA1_32"),
    ] {
        let mut early = Early::with_server(cipher, profile);
        assert!(early.event.is_none() && !early.client.has_keys());
        for datagram in early.last_flight.clone() {
            early.receive(&datagram);
        }
        connected_keys(&mut early.client);
    }
}

#[test]
fn wrong_finished_ends_the_association_and_tells_the_server() {
    let mut early = Early::new();
    let _ = early.keys();
    let finished = early.last_flight.concat();
    let finished = Records(&finished).find(|record| record.epoch == 1).unwrap();
    // The server's Finished with another value, under its keys.
    let mut layer = early.server.record_layer();
    let mut message = layer.unseal(&finished).unwrap();
    *message.last_mut().unwrap() ^= 1;
    let change_cipher_spec = early.last_flight.concat()[..14].to_vec();
    assert_eq!(change_cipher_spec[0], 20);
    early.receive(&change_cipher_spec);
    let forged = layer.seal_handshake(&message);
    early.receive(&forged);

    let error = failure(&mut early.client);
    assert!(matches!(error, DtlsError::Protocol(_)), "{error}");
    assert!(!early.client.has_keys() && !early.client.is_connected());
    let alert = drain(&mut early.client);
    assert_eq!(alert.len(), 1);
    let error = early.server.read_error(&alert[0]);
    assert!(error.contains("decrypt error"), "{error}");
}

#[test]
fn missing_finished_ends_the_association_in_time() {
    let mut early = Early::new();
    let _ = early.keys();
    let start = early.now;
    let mut flights = 0;
    while early.client.poll_timeout().is_some() {
        let sent = early.wait();
        flights += usize::from(!sent.is_empty());
    }
    assert_eq!(early.now, start + FINISHED_TIMEOUT);
    assert!((3..10).contains(&flights), "{flights} retransmissions");
    let error = failure(&mut early.client);
    assert!(matches!(error, DtlsError::FinishedTimeout), "{error}");
}

#[test]
fn forged_and_repeated_records_do_not_end_an_association_that_waits_for_finished() {
    let mut early = Early::new();
    let _ = early.keys();
    let record = |content_type: u8, epoch: u8, fragment: &[u8]| {
        let mut record = vec![content_type, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 1, 7, 0];
        record.push(fragment.len() as u8);
        record.extend_from_slice(fragment);
        record
    };
    let mut datagrams = [early.first_flight.clone(), junk()].concat();
    // Each message of a server, as the next that it would send.
    for kind in [0, 1, 2, 3, 4, 11, 12, 13, 14, 15, 16, 20, 22] {
        for sequence in 0..9 {
            let message = [kind, 0, 0, 4, 0, sequence, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4];
            datagrams.push(record(22, 0, &message));
        }
    }
    // Records under keys that nobody has, more of them than OpenSSL keeps.
    datagrams.extend((0..200).map(|byte| record(22, 1, &[byte; 40])));
    datagrams.push(record(21, 1, &[7; 26]));
    datagrams.push(record(23, 1, &[7; 40]));
    datagrams.push(record(20, 0, &[1]));
    datagrams.extend((0..200).map(|byte| record(22, 1, &[byte; 48])));
    for datagram in &datagrams {
        early.receive(datagram);
        assert!(early.client.has_keys(), "{datagram:?}");
    }
    assert!(early.client.poll_event().is_none());
    // OpenSSL keeps a number of records that come before ChangeCipherSpec, so that the peer's may
    // be lost among the forged ones. Then it comes again.
    let repeated = early.wait();
    early.last_flight.extend(early.server.answer(&repeated));
    early.complete();
}

#[test]
fn lost_finished_of_the_server_is_asked_for_until_it_comes() {
    let mut early = Early::new();
    let _ = early.keys();
    let start = early.now;
    for _ in 0..3 {
        early.last_flight.clear();
        let repeated = early.wait();
        early.last_flight = early.server.answer(&repeated);
        assert!(!early.last_flight.is_empty(), "the server has answered");
    }
    early.complete();
    // The server has answered our ClientHello at once.
    assert_eq!(early.now, start + Duration::from_millis(50 + 100 + 200));
    // No sequence number was used twice: what is sent now is new to the server.
    early.client.send(b"packet");
    let packet = drain(&mut early.client);
    assert_eq!(early.server.read(&packet[0]), b"packet");
}

#[test]
fn application_data_is_not_sent_early_and_is_received_behind_finished() {
    let mut early = Early::new();
    let _ = early.keys();
    early.client.send(b"too early");
    assert!(drain(&mut early.client).is_empty());
    let data = early.server.write(b"packet");
    early.receive(&data);
    assert_eq!(
        early.client.poll_received(),
        None,
        "the server may be another"
    );
    // In the same datagram, as some stacks bundle them.
    early.last_flight.push(data);
    early.last_flight = vec![early.last_flight.concat()];
    early.complete();
    assert_eq!(
        early.client.poll_received().as_deref(),
        Some(&b"packet"[..])
    );
}

#[test]
fn closing_tells_a_server_whose_finished_has_not_come() {
    let mut early = Early::new();
    let _ = early.keys();
    early.client.close();
    let notify = drain(&mut early.client);
    assert_eq!(notify.len(), 1);
    assert!(early.server.hears_goodbye(&notify[0]));
    assert!(!early.client.has_keys());
    assert_eq!(early.client.poll_timeout(), None);
}

#[test]
fn server_has_its_keys_only_at_the_end() {
    let mut pair = super::pair::Pair::new();
    pair.client.start(pair.now);
    while pair.server.poll_event().is_none() {
        assert_eq!(pair.server.has_keys(), pair.server.is_connected());
        assert!(pair.deliver(|_, _| true));
    }
    assert!(pair.server.is_connected());
}

/// OpenSSL's own timer is on the clock of the system, so this test has to wait for it: a second.
#[test]
fn lost_finished_under_a_cbc_cipher_is_asked_for_by_openssl() {
    let mut early = Early::with_server("ECDHE-ECDSA-AES128-SHA", PROFILES[0].0);
    early.last_flight.clear();
    let start = early.now;
    while early.last_flight.is_empty() {
        let due = early.client.poll_timeout().unwrap();
        std::thread::sleep(due.duration_since(start).saturating_sub(start.elapsed()));
        let repeated = early.wait();
        early.last_flight = early.server.answer(&repeated);
    }
    for datagram in early.last_flight.clone() {
        early.receive(&datagram);
    }
    connected_keys(&mut early.client);
    assert!(early.now < start + Duration::from_secs(5));
}
