//! Session keys from a master key (RFC 3711 section 4.3).

use aes::cipher::{KeyIvInit, StreamCipher};

use super::profile::MasterKey;

/// The purpose of a session key (RFC 3711 section 4.3.1 and 4.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Label {
    RtpEncryption = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpEncryption = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

/// Derives the `N` bytes of session key that `label` names, with a key derivation rate of zero.
///
/// The pseudo-random function is AES in counter mode under the master key, from the counter block
/// `(master_salt XOR label << 48) << 16` (RFC 3711 section 4.3.3). A 96-bit salt is padded on the
/// right (RFC 7714 section 11), and a 256-bit master key makes it AES-256 (RFC 6188 section 2).
pub(super) fn derive<const N: usize>(master: &MasterKey, label: Label) -> [u8; N] {
    let mut counter = [0; 16];
    counter[..master.salt().len()].copy_from_slice(master.salt());
    counter[7] ^= label as u8;
    let mut out = [0; N];
    let lengths = "the profile fixes the length of its keys";
    if master.key().len() == 32 {
        ctr::Ctr128BE::<aes::Aes256>::new_from_slices(master.key(), &counter)
            .expect(lengths)
            .apply_keystream(&mut out);
    } else {
        ctr::Ctr128BE::<aes::Aes128>::new_from_slices(master.key(), &counter)
            .expect(lengths)
            .apply_keystream(&mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::profile::SrtpProfile;
    use super::*;

    const fn hex<const N: usize>(text: &str) -> [u8; N] {
        const fn digit(c: u8) -> u8 {
            if c.is_ascii_digit() {
                c - b'0'
            } else {
                c.to_ascii_lowercase() - b'a' + 10
            }
        }
        let mut out = [0; N];
        let mut n = 0;
        while n < N {
            out[n] = digit(text.as_bytes()[2 * n]) << 4 | digit(text.as_bytes()[2 * n + 1]);
            n += 1;
        }
        out
    }

    /// RFC 3711 appendix B.3.
    #[test]
    fn keys_match_the_vectors_of_the_specification() {
        let key: [u8; 16] = hex("E1F97A0D3E018BE0D64FA32C06DE4139");
        let salt: [u8; 14] = hex("0EC675AD498AFEEBB6960B3AABE6");
        let master = MasterKey::new(SrtpProfile::AesCm128HmacSha1_80, &key, &salt).unwrap();
        assert_eq!(
            derive::<16>(&master, Label::RtpEncryption),
            hex("C61E7A93744F39EE10734AFE3FF7A087")
        );
        assert_eq!(
            derive::<14>(&master, Label::RtpSalt),
            hex("30CBBC08863D8C85D49DB34A9AE1")
        );
        assert_eq!(
            derive::<20>(&master, Label::RtpAuthentication),
            hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4")
        );
    }
}
