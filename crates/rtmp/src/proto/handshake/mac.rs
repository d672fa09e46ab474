//! HMAC-SHA256.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Length of a digest, in bytes.
pub(super) const DIGEST_LEN: usize = 32;

/// The result of an HMAC-SHA256.
pub(super) type Digest = [u8; DIGEST_LEN];

/// Returns the HMAC of the parts, one after another.
pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> Digest {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}
