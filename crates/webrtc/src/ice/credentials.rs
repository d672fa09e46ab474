//! Username fragment and password of one side (RFC 8445 section 5.3, RFC 8839 section 5.4).

use std::fmt;

use rand::TryRng as _;
use rand::rngs::{SysError, SysRng};
use thiserror::Error;

/// The letters of ufrag and password (`ice-char`, RFC 8839 section 5.1): six bits each.
const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Letters in a ufrag of ours: 48 bits, where RFC 8445 section 5.3 asks for 24, because a session
/// is looked up by it among many thousands.
const UFRAG_LEN: usize = 8;

/// Letters in a password of ours: 192 bits, where RFC 8445 section 5.3 asks for 128.
const PASSWORD_LEN: usize = 32;

/// Shortest and longest ufrag (RFC 8839 section 5.4).
const UFRAG_LENGTHS: std::ops::RangeInclusive<usize> = 4..=256;

/// Shortest and longest password (RFC 8839 section 5.4).
const PASSWORD_LENGTHS: std::ops::RangeInclusive<usize> = 22..=256;

/// Username fragment and password of one side. `Debug` does not show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    ufrag: String,
    password: String,
}

/// Credentials that RFC 8839 section 5.4 does not allow: an error in the peer's SDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidCredentials {
    /// Not 4 to 256 letters.
    #[error("ice-ufrag has {length} letters")]
    UfragLength {
        /// Its length in bytes.
        length: usize,
    },
    /// Not 22 to 256 letters.
    #[error("ice-pwd has {length} letters")]
    PasswordLength {
        /// Its length in bytes.
        length: usize,
    },
    /// A letter that is neither one of `ice-char` nor tolerated.
    #[error("ice-ufrag or ice-pwd with a letter that is no ice-char")]
    Letter,
}

impl Credentials {
    /// New credentials from the system's random generator; fails only where the system has none.
    pub fn generate() -> Result<Self, SysError> {
        Ok(Self {
            ufrag: random_letters::<UFRAG_LEN>()?,
            password: random_letters::<PASSWORD_LEN>()?,
        })
    }

    /// Parses credentials from an SDP.
    pub fn new(ufrag: &str, password: &str) -> Result<Self, InvalidCredentials> {
        if !UFRAG_LENGTHS.contains(&ufrag.len()) {
            return Err(InvalidCredentials::UfragLength {
                length: ufrag.len(),
            });
        }
        if !PASSWORD_LENGTHS.contains(&password.len()) {
            return Err(InvalidCredentials::PasswordLength {
                length: password.len(),
            });
        }
        let mut letters = ufrag.bytes().chain(password.bytes());
        if !letters.all(is_tolerated) {
            return Err(InvalidCredentials::Letter);
        }
        Ok(Self {
            ufrag: ufrag.to_owned(),
            password: password.to_owned(),
        })
    }

    /// Returns the username fragment.
    #[must_use]
    pub fn ufrag(&self) -> &str {
        &self.ufrag
    }

    /// Returns the password.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("ufrag", &self.ufrag)
            .finish_non_exhaustive()
    }
}

/// Returns whether a letter is one of `ice-char`, or one of three more that some players use
/// although RFC 8839 does not allow them: base64 in its URL form, and its padding. They do no harm.
fn is_tolerated(letter: u8) -> bool {
    ICE_CHARS.contains(&letter) || matches!(letter, b'-' | b'_' | b'=')
}

fn random_letters<const LEN: usize>() -> Result<String, SysError> {
    let mut bytes = [0; LEN];
    SysRng.try_fill_bytes(&mut bytes)?;
    // 64 letters divide 256 values evenly, so none is more likely than another.
    let letter = |byte: &u8| char::from(ICE_CHARS[usize::from(byte & 0x3f)]);
    Ok(bytes.iter().map(letter).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_credentials_are_valid_and_never_the_same() {
        let one = Credentials::generate().unwrap();
        let other = Credentials::generate().unwrap();
        assert_ne!(one.ufrag(), other.ufrag());
        assert_ne!(one.password(), other.password());
        assert_eq!(
            Credentials::new(one.ufrag(), one.password()).as_ref(),
            Ok(&one)
        );
    }

    #[test]
    fn credentials_have_at_least_the_entropy_rfc_8445_asks_for() {
        let credentials = Credentials::generate().unwrap();
        assert!(credentials.ufrag().len() * 6 >= 24);
        assert!(credentials.password().len() * 6 >= 128);
    }

    #[test]
    fn credentials_out_of_bounds_are_refused() {
        let password = "p".repeat(22);
        assert!(Credentials::new("abcd", &password).is_ok());
        assert_eq!(
            Credentials::new("abc", &password),
            Err(InvalidCredentials::UfragLength { length: 3 })
        );
        assert_eq!(
            Credentials::new(&"u".repeat(257), &password),
            Err(InvalidCredentials::UfragLength { length: 257 })
        );
        assert_eq!(
            Credentials::new("abcd", "short"),
            Err(InvalidCredentials::PasswordLength { length: 5 })
        );
        assert_eq!(
            Credentials::new("ab:d", &password),
            Err(InvalidCredentials::Letter)
        );
    }

    #[test]
    fn debug_output_does_not_show_the_password() {
        let credentials = Credentials::new("abcd", "secretsecretsecretsecret").unwrap();
        assert_eq!(
            format!("{credentials:?}"),
            "Credentials { ufrag: \"abcd\", .. }"
        );
    }
}
