//! Lost, repeated and reordered datagrams.

use std::time::Duration;

use super::pair::{Pair, Towards};
use super::{association, certificate, connected_keys, drain, failure, origin};
use crate::demux::DatagramKind;
use crate::dtls::{DtlsError, DtlsRole, HANDSHAKE_TIMEOUT, MTU};

/// Both sides are connected, and have the same keys.
fn assert_same_keys(pair: &mut Pair, case: &str) {
    let client = connected_keys(&mut pair.client);
    let server = connected_keys(&mut pair.server);
    assert_eq!(client.local, server.remote, "{case}");
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

#[test]
fn handshake_completes_after_the_loss_of_any_datagram() {
    let (pair, ..) = Pair::connected();
    for lost in 0..pair.handshake.unwrap() {
        let mut pair = Pair::new();
        pair.run(|number, _| number != lost);
        assert_same_keys(&mut pair, &format!("datagram {lost}"));
        assert!(pair.sent.len() > lost + 1);
    }
}

#[test]
fn handshake_completes_after_the_loss_of_any_two_datagrams() {
    let (pair, ..) = Pair::connected();
    for first in 0..pair.handshake.unwrap() {
        for second in first + 1..=pair.handshake.unwrap() {
            let mut pair = Pair::new();
            pair.run(|number, _| number != first && number != second);
            assert_same_keys(&mut pair, &format!("datagrams {first}, {second}"));
        }
    }
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
fn server_repeats_its_last_flight_until_the_client_shows_that_it_has_it() {
    let mut pair = Pair::new();
    pair.client.start(pair.now);
    pair.server.start(pair.now);
    while pair.server.poll_event().is_none() {
        assert!(pair.deliver(|_, _| true));
    }
    let lost = drain(&mut pair.server);
    assert!(!pair.client.is_connected());
    for _ in 0..3 {
        pair.now = pair.server.poll_timeout().unwrap();
        pair.server.handle_timeout(pair.now);
        let again = drain(&mut pair.server);
        assert_eq!(again, lost);
        for datagram in again {
            pair.client.handle_datagram(pair.now, &datagram);
        }
    }
    connected_keys(&mut pair.client);
    pair.client.send(b"here");
    for datagram in drain(&mut pair.client) {
        pair.server.handle_datagram(pair.now, &datagram);
    }
    assert_eq!(pair.server.poll_timeout(), None);
}

#[test]
fn handshake_completes_with_a_third_of_all_datagrams_lost() {
    for seed in 0..10_usize {
        let mut pair = Pair::new();
        pair.run(|number, _| {
            let hash = (number + seed * 100 + 1).wrapping_mul(2_654_435_761);
            (hash >> 16) % 3 != 0
        });
        assert_same_keys(&mut pair, &format!("seed {seed}"));
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
fn flight_is_retransmitted_in_time_once_the_round_trip_is_known() {
    let millis = Duration::from_millis;
    let peer = certificate();
    let mut client = association(DtlsRole::Client, &certificate(), peer.fingerprint());
    let start = origin();
    client.start(start);
    let hello = drain(&mut client);
    assert_eq!(
        client.poll_timeout(),
        Some(start + millis(200)),
        "not known"
    );
    // It becomes known while the flight is under way.
    client.note_round_trip(millis(100));
    for due in [150, 450, 1050, 2250] {
        let due = start + millis(due);
        assert_eq!(client.poll_timeout(), Some(due));
        client.handle_timeout(due - millis(1));
        assert!(drain(&mut client).is_empty(), "not before");
        client.handle_timeout(due);
        assert_eq!(drain(&mut client), hello, "the same records");
    }
    // Before it begins.
    let mut client = association(DtlsRole::Client, &certificate(), peer.fingerprint());
    client.note_round_trip(millis(4));
    client.start(start);
    assert_eq!(client.poll_timeout(), Some(start + millis(54)));
}
