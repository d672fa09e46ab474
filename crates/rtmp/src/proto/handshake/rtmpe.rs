//! RTMPE: a Diffie-Hellman exchange inside the handshake, then RC4 over everything.
//!
//! It only hides a stream from casual observers, because nothing authenticates the server. RTMPS
//! protects streams. Adobe published no specification; librtmp speaks this form.

use std::fmt;

use num_bigint::BigUint;
use rand::Rng;
use rand::rngs::StdRng;
use rc4::{KeyInit, Rc4, StreamCipher};

use super::mac::hmac;
use super::packet::{KEY_LEN, PACKET_LEN};

/// A public key or a shared secret, big-endian.
pub(super) type Key = [u8; KEY_LEN];

/// The prime of the second Oakley group (RFC 2409 section 6.2). The generator is 2.
const PRIME: Key = [
    0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xC9, 0x0F, 0xDA, 0xA2, 0x21, 0x68, 0xC2, 0x34,
    0xC4, 0xC6, 0x62, 0x8B, 0x80, 0xDC, 0x1C, 0xD1, 0x29, 0x02, 0x4E, 0x08, 0x8A, 0x67, 0xCC, 0x74,
    0x02, 0x0B, 0xBE, 0xA6, 0x3B, 0x13, 0x9B, 0x22, 0x51, 0x4A, 0x08, 0x79, 0x8E, 0x34, 0x04, 0xDD,
    0xEF, 0x95, 0x19, 0xB3, 0xCD, 0x3A, 0x43, 0x1B, 0x30, 0x2B, 0x0A, 0x6D, 0xF2, 0x5F, 0x14, 0x37,
    0x4F, 0xE1, 0x35, 0x6D, 0x6D, 0x51, 0xC2, 0x45, 0xE4, 0x85, 0xB5, 0x76, 0x62, 0x5E, 0x7E, 0xC6,
    0xF4, 0x4C, 0x42, 0xE9, 0xA6, 0x37, 0xED, 0x6B, 0x0B, 0xFF, 0x5C, 0xB6, 0xF4, 0x06, 0xB7, 0xED,
    0xEE, 0x38, 0x6B, 0xFB, 0x5A, 0x89, 0x9F, 0xA5, 0xAE, 0x9F, 0x24, 0x11, 0x7C, 0x4B, 0x1F, 0xE6,
    0x49, 0x28, 0x66, 0x51, 0xEC, 0xE6, 0x53, 0x81, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
];

/// Length of the private exponent, in bytes: twice the strength of a 1024-bit group, and fast.
const PRIVATE_LEN: usize = 32;

/// Length of an RC4 key, the start of an HMAC, in bytes.
const RC4_KEY_LEN: usize = 16;

/// One side of the exchange.
pub(super) struct KeyExchange {
    private: BigUint,
    public: Key,
}

impl KeyExchange {
    pub(super) fn new(random: &mut StdRng) -> Self {
        let mut private = [0; PRIVATE_LEN];
        random.fill_bytes(&mut private);
        Self::with_private(&private)
    }

    fn with_private(private: &[u8]) -> Self {
        let private = BigUint::from_bytes_be(private);
        let public = to_key(&BigUint::from(2u8).modpow(&private, &prime()));
        Self { private, public }
    }

    /// Returns the public key for the peer.
    pub(super) fn public(&self) -> &Key {
        &self.public
    }

    /// Returns the ciphers of the connection; `None` if the peer's key makes the secret known to
    /// everybody.
    pub(super) fn agree(&self, theirs: &Key) -> Option<RtmpeCipher> {
        let secret = self.secret(theirs)?;
        Some(RtmpeCipher {
            incoming: cipher(&secret, &self.public)?,
            outgoing: cipher(&secret, theirs)?,
        })
    }

    fn secret(&self, theirs: &Key) -> Option<Key> {
        let theirs = BigUint::from_bytes_be(theirs);
        let one = BigUint::from(1u8);
        let usable = theirs > one && theirs < prime() - one;
        usable.then(|| to_key(&theirs.modpow(&self.private, &prime())))
    }
}

/// The two ciphers of an RTMPE connection, one per direction.
pub(crate) struct RtmpeCipher {
    incoming: Rc4,
    outgoing: Rc4,
}

impl RtmpeCipher {
    /// Decrypts received bytes.
    pub(crate) fn decrypt(&mut self, bytes: &mut [u8]) {
        self.incoming.apply_keystream(bytes);
    }

    /// Encrypts bytes to send.
    pub(crate) fn encrypt(&mut self, bytes: &mut [u8]) {
        self.outgoing.apply_keystream(bytes);
    }
}

impl fmt::Debug for RtmpeCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RtmpeCipher")
    }
}

/// Returns the cipher of one direction, which the receiver's public key selects. It skips as many
/// bytes of the key stream as C2 or S2 has.
fn cipher(secret: &Key, receiver: &Key) -> Option<Rc4> {
    let digest = hmac(secret, &[receiver]);
    let mut cipher = Rc4::new_from_slice(digest.get(..RC4_KEY_LEN)?).ok()?;
    cipher.apply_keystream(&mut [0; PACKET_LEN]);
    Some(cipher)
}

fn prime() -> BigUint {
    BigUint::from_bytes_be(&PRIME)
}

/// Returns the number with leading zeros.
fn to_key(number: &BigUint) -> Key {
    let bytes = number.to_bytes_be();
    let mut key = [0; KEY_LEN];
    for (to, from) in key.iter_mut().rev().zip(bytes.iter().rev()) {
        *to = *from;
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    // The expected values are those of `tests/fixtures/handshake.py vectors`.

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn keys_and_secrets_match_an_independent_implementation() {
        let private: Vec<u8> = (1..=32).collect();
        let exchange = KeyExchange::with_private(&private);
        assert_eq!(
            hex(exchange.public()),
            concat!(
                "457120764f3a1e6fd58103e41a4093a6c8bc1d97cb8759de41c21afdd2d3048a",
                "5ef3d88ce24aa6ba4fe30bcfb0b0f75abf1a8aeaff3723f1bf53740c902005e1",
                "199fabad7c538e94a7034fd585339a02f3634893f748929d2a7257643e398130",
                "541ae64124c17d4507a97f1cbebeb7b933642b8df479eb59e36cfeffbf1671dd",
            )
        );
        let theirs = KeyExchange::with_private(&12345u32.to_be_bytes());
        let secret = exchange.secret(theirs.public()).unwrap();
        assert_eq!(
            hex(&secret),
            concat!(
                "043764f1619ce33f8fb284d2d5aab3cbb0a2d57eff3ef378794995817a0b41f4",
                "041e8729b96089876fdad11d6c9b47acdf8a40cdba9594123026b7419eae902d",
                "f0538f60275fb7f3451f34c7f8472ebbd883dc1e26d962817fa9ddff0d7ba2fa",
                "63f5f4c644b20f437cedbb5eff3ce828ccad37818c89d10045541981d9bc7dd2",
            )
        );
    }

    #[test]
    fn key_streams_match_an_independent_implementation() {
        let secret: Key = std::array::from_fn(|n| n as u8);
        for (first, expected) in [
            (1, "bba4aba5799a19722eaa4f85504dcd2c"),
            (2, "45b0e4c023b9b63d179efd0d81a6a92b"),
        ] {
            let receiver: Key = std::array::from_fn(|n| n as u8 + first);
            let mut bytes = [0; 16];
            cipher(&secret, &receiver)
                .unwrap()
                .apply_keystream(&mut bytes);
            assert_eq!(hex(&bytes), expected);
        }
    }

    #[test]
    fn each_side_decrypts_what_the_other_encrypts() {
        let (a, b) = (
            KeyExchange::with_private(&[7; 32]),
            KeyExchange::with_private(&[8; 32]),
        );
        let mut at_a = a.agree(b.public()).unwrap();
        let mut at_b = b.agree(a.public()).unwrap();
        let mut bytes = *b"from a to b";
        at_a.encrypt(&mut bytes);
        assert_ne!(&bytes, b"from a to b");
        at_b.decrypt(&mut bytes);
        assert_eq!(&bytes, b"from a to b");
    }

    #[test]
    fn keys_that_give_the_secret_away_are_refused() {
        let exchange = KeyExchange::with_private(&[7; 32]);
        let almost = to_key(&(prime() - BigUint::from(1u8)));
        for bad in [
            [0; KEY_LEN],
            to_key(&BigUint::from(1u8)),
            PRIME,
            almost,
            [0xFF; KEY_LEN],
        ] {
            assert!(exchange.agree(&bad).is_none());
        }
    }
}
