//! Maps the names that a client sends to a stream name.
//!
//! `rtmp://host/app[/instance]/stream?key=..` reaches a server in two halves, and clients split it
//! differently: `connect` has the application (OBS: the whole path of the server URL), `publish`
//! the stream with the query string, which holds the publisher's key. Of `rtmp://host/stream`,
//! which names no application, ffmpeg makes the application `stream` and an empty stream, OBS an
//! empty application.

use std::fmt;

use distributary_names::{NameError, StreamName};
use percent_encoding::percent_decode_str;

/// The stream that a client asks to publish or play.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The stream.
    pub name: StreamName,
    /// The query string.
    pub query: Query,
}

/// The query string of a stream's URL. It may hold a key, so the `Debug` form hides it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Query(String);

/// The error of names that do not make a stream name. The client is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// The name is not allowed.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The percent-escapes of the name do not make UTF-8.
    #[error("the stream name is not UTF-8")]
    NotUtf8,
    /// The stream is a whole URL.
    #[error(
        "the stream key is a whole URL: enter all but its last part as the server, and only \"{last}\" as the \
         stream key"
    )]
    WholeUrl {
        /// The last part of the URL, without its query string.
        last: String,
    },
}

impl Target {
    /// Joins the application of `connect` and the stream of `publish` or `play`.
    ///
    /// One of them may be empty: a name needs no application, and OBS users put the whole URL into
    /// the server field. Blanks around both come from copying, and are no part of them.
    ///
    /// # Errors
    /// Returns [`TargetError`] if they do not make a valid stream name.
    pub fn resolve(app: &str, stream: &str) -> Result<Self, TargetError> {
        let (app, app_query) = parts(app);
        let (stream, stream_query) = parts(stream);
        if is_url(stream) {
            return Err(TargetError::whole_url(stream));
        }
        let app = unescape(app.trim_matches('/'))?;
        let stream = unescape(without_format(stream.trim_matches('/')))?;
        let name = StreamName::new(&app, &stream)?;
        let query = if stream_query.is_empty() {
            app_query
        } else {
            stream_query
        };
        Ok(Self {
            name,
            query: Query(query.to_owned()),
        })
    }
}

/// Splits off the query string, and removes the blanks around both.
fn parts(text: &str) -> (&str, &str) {
    let (name, query) = text.split_once('?').unwrap_or((text, ""));
    (name.trim(), query.trim())
}

/// Returns whether a stream is the URL of one.
fn is_url(stream: &str) -> bool {
    let scheme = stream.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| {
        ["rtmp", "rtmps", "rtmpe"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known))
    })
}

impl TargetError {
    /// Longest part of a URL that is shown, in characters.
    const MAX_SHOWN: usize = 64;

    fn whole_url(url: &str) -> Self {
        let last = url.trim_end_matches('/').rsplit('/').next();
        let printable = last.unwrap_or_default().chars().filter(|c| !c.is_control());
        Self::WholeUrl {
            last: printable.take(Self::MAX_SHOWN).collect(),
        }
    }
}

impl Query {
    /// Returns the percent-decoded value of a parameter.
    pub fn get(&self, parameter: &str) -> Option<String> {
        self.0.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == parameter).then(|| unescape(value).ok()).flatten()
        })
    }

    /// Returns the query string as it was sent, without the question mark.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() {
            "Query(none)"
        } else {
            "Query(hidden)"
        })
    }
}

/// Removes the prefix for the format of a recording (ActionScript 3 reference, `NetStream.play`),
/// which has no meaning for a live stream.
fn without_format(stream: &str) -> &str {
    let prefixes = ["flv:", "mp4:", "f4v:"];
    let bare = prefixes
        .iter()
        .find_map(|prefix| stream.strip_prefix(prefix));
    bare.unwrap_or(stream)
}

/// Percent-decodes a text (RFC 3986 section 2.1). Invalid escapes are kept.
fn unescape(text: &str) -> Result<String, TargetError> {
    let decoded = percent_decode_str(text).decode_utf8();
    Ok(decoded.map_err(|_| TargetError::NotUtf8)?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(app: &str, stream: &str) -> String {
        let target = Target::resolve(app, stream).unwrap();
        target.name.as_str().to_owned()
    }

    #[test]
    fn application_and_stream_make_the_name() {
        assert_eq!(name("live", "test"), "live/test");
        assert_eq!(name("live/", "/test"), "live/test");
        assert_eq!(name("live/eu", "test"), "live/eu/test");
        assert_eq!(name("live", "eu/test"), "live/eu/test");
        assert_eq!(name("live/test", ""), "live/test");
        assert_eq!(name("cam", ""), "cam");
        assert_eq!(name("", "cam"), "cam");
        assert_eq!(name("/", "/eu/cam"), "eu/cam");
        assert_eq!(name("live", "two%20words"), "live/two words");
        assert_eq!(name("live", "flv:test"), "live/test");
        assert_eq!(name("live", "mp4:eu/test?key=k"), "live/eu/test");
    }

    #[test]
    fn blanks_around_the_parts_are_removed() {
        assert_eq!(name(" live ", "\ttest \n"), "live/test");
        assert_eq!(name("live/ ", " /test"), "live/test");
        let target = Target::resolve("live", "  two words ?key=k \r\n").unwrap();
        assert_eq!(target.name.as_str(), "live/two words");
        assert_eq!(target.query.as_str(), "key=k");
        assert_eq!(
            Target::resolve(" / ", "   ").unwrap_err(),
            NameError::Missing.into()
        );
    }

    #[test]
    fn whole_url_as_the_key_is_explained() {
        for key in [
            "rtmp://host/live/test",
            " RTMPS://host:443/live/test/?key=secret",
            "rtmp://test",
        ] {
            let error = Target::resolve("live", key).unwrap_err();
            assert_eq!(
                error.to_string(),
                "the stream key is a whole URL: enter all but its last part as the server, and only \"test\" \
                 as the stream key"
            );
        }
        let error = Target::resolve("live", &format!("rtmp://h/live/{}\u{7}", "x".repeat(99)));
        let TargetError::WholeUrl { last } = error.unwrap_err() else {
            panic!("it is a URL");
        };
        assert_eq!(last, "x".repeat(64));
    }

    #[test]
    fn query_string_of_either_half_is_not_part_of_the_name() {
        for (app, stream) in [
            ("live", "test?key=s%26cret"),
            ("live?key=s%26cret", "test"),
            ("live/test?key=s%26cret", ""),
        ] {
            let target = Target::resolve(app, stream).unwrap();
            assert_eq!(target.name.as_str(), "live/test");
            assert_eq!(target.query.get("key").as_deref(), Some("s&cret"));
            assert_eq!(target.query.get("kex"), None);
            assert!(
                !format!("{target:?}").contains("cret"),
                "a key is not shown"
            );
        }
    }

    #[test]
    fn names_that_are_not_allowed_are_refused_escaped_or_not() {
        let refused = |app, stream| Target::resolve(app, stream).unwrap_err();
        assert_eq!(refused("", ""), NameError::Missing.into());
        assert_eq!(refused("live", "../x"), NameError::BadSegment.into());
        assert_eq!(refused("live", "%2e%2e/x"), NameError::BadSegment.into());
        assert_eq!(
            refused("live", "a%2f%2e%2e%2fx"),
            NameError::BadSegment.into()
        );
        assert_eq!(
            refused("live", "a%00"),
            NameError::ForbiddenCharacter('\0').into()
        );
        assert_eq!(
            refused("live", "100%"),
            NameError::ForbiddenCharacter('%').into()
        );
        assert_eq!(refused("live", "%ff"), TargetError::NotUtf8);
        assert_eq!(
            refused("live", &"x".repeat(251)),
            NameError::TooLong(256).into()
        );
    }
}
