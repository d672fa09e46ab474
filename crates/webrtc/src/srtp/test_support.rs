//! The second implementation that our bytes are compared with.

use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;

use super::profile::{MasterKey, SrtpProfile};

/// Returns a master key made of a seed.
pub(crate) fn master(profile: SrtpProfile, seed: u8) -> MasterKey {
    let bytes = |len: usize, salt: u8| -> Vec<u8> {
        (0..len)
            .map(|n| (n as u8).wrapping_mul(37) ^ seed ^ salt)
            .collect()
    };
    MasterKey::new(
        profile,
        &bytes(profile.key_len(), 0),
        &bytes(profile.salt_len(), 0xa5),
    )
    .expect("the lengths are the profile's")
}

/// Returns the other implementation, under the same master key.
pub(crate) fn webrtc_context(master: &MasterKey) -> Context {
    let profile = match master.profile() {
        SrtpProfile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        SrtpProfile::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
        SrtpProfile::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        SrtpProfile::AesCm128HmacSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
    };
    Context::new(master.key(), master.salt(), profile, None, None)
        .expect("the lengths are the profile's")
}
