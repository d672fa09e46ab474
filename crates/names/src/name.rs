//! The name under which a stream is published and watched.

use std::fmt;
use std::sync::Arc;

use crate::RenditionId;

/// Longest stream name, in bytes of UTF-8.
pub const MAX_NAME_LEN: usize = 255;

/// A validated stream name: `app/stream`, more segments if the application has an instance, or only
/// `stream` if there is no application.
///
/// Each segment is non-empty, is neither `.` nor `..`, and has no control character, no backslash
/// and none of `?`, `#` and `%`: a name can stand in a URL path, a log line and a metric label as
/// it is.
///
/// A *rendition* of a published stream has a name of its own: the same text with a [`RenditionId`].
/// No text parses to it, so nobody outside can request a rendition by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamName {
    text: Arc<str>,
    /// `None` for the published stream.
    rendition: Option<RenditionId>,
}

/// A text is not a stream name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is no name.
    #[error("the stream has no name; a name has the form app/stream or stream")]
    Missing,
    /// A segment is empty, `.` or `..`.
    #[error("a segment of the stream name is empty, \".\" or \"..\"")]
    BadSegment,
    /// A character that is not allowed.
    #[error("the stream name has the forbidden character {0:?}")]
    ForbiddenCharacter(char),
    /// More than [`MAX_NAME_LEN`] bytes.
    #[error("the stream name has {0} bytes; {MAX_NAME_LEN} is the limit")]
    TooLong(usize),
}

impl StreamName {
    /// Creates the name of a stream of an application; both parts may contain `/`, and one of them
    /// may be empty.
    ///
    /// # Errors
    /// When the two do not make a valid name.
    pub fn new(app: &str, stream: &str) -> Result<Self, NameError> {
        match (app, stream) {
            ("", only) | (only, "") => Self::parse(only),
            (app, stream) => Self::parse(&format!("{app}/{stream}")),
        }
    }

    /// Parses `app/stream` or `stream`.
    ///
    /// # Errors
    /// When it is not a valid name.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        if name.len() > MAX_NAME_LEN {
            return Err(NameError::TooLong(name.len()));
        }
        let forbidden = |c: &char| c.is_control() || matches!(c, '\\' | '?' | '#' | '%');
        if let Some(c) = name.chars().find(forbidden) {
            return Err(NameError::ForbiddenCharacter(c));
        }
        if name.is_empty() {
            return Err(NameError::Missing);
        }
        if name
            .split('/')
            .any(|segment| matches!(segment, "" | "." | ".."))
        {
            return Err(NameError::BadSegment);
        }
        Ok(Self {
            text: name.into(),
            rendition: None,
        })
    }

    /// Returns the application and the stream, as RTMP and webhooks have them: the stream is the last
    /// segment, and the application, which may be empty, all before it.
    pub fn parts(&self) -> (&str, &str) {
        self.text.rsplit_once('/').unwrap_or(("", &self.text))
    }

    /// Returns the name as text. A rendition has the text of its published stream.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the name of a rendition of this stream. [`RenditionId::SOURCE`] is the published
    /// stream itself.
    #[must_use]
    pub fn rendition(&self, id: &RenditionId) -> Self {
        self.with_rendition((*id != RenditionId::SOURCE).then_some(*id))
    }

    /// Returns the name of the published stream.
    #[must_use]
    pub fn published(&self) -> Self {
        self.with_rendition(None)
    }

    /// Returns whether this names a rendition other than the published stream.
    pub fn is_rendition(&self) -> bool {
        self.rendition.is_some()
    }

    /// Returns the id of the rendition that this names.
    pub fn rendition_id(&self) -> RenditionId {
        self.rendition.unwrap_or(RenditionId::SOURCE)
    }

    fn with_rendition(&self, rendition: Option<RenditionId>) -> Self {
        let text = Arc::clone(&self.text);
        Self { text, rendition }
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_has_an_application_or_none_and_a_stream() {
        assert_eq!(
            StreamName::new("live", "test").unwrap().as_str(),
            "live/test"
        );
        assert_eq!(
            StreamName::new("live/eu", "a b").unwrap().as_str(),
            "live/eu/a b"
        );
        for name in [
            StreamName::parse("cam"),
            StreamName::new("cam", ""),
            StreamName::new("", "cam"),
        ] {
            assert_eq!(name.unwrap().parts(), ("", "cam"));
        }
        let name = StreamName::parse("live/eu/a").unwrap();
        assert_eq!(name.parts(), ("live/eu", "a"));
    }

    #[test]
    fn rendition_has_the_text_of_its_stream_but_differs() {
        let name = StreamName::parse("live/test").unwrap();
        let id = RenditionId::rung(720);
        let rendition = name.rendition(&id);
        assert!(rendition.is_rendition() && !name.is_rendition());
        assert_ne!(rendition, name);
        assert_ne!(rendition, name.rendition(&RenditionId::rung(480)));
        assert_eq!(rendition.to_string(), "live/test");
        assert_eq!(rendition.rendition_id(), id);
        assert_eq!(rendition.published(), name);
        assert_eq!(rendition.rendition(&RenditionId::SOURCE), name);
        assert_eq!(name.rendition_id(), RenditionId::SOURCE);
    }

    #[test]
    fn names_that_are_unsafe_in_a_path_or_log_are_refused() {
        assert_eq!(StreamName::new("", ""), Err(NameError::Missing));
        for bad in ["live/", "/x", "live//x", "..", ".", "live/../x"] {
            assert_eq!(StreamName::parse(bad), Err(NameError::BadSegment), "{bad}");
        }
        assert_eq!(
            StreamName::new("live", "a\nb"),
            Err(NameError::ForbiddenCharacter('\n'))
        );
        assert_eq!(
            StreamName::new("live", "a%2e"),
            Err(NameError::ForbiddenCharacter('%'))
        );
        assert_eq!(
            StreamName::new("live", &"x".repeat(300)),
            Err(NameError::TooLong(305))
        );
    }
}
