//! The handshake that opens a connection (RTMP 1.0 section 5.2).
//!
//! ```text
//! client                               server
//!   C0 (1 byte)  C1 (1536 bytes)  ──►
//!                                 ◄──  S0  S1  S2
//!   C2                            ──►
//! ```
//!
//! In the simple form S2 is an echo of C1 and C2 one of S1. Flash Player, librtmp and ffmpeg put a
//! digest into C1 (see `digest`): then S1 has one too and S2 is signed. With version 6 there are
//! Diffie-Hellman keys beside the digests, and everything after the handshake is enciphered (see
//! `rtmpe`). Versions 8 and 9 are the same with enciphered signatures (see `signature_cipher`).

mod digest;
mod rtmpe;
mod signature_cipher;

use bytes::{BufMut, Bytes, BytesMut};
use rand::Rng;
use rand::rngs::StdRng;

use digest::{Digest, Packet, Schema, Signer};
use rtmpe::KeyExchange;
pub(crate) use rtmpe::RtmpeCipher;
use signature_cipher::SignatureCipher;

use crate::proto::swf::{PROOF_KEY_LEN, ProofKey};

/// Length of C1, C2, S1 and S2.
const PACKET_LEN: usize = 1536;

/// The version of plain RTMP in C0 and S0.
const VERSION_PLAIN: u8 = 3;

/// The version of RTMPE.
const VERSION_RTMPE: u8 = 6;

/// RTMPE with signatures enciphered by XTEA.
const VERSION_RTMPE_XTEA: u8 = 8;

/// RTMPE with signatures enciphered by Blowfish.
const VERSION_RTMPE_BLOWFISH: u8 = 9;

/// The version in an S1 with digest. Clients look for one in S2 only where this is at least 3.
const SERVER_VERSION: [u8; 4] = [3, 5, 7, 0];

/// The version in a C1 with digest: that of a Flash Player that signs.
const CLIENT_VERSION: [u8; 4] = [10, 0, 45, 2];

/// Maximum version byte of RTMP: text protocols start with larger ones (RTMP 1.0 section 5.2.2).
const MAX_VERSION: u8 = 31;

/// First byte of a TLS record that carries a handshake message (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// The error of a failed handshake. The peer is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The first byte is that of a TLS ClientHello.
    #[error("the peer speaks TLS to a plain RTMP port (rtmps:// instead of rtmp://?)")]
    Tls,
    /// The first byte is not an RTMP version.
    #[error("the peer does not speak RTMP: its first byte is {0:#04x}")]
    NotRtmp(u8),
    /// RTMPE without the digest that locates the public key, or without a usable key.
    #[error("an RTMPE client without digest or public key")]
    BadRtmpe,
}

/// The result of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakeSummary {
    /// True if the packets had digests.
    pub digest: bool,
    /// True if the connection is RTMPE.
    pub encrypted: bool,
    /// True if the client has signed our digest in C2. ffmpeg and others echo S1 instead
    /// even where they have sent a digest, so this decides nothing.
    pub signed: bool,
}

/// One side of a handshake: bytes in by [`Self::handle_bytes`], bytes out by [`Self::poll_output`].
#[derive(Debug)]
pub struct Handshake {
    state: State,
    random: StdRng,
    /// The received part of the awaited packets.
    received: BytesMut,
    output: BytesMut,
    cipher: Option<RtmpeCipher>,
    /// The cipher over the signatures in C2 and S2.
    signature_cipher: Option<SignatureCipher>,
    summary: HandshakeSummary,
    /// The end of S1.
    proof_key: ProofKey,
}

/// ```text
/// server: AwaitHello ──C0 C1──► AwaitEcho ──C2──► Done
/// client: AwaitServerHello ──S0 S1──► AwaitEcho ──S2──► Done
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The server waits for C0 and C1.
    AwaitHello,
    /// The client waits for S0 and S1; where it has sent a digest, it looks for one there.
    AwaitServerHello {
        ours: Option<Digest>,
    },
    /// The peer's C2 or S2 is awaited. A signature for our digest is noted, no more: GStreamer
    /// sends not even an exact echo, and it would prove nothing.
    AwaitEcho {
        ours: Option<Digest>,
        peer: Signer,
    },
    Done,
}

impl Handshake {
    /// Returns the server's side. `random` fills S1 and S2 and makes the key of RTMPE.
    pub fn server(random: StdRng) -> Self {
        Self::new(State::AwaitHello, random)
    }

    /// Returns the client's side, in the simple form; C0 and C1 are ready to be sent. `random`
    /// fills C1.
    pub fn client(random: StdRng) -> Self {
        let mut handshake = Self::new(State::AwaitServerHello { ours: None }, random);
        let mut hello = handshake.random_packet();
        hello[..8].fill(0);
        handshake.put_hello(VERSION_PLAIN, &hello);
        handshake
    }

    /// Returns the client's side as that of a Flash Player, with digests where the server has them
    /// too.
    pub(crate) fn flash_client(random: StdRng) -> Self {
        let mut handshake = Self::new(State::AwaitServerHello { ours: None }, random);
        let mut hello = handshake.random_packet();
        hello[..4].fill(0);
        hello[4..8].copy_from_slice(&CLIENT_VERSION);
        let ours = Schema::DigestFirst.sign(&mut hello, Signer::FlashPlayer);
        handshake.state = State::AwaitServerHello { ours: Some(ours) };
        handshake.put_hello(VERSION_PLAIN, &hello);
        handshake
    }

    fn new(state: State, random: StdRng) -> Self {
        Self {
            state,
            random,
            received: BytesMut::with_capacity(1 + PACKET_LEN),
            output: BytesMut::new(),
            cipher: None,
            signature_cipher: None,
            summary: HandshakeSummary {
                digest: false,
                encrypted: false,
                signed: false,
            },
            proof_key: ProofKey::default(),
        }
    }

    /// Takes the handshake's part from the front of `input`. Returns whether the handshake is
    /// complete; what is then left of the input is the chunk stream.
    ///
    /// # Errors
    /// When the peer does not speak RTMP, or not in a form that is spoken here.
    pub fn handle_bytes(&mut self, input: &mut &[u8]) -> Result<bool, HandshakeError> {
        loop {
            let awaited = match self.state {
                State::AwaitHello | State::AwaitServerHello { .. } => 1 + PACKET_LEN,
                State::AwaitEcho { .. } => PACKET_LEN,
                State::Done => return Ok(true),
            };
            let wanted = awaited.saturating_sub(self.received.len());
            let (taken, rest) = input.split_at(input.len().min(wanted));
            self.received.extend_from_slice(taken);
            *input = rest;
            if !matches!(self.state, State::AwaitEcho { .. })
                && let Some(&version) = self.received.first()
            {
                check_version(version)?;
            }
            if self.received.len() < awaited {
                return Ok(false);
            }
            let received = self.received.split();
            self.handle_packet(&received)?;
        }
    }

    /// Returns the next bytes to send.
    pub fn poll_output(&mut self) -> Option<Bytes> {
        (!self.output.is_empty()).then(|| self.output.split().freeze())
    }

    /// Returns the result so far.
    pub fn summary(&self) -> HandshakeSummary {
        self.summary
    }

    /// Returns the ciphers for the rest of the connection, if it is RTMPE.
    pub(crate) fn take_cipher(&mut self) -> Option<RtmpeCipher> {
        self.cipher.take()
    }

    /// Returns the key by which a client proves its Flash program, once S1 is known.
    pub(crate) fn proof_key(&self) -> ProofKey {
        self.proof_key
    }

    fn handle_packet(&mut self, received: &[u8]) -> Result<(), HandshakeError> {
        let Some((before, packet)) = received.split_last_chunk::<PACKET_LEN>() else {
            return Ok(());
        };
        self.state = match self.state {
            State::AwaitHello => {
                let version = before.first().copied().unwrap_or(VERSION_PLAIN);
                let ours = self.answer_hello(version, packet)?;
                let peer = Signer::FlashPlayer;
                State::AwaitEcho { ours, peer }
            }
            State::AwaitServerHello { ours } => {
                self.note_server_hello(packet);
                self.answer_server_hello(packet, ours.is_some());
                let peer = Signer::FlashMediaServer;
                State::AwaitEcho { ours, peer }
            }
            State::AwaitEcho { ours, peer } => {
                let cipher = self.signature_cipher;
                self.summary.signed =
                    ours.is_some_and(|ours| digest::verify_answer(packet, &ours, peer, cipher));
                State::Done
            }
            State::Done => State::Done,
        };
        Ok(())
    }

    /// Answers S0 and S1: by a signature where both sides have digests, by an echo otherwise.
    fn answer_server_hello(&mut self, hello: &Packet, has_digest: bool) {
        let found = digest::find(hello, Signer::FlashMediaServer).filter(|_| has_digest);
        let Some((_, challenge)) = found else {
            self.output.extend_from_slice(hello);
            return;
        };
        self.summary.digest = true;
        let mut answer = self.random_packet();
        digest::sign_answer(&mut answer, &challenge, Signer::FlashPlayer, None);
        self.output.put_slice(&answer);
    }

    /// Stores the needed parts of S1.
    fn note_server_hello(&mut self, hello: &Packet) {
        self.proof_key
            .copy_from_slice(&hello[PACKET_LEN - PROOF_KEY_LEN..]);
    }

    /// Answers C0 and C1 in the form the client has chosen. Returns the digest in S1.
    fn answer_hello(
        &mut self,
        version: u8,
        hello: &Packet,
    ) -> Result<Option<Digest>, HandshakeError> {
        self.signature_cipher = match version {
            VERSION_RTMPE_XTEA => Some(SignatureCipher::Xtea),
            VERSION_RTMPE_BLOWFISH => Some(SignatureCipher::Blowfish),
            _ => None,
        };
        let encrypted = version == VERSION_RTMPE || self.signature_cipher.is_some();
        let Some((schema, challenge)) = digest::find(hello, Signer::FlashPlayer) else {
            if encrypted {
                return Err(HandshakeError::BadRtmpe);
            }
            let mut answer = self.random_packet();
            answer[..8].fill(0);
            self.note_server_hello(&answer);
            self.put_hello(VERSION_PLAIN, &answer);
            self.output.extend_from_slice(hello);
            return Ok(None);
        };
        let (answer, ours) = if encrypted {
            let exchange = KeyExchange::new(&mut self.random);
            let mut theirs = [0; digest::KEY_LEN];
            theirs.copy_from_slice(&hello[schema.key_range(hello)]);
            let cipher = exchange.agree(&theirs);
            self.cipher = Some(cipher.ok_or(HandshakeError::BadRtmpe)?);
            self.encrypted_hello(schema, &exchange)
        } else {
            let mut answer = self.server_packet();
            let ours = schema.sign(&mut answer, Signer::FlashMediaServer);
            (answer, ours)
        };
        self.summary.digest = true;
        self.summary.encrypted = encrypted;
        let version = if encrypted { version } else { VERSION_PLAIN };
        self.note_server_hello(&answer);
        self.put_hello(version, &answer);
        let mut echo = self.random_packet();
        digest::sign_answer(
            &mut echo,
            &challenge,
            Signer::FlashMediaServer,
            self.signature_cipher,
        );
        self.output.put_slice(&echo);
        Ok(Some(ours))
    }

    /// S1 with digest and public key.
    ///
    /// ffmpeg as a publisher uses the key-first schema and yet looks for the server's key where the
    /// other schema has it. So the key is at both positions, in a packet drawn such that digest,
    /// keys and the offset bytes do not overlap.
    fn encrypted_hello(&mut self, schema: Schema, exchange: &KeyExchange) -> (Packet, Digest) {
        loop {
            let mut packet = self.server_packet();
            let key_ranges = Schema::ALL.map(|schema| schema.key_range(&packet));
            for range in &key_ranges {
                packet[range.clone()].copy_from_slice(exchange.public());
            }
            let digest = schema.sign(&mut packet, Signer::FlashMediaServer);
            // What one of them has overwritten of another's shows when each is looked for again.
            let found = Schema::ALL.map(|schema| schema.key_range(&packet));
            let intact = found == key_ranges
                && found
                    .into_iter()
                    .all(|range| packet[range] == *exchange.public())
                && schema.verify(&packet, Signer::FlashMediaServer).is_some();
            if intact {
                return (packet, digest);
            }
        }
    }

    /// Returns an S1 that is going to have a digest.
    fn server_packet(&mut self) -> Packet {
        let mut packet = self.random_packet();
        packet[..4].fill(0);
        packet[4..8].copy_from_slice(&SERVER_VERSION);
        packet
    }

    fn random_packet(&mut self) -> Packet {
        let mut packet = [0; PACKET_LEN];
        self.random.fill_bytes(&mut packet);
        packet
    }

    /// Sends C0 and C1, or S0 and S1, which have the same form:
    ///
    /// ```text
    /// version (1)  time (4)  zero, or a version where there is a digest (4)  random (1528)
    /// ```
    ///
    /// The time is zero: the clock's origin is ours to choose (RTMP 1.0 section 5.2.3).
    fn put_hello(&mut self, version: u8, packet: &Packet) {
        self.output.put_u8(version);
        self.output.put_slice(packet);
    }
}

/// Refuses what cannot be RTMP by its first byte. Versions that nobody defined are answered with
/// the one we speak, as RTMP 1.0 section 5.2.2 wants it.
fn check_version(version: u8) -> Result<(), HandshakeError> {
    match version {
        TLS_HANDSHAKE => Err(HandshakeError::Tls),
        0..=MAX_VERSION => Ok(()),
        _ => Err(HandshakeError::NotRtmp(version)),
    }
}

#[cfg(test)]
mod tests {
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
    fn what_follows_c2_is_left_for_the_chunk_stream() {
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
            let mut handshake = Handshake::server(StdRng::from_seed([seed; 32]));
            for schema in Schema::ALL {
                let (packet, digest) = handshake.encrypted_hello(schema, &exchange);
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
}
