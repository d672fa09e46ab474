//! Digests in the handshake: Flash players and servers prove to each other that they have Adobe's
//! keys, which are public by now.
//!
//! No specification of Adobe's describes them; librtmp and Flash Player check this form. A packet
//! (C1 or S1) has two blocks of 764 bytes, in either order:
//!
//! ```text
//! time (4)  version (4)  digest block  key block       Schema::DigestFirst
//! time (4)  version (4)  key block     digest block    Schema::KeyFirst
//!
//! digest block:  offset (4)  random  digest (32)  random
//! key block:     random  public key (128)  random  offset (4)
//! ```
//!
//! An offset is the sum of its four bytes modulo the available room. The digest is an HMAC-SHA256
//! over the packet without the digest itself.

use std::ops::Range;

use super::mac::{DIGEST_LEN, Digest, hmac};
use super::packet::{KEY_LEN, PACKET_LEN, Packet};
use super::signature_cipher::SignatureCipher;

const BLOCK_LEN: usize = 764;

/// The suffix of the text in both keys.
const KEY_TAIL: [u8; 32] = [
    0xF0, 0xEE, 0xC2, 0x4A, 0x80, 0x68, 0xBE, 0xE8, 0x2E, 0x00, 0xD0, 0xD1, 0x02, 0x9E, 0x7E, 0x57,
    0x6E, 0xEC, 0x5D, 0x2D, 0x29, 0x80, 0x6F, 0xAB, 0x93, 0xB8, 0xE6, 0x36, 0xCF, 0xEB, 0x31, 0xAE,
];

/// The side with the key that signs a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signer {
    /// The player: C1 and C2.
    FlashPlayer,
    /// The server: S1 and S2.
    FlashMediaServer,
}

impl Signer {
    /// Returns the key of the digests in C1 and S1.
    fn text(self) -> &'static [u8] {
        match self {
            Self::FlashPlayer => b"Genuine Adobe Flash Player 001",
            Self::FlashMediaServer => b"Genuine Adobe Flash Media Server 001",
        }
    }

    /// Returns the key from which the keys for C2 and S2 are made.
    fn whole_key(self) -> Vec<u8> {
        [self.text(), &KEY_TAIL].concat()
    }
}

/// The order of the blocks in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Schema {
    DigestFirst,
    KeyFirst,
}

impl Schema {
    pub(super) const ALL: [Self; 2] = [Self::DigestFirst, Self::KeyFirst];

    /// Returns the range of the packet's digest. It lies within the packet, whatever its bytes are.
    pub(super) fn digest_range(self, packet: &Packet) -> Range<usize> {
        let block = match self {
            Self::DigestFirst => 8,
            Self::KeyFirst => 8 + BLOCK_LEN,
        };
        let room = BLOCK_LEN - 4 - DIGEST_LEN;
        let start = block + 4 + sum(packet, block) % room;
        start..start + DIGEST_LEN
    }

    /// Returns the range of the packet's public key. It lies within the packet, whatever its bytes
    /// are.
    pub(super) fn key_range(self, packet: &Packet) -> Range<usize> {
        let block = match self {
            Self::DigestFirst => 8 + BLOCK_LEN,
            Self::KeyFirst => 8,
        };
        let room = BLOCK_LEN - 4 - KEY_LEN;
        let start = block + sum(packet, block + BLOCK_LEN - 4) % room;
        start..start + KEY_LEN
    }

    /// Returns the digest of the packet, if it is there and genuine.
    pub(super) fn verify(self, packet: &Packet, signer: Signer) -> Option<Digest> {
        let range = self.digest_range(packet);
        let digest = packet_digest(packet, &range, signer);
        (packet[range] == digest).then_some(digest)
    }

    /// Writes the digest into the packet and returns it.
    pub(super) fn sign(self, packet: &mut Packet, signer: Signer) -> Digest {
        let range = self.digest_range(packet);
        let digest = packet_digest(packet, &range, signer);
        packet[range].copy_from_slice(&digest);
        digest
    }
}

/// Finds the schema of a packet by its digest; `None` for a packet without digest.
pub(super) fn find(packet: &Packet, signer: Signer) -> Option<(Schema, Digest)> {
    Schema::ALL
        .into_iter()
        .find_map(|schema| Some((schema, schema.verify(packet, signer)?)))
}

/// Signs C2 or S2 in response to the digest of the peer's packet: the last bytes are an HMAC of the
/// others, encrypted if there is a cipher.
pub(super) fn sign_answer(
    answer: &mut Packet,
    challenge: &Digest,
    signer: Signer,
    cipher: Option<SignatureCipher>,
) {
    let signature = answer_signature(answer, challenge, signer, cipher);
    answer[PACKET_LEN - DIGEST_LEN..].copy_from_slice(&signature);
}

/// Returns whether C2 or S2 is signed in response to our digest.
pub(super) fn verify_answer(
    answer: &Packet,
    challenge: &Digest,
    signer: Signer,
    cipher: Option<SignatureCipher>,
) -> bool {
    answer[PACKET_LEN - DIGEST_LEN..] == answer_signature(answer, challenge, signer, cipher)
}

fn answer_signature(
    answer: &Packet,
    challenge: &Digest,
    signer: Signer,
    cipher: Option<SignatureCipher>,
) -> Digest {
    let key = hmac(&signer.whole_key(), &[challenge]);
    let mut signature = hmac(&key, &[&answer[..PACKET_LEN - DIGEST_LEN]]);
    if let Some(cipher) = cipher {
        cipher.encrypt(&mut signature, &key);
    }
    signature
}

fn packet_digest(packet: &Packet, digest: &Range<usize>, signer: Signer) -> Digest {
    hmac(
        signer.text(),
        &[&packet[..digest.start], &packet[digest.end..]],
    )
}

/// Returns the sum of the four bytes at `at`.
fn sum(packet: &Packet, at: usize) -> usize {
    packet[at..at + 4]
        .iter()
        .map(|&byte| usize::from(byte))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a packet that Python's `hmac` module has signed, see `tests/fixtures/handshake.py`.
    fn packet() -> Packet {
        let mut packet = [0; PACKET_LEN];
        for (n, byte) in packet.iter_mut().enumerate() {
            *byte = (n * 7 + n / 256) as u8;
        }
        packet
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn digests_match_an_independent_implementation() {
        for (schema, signer, start, expected) in [
            (
                Schema::DigestFirst,
                Signer::FlashPlayer,
                278,
                "ccd0907f7bf3f1245be52e85e5347e7a88b59518b0b4abb5f4ae208f95a4e64b",
            ),
            (
                Schema::KeyFirst,
                Signer::FlashPlayer,
                942,
                "0c7a6f9c9855f8ff6c8c03b110e43e0c4a1c2b8c58a4eb25f4c33ceef7cb2c31",
            ),
            (
                Schema::DigestFirst,
                Signer::FlashMediaServer,
                278,
                "f812d0e91698b67c4f4d18838149a878a5193a98e85d03069a9f2ca6dd6504d9",
            ),
            (
                Schema::KeyFirst,
                Signer::FlashMediaServer,
                942,
                "b906de354fdce866a845780eaa55ceb3f6673e1d4314a6185f38fab7672e921a",
            ),
        ] {
            let mut packet = packet();
            let digest = schema.sign(&mut packet, signer);
            assert_eq!(schema.digest_range(&packet).start, start);
            assert_eq!(hex(&digest), expected, "{schema:?} {signer:?}");
            assert_eq!(schema.verify(&packet, signer), Some(digest));
            assert_eq!(find(&packet, signer), Some((schema, digest)));
        }
    }

    #[test]
    fn signatures_match_an_independent_implementation() {
        let challenge: Digest = std::array::from_fn(|n| n as u8);
        for (signer, expected) in [
            (
                Signer::FlashPlayer,
                "ef6daefb57af24e96da98ea56420ca76071ec6294d18d9dc372a0828b68c32a5",
            ),
            (
                Signer::FlashMediaServer,
                "67b50e61d2cb3235ac23a36d060465f26966384fe586f4bc44f4297525743e18",
            ),
        ] {
            let mut answer = packet();
            sign_answer(&mut answer, &challenge, signer, None);
            assert_eq!(hex(&answer[PACKET_LEN - DIGEST_LEN..]), expected);
            assert!(verify_answer(&answer, &challenge, signer, None));
            answer[5] ^= 1;
            assert!(!verify_answer(&answer, &challenge, signer, None));
        }
    }

    #[test]
    fn positions_of_keys_match_an_independent_implementation() {
        assert_eq!(Schema::DigestFirst.key_range(&packet()).start, 1114);
        assert_eq!(Schema::KeyFirst.key_range(&packet()).start, 62);
    }

    #[test]
    fn no_digest_is_found_in_an_unsigned_packet() {
        assert_eq!(find(&packet(), Signer::FlashPlayer), None);
        assert_eq!(find(&[0; PACKET_LEN], Signer::FlashPlayer), None);
    }
}
