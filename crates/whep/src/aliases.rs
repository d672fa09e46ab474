//! WHEP at the paths that the players of other servers use, and paths that end after the name of a
//! stream.
//!
//! ```text
//! /{app}/{stream}/whep                     MediaMTX, also /{stream}/whep
//! /rtc/v1/whep/?app={app}&stream={stream}  SRS, and its /rtc/v1/whip-play/
//! /index/api/whep?app={app}&stream={stream} ZLMediaKit
//! /whep?app={app}&stream={stream}          xiu
//! /{app}/{stream}/keyframe                 ours: the newest keyframe
//! ```
//!
//! Each is rewritten to `/whep/{app}/{stream}` before requests are routed: there is one endpoint.
//! The path of a keyframe is rewritten to [`KEYFRAME`]`/{app}/{stream}`.

use std::borrow::Cow;

use axum::http::Request;
use axum::http::uri::{PathAndQuery, Uri};
use url::form_urlencoded;

use crate::path;
use crate::path::{KEYFRAME_SUFFIX, RESERVED, WHEP_SUFFIX};

/// The kind of player, where it makes a difference to the response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// As in the WHEP draft.
    #[default]
    Whep,
    /// As players of MediaMTX expect it.
    MediaMtx,
}

/// Path under which keyframes are routed, before the name of the stream.
pub(crate) const KEYFRAME: &str = "/api/keyframe";

/// Paths that name the stream in the query string, with the default names.
const BY_QUERY: [(&str, Option<(&str, &str)>); 4] = [
    ("/whep", None),
    ("/rtc/v1/whep", Some(("live", "livestream"))),
    ("/rtc/v1/whip-play", Some(("live", "livestream"))),
    ("/index/api/whep", None),
];

/// Rewrites a path of another server to one of ours.
pub(crate) fn rewrite<B>(mut request: Request<B>) -> Request<B> {
    if let Some((target, dialect)) = canonical(request.uri())
        && let Ok(target) = PathAndQuery::try_from(target)
    {
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(target);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
            request.extensions_mut().insert(dialect);
        }
    }
    request
}

/// Returns our path and query string for an alias; `None` if the path is none.
fn canonical(uri: &Uri) -> Option<(String, Dialect)> {
    let path = uri.path();
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    let known = BY_QUERY.iter().find(|(alias, _)| *alias == trimmed);
    if let Some((_, defaults)) = known {
        let query = AliasQuery::of(uri.query().unwrap_or_default(), *defaults)?;
        return Some((query.to_string(), Dialect::Whep));
    }
    let (path, last) = trimmed.rsplit_once('/')?;
    let (endpoint, dialect) = match last {
        WHEP_SUFFIX => ("/whep", Dialect::MediaMtx),
        // Names may have any number of parts, so that a router cannot tell the last one.
        KEYFRAME_SUFFIX => (KEYFRAME, Dialect::Whep),
        _ => return None,
    };
    let stream = path.strip_prefix('/')?;
    let first = stream.split('/').next()?;
    if first.is_empty() || RESERVED.contains(&first) {
        return None;
    }
    let query = uri.query().map(|query| format!("?{query}"));
    let target = format!("{endpoint}/{stream}{}", query.unwrap_or_default());
    Some((target, dialect))
}

/// The query string of an alias.
struct AliasQuery<'q> {
    app: Cow<'q, str>,
    stream: Cow<'q, str>,
    /// The other parameters.
    rest: Vec<&'q str>,
}

impl<'q> AliasQuery<'q> {
    /// Parses a query string; `None` if it names no stream.
    fn of(query: &'q str, defaults: Option<(&'static str, &'static str)>) -> Option<Self> {
        let value = |name: &str| {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            pairs.find(|(key, _)| key == name).map(|(_, value)| value)
        };
        let default = |which: fn((&'static str, &'static str)) -> &'static str| {
            defaults.map(which).map(Cow::Borrowed)
        };
        let is_name = |part: &&str| {
            let key = part.split('=').next();
            matches!(key, Some("app" | "stream"))
        };
        Some(Self {
            app: value("app").or_else(|| default(|(app, _)| app))?,
            stream: value("stream").or_else(|| default(|(_, stream)| stream))?,
            rest: query.split('&').filter(|part| !is_name(part)).collect(),
        })
    }
}

impl std::fmt::Display for AliasQuery<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { app, stream, rest } = self;
        f.write_str("/whep")?;
        if !app.is_empty() {
            write!(f, "/{}", path::escaped(app))?;
        }
        write!(f, "/{}", path::escaped(stream))?;
        match rest.join("&") {
            rest if rest.is_empty() => Ok(()),
            rest => write!(f, "?{rest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(path: &str) -> (String, Option<Dialect>) {
        let request = rewrite(Request::builder().uri(path).body(()).unwrap());
        let dialect = request.extensions().get().copied();
        (request.uri().to_string(), dialect)
    }

    #[test]
    fn aliases_are_rewritten_to_the_endpoint() {
        for (path, ours) in [
            ("/rtc/v1/whep/?app=live&stream=test", "/whep/live/test"),
            ("/rtc/v1/whep?stream=test", "/whep/live/test"),
            ("/rtc/v1/whip-play/", "/whep/live/livestream"),
            (
                "/rtc/v1/whep/?app=a/b&stream=c&token=t%26u&x",
                "/whep/a/b/c?token=t%26u&x",
            ),
            (
                "/index/api/whep?app=live&stream=a%20b%25",
                "/whep/live/a%20b%25",
            ),
            ("/whep?stream=test&app=live", "/whep/live/test"),
            ("/whep?stream=cam&app=", "/whep/cam"),
            ("/whep/?app=l%C3%A4&stream=%0d%0a", "/whep/l%C3%A4/%0D%0A"),
        ] {
            assert_eq!(rewritten(path), (ours.to_owned(), Some(Dialect::Whep)));
        }
        for (path, ours) in [
            ("/live/test/whep", "/whep/live/test"),
            (
                "/live/eu/a%20b/whep/?token=1",
                "/whep/live/eu/a%20b?token=1",
            ),
            ("/live/whep/whep", "/whep/live/whep"),
            ("/cam/whep", "/whep/cam"),
        ] {
            assert_eq!(rewritten(path), (ours.to_owned(), Some(Dialect::MediaMtx)));
        }
        let (keyframe, _) = rewritten("/live/eu/test/keyframe?token=1");
        assert_eq!(keyframe, "/api/keyframe/live/eu/test?token=1");
        let (keyframe, _) = rewritten("/cam/keyframe");
        assert_eq!(keyframe, "/api/keyframe/cam");
    }

    #[test]
    fn other_paths_are_not_rewritten() {
        for path in [
            "/",
            "/whep/live/test",
            "/whep/live/whep",
            "/whep",
            "/whep?app=live",
            "/index/api/whep?stream=test",
            "/keyframe",
            "/whep/whep",
            "/api/whep",
            "/api/x/whep",
            "/session/x/whep",
            "//whep",
            "///whep",
            "//x/keyframe",
        ] {
            assert_eq!(rewritten(path), (path.to_owned(), None));
        }
    }

    #[test]
    fn absolute_urls_keep_scheme_and_host() {
        let (uri, _) = rewritten("http://gw.example:80/live/test/whep");
        assert_eq!(uri, "http://gw.example:80/whep/live/test");
    }
}
