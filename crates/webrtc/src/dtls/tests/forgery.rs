//! Records that are not the peer's.

use std::time::Duration;

use proptest::prelude::*;

use super::pair::{Pair, Towards};
use super::raw_peer::connected_to_raw_client;
use super::{association, certificate, connected_keys, drain, failure, origin};
use crate::dtls::{DtlsError, DtlsEvent, DtlsRole};

/// Plaintext records that do not belong to a handshake. OpenSSL ends the handshake on each of them.
pub(super) fn junk() -> Vec<Vec<u8>> {
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
pub(super) fn junk_from_a_forged_address_ends_no_handshake_and_no_association() {
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

/// OpenSSL's own timer is on the clock of the system, so this test has to wait for it: a second.
#[test]
fn flight_that_openssl_repeats_does_not_disprove_an_alert() {
    let mut pair = Pair::new();
    pair.client.start(pair.now);
    pair.client.handle_datagram(pair.now, &junk()[8]);
    std::thread::sleep(Duration::from_millis(1100));
    while let Some(due) = pair.client.poll_timeout() {
        pair.now = due;
        pair.client.handle_timeout(pair.now);
        drain(&mut pair.client);
    }
    let error = failure(&mut pair.client);
    assert!(
        matches!(error, DtlsError::Alert { description: 10 }),
        "{error}"
    );
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
        let mut layer = client.record_layer();
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
