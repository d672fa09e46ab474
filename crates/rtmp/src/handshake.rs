//! The handshake that opens a connection (RTMP 1.0 section 5.2).
//!
//! ```text
//! client                               server
//!   C0 (1 byte)  C1 (1536 bytes)  ──►
//!                                 ◄──  S0  S1  S2 (the echo of C1)
//!   C2 (the echo of S1)           ──►
//! ```

use bytes::{BufMut, Bytes, BytesMut};
use rand::Rng;
use rand::rngs::StdRng;

/// Length of C1, C2, S1 and S2.
const PACKET_LEN: usize = 1536;

/// The version of plain RTMP in C0 and S0.
const VERSION_PLAIN: u8 = 3;

/// Larger version bytes are no RTMP: text protocols begin so (RTMP 1.0 section 5.2.2).
const MAX_VERSION: u8 = 31;

/// First byte of a TLS record that carries a handshake message (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// Why a handshake fails. The peer is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The first byte is that of a TLS ClientHello.
    #[error("the peer speaks TLS to a plain RTMP port (rtmps:// in place of rtmp://?)")]
    Tls,
    /// The first byte is no RTMP version.
    #[error("the peer does not speak RTMP: its first byte is {0:#04x}")]
    NotRtmp(u8),
}

/// One side of a handshake: bytes in by [`Self::handle_bytes`], bytes out by [`Self::poll_output`].
#[derive(Debug)]
pub struct Handshake {
    state: State,
    random: StdRng,
    /// What has come of the packets that are awaited.
    received: BytesMut,
    output: BytesMut,
}

/// ```text
/// server: AwaitHello ──C0 C1──► AwaitEcho ──C2──► Done
/// client: AwaitServerHello ──S0 S1──► AwaitEcho ──S2──► Done
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The server waits for C0 and C1.
    AwaitHello,
    /// The client waits for S0 and S1.
    AwaitServerHello,
    /// The peer's C2 or S2 is awaited. What it contains is not looked at: GStreamer sends no exact
    /// echo, and it proves nothing.
    AwaitEcho,
    Done,
}

impl Handshake {
    /// The server's side. `random` fills S1.
    pub fn server(random: StdRng) -> Self {
        Self::new(State::AwaitHello, random)
    }

    /// The client's side; C0 and C1 are ready to be sent. `random` fills C1.
    pub fn client(random: StdRng) -> Self {
        let mut handshake = Self::new(State::AwaitServerHello, random);
        handshake.put_hello();
        handshake
    }

    fn new(state: State, random: StdRng) -> Self {
        Self {
            state,
            random,
            received: BytesMut::with_capacity(1 + PACKET_LEN),
            output: BytesMut::new(),
        }
    }

    /// Takes the handshake's part from the front of `input`. Returns whether the handshake is
    /// complete; what is then left of the input is the chunk stream.
    ///
    /// # Errors
    /// When the peer does not speak RTMP.
    pub fn handle_bytes(&mut self, input: &mut &[u8]) -> Result<bool, HandshakeError> {
        loop {
            let awaited = match self.state {
                State::AwaitHello | State::AwaitServerHello => 1 + PACKET_LEN,
                State::AwaitEcho => PACKET_LEN,
                State::Done => return Ok(true),
            };
            let (taken, rest) = input.split_at(input.len().min(awaited - self.received.len()));
            self.received.extend_from_slice(taken);
            *input = rest;
            if self.state != State::AwaitEcho
                && let Some(&version) = self.received.first()
            {
                check_version(version)?;
            }
            if self.received.len() < awaited {
                return Ok(false);
            }
            let packet = self.received.split().freeze();
            self.handle_packet(&packet);
        }
    }

    /// The next bytes to send.
    pub fn poll_output(&mut self) -> Option<Bytes> {
        (!self.output.is_empty()).then(|| self.output.split().freeze())
    }

    fn handle_packet(&mut self, packet: &Bytes) {
        self.state = match self.state {
            State::AwaitHello => {
                self.put_hello();
                self.output
                    .extend_from_slice(packet.get(1..).unwrap_or_default());
                State::AwaitEcho
            }
            State::AwaitServerHello => {
                self.output
                    .extend_from_slice(packet.get(1..).unwrap_or_default());
                State::AwaitEcho
            }
            State::AwaitEcho | State::Done => State::Done,
        };
    }

    /// Writes C0 and C1, or S0 and S1, which have the same form:
    ///
    /// ```text
    /// version (1)  time (4)  zero (4)  random (1528)
    /// ```
    fn put_hello(&mut self) {
        let mut random = [0; PACKET_LEN - 8];
        self.random.fill_bytes(&mut random);
        self.output.put_u8(VERSION_PLAIN);
        // The clock's origin is ours to choose (RTMP 1.0 section 5.2.3), and it begins here.
        self.output.put_u32(0);
        self.output.put_u32(0);
        self.output.put_slice(&random);
    }
}

/// Refuses what cannot be RTMP by its first byte. Versions that nobody defined are answered with the
/// one we speak, as RTMP 1.0 section 5.2.2 wants it.
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
    fn the_server_answers_c1_at_once_with_s0_s1_and_its_echo() {
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
    fn client_and_server_come_to_terms() {
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
    fn an_unknown_version_is_answered_with_version_3() {
        let mut handshake = server();
        assert_eq!(handshake.handle_bytes(&mut &hello(7)[..]), Ok(false));
        assert_eq!(handshake.poll_output().unwrap()[0], 3);
    }

    #[test]
    fn other_protocols_are_told_by_their_first_byte() {
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
