//! Fingerprint of a certificate (`a=fingerprint`, RFC 8122 section 5).

use std::fmt;
use std::str::FromStr;

/// Hash over the certificate in DER form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashFunction {
    /// SHA-1, 20 bytes.
    Sha1,
    /// SHA-224, 28 bytes.
    Sha224,
    /// SHA-256, 32 bytes.
    Sha256,
    /// SHA-384, 48 bytes.
    Sha384,
    /// SHA-512, 64 bytes.
    Sha512,
}

impl HashFunction {
    /// Length of the hash in bytes.
    pub fn output_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The name, in any case (RFC 8122 section 5: `hash-func` is compared without case). MD2 and
    /// MD5, which the same section forbids, are not known.
    fn from_name(name: &str) -> Option<Self> {
        let all = [
            Self::Sha1,
            Self::Sha224,
            Self::Sha256,
            Self::Sha384,
            Self::Sha512,
        ];
        all.into_iter()
            .find(|hash| name.eq_ignore_ascii_case(hash.name()))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha-1",
            Self::Sha224 => "sha-224",
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }
}

/// A hash function and its value for one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    hash: HashFunction,
    bytes: Vec<u8>,
}

impl Fingerprint {
    /// `None` when the number of bytes is not that of the hash function.
    pub fn new(hash: HashFunction, bytes: impl Into<Vec<u8>>) -> Option<Self> {
        let bytes = bytes.into();
        (bytes.len() == hash.output_len()).then_some(Self { hash, bytes })
    }

    /// The hash function.
    pub fn hash(&self) -> HashFunction {
        self.hash
    }

    /// The value.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The text after `a=fingerprint:` cannot be read, or uses an unknown hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a fingerprint with a known hash function")]
pub struct InvalidFingerprint;

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(value: &str) -> Result<Self, InvalidFingerprint> {
        let (name, digits) = value.trim().split_once(' ').ok_or(InvalidFingerprint)?;
        let hash = HashFunction::from_name(name).ok_or(InvalidFingerprint)?;
        let mut bytes = Vec::with_capacity(hash.output_len());
        for pair in digits.trim().split(':').take(hash.output_len() + 1) {
            if pair.len() != 2 || !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(InvalidFingerprint);
            }
            bytes.push(u8::from_str_radix(pair, 16).map_err(|_| InvalidFingerprint)?);
        }
        Self::new(hash, bytes).ok_or(InvalidFingerprint)
    }
}

impl fmt::Display for Fingerprint {
    /// As it stands after `a=fingerprint:`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.hash.name())?;
        for (index, byte) in self.bytes.iter().enumerate() {
            let separator = if index == 0 { "" } else { ":" };
            write!(f, "{separator}{byte:02X}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 8122 section 5.
    const EXAMPLE: &str = "sha-1 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB";

    #[test]
    fn the_example_of_the_specification_is_read_and_written() {
        let fingerprint: Fingerprint = EXAMPLE.parse().unwrap();
        assert_eq!(fingerprint.hash(), HashFunction::Sha1);
        assert_eq!(fingerprint.bytes()[..3], [0x4a, 0xad, 0xb9]);
        assert_eq!(fingerprint.to_string(), EXAMPLE);
    }

    #[test]
    fn case_does_not_matter() {
        let lower: Fingerprint = EXAMPLE.to_lowercase().parse().unwrap();
        let upper: Fingerprint = EXAMPLE.to_uppercase().parse().unwrap();
        assert_eq!(lower, upper);
    }

    #[test]
    fn a_value_of_the_wrong_length_or_an_unknown_hash_is_refused() {
        let long = format!("{EXAMPLE}:00");
        let endless = format!("sha-1 {}", "00:".repeat(10_000));
        for bad in [
            "",
            "sha-1",
            "sha-256 4A:AD",
            "md5 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF",
            "sha-1 +A:AD",
            &EXAMPLE[..EXAMPLE.len() - 3],
            &long,
            &endless,
        ] {
            assert_eq!(
                bad.parse::<Fingerprint>(),
                Err(InvalidFingerprint),
                "{bad:.40}"
            );
        }
    }
}
