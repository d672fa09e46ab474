//! The path under which clients reach this gateway behind a proxy.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Maximum length of a path that is accepted.
const MAX_LEN: usize = 256;

/// A path prefix such as `/video`, under which a proxy serves the gateway and which it removes
/// before it passes requests on; may be empty. URLs that the gateway gives to players begin with
/// it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicPath(String);

/// A text is not the path of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a path such as /video, or nothing, instead of {0:?}")]
pub struct PublicPathError(String);

impl PublicPath {
    /// Joins the prefixes that proxies have removed, the outermost first; `None` if the result is
    /// not a path.
    pub(crate) fn of_proxies<'a>(values: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut whole = String::new();
        for part in values.flat_map(|value| value.split(',')) {
            let Self(part) = part.trim().parse().ok()?;
            whole += &part;
        }
        whole.parse().ok()
    }
}

impl FromStr for PublicPath {
    type Err = PublicPathError;

    /// Parses a path. A slash at the end is ignored. Refuses paths that a browser would take for
    /// another host, or resolve to another path.
    fn from_str(text: &str) -> Result<Self, PublicPathError> {
        let path = text.strip_suffix('/').unwrap_or(text);
        let is_segment = |segment: &str| {
            !["", ".", ".."].contains(&segment) && segment.bytes().all(is_of_segment)
        };
        let is_path = match path.strip_prefix('/') {
            Some(segments) => segments.split('/').all(is_segment),
            None => path.is_empty(),
        };
        if !is_path || path.len() > MAX_LEN {
            return Err(PublicPathError(text.to_owned()));
        }
        Ok(Self(path.to_owned()))
    }
}

/// Returns whether a character of a path needs no percent-encoding (RFC 3986 section 3.3).
fn is_of_segment(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte)
}

impl TryFrom<String> for PublicPath {
    type Error = PublicPathError;

    fn try_from(text: String) -> Result<Self, PublicPathError> {
        text.parse()
    }
}

impl From<PublicPath> for String {
    fn from(path: PublicPath) -> Self {
        path.0
    }
}

impl fmt::Display for PublicPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_paths_are_accepted() {
        for (text, path) in [
            ("", ""),
            ("/", ""),
            ("/video", "/video"),
            ("/a/b-c_d.e~/", "/a/b-c_d.e~"),
        ] {
            assert_eq!(text.parse::<PublicPath>().unwrap().to_string(), path);
        }
        for text in [
            "video",
            "//evil.example",
            "/a//b",
            "/a/../b",
            "/.",
            "/a b",
            "/a\"",
            "/a?b",
            "/a#b",
            "/a\\b",
            "/a%2fb",
            "https://evil.example",
            &format!("/{}", "a".repeat(MAX_LEN)),
        ] {
            assert!(text.parse::<PublicPath>().is_err(), "{text}");
        }
    }

    #[test]
    fn prefixes_of_several_proxies_are_joined() {
        let of = |values: &[&str]| {
            let path = PublicPath::of_proxies(values.iter().copied());
            path.map(String::from)
        };
        assert_eq!(of(&["/a/, /b"]), Some("/a/b".to_owned()));
        assert_eq!(of(&["/a", "/b/c"]), Some("/a/b/c".to_owned()));
        assert_eq!(of(&["/"]), Some(String::new()));
        assert_eq!(of(&["/a, //evil.example"]), None);
        assert_eq!(of(&["/a", &format!("/{}", "b".repeat(MAX_LEN - 1))]), None);
    }
}
