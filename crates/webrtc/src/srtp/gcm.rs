//! AES in Galois/counter mode as SRTP uses it (RFC 7714).

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::kdf::{Label, derive};
use super::profile::{MasterKey, SrtpProfile};

/// Bytes of the authentication tag (RFC 7714 section 13.2).
pub(super) const TAG_LEN: usize = 16;

/// One direction's session key and salt, for RTP or for RTCP.
pub(super) struct Gcm {
    key: LessSafeKey,
    salt: [u8; 12],
}

impl Gcm {
    pub(super) fn new(master: &MasterKey, encryption: Label, salt: Label) -> Self {
        let lengths = "the profile fixes the length of its keys";
        let key = if master.profile() == SrtpProfile::AeadAes256Gcm {
            UnboundKey::new(&AES_256_GCM, &derive::<32>(master, encryption)).expect(lengths)
        } else {
            UnboundKey::new(&AES_128_GCM, &derive::<16>(master, encryption)).expect(lengths)
        };
        Self {
            key: LessSafeKey::new(key),
            salt: derive(master, salt),
        }
    }

    /// Returns the nonce of an SRTP packet (RFC 7714 section 8.1) or an SRTCP packet (section 9.1):
    /// both are `00 00 | SSRC | 48-bit index`, XORed with the salt.
    fn nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let mut nonce = [0; 12];
        nonce[2..6].copy_from_slice(&ssrc.to_be_bytes());
        nonce[6..12].copy_from_slice(&index.to_be_bytes()[2..]);
        for (byte, salt) in nonce.iter_mut().zip(self.salt) {
            *byte ^= salt;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    /// Encrypts `data` in place and returns the tag over it and over `aad`.
    pub(super) fn seal(&self, ssrc: u32, index: u64, aad: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
        let tag = self
            .key
            .seal_in_place_separate_tag(self.nonce(ssrc, index), Aad::from(aad), data)
            .expect("a datagram is far shorter than the cipher's limit");
        let mut out = [0; TAG_LEN];
        out.copy_from_slice(tag.as_ref());
        out
    }

    /// Decrypts `sealed` (ciphertext and tag) in place; `None` when it is not authentic.
    pub(super) fn open<'a>(
        &self,
        ssrc: u32,
        index: u64,
        aad: &[u8],
        sealed: &'a mut [u8],
    ) -> Option<&'a [u8]> {
        let plain = self
            .key
            .open_in_place(self.nonce(ssrc, index), Aad::from(aad), sealed);
        plain.ok().map(|plain| &*plain)
    }
}
