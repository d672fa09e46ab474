//! The names of a stream's renditions.

use std::fmt;
use std::str::FromStr;

/// Longest id of a rendition, in bytes.
pub const MAX_RENDITION_ID_LEN: usize = 23;

/// The id of one rendition among those of a stream, such as `720p` or `track1`: lower case letters,
/// digits, `-` and `_`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RenditionId {
    /// Padded with zeros.
    text: [u8; MAX_RENDITION_ID_LEN],
    len: u8,
}

/// A text is not the id of a rendition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected 1 to {MAX_RENDITION_ID_LEN} of a-z, 0-9, \"-\" and \"_\", such as 720p, instead of {0:?}"
)]
pub struct RenditionIdError(String);

impl RenditionId {
    /// The stream as published.
    pub const SOURCE: Self = Self::known("source");

    /// The transcode to H264 in the size of the source, for viewers that cannot decode the source.
    pub const H264: Self = Self::known("h264");

    /// Returns the id of a rung of the ladder, by its height in pixels: `720p`.
    pub fn rung(height: u32) -> Self {
        Self::numbered(height, "", "p")
    }

    /// Returns the id of a further video track of the publisher: `track1`.
    pub fn track(number: u8) -> Self {
        Self::numbered(number.into(), "track", "")
    }

    /// Returns the id of another stream that the configuration joins: `joined1`.
    pub fn joined(number: u8) -> Self {
        Self::numbered(number.into(), "joined", "")
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        let text = self.text.get(..usize::from(self.len));
        // It was a text when it was made.
        std::str::from_utf8(text.unwrap_or_default()).unwrap_or_default()
    }

    /// Returns the id for a text that is known to be valid; a longer one is cut.
    const fn known(text: &str) -> Self {
        let mut id = Self {
            text: [0; MAX_RENDITION_ID_LEN],
            len: 0,
        };
        let bytes = text.as_bytes();
        while (id.len as usize) < bytes.len() && (id.len as usize) < MAX_RENDITION_ID_LEN {
            id.text[id.len as usize] = bytes[id.len as usize];
            id.len += 1;
        }
        id
    }

    fn numbered(number: u32, before: &str, after: &str) -> Self {
        Self::known(&format!("{before}{number}{after}"))
    }
}

impl FromStr for RenditionId {
    type Err = RenditionIdError;

    fn from_str(text: &str) -> Result<Self, RenditionIdError> {
        let is_allowed = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        let is_valid =
            (1..=MAX_RENDITION_ID_LEN).contains(&text.len()) && text.bytes().all(is_allowed);
        if is_valid {
            Ok(Self::known(text))
        } else {
            Err(RenditionIdError(text.chars().take(64).collect()))
        }
    }
}

impl fmt::Display for RenditionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RenditionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

distributary_config::serde_as_text!(RenditionId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_a_short_text_of_safe_characters() {
        for text in ["720p", "track1", "a-b_c", "abcdefghijklmnopqrstuvw"] {
            assert_eq!(text.parse::<RenditionId>().unwrap().as_str(), text);
        }
        for text in ["", "720P", "a b", "a/b", "ä", "abcdefghijklmnopqrstuvwx"] {
            assert!(text.parse::<RenditionId>().is_err(), "{text}");
        }
    }

    #[test]
    fn made_ids_are_those_that_are_parsed() {
        for (id, text) in [
            (RenditionId::SOURCE, "source"),
            (RenditionId::H264, "h264"),
            (RenditionId::rung(720), "720p"),
            (RenditionId::track(255), "track255"),
            (RenditionId::rung(u32::MAX), "4294967295p"),
        ] {
            assert_eq!(text.parse(), Ok(id));
            assert_eq!(format!("{id} {id:?}"), format!("{text} {text}"));
        }
    }
}
