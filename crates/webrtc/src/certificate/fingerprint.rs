//! The value of `a=fingerprint` (RFC 8122 section 5).

use std::fmt;
use std::str::FromStr;

use openssl::sha;
use thiserror::Error;

/// Digest of a certificate, as SDP carries it: `sha-256 4A:AD:...`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    algorithm: HashAlgorithm,
    bytes: Vec<u8>,
}

/// Hash function of a fingerprint, weakest first.
///
/// MD2 and MD5 are in the grammar of RFC 8122, which forbids to use them (section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashAlgorithm {
    /// `sha-1`
    Sha1,
    /// `sha-224`
    Sha224,
    /// `sha-256`
    Sha256,
    /// `sha-384`
    Sha384,
    /// `sha-512`
    Sha512,
}

/// The reason why a text is not a usable fingerprint: an error in the peer's SDP.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FingerprintError {
    /// No hash function and digest with a space between.
    #[error("fingerprint is not a hash function and a digest")]
    Syntax,
    /// The hash function is unknown or too weak.
    #[error("hash function of the fingerprint is not supported")]
    Algorithm,
    /// The digest is not pairs of hexadecimal digits with colons between.
    #[error("digest of the fingerprint is not hexadecimal")]
    Digest,
    /// The digest has not the length of the hash function.
    #[error("fingerprint has {actual} bytes where {} has {}", algorithm, algorithm.digest_len())]
    Length {
        /// The hash function.
        algorithm: HashAlgorithm,
        /// Bytes of the digest.
        actual: usize,
    },
}

impl Fingerprint {
    /// Returns the fingerprint of a certificate in DER form.
    #[must_use]
    pub fn of(algorithm: HashAlgorithm, certificate_der: &[u8]) -> Self {
        let bytes = match algorithm {
            HashAlgorithm::Sha1 => sha::sha1(certificate_der).to_vec(),
            HashAlgorithm::Sha224 => sha::sha224(certificate_der).to_vec(),
            HashAlgorithm::Sha256 => sha::sha256(certificate_der).to_vec(),
            HashAlgorithm::Sha384 => sha::sha384(certificate_der).to_vec(),
            HashAlgorithm::Sha512 => sha::sha512(certificate_der).to_vec(),
        };
        Self { algorithm, bytes }
    }

    /// Returns the hash function.
    #[must_use]
    pub fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// Returns the digest.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns whether one of the fingerprints `offered` matches `certificate_der`.
    ///
    /// RFC 8122 section 5.1: several fingerprints of one hash function are those of several
    /// certificates, and several hash functions are alternatives: the strongest decides. So
    /// a digest of a weak function cannot stand in for one of a strong function that does not
    /// match.
    #[must_use]
    pub fn any_matches(offered: &[Self], certificate_der: &[u8]) -> bool {
        let Some(algorithm) = offered.iter().map(Self::algorithm).max() else {
            return false;
        };
        offered.contains(&Self::of(algorithm, certificate_der))
    }
}

impl fmt::Display for Fingerprint {
    /// RFC 8122 section 5: upper-case hexadecimal with colons.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.algorithm)?;
        let separators = std::iter::once(' ').chain(std::iter::repeat(':'));
        for (separator, byte) in separators.zip(&self.bytes) {
            write!(f, "{separator}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (algorithm, digest) = text
            .trim()
            .split_once(' ')
            .ok_or(FingerprintError::Syntax)?;
        let algorithm: HashAlgorithm = algorithm.parse()?;
        // One pair more than there may be tells the error without reading a text of any length.
        let bytes = digest
            .trim_start()
            .split(':')
            .take(algorithm.digest_len() + 1)
            .map(hex_pair)
            .collect::<Option<Vec<u8>>>()
            .ok_or(FingerprintError::Digest)?;
        if bytes.len() != algorithm.digest_len() {
            return Err(FingerprintError::Length {
                algorithm,
                actual: bytes.len(),
            });
        }
        Ok(Self { algorithm, bytes })
    }
}

impl HashAlgorithm {
    const ALL: [Self; 5] = [
        Self::Sha1,
        Self::Sha224,
        Self::Sha256,
        Self::Sha384,
        Self::Sha512,
    ];

    /// Returns the length of its digest in bytes.
    #[must_use]
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Returns its name in SDP (RFC 8122 section 5, `hash-func`).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha-1",
            Self::Sha224 => "sha-224",
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }
}

impl fmt::Display for HashAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for HashAlgorithm {
    type Err = FingerprintError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
            .ok_or(FingerprintError::Algorithm)
    }
}

fn hex_pair(pair: &str) -> Option<u8> {
    let is_pair = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_pair.then(|| u8::from_str_radix(pair, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &[u8] = b"abc";

    /// The digests of "abc" (FIPS 180-4 examples).
    const ABC_SHA1: &str = "sha-1 A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D";
    const ABC_SHA256: &str = "sha-256 BA:78:16:BF:8F:01:CF:EA:41:41:40:DE:5D:AE:22:23:\
                              B0:03:61:A3:96:17:7A:9C:B4:10:FF:61:F2:00:15:AD";

    #[test]
    fn digests_are_printed_as_sdp_wants_them() {
        let sha1 = Fingerprint::of(HashAlgorithm::Sha1, CERTIFICATE);
        let sha256 = Fingerprint::of(HashAlgorithm::Sha256, CERTIFICATE);
        assert_eq!(sha1.to_string(), ABC_SHA1);
        assert_eq!(sha256.to_string(), ABC_SHA256);
    }

    #[test]
    fn every_hash_function_is_read_back() {
        for algorithm in HashAlgorithm::ALL {
            let fingerprint = Fingerprint::of(algorithm, CERTIFICATE);
            assert_eq!(fingerprint.bytes().len(), algorithm.digest_len());
            assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint.clone()));
            let shouted = fingerprint.to_string().to_uppercase();
            assert_eq!(shouted.parse(), Ok(fingerprint.clone()));
            let whispered = fingerprint.to_string().to_lowercase();
            assert_eq!(whispered.parse(), Ok(fingerprint));
        }
    }

    #[test]
    fn malformed_fingerprints_are_refused() {
        let digest = ABC_SHA1.split_once(' ').unwrap().1;
        let rows = [
            (String::new(), FingerprintError::Syntax),
            ("sha-1".into(), FingerprintError::Syntax),
            (format!("md5 {digest}"), FingerprintError::Algorithm),
            (format!("md2 {digest}"), FingerprintError::Algorithm),
            (format!("sha1 {digest}"), FingerprintError::Algorithm),
            (
                format!("sha-256 {digest}"),
                FingerprintError::Length {
                    algorithm: HashAlgorithm::Sha256,
                    actual: 20,
                },
            ),
            (
                format!("{ABC_SHA1}:00:00:00"),
                FingerprintError::Length {
                    algorithm: HashAlgorithm::Sha1,
                    actual: 21,
                },
            ),
            ("sha-1 A9:9".into(), FingerprintError::Digest),
            ("sha-1 +9:99".into(), FingerprintError::Digest),
            ("sha-1 A999".into(), FingerprintError::Digest),
            ("sha-1 A9::99".into(), FingerprintError::Digest),
        ];
        for (text, error) in rows {
            assert_eq!(text.parse::<Fingerprint>(), Err(error), "{text}");
        }
    }

    #[test]
    fn one_of_several_certificates_is_enough() {
        let other = Fingerprint::of(HashAlgorithm::Sha256, b"another");
        let ours = Fingerprint::of(HashAlgorithm::Sha256, CERTIFICATE);
        assert!(Fingerprint::any_matches(
            &[other.clone(), ours],
            CERTIFICATE
        ));
        assert!(!Fingerprint::any_matches(&[other], CERTIFICATE));
        assert!(!Fingerprint::any_matches(&[], CERTIFICATE));
    }

    #[test]
    fn weak_match_does_not_stand_in_for_a_strong_mismatch() {
        let weak = Fingerprint::of(HashAlgorithm::Sha1, CERTIFICATE);
        let strong = Fingerprint::of(HashAlgorithm::Sha256, b"another");
        assert!(!Fingerprint::any_matches(&[weak, strong], CERTIFICATE));
    }
}
