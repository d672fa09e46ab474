//! SRTP protection profiles and the keys a DTLS handshake agrees on (RFC 5764 section 4).

use std::fmt;

/// A DTLS-SRTP protection profile: cipher, authentication and the lengths that go with them.
///
/// RFC 5764 section 4.1.2 defines the counter-mode profiles, RFC 7714 section 14.2 the AEAD ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SrtpProfile {
    /// `SRTP_AEAD_AES_128_GCM` (RFC 7714): the cheapest on processors with AES instructions.
    AeadAes128Gcm,
    /// `SRTP_AEAD_AES_256_GCM` (RFC 7714).
    AeadAes256Gcm,
    /// `SRTP_AES128_CM_SHA1_80` (RFC 5764): the profile every WebRTC peer knows.
    AesCm128HmacSha1_80,
    /// `SRTP_AES128_CM_SHA1_32` (RFC 5764): a short tag for RTP; SRTCP keeps the 80-bit one.
    AesCm128HmacSha1_32,
}

impl SrtpProfile {
    /// All profiles, in the order this side prefers them.
    pub const ALL: [Self; 4] = [
        Self::AeadAes128Gcm,
        Self::AeadAes256Gcm,
        Self::AesCm128HmacSha1_80,
        Self::AesCm128HmacSha1_32,
    ];

    /// The profiles with authenticated encryption (RFC 7714), in the same order.
    pub const AEAD: [Self; 2] = [Self::AeadAes128Gcm, Self::AeadAes256Gcm];

    /// Returns the profile of a code point of the `use_srtp` extension, if it is one of ours.
    #[must_use]
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.id() == id)
    }

    /// Code point in the `use_srtp` extension (IANA registry "DTLS-SRTP Protection Profiles").
    #[must_use]
    pub const fn id(self) -> u16 {
        match self {
            Self::AesCm128HmacSha1_80 => 0x0001,
            Self::AesCm128HmacSha1_32 => 0x0002,
            Self::AeadAes128Gcm => 0x0007,
            Self::AeadAes256Gcm => 0x0008,
        }
    }

    /// Returns the length of the master key in bytes.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 => 16,
            Self::AeadAes256Gcm => 32,
        }
    }

    /// Returns the length of the master salt in bytes: 112 bits for counter mode (RFC 3711 section
    /// 8.2), 96 for AEAD (RFC 7714 section 12).
    #[must_use]
    pub const fn salt_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 => 14,
        }
    }

    /// Returns bytes to ask of the DTLS exporter: a key and a salt for each side.
    #[must_use]
    pub const fn keying_material_len(self) -> usize {
        2 * (self.key_len() + self.salt_len())
    }
}

impl fmt::Display for SrtpProfile {
    /// Returns the name in IANA's registry.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AeadAes128Gcm => "SRTP_AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "SRTP_AEAD_AES_256_GCM",
            Self::AesCm128HmacSha1_80 => "SRTP_AES128_CM_HMAC_SHA1_80",
            Self::AesCm128HmacSha1_32 => "SRTP_AES128_CM_HMAC_SHA1_32",
        })
    }
}

const MAX_KEY_LEN: usize = 32;
const MAX_SALT_LEN: usize = 14;

/// Master key and master salt of one direction.
///
/// Kept in place, without a heap allocation. `Debug` shows the profile only.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    profile: SrtpProfile,
    key: [u8; MAX_KEY_LEN],
    salt: [u8; MAX_SALT_LEN],
}

impl MasterKey {
    /// Key and salt for `profile`; `None` when a length is not the profile's.
    #[must_use]
    pub fn new(profile: SrtpProfile, key: &[u8], salt: &[u8]) -> Option<Self> {
        if key.len() != profile.key_len() || salt.len() != profile.salt_len() {
            return None;
        }
        let mut master = Self {
            profile,
            key: [0; MAX_KEY_LEN],
            salt: [0; MAX_SALT_LEN],
        };
        master.key.get_mut(..key.len())?.copy_from_slice(key);
        master.salt.get_mut(..salt.len())?.copy_from_slice(salt);
        Some(master)
    }

    /// Returns the profile these bytes belong to.
    #[must_use]
    pub fn profile(&self) -> SrtpProfile {
        self.profile
    }

    /// Returns the master key, [`SrtpProfile::key_len`] bytes.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key[..self.profile.key_len()]
    }

    /// Returns the master salt, [`SrtpProfile::salt_len`] bytes.
    #[must_use]
    pub fn salt(&self) -> &[u8] {
        &self.salt[..self.profile.salt_len()]
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey")
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

/// The SRTP keys of one peer, for sealing and for opening.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SrtpKeys {
    /// Keys of packets that this side sends.
    pub local: MasterKey,
    /// Keys of packets that the peer sends.
    pub remote: MasterKey,
}

/// The output of the DTLS exporter, split into the keys of the two DTLS roles.
///
/// ```text
/// RFC 5764 section 4.2, label "EXTRACTOR-dtls_srtp":
/// +------------+------------+-------------+-------------+
/// | client key | server key | client salt | server salt |
/// +------------+------------+-------------+-------------+
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SrtpKeyingMaterial {
    /// Keys of packets that the DTLS client sends.
    pub client: MasterKey,
    /// Keys of packets that the DTLS server sends.
    pub server: MasterKey,
}

impl SrtpKeyingMaterial {
    /// Cuts exported bytes; `None` unless they are [`SrtpProfile::keying_material_len`] long.
    #[must_use]
    pub fn split(profile: SrtpProfile, exported: &[u8]) -> Option<Self> {
        if exported.len() != profile.keying_material_len() {
            return None;
        }
        let (client_key, rest) = exported.split_at_checked(profile.key_len())?;
        let (server_key, rest) = rest.split_at_checked(profile.key_len())?;
        let (client_salt, server_salt) = rest.split_at_checked(profile.salt_len())?;
        Some(Self {
            client: MasterKey::new(profile, client_key, client_salt)?,
            server: MasterKey::new(profile, server_key, server_salt)?,
        })
    }

    /// Returns the keys as the DTLS client uses them.
    #[must_use]
    pub fn for_client(self) -> SrtpKeys {
        SrtpKeys {
            local: self.client,
            remote: self.server,
        }
    }

    /// Returns the keys as the DTLS server uses them.
    #[must_use]
    pub fn for_server(self) -> SrtpKeys {
        SrtpKeys {
            local: self.server,
            remote: self.client,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_have_the_lengths_and_code_points_of_their_rfcs() {
        let rows = [
            (SrtpProfile::AesCm128HmacSha1_80, 1, 16, 14, 60),
            (SrtpProfile::AesCm128HmacSha1_32, 2, 16, 14, 60),
            (SrtpProfile::AeadAes128Gcm, 7, 16, 12, 56),
            (SrtpProfile::AeadAes256Gcm, 8, 32, 12, 88),
        ];
        for (profile, id, key, salt, material) in rows {
            assert_eq!(profile.id(), id);
            assert_eq!(SrtpProfile::from_id(id), Some(profile));
            assert_eq!(profile.key_len(), key);
            assert_eq!(profile.salt_len(), salt);
            assert_eq!(profile.keying_material_len(), material);
        }
        assert_eq!(SrtpProfile::from_id(5), None, "NULL cipher is not ours");
    }

    #[test]
    fn keying_material_is_cut_into_keys_first_and_salts_after() {
        for profile in SrtpProfile::ALL {
            let exported: Vec<u8> = (0..).take(profile.keying_material_len()).collect();
            let material = SrtpKeyingMaterial::split(profile, &exported).unwrap();
            let (key, salt) = (profile.key_len(), profile.salt_len());
            assert_eq!(material.client.key(), &exported[..key]);
            assert_eq!(material.server.key(), &exported[key..2 * key]);
            assert_eq!(material.client.salt(), &exported[2 * key..2 * key + salt]);
            assert_eq!(material.server.salt(), &exported[2 * key + salt..]);
            let (client, server) = (material.clone().for_client(), material.for_server());
            assert_eq!(client.local, server.remote);
            assert_eq!(client.remote, server.local);
            assert_ne!(client.local, client.remote);
        }
    }

    #[test]
    fn material_of_another_length_is_refused() {
        let profile = SrtpProfile::AeadAes128Gcm;
        assert!(SrtpKeyingMaterial::split(profile, &[0; 55]).is_none());
        assert!(SrtpKeyingMaterial::split(profile, &[0; 57]).is_none());
        assert!(MasterKey::new(profile, &[0; 16], &[0; 14]).is_none());
        assert!(MasterKey::new(profile, &[0; 32], &[0; 12]).is_none());
    }

    #[test]
    fn debug_output_does_not_show_keys() {
        let key = MasterKey::new(SrtpProfile::AeadAes128Gcm, &[0xab; 16], &[0xcd; 12]).unwrap();
        let text = format!("{key:?}");
        assert_eq!(text, "MasterKey { profile: AeadAes128Gcm, .. }");
    }
}
