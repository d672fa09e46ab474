//! Viewers that are sent elsewhere (draft-ietf-wish-whep, "Load Balancing and Redirections").

use axum::http::uri::{InvalidUri, Uri};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use distributary_hub::{StreamName, StreamPattern};

use crate::path;

/// Streams whose viewers are sent to another WHEP endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    streams: StreamPattern,
    to: String,
}

/// The place that viewers are to be sent to is not the URL of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedirectError {
    /// It has more than one `*`, or one where the streams have none.
    #[error("* stands for what it stands for in the stream's name, and may stand once")]
    Star,
    /// It is not a URL of HTTP.
    #[error("expected a URL such as https://edge.example/whep/live/*")]
    Url,
}

impl From<InvalidUri> for RedirectError {
    fn from(_: InvalidUri) -> Self {
        Self::Url
    }
}

impl Redirect {
    /// Sends the viewers of `streams` to the endpoint `to`, in which `*` stands for what it stands for
    /// in the name. Without one, that text is put at the end as a further segment.
    ///
    /// # Errors
    /// When `to` is not such a URL.
    pub fn new(streams: StreamPattern, to: &str) -> Result<Self, RedirectError> {
        let stars = to.matches('*').count();
        if stars > 1 || (stars == 1 && !streams.is_wild()) {
            return Err(RedirectError::Star);
        }
        let url: Uri = to.parse()?;
        let is_http = matches!(url.scheme_str(), Some("http" | "https"));
        if !is_http || url.host().is_none() || url.query().is_some() {
            return Err(RedirectError::Url);
        }
        let to = match stars == 0 && streams.is_wild() {
            true => format!("{}/*", to.trim_end_matches('/')),
            false => to.to_owned(),
        };
        Ok(Self { streams, to })
    }

    /// The origin to which viewers are sent, as a source of a content security policy: with any port and
    /// scheme that it names.
    pub(crate) fn origin(&self) -> &str {
        let host = self.to.find("://").map_or(0, |at| at + 3);
        let path = self.to[host..]
            .find('/')
            .map_or(self.to.len(), |at| host + at);
        &self.to[..path]
    }

    /// Where a viewer of `name` is to ask, with the query it asked with, which may say who it is.
    /// `None`: this is not about that stream.
    pub(crate) fn target(&self, name: &StreamName, query: Option<&str>) -> Option<String> {
        let part = path::escaped(self.streams.matches(name)?);
        let mut target = self.to.replacen('*', &part, 1);
        if let Some(query) = query.filter(|query| !query.is_empty()) {
            target.push('?');
            target.push_str(query);
        }
        Some(target)
    }
}

/// The answer that sends a POST elsewhere as the POST it is (RFC 9110 section 15.4.8).
pub(crate) fn temporary_redirect(target: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(target) else {
        // A URL, an escaped name and the query of a request line have nothing that a header cannot.
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let headers = [
        (header::LOCATION, location),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (StatusCode::TEMPORARY_REDIRECT, headers).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirect(streams: &str, to: &str) -> Result<Redirect, RedirectError> {
        Redirect::new(streams.parse().unwrap(), to)
    }

    #[test]
    fn the_name_is_carried_over_and_so_is_the_query() {
        let target = |streams: &str, to: &str, name: &str, query| {
            let name = StreamName::parse(name).unwrap();
            redirect(streams, to).unwrap().target(&name, query)
        };
        let found = |text: &str| Some(text.to_owned());
        assert_eq!(
            target("live/*", "https://a.example/whep/eu/*", "live/x", None),
            found("https://a.example/whep/eu/x")
        );
        assert_eq!(
            target("*", "https://a.example/whep/", "live/a b/ä\"", Some("t=1")),
            found("https://a.example/whep/live/a%20b/%C3%A4%22?t=1")
        );
        assert_eq!(
            target("live/x", "http://[::1]:80/one", "live/x", Some("")),
            found("http://[::1]:80/one")
        );
        assert_eq!(target("live/*", "http://a/", "vod/x", None), None);
    }

    #[test]
    fn its_origin_is_what_is_before_the_path() {
        for (to, origin) in [
            ("https://a.example:8443/whep/x", "https://a.example:8443"),
            ("http://a.example", "http://a.example"),
        ] {
            assert_eq!(redirect("live/x", to).unwrap().origin(), origin);
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        assert_eq!(
            redirect("live/*", "https://a/*/*"),
            Err(RedirectError::Star)
        );
        assert_eq!(redirect("live/x", "https://a/*"), Err(RedirectError::Star));
        for to in [
            "",
            "a",
            "/whep/x",
            "rtmp://a/b",
            "https://",
            "http://a/?b=c",
            "http://a b/",
        ] {
            assert_eq!(redirect("live/*", to), Err(RedirectError::Url), "{to}");
        }
    }
}
