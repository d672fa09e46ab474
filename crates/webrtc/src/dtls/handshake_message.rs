//! Plausibility checks of plaintext handshake messages.

use super::DtlsRole;

/// Header of a message or a part of one (RFC 6347 section 4.2.2): type, length, message sequence,
/// offset and length of the part.
const HEADER_LEN: usize = 12;

/// Longest message: certificates are the longest, with some kilobytes.
const MAX_MESSAGE: usize = 16 * 1024;

/// Message types (RFC 5246 section 7.4, RFC 6347 section 4.2.1, RFC 5077, RFC 6066).
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const HELLO_VERIFY_REQUEST: u8 = 3;
const NEW_SESSION_TICKET: u8 = 4;
const CERTIFICATE: u8 = 11;
const SERVER_KEY_EXCHANGE: u8 = 12;
const CERTIFICATE_REQUEST: u8 = 13;
const SERVER_HELLO_DONE: u8 = 14;
const CERTIFICATE_VERIFY: u8 = 15;
const CLIENT_KEY_EXCHANGE: u8 = 16;
const CERTIFICATE_STATUS: u8 = 22;

/// The plaintext messages of a client, in this order: we require no cookie and always a
/// certificate.
const OF_CLIENT: [u8; 4] = [
    CLIENT_HELLO,
    CERTIFICATE,
    CLIENT_KEY_EXCHANGE,
    CERTIFICATE_VERIFY,
];

/// The plaintext messages of a server.
const OF_SERVER: [u8; 8] = [
    SERVER_HELLO,
    HELLO_VERIFY_REQUEST,
    NEW_SESSION_TICKET,
    CERTIFICATE,
    SERVER_KEY_EXCHANGE,
    CERTIFICATE_REQUEST,
    SERVER_HELLO_DONE,
    CERTIFICATE_STATUS,
];

/// Returns whether the fragment of a record consists of messages, or parts of them, that the peer
/// of a side with this role may send.
///
/// This excludes messages that no participant of the handshake sends. It cannot exclude forged
/// messages of the right form: until the handshake is complete nothing distinguishes them from the
/// peer's (RFC 6347 section 4.2.1 has the cookie against that, and only before the handshake).
pub(super) fn is_plausible(mut fragment: &[u8], role: DtlsRole) -> bool {
    let mut is_plausible = !fragment.is_empty();
    while is_plausible && !fragment.is_empty() {
        let Some((part, rest)) = Part::split(fragment) else {
            return false;
        };
        is_plausible = part.is_from_peer_of(role);
        fragment = rest;
    }
    is_plausible
}

/// A part of a message.
struct Part<'a> {
    kind: u8,
    length: usize,
    sequence: usize,
    offset: usize,
    bytes: &'a [u8],
}

impl<'a> Part<'a> {
    fn split(fragment: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (header, rest) = fragment.split_first_chunk::<HEADER_LEN>()?;
        let &[kind, l0, l1, l2, s0, s1, o0, o1, o2, p0, p1, p2] = header;
        let (bytes, rest) = rest.split_at_checked(number(&[p0, p1, p2]))?;
        let part = Self {
            kind,
            length: number(&[l0, l1, l2]),
            sequence: number(&[s0, s1]),
            offset: number(&[o0, o1, o2]),
            bytes,
        };
        Some((part, rest))
    }

    fn is_from_peer_of(&self, role: DtlsRole) -> bool {
        let is_its_turn = match role {
            DtlsRole::Server => OF_CLIENT.get(self.sequence) == Some(&self.kind),
            DtlsRole::Client => OF_SERVER.contains(&self.kind),
        };
        let is_whole = self.bytes.len() == self.length;
        let is_part = self.offset + self.bytes.len() <= self.length && !self.bytes.is_empty();
        let is_hello = self.kind != CLIENT_HELLO || !is_whole || is_client_hello(self.bytes);
        let is_sized = self.length <= MAX_MESSAGE && (is_part || is_whole && self.offset == 0);
        is_its_turn && is_sized && is_hello
    }
}

/// Returns whether a ClientHello has the form of RFC 6347 section 4.2.1: version, random, session
/// id, cookie, ciphers, compression methods and extensions.
fn is_client_hello(message: &[u8]) -> bool {
    let parsed = message
        .get(34..)
        .and_then(|rest| skip(rest, 1, 0))
        .and_then(|rest| skip(rest, 1, 0))
        .and_then(|rest| skip(rest, 2, 2))
        .and_then(|rest| skip(rest, 1, 1));
    match parsed {
        Some([]) => true,
        Some(extensions) => skip(extensions, 2, 0).is_some_and(<[u8]>::is_empty),
        None => false,
    }
}

/// Returns the bytes after a vector of at least `least` bytes with a length field of `size` bytes.
fn skip(bytes: &[u8], size: usize, least: usize) -> Option<&[u8]> {
    let (length, rest) = bytes.split_at_checked(size)?;
    let length = number(length);
    rest.get(length..).filter(|_| length >= least)
}

/// Returns a number in network byte order.
fn number(bytes: &[u8]) -> usize {
    let digit = |number: usize, byte: &u8| number << 8 | usize::from(*byte);
    bytes.iter().fold(0, digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(kind: u8, sequence: u8, length: u8, offset: u8, bytes: &[u8]) -> Vec<u8> {
        let part = bytes.len() as u8;
        let mut header = vec![kind, 0, 0, length, 0, sequence, 0, 0, offset, 0, 0, part];
        header.extend_from_slice(bytes);
        header
    }

    fn hello() -> Vec<u8> {
        let mut hello = vec![0xfe, 0xfd];
        hello.extend_from_slice(&[7; 32]);
        // Session id, cookie, one cipher, one compression method, an extension of no bytes.
        hello.extend_from_slice(&[1, 9, 0, 0, 2, 0xc0, 0x2b, 1, 0, 0, 4, 0, 23, 0, 0]);
        hello
    }

    #[test]
    fn messages_of_a_client_have_their_order() {
        let server = DtlsRole::Server;
        for (sequence, kind) in (0..).zip(OF_CLIENT.into_iter().skip(1)) {
            for at in 0..6 {
                let message = part(kind, at, 4, 0, b"body");
                assert_eq!(is_plausible(&message, server), at == sequence + 1);
            }
        }
        for kind in [0, SERVER_HELLO, SERVER_HELLO_DONE, 20, 99] {
            for at in 0..6 {
                assert!(!is_plausible(&part(kind, at, 4, 0, b"body"), server));
            }
        }
        let flight = [part(11, 1, 4, 0, b"body"), part(16, 2, 4, 0, b"body")].concat();
        assert!(is_plausible(&flight, server));
        assert!(!is_plausible(&[&flight[..], &[1]].concat(), server));
    }

    #[test]
    fn hello_has_its_form() {
        let hello = hello();
        let length = hello.len() as u8;
        let whole = part(CLIENT_HELLO, 0, length, 0, &hello);
        assert!(is_plausible(&whole, DtlsRole::Server));
        assert!(!is_plausible(&whole, DtlsRole::Client));
        for cut in 1..hello.len() {
            let bytes = &hello[..cut];
            // Before the extensions there may be an end.
            let message = part(CLIENT_HELLO, 0, cut as u8, 0, bytes);
            assert_eq!(is_plausible(&message, DtlsRole::Server), cut == 43, "{cut}");
            // A part is not looked into.
            assert!(is_plausible(
                &part(CLIENT_HELLO, 0, length, 0, bytes),
                DtlsRole::Server
            ));
        }
        assert!(!is_plausible(
            &part(CLIENT_HELLO, 0, 40, 0, &[0xaa; 40]),
            DtlsRole::Server
        ));
    }

    #[test]
    fn parts_lie_within_their_message() {
        let client = DtlsRole::Client;
        for (length, offset, bytes, expected) in [
            (4, 0, &b"body"[..], true),
            (4, 2, b"dy", true),
            (4, 3, b"dy", false),
            (4, 0, b"bodyguard", false),
            (0, 0, b"", true),
            (4, 0, b"", false),
            (4, 4, b"", false),
        ] {
            let message = part(SERVER_HELLO_DONE, 4, length, offset, bytes);
            assert_eq!(
                is_plausible(&message, client),
                expected,
                "{length} {offset}"
            );
        }
        let mut long = part(CERTIFICATE, 2, 4, 0, b"body");
        long[1] = 1;
        assert!(!is_plausible(&long, client), "65 540 bytes");
        assert!(!is_plausible(&[], client) && !is_plausible(&[2; 11], client));
    }
}
