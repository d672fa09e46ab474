//! The handshake that opens a connection (RTMP 1.0 section 5.2).
//!
//! ```text
//! client                               server
//!   C0 (1 byte)  C1 (1536 bytes)  ──►
//!                                 ◄──  S0  S1  S2
//!   C2                            ──►
//! ```
//!
//! In the simple form S2 is an echo of C1, and C2 an echo of S1. Flash Player, librtmp and ffmpeg
//! put a digest into C1 (see `digest`): then S1 has a digest as well and S2 is signed. Version 6
//! adds Diffie-Hellman keys, and everything after the handshake is encrypted (see `rtmpe`).
//! Versions 8 and 9 also encrypt the signatures (see `signature_cipher`).

mod digest;
mod mac;
mod packet;
mod rtmpe;
mod server_hello;
mod signature_cipher;
#[cfg(test)]
mod tests;

use bytes::{BufMut, Bytes, BytesMut};
use rand::rngs::StdRng;

use digest::{Schema, Signer};
use mac::Digest;
use packet::{KEY_LEN, PACKET_LEN, Packet, random_packet};
use rtmpe::KeyExchange;
pub(crate) use rtmpe::RtmpeCipher;
use server_hello::{encrypted_hello, server_packet};
use signature_cipher::SignatureCipher;

use crate::proto::swf::{PROOF_KEY_LEN, ProofKey};

/// The version of plain RTMP in C0 and S0.
const VERSION_PLAIN: u8 = 3;

/// The version of RTMPE.
const VERSION_RTMPE: u8 = 6;

/// The version of RTMPE with signatures encrypted by XTEA.
const VERSION_RTMPE_XTEA: u8 = 8;

/// The version of RTMPE with signatures encrypted by Blowfish.
const VERSION_RTMPE_BLOWFISH: u8 = 9;

/// The version in a C1 with digest: a Flash Player that signs.
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
    /// An RTMPE client without the digest that locates its public key, or without a usable key.
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
    /// True if the client has signed our digest in C2. It decides nothing, because ffmpeg and
    /// others echo S1 even after they have sent a digest.
    pub signed: bool,
}

/// One side of a handshake. Pass bytes to [`Self::handle_bytes`], and send the output of
/// [`Self::poll_output`].
#[derive(Debug)]
pub struct Handshake {
    state: State,
    random: StdRng,
    /// The received part of the awaited packets.
    received: BytesMut,
    output: BytesMut,
    cipher: Option<RtmpeCipher>,
    /// The cipher of the signatures in C2 and S2.
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
    /// The client waits for S0 and S1. If it has sent a digest, it looks for one in S1.
    AwaitServerHello {
        ours: Option<Digest>,
    },
    /// Waits for the peer's C2 or S2. A signature of our digest is only noted: GStreamer does not
    /// even send an exact echo, and a signature would prove nothing.
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
        let mut hello = random_packet(&mut handshake.random);
        hello[..8].fill(0);
        handshake.put_hello(VERSION_PLAIN, &hello);
        handshake
    }

    /// Returns the client's side as that of a Flash Player, with digests where the server has them
    /// too.
    pub(crate) fn flash_client(random: StdRng) -> Self {
        let mut handshake = Self::new(State::AwaitServerHello { ours: None }, random);
        let mut hello = random_packet(&mut handshake.random);
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

    /// Reads the handshake from the front of `input`. Returns whether the handshake is complete;
    /// the rest of the input is then the chunk stream.
    ///
    /// # Errors
    /// Returns [`HandshakeError`] if the peer does not speak RTMP, or its RTMPE is not valid.
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

    /// Returns the key for proofs of Flash programs, once S1 is known.
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

    /// Responds to S0 and S1: with a signature if both sides have digests, otherwise with an echo.
    fn answer_server_hello(&mut self, hello: &Packet, has_digest: bool) {
        let found = digest::find(hello, Signer::FlashMediaServer).filter(|_| has_digest);
        let Some((_, challenge)) = found else {
            self.output.extend_from_slice(hello);
            return;
        };
        self.summary.digest = true;
        let mut answer = random_packet(&mut self.random);
        digest::sign_answer(&mut answer, &challenge, Signer::FlashPlayer, None);
        self.output.put_slice(&answer);
    }

    /// Stores the key for proofs from S1.
    fn note_server_hello(&mut self, hello: &Packet) {
        self.proof_key
            .copy_from_slice(&hello[PACKET_LEN - PROOF_KEY_LEN..]);
    }

    /// Responds to C0 and C1 in the client's form. Returns the digest in S1.
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
            let mut answer = random_packet(&mut self.random);
            answer[..8].fill(0);
            self.note_server_hello(&answer);
            self.put_hello(VERSION_PLAIN, &answer);
            self.output.extend_from_slice(hello);
            return Ok(None);
        };
        let (answer, ours) = if encrypted {
            let exchange = KeyExchange::new(&mut self.random);
            let mut theirs = [0; KEY_LEN];
            theirs.copy_from_slice(&hello[schema.key_range(hello)]);
            let cipher = exchange.agree(&theirs);
            self.cipher = Some(cipher.ok_or(HandshakeError::BadRtmpe)?);
            encrypted_hello(schema, &exchange, &mut self.random)
        } else {
            let mut answer = server_packet(&mut self.random);
            let ours = schema.sign(&mut answer, Signer::FlashMediaServer);
            (answer, ours)
        };
        self.summary.digest = true;
        self.summary.encrypted = encrypted;
        let version = if encrypted { version } else { VERSION_PLAIN };
        self.note_server_hello(&answer);
        self.put_hello(version, &answer);
        let mut echo = random_packet(&mut self.random);
        digest::sign_answer(
            &mut echo,
            &challenge,
            Signer::FlashMediaServer,
            self.signature_cipher,
        );
        self.output.put_slice(&echo);
        Ok(Some(ours))
    }

    /// Sends C0 and C1, or S0 and S1, which have the same format:
    ///
    /// ```text
    /// version (1)  time (4)  zero, or a version with a digest (4)  random (1528)
    /// ```
    ///
    /// The time is zero, since the origin of the clock is arbitrary (RTMP 1.0 section 5.2.3).
    fn put_hello(&mut self, version: u8, packet: &Packet) {
        self.output.put_u8(version);
        self.output.put_slice(packet);
    }
}

/// Refuses other protocols by their first byte. Unknown versions are answered with version 3, as
/// RTMP 1.0 section 5.2.2 requires.
fn check_version(version: u8) -> Result<(), HandshakeError> {
    match version {
        TLS_HANDSHAKE => Err(HandshakeError::Tls),
        0..=MAX_VERSION => Ok(()),
        _ => Err(HandshakeError::NotRtmp(version)),
    }
}
