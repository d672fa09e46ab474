//! The type of a tag.

use std::fmt;

/// The type of a tag (`TagType`, and the RTMP message type of the same number).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TagKind {
    /// Type 8.
    Audio,
    /// Type 9.
    Video,
    /// Type 18: metadata as AMF0.
    Script,
}

impl TagKind {
    /// Returns its `TagType`.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Audio => 8,
            Self::Video => 9,
            Self::Script => 18,
        }
    }

    /// Returns the kind of a `TagType`, or `None` if it is unknown.
    pub(super) fn of_number(number: u8) -> Option<Self> {
        let mut all = [Self::Audio, Self::Video, Self::Script].into_iter();
        all.find(|kind| kind.number() == number)
    }
}

impl fmt::Display for TagKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Script => "script",
        })
    }
}
