//! Application data after the handshake.

use super::raw_peer::{RawPeer, connected_to_raw_client, use_certificate};
use super::{association, certificate, connected_keys, origin};
use crate::dtls::{DtlsEvent, DtlsRole};

#[test]
fn record_from_before_openssl_was_dropped_is_detected_as_a_replay() {
    let theirs = certificate();
    let server = association(DtlsRole::Server, &certificate(), theirs.fingerprint());
    let mut server = server.with_application_data();
    let mut client = RawPeer::client(|builder| {
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
