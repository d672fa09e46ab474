//! Profiles, ciphers and keys.

use super::pair::Pair;
use super::raw_peer::{RawPeer, connected_to_raw_client, use_certificate};
use super::{association, certificate, connected_keys, failure};
use crate::dtls::{DtlsError, DtlsRole};
use crate::srtp::SrtpProfile;
use crate::srtp::profile::SrtpKeyingMaterial;

#[test]
fn both_sides_get_the_same_keys_for_the_preferred_profile() {
    let (pair, client, server) = Pair::connected();
    assert_eq!(client.local, server.remote);
    assert_eq!(client.remote, server.local);
    assert_ne!(client.local, client.remote);
    assert_eq!(client.local.profile(), SrtpProfile::AeadAes128Gcm);
    assert!(pair.client.is_connected() && pair.server.is_connected());
    assert_eq!(pair.client.poll_timeout(), None);
    assert_eq!(pair.server.poll_timeout(), None);
}

#[test]
fn two_handshakes_have_different_keys() {
    let (_, first, _) = Pair::connected();
    let (_, second, _) = Pair::connected();
    assert_ne!(first, second);
}

#[test]
fn server_picks_the_profile_it_likes_best_among_those_offered() {
    let rows = [
        ("SRTP_AES128_CM_SHA1_32", SrtpProfile::AesCm128HmacSha1_32),
        (
            "SRTP_AES128_CM_SHA1_32:SRTP_AES128_CM_SHA1_80",
            SrtpProfile::AesCm128HmacSha1_80,
        ),
        (
            "SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_256_GCM",
            SrtpProfile::AeadAes256Gcm,
        ),
        (
            "SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_256_GCM:SRTP_AEAD_AES_128_GCM",
            SrtpProfile::AeadAes128Gcm,
        ),
    ];
    for (offered, expected) in rows {
        let theirs = certificate();
        let mut server = association(DtlsRole::Server, &certificate(), theirs.fingerprint());
        let mut client = RawPeer::client(|builder| {
            use_certificate(builder, &theirs);
            builder.set_tlsext_use_srtp(offered).unwrap();
        });
        client.run(&mut server);
        let keys = connected_keys(&mut server);
        assert_eq!(keys.local.profile(), expected, "{offered}");
        let mut exported = vec![0; expected.keying_material_len()];
        client
            .stream
            .ssl()
            .export_keying_material(&mut exported, "EXTRACTOR-dtls_srtp", None)
            .unwrap();
        let material = SrtpKeyingMaterial::split(expected, &exported).unwrap();
        assert_eq!(keys, material.for_server());
    }
}

#[test]
fn client_without_a_profile_is_refused() {
    let theirs = certificate();
    let mut server = association(DtlsRole::Server, &certificate(), theirs.fingerprint());
    let mut client = RawPeer::client(|builder| use_certificate(builder, &theirs));
    client.run(&mut server);
    let error = failure(&mut server);
    assert!(matches!(error, DtlsError::NoSrtpProfile), "{error}");
}

#[test]
fn every_cipher_is_supported() {
    for cipher in [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES128-SHA",
        "ECDHE-ECDSA-AES256-SHA",
    ] {
        connected_to_raw_client(|builder| builder.set_cipher_list(cipher).unwrap());
    }
}
