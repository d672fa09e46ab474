//! Names that are safe to write into a session description.

use std::fmt;

/// Longest [`Token`], as `msid-id` has it (RFC 8830 section 2).
const MAX_TOKEN_BYTES: usize = 64;

/// A `token` of RFC 8866 section 9 with 1 to 64 characters: a `mid`, a stream id, a `cname`.
///
/// It has no white space and no line end, so it cannot inject lines into an answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Token(String);

impl Token {
    /// Checks `text`; `None` when it is no token, or is too long.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let valid = (1..=MAX_TOKEN_BYTES).contains(&text.len()) && text.bytes().all(is_token_char);
        valid.then_some(Self(text))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<u64> for Token {
    /// Returns the number as 16 hexadecimal digits.
    fn from(number: u64) -> Self {
        Self(format!("{number:016x}"))
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `token-char` of RFC 8866 section 9.
pub(super) fn is_token_char(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x27 | 0x2a..=0x2b | 0x2d..=0x2e | 0x30..=0x39 | 0x41..=0x5a | 0x5e..=0x7e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_holds_no_separator_and_no_line_end() {
        assert_eq!(Token::new("video0").unwrap().as_str(), "video0");
        assert_eq!(
            Token::new("{5a-b_c}.d").map(|t| t.to_string()),
            Some("{5a-b_c}.d".to_owned())
        );
        for bad in ["", "a b", "a\r\nb", "a:b", "a/b", "a,b", "a\u{e4}", "\0"] {
            assert_eq!(Token::new(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn token_has_64_characters_at_most() {
        assert!(Token::new("x".repeat(64)).is_some());
        assert!(Token::new("x".repeat(65)).is_none());
    }

    #[test]
    fn number_is_written_with_all_its_digits() {
        assert_eq!(Token::from(0xab).as_str(), "00000000000000ab");
    }
}
