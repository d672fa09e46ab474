//! MESSAGE-INTEGRITY and FINGERPRINT (RFC 8489 sections 14.5 and 14.7).

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

use super::layout::{ATTRIBUTE_HEADER_LEN, HEADER_LEN, INTEGRITY_LEN};

/// Length of the FINGERPRINT value in bytes.
pub(super) const FINGERPRINT_LEN: usize = 4;

/// The CRC is sent under this mask, so that a CRC of the application's own cannot be mistaken for
/// it.
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// Returns the first `LEN` bytes of the HMAC of a message; `covered` is the message before the
/// attribute.
pub(super) fn compute<const LEN: usize>(covered: &[u8], key: &[u8]) -> [u8; LEN] {
    let whole: [u8; INTEGRITY_LEN] = hmac::<LEN>(covered, key).finalize().into_bytes().into();
    let mut tag = [0; LEN];
    for (byte, computed) in tag.iter_mut().zip(whole) {
        *byte = computed;
    }
    tag
}

/// Returns whether `tag` is the beginning of the HMAC over `covered`, in constant time.
pub(super) fn verify<const LEN: usize>(covered: &[u8], tag: &[u8; LEN], key: &[u8]) -> bool {
    hmac::<LEN>(covered, key).verify_truncated_left(tag).is_ok()
}

/// Computes HMAC-SHA1 over the bytes before the attribute; the header's length counts as if that
/// attribute, with its `LEN` bytes, were the last of the message.
fn hmac<const LEN: usize>(covered: &[u8], key: &[u8]) -> Hmac<Sha1> {
    let length = covered.len().saturating_sub(HEADER_LEN) + ATTRIBUTE_HEADER_LEN + LEN;
    let length = u16::try_from(length).unwrap_or(u16::MAX);
    let mut hmac = Hmac::<Sha1>::new_from_slice(key).expect("HMAC takes keys of every length");
    hmac.update(covered.get(..2).unwrap_or_default());
    hmac.update(&length.to_be_bytes());
    hmac.update(covered.get(4..).unwrap_or_default());
    hmac
}

/// Returns the FINGERPRINT value over the message up to the attribute.
///
/// The attribute is the last, so the length field is the one of the finished message: the caller
/// has set it already.
pub(super) fn fingerprint(covered: &[u8]) -> u32 {
    crc32fast::hash(covered) ^ FINGERPRINT_XOR
}
