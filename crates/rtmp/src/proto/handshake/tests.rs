use super::*;
use rand::SeedableRng;

fn server() -> Handshake {
    Handshake::server(StdRng::from_seed([1; 32]))
}

fn hello(version: u8) -> Vec<u8> {
    let mut hello = vec![version, 0, 0, 0, 9, 0, 0, 0, 0];
    hello.extend((0..PACKET_LEN - 8).map(|n| n as u8));
    hello
}

#[test]
fn server_responds_to_c1_at_once_with_s0_s1_and_its_echo() {
    let mut handshake = server();
    assert_eq!(handshake.handle_bytes(&mut &hello(3)[..]), Ok(false));
    let answer = handshake.poll_output().unwrap();
    assert_eq!(answer.len(), 1 + 2 * PACKET_LEN);
    assert_eq!(answer[0], 3);
    assert_eq!(answer[1 + PACKET_LEN..], hello(3)[1..]);
    assert_eq!(handshake.poll_output(), None);
}

#[test]
fn bytes_after_c2_are_left_for_the_chunk_stream() {
    let mut handshake = server();
    let bytes = [&hello(3)[..], &[0; PACKET_LEN], b"chunks"].concat();
    let mut input = &bytes[..];
    assert_eq!(handshake.handle_bytes(&mut input), Ok(true));
    assert_eq!(input, b"chunks");
}

#[test]
fn bytes_may_come_one_by_one() {
    let mut handshake = server();
    let bytes = [&hello(3)[..], &[0; PACKET_LEN]].concat();
    let (last, others) = bytes.split_last().unwrap();
    for byte in others {
        assert_eq!(handshake.handle_bytes(&mut &[*byte][..]), Ok(false));
    }
    assert_eq!(handshake.handle_bytes(&mut &[*last][..]), Ok(true));
}

#[test]
fn client_and_server_complete_the_handshake() {
    let mut client = Handshake::client(StdRng::from_seed([2; 32]));
    let mut server = server();
    let hello = client.poll_output().unwrap();
    assert_eq!(server.handle_bytes(&mut &hello[..]), Ok(false));
    let answer = server.poll_output().unwrap();
    assert_eq!(client.handle_bytes(&mut &answer[..]), Ok(true));
    let echo = client.poll_output().unwrap();
    assert_eq!(echo, answer.slice(1..=PACKET_LEN), "C2 is the echo of S1");
    assert_eq!(server.handle_bytes(&mut &echo[..]), Ok(true));
}

#[test]
fn flash_client_and_server_sign_for_each_other_and_have_one_key_for_proofs() {
    let mut client = Handshake::flash_client(StdRng::from_seed([2; 32]));
    let mut server = server();
    let hello = client.poll_output().unwrap();
    assert_eq!(server.handle_bytes(&mut &hello[..]), Ok(false));
    let answer = server.poll_output().unwrap();
    assert_eq!(client.handle_bytes(&mut &answer[..]), Ok(true));
    let signed = client.poll_output().unwrap();
    assert_eq!(server.handle_bytes(&mut &signed[..]), Ok(true));
    for side in [&client, &server] {
        assert!(side.summary().digest && side.summary().signed);
        assert_eq!(
            side.proof_key()[..],
            answer[1 + PACKET_LEN - 32..=PACKET_LEN]
        );
    }
}

#[test]
fn flash_client_echoes_a_server_without_digest() {
    let mut client = Handshake::flash_client(StdRng::from_seed([2; 32]));
    client.poll_output().unwrap();
    let answer = [&hello(3)[..], &[0; PACKET_LEN]].concat();
    assert_eq!(client.handle_bytes(&mut &answer[..]), Ok(true));
    assert_eq!(client.poll_output().unwrap()[..], answer[1..=PACKET_LEN]);
    assert!(!client.summary().digest && !client.summary().signed);
}

#[test]
fn unknown_version_is_answered_with_version_3() {
    let mut handshake = server();
    assert_eq!(handshake.handle_bytes(&mut &hello(7)[..]), Ok(false));
    assert_eq!(handshake.poll_output().unwrap()[0], 3);
}

#[test]
fn rtmpe_without_a_digest_is_refused() {
    for version in [6, 8, 9] {
        assert_eq!(
            server().handle_bytes(&mut &hello(version)[..]),
            Err(HandshakeError::BadRtmpe)
        );
    }
}

#[test]
fn signature_of_another_type_of_rtmpe_is_not_valid() {
    let exchange = KeyExchange::new(&mut StdRng::from_seed([5; 32]));
    let ciphers = [
        None,
        Some(SignatureCipher::Xtea),
        Some(SignatureCipher::Blowfish),
    ];
    for (version, spoken) in [6, 8, 9].into_iter().zip(ciphers) {
        let schema = Schema::DigestFirst;
        let (c1, challenge) = (0..=u8::MAX)
            .find_map(|offset| {
                let mut c1: Packet = hello(version)[1..].try_into().unwrap();
                // Where the digest lies, which must not be within the key.
                c1[8] = offset;
                let key = schema.key_range(&c1);
                c1[key].copy_from_slice(exchange.public());
                let challenge = schema.sign(&mut c1, Signer::FlashPlayer);
                let found = digest::find(&c1, Signer::FlashPlayer);
                (found == Some((schema, challenge))).then_some((c1, challenge))
            })
            .unwrap();
        for signed_with in ciphers {
            let mut handshake = server();
            let bytes = [&[version], &c1[..]].concat();
            assert_eq!(handshake.handle_bytes(&mut &bytes[..]), Ok(false));
            let answer = handshake.poll_output().unwrap();
            assert_eq!(answer[0], version);
            let s1: Packet = answer[1..=PACKET_LEN].try_into().unwrap();
            let s2: Packet = answer[1 + PACKET_LEN..].try_into().unwrap();
            let genuine = signed_with == spoken;
            let server = Signer::FlashMediaServer;
            let verified = digest::verify_answer(&s2, &challenge, server, signed_with);
            assert_eq!(verified, genuine, "{version} {signed_with:?}");

            let ours = schema.verify(&s1, server).unwrap();
            let mut c2 = [9; PACKET_LEN];
            digest::sign_answer(&mut c2, &ours, Signer::FlashPlayer, signed_with);
            assert_eq!(handshake.handle_bytes(&mut &c2[..]), Ok(true));
            assert!(handshake.summary().encrypted);
            assert_eq!(handshake.summary().signed, genuine);
        }
    }
}

#[test]
fn digest_is_answered_in_its_own_schema() {
    for schema in Schema::ALL {
        let mut c1: Packet = hello(3)[1..].try_into().unwrap();
        let challenge = schema.sign(&mut c1, Signer::FlashPlayer);
        let mut handshake = server();
        let bytes = [&[3], &c1[..]].concat();
        assert_eq!(handshake.handle_bytes(&mut &bytes[..]), Ok(false));
        let answer = handshake.poll_output().unwrap();
        let s1: Packet = answer[1..=PACKET_LEN].try_into().unwrap();
        let s2: Packet = answer[1 + PACKET_LEN..].try_into().unwrap();
        let server_digest = schema.verify(&s1, Signer::FlashMediaServer).unwrap();
        assert!(digest::verify_answer(
            &s2,
            &challenge,
            Signer::FlashMediaServer,
            None
        ));

        let mut c2 = [9; PACKET_LEN];
        digest::sign_answer(&mut c2, &server_digest, Signer::FlashPlayer, None);
        assert_eq!(handshake.handle_bytes(&mut &c2[..]), Ok(true));
        let summary = handshake.summary();
        assert!(summary.digest && summary.signed && !summary.encrypted);
    }
}

#[test]
fn echo_is_accepted_like_a_signature() {
    let mut c1: Packet = hello(3)[1..].try_into().unwrap();
    Schema::DigestFirst.sign(&mut c1, Signer::FlashPlayer);
    let bytes = [&[3], &c1[..], &[0; PACKET_LEN]].concat();
    let mut handshake = server();
    assert_eq!(handshake.handle_bytes(&mut &bytes[..]), Ok(true));
    assert!(!handshake.summary().signed);
}

#[test]
fn key_of_rtmpe_is_at_both_positions() {
    let exchange = KeyExchange::new(&mut StdRng::from_seed([5; 32]));
    for seed in 0..200 {
        let mut random = StdRng::from_seed([seed; 32]);
        for schema in Schema::ALL {
            let (packet, digest) = encrypted_hello(schema, &exchange, &mut random);
            assert_eq!(
                schema.verify(&packet, Signer::FlashMediaServer),
                Some(digest)
            );
            for schema in Schema::ALL {
                assert_eq!(packet[schema.key_range(&packet)], *exchange.public());
            }
        }
    }
}

#[test]
fn other_protocols_are_recognized_by_their_first_byte() {
    assert_eq!(
        server().handle_bytes(&mut &[22, 3, 1][..]),
        Err(HandshakeError::Tls)
    );
    assert_eq!(
        server().handle_bytes(&mut &b"GET / HTTP/1.1"[..]),
        Err(HandshakeError::NotRtmp(b'G'))
    );
}
