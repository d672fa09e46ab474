//! A ClientHello in several datagrams.

use super::pair::Pair;
use super::raw_peer::{RawPeer, use_certificate};
use super::{association, certificate, connected_keys, drain, origin};
use crate::dtls::DtlsRole;

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
        let mut client = RawPeer::client(|builder| {
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
