//! Session ids.

use std::fmt;
use std::str::FromStr;

/// The id of a session in its URL: 128 random bits, so that only the client that opened the session
/// can close it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(u128);

impl SessionId {
    /// Generates an id with the system's random generator.
    pub fn random() -> Self {
        Self(rand::random())
    }
}

impl SessionId {
    /// Returns the first digits of the id, for logs: enough to tell sessions apart, and not enough
    /// to end one, which takes the whole id.
    pub fn short(&self) -> ShortId {
        ShortId((self.0 >> 96) as u32)
    }
}

/// The first eight digits of a [`SessionId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortId(u32);

impl fmt::Display for ShortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for ShortId {
    type Err = InvalidSessionId;

    fn from_str(text: &str) -> Result<Self, InvalidSessionId> {
        if text.len() != 8 || !is_hex(text) {
            return Err(InvalidSessionId);
        }
        u32::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| InvalidSessionId)
    }
}

/// Returns whether the text consists of lower-case hexadecimal digits.
fn is_hex(text: &str) -> bool {
    text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

/// The text is not a session id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session id has 32 hexadecimal digits, a short id the first 8 of them")]
pub struct InvalidSessionId;

impl FromStr for SessionId {
    type Err = InvalidSessionId;

    fn from_str(text: &str) -> Result<Self, InvalidSessionId> {
        if text.len() != 32 || !is_hex(text) {
            return Err(InvalidSessionId);
        }
        u128::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| InvalidSessionId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_id_reads_back_from_its_text() {
        let id = SessionId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().starts_with(&id.short().to_string()));
        assert_eq!(id.short().to_string().parse(), Ok(id.short()));
        assert_eq!("+1234567".parse::<ShortId>(), Err(InvalidSessionId));
        assert_eq!("".parse::<SessionId>(), Err(InvalidSessionId));
        assert_eq!("+".repeat(32).parse::<SessionId>(), Err(InvalidSessionId));
        assert_eq!("AB".repeat(16).parse::<SessionId>(), Err(InvalidSessionId));
    }
}
