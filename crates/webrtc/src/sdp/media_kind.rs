//! The media type of a section.

use std::fmt;

/// `<media>` of an `m=` line (RFC 8866 section 5.14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaKind {
    /// `audio`
    Audio,
    /// `video`
    Video,
    /// Any other, as it is written: `application` for data channels.
    Other(String),
}

impl MediaKind {
    pub(super) fn from_name(name: &str) -> Self {
        match name {
            "audio" => Self::Audio,
            "video" => Self::Video,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for MediaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Other(name) => name,
        })
    }
}
