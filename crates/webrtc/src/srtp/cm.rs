//! AES in counter mode with HMAC-SHA1 as SRTP uses them (RFC 3711 section 4).

use aes::Aes128Enc;
use aes::cipher::{InnerIvInit, KeyInit, StreamCipherCore};
use ctr::CtrCore;
use ctr::flavors::Ctr128BE;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;

use super::kdf::{Label, derive};
use super::profile::MasterKey;

/// Bytes of the full HMAC-SHA1 output; SRTP sends the first 10 or 4 of them.
const MAC_LEN: usize = 20;

/// One direction's session keys and salt, for RTP or for RTCP. The AES key schedule and the state
/// of the HMAC behind its key are computed once.
pub(super) struct Cm {
    cipher: Aes128Enc,
    mac: Hmac<Sha1>,
    salt: [u8; 14],
}

impl Cm {
    pub(super) fn new(
        master: &MasterKey,
        encryption: Label,
        authentication: Label,
        salt: Label,
    ) -> Self {
        let auth_key: [u8; 20] = derive(master, authentication);
        Self {
            cipher: Aes128Enc::new(&derive::<16>(master, encryption).into()),
            mac: Hmac::new_from_slice(&auth_key).expect("HMAC takes a key of any length"),
            salt: derive(master, salt),
        }
    }

    /// Encrypts or decrypts `data` in place. The counter block is `salt << 16 XOR SSRC << 64 XOR
    /// index << 16` (RFC 3711 section 4.1.1).
    pub(super) fn apply(&self, ssrc: u32, index: u64, data: &mut [u8]) {
        let mut counter = [0; 16];
        counter[4..8].copy_from_slice(&ssrc.to_be_bytes());
        counter[8..14].copy_from_slice(&index.to_be_bytes()[2..]);
        for (byte, salt) in counter.iter_mut().zip(self.salt) {
            *byte ^= salt;
        }
        let core = CtrCore::<&Aes128Enc, Ctr128BE>::inner_iv_init(&self.cipher, (&counter).into());
        core.apply_keystream_partial(data.into());
    }

    /// Returns the first `N` bytes of the HMAC over `message` followed by `word` (the roll-over
    /// counter of RTP, the index word of RTCP: RFC 3711 section 4.2).
    pub(super) fn tag<const N: usize>(&self, message: &[u8], word: u32) -> [u8; N] {
        let mac: [u8; MAC_LEN] = self
            .mac
            .clone()
            .chain_update(message)
            .chain_update(word.to_be_bytes())
            .finalize()
            .into_bytes()
            .into();
        let mut tag = [0; N];
        tag.copy_from_slice(&mac[..N]);
        tag
    }

    /// Returns whether `tag` is the one of `message` and `word`, compared in constant time.
    pub(super) fn verify<const N: usize>(&self, message: &[u8], word: u32, tag: &[u8]) -> bool {
        self.tag::<N>(message, word).ct_eq(tag).into()
    }
}
