//! The certificate of the peer, and its fingerprint.

use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::{X509, X509Builder};

use super::pair::Pair;
use super::raw_peer::RawPeer;
use super::{association, certificate, connected_keys, failure};
use crate::certificate::{Fingerprint, HashAlgorithm};
use crate::dtls::engine::OpenSslEngine;
use crate::dtls::{Dtls, DtlsContext, DtlsError, DtlsEvent, DtlsRole};

#[test]
fn server_refuses_a_client_with_another_certificate() {
    let (ours, theirs, announced) = (certificate(), certificate(), certificate());
    let mut pair = Pair::of(
        association(DtlsRole::Client, &theirs, ours.fingerprint()),
        association(DtlsRole::Server, &ours, announced.fingerprint()),
    );
    pair.run(|_, _| true);
    let error = failure(&mut pair.server);
    assert!(matches!(error, DtlsError::FingerprintMismatch), "{error}");
    // The client takes the server for the right one, and then gets an alert.
    let event = pair.client.poll_event();
    assert!(matches!(event, Some(DtlsEvent::Keys { .. })), "{event:?}");
    let error = failure(&mut pair.client);
    assert!(matches!(error, DtlsError::Alert { .. }), "{error}");
}

#[test]
fn client_refuses_a_server_with_another_certificate() {
    let (ours, theirs, announced) = (certificate(), certificate(), certificate());
    let mut pair = Pair::of(
        association(DtlsRole::Client, &theirs, announced.fingerprint()),
        association(DtlsRole::Server, &ours, theirs.fingerprint()),
    );
    pair.run(|_, _| true);
    let error = failure(&mut pair.client);
    assert!(matches!(error, DtlsError::FingerprintMismatch), "{error}");
    let error = failure(&mut pair.server);
    assert!(matches!(error, DtlsError::Alert { .. }), "{error}");
}

#[test]
fn second_verification_of_the_certificate_is_independent() {
    let (ours, theirs) = (certificate(), certificate());
    // The handshake itself accepts any certificate here, as a bug might make it.
    let ssl = DtlsContext::new(&ours)
        .unwrap()
        .association(DtlsRole::Server, [theirs.fingerprint().clone()].into())
        .unwrap();
    let announced = [certificate().fingerprint().clone()].into();
    let engine = OpenSslEngine::new(ssl, announced).unwrap();
    let server = Dtls::with_engine(engine, DtlsRole::Server);
    let client = association(DtlsRole::Client, &theirs, ours.fingerprint());
    let mut pair = Pair::of(client, server);
    pair.run(|_, _| true);
    let error = failure(&mut pair.server);
    assert!(matches!(error, DtlsError::FingerprintMismatch), "{error}");
    assert!(!pair.server.is_connected());
}

#[test]
fn association_without_a_fingerprint_is_refused() {
    let context = DtlsContext::new(&certificate()).unwrap();
    let result = Dtls::new(&context, DtlsRole::Server, Vec::new());
    assert!(matches!(result, Err(DtlsError::NoFingerprint)));
}

#[test]
fn client_without_a_certificate_is_refused() {
    let mut server = association(
        DtlsRole::Server,
        &certificate(),
        certificate().fingerprint(),
    );
    let mut client = RawPeer::client(|builder| {
        builder
            .set_tlsext_use_srtp("SRTP_AES128_CM_SHA1_80")
            .unwrap();
    });
    client.run(&mut server);
    let error = failure(&mut server);
    assert!(matches!(error, DtlsError::Protocol(_)), "{error}");
    assert!(!server.is_connected());
}

#[test]
fn every_hash_function_can_announce_the_certificate() {
    for algorithm in [
        HashAlgorithm::Sha1,
        HashAlgorithm::Sha224,
        HashAlgorithm::Sha256,
        HashAlgorithm::Sha384,
        HashAlgorithm::Sha512,
    ] {
        let (ours, theirs) = (certificate(), certificate());
        let der = theirs.x509().to_der().unwrap();
        let announced = Fingerprint::of(algorithm, &der);
        let mut pair = Pair::of(
            association(DtlsRole::Client, &theirs, ours.fingerprint()),
            association(DtlsRole::Server, &ours, &announced),
        );
        pair.run(|_, _| true);
        connected_keys(&mut pair.server);
    }
}

#[test]
fn expired_rsa_certificate_is_accepted_if_it_is_the_announced_one() {
    let (certificate_of_peer, key) = expired_rsa_certificate();
    let der = certificate_of_peer.to_der().unwrap();
    let announced = Fingerprint::of(HashAlgorithm::Sha256, &der);
    let mut server = association(DtlsRole::Server, &certificate(), &announced);
    let mut client = RawPeer::client(|builder| {
        builder.set_certificate(&certificate_of_peer).unwrap();
        builder.set_private_key(&key).unwrap();
        builder
            .set_tlsext_use_srtp("SRTP_AES128_CM_SHA1_80")
            .unwrap();
    });
    client.run(&mut server);
    connected_keys(&mut server);
}

fn expired_rsa_certificate() -> (X509, PKey<Private>) {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut builder = X509Builder::new().unwrap();
    let long_ago = openssl::asn1::Asn1Time::from_unix(0).unwrap();
    let day_after = openssl::asn1::Asn1Time::from_unix(86_400).unwrap();
    builder.set_not_before(&long_ago).unwrap();
    builder.set_not_after(&day_after).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    (builder.build(), key)
}
