//! The certificate of the gateway, and the fingerprints that stand for one in SDP.
//!
//! WebRTC certificates are self-signed and trusted by nobody: a peer believes in one because its
//! fingerprint came through the signaling channel (RFC 8827 section 6.5).

mod fingerprint;

use std::time::{Duration, SystemTime};

use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use thiserror::Error;

pub use fingerprint::{Fingerprint, FingerprintError, HashAlgorithm};

/// Certificates are valid from this long before their generation, for peers with a slow clock.
const CLOCK_SKEW: Duration = Duration::from_secs(24 * 60 * 60);

/// Validity of a certificate. Every start generates a new one.
const VALIDITY: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A self-signed ECDSA P-256 certificate with its key, the kind every WebRTC peer accepts
/// (RFC 8827 section 6.5).
#[derive(Debug, Clone)]
pub struct Certificate {
    x509: X509,
    key: PKey<Private>,
    fingerprint: Fingerprint,
}

/// A certificate could not be made: the fault of a library or of the machine, not of a peer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Key or certificate could not be generated.
    #[error("could not generate a certificate")]
    Generate(#[from] rcgen::Error),
    /// OpenSSL refuses the generated key or certificate.
    #[error("could not load the generated certificate")]
    Load(#[from] ErrorStack),
}

impl Certificate {
    /// Creates a new certificate with a new key, valid for a year from `now`.
    pub fn generate(now: SystemTime) -> Result<Self, CertificateError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.not_before = (now - CLOCK_SKEW).into();
        params.not_after = (now + VALIDITY).into();
        // Says nothing about machine or user: the certificate goes over the wire in the clear.
        params.distinguished_name.push(DnType::CommonName, "WebRTC");
        let certificate = params.self_signed(&key)?;
        let fingerprint = Fingerprint::of(HashAlgorithm::Sha256, certificate.der());
        Ok(Self {
            x509: X509::from_der(certificate.der())?,
            key: PKey::private_key_from_der(&key.serialize_der())?,
            fingerprint,
        })
    }

    /// Returns the SHA-256 fingerprint, for `a=fingerprint` (RFC 8122 section 5).
    #[must_use]
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    pub(crate) fn x509(&self) -> &X509 {
        &self.x509
    }

    pub(crate) fn key(&self) -> &PKey<Private> {
        &self.key
    }
}

#[cfg(test)]
mod tests {
    use openssl::asn1::Asn1Time;
    use openssl::nid::Nid;

    use super::*;

    /// 2026-01-01T00:00:00Z.
    const NEW_YEAR: u64 = 1_767_225_600;

    fn certificate() -> Certificate {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NEW_YEAR);
        Certificate::generate(now).unwrap()
    }

    #[test]
    fn key_is_on_p256_and_signs_the_certificate() {
        let certificate = certificate();
        let public = certificate.x509().public_key().unwrap();
        let curve = public.ec_key().unwrap().group().curve_name();
        assert_eq!(curve, Some(Nid::X9_62_PRIME256V1));
        assert!(certificate.x509().verify(&public).unwrap());
        assert!(certificate.key().public_eq(&public));
    }

    #[test]
    fn fingerprint_is_the_digest_of_the_certificate() {
        let certificate = certificate();
        let digest = certificate
            .x509()
            .digest(openssl::hash::MessageDigest::sha256())
            .unwrap();
        assert_eq!(certificate.fingerprint().bytes(), &*digest);
        assert_eq!(certificate.fingerprint().algorithm(), HashAlgorithm::Sha256);
    }

    #[test]
    fn validity_follows_the_clock_that_is_passed_in() {
        let certificate = certificate();
        let day = 24 * 60 * 60;
        let time = |at| Asn1Time::from_unix(i64::try_from(at).unwrap()).unwrap();
        assert!(certificate.x509().not_before() == time(NEW_YEAR - day));
        assert!(certificate.x509().not_after() == time(NEW_YEAR + 365 * day));
    }

    #[test]
    fn no_two_certificates_are_alike() {
        assert_ne!(certificate().fingerprint(), certificate().fingerprint());
    }
}
