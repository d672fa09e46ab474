//! Redirects of viewers to other gateways (draft-ietf-wish-whep, "Load Balancing and
//! Redirections").

use axum::http::uri::Uri;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use distributary_names::{StreamName, StreamPattern};
use serde::{Deserialize, Serialize};

use crate::path;

/// An entry of `[[redirect]]`: streams whose viewers are redirected to another WHEP endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Redirect {
    #[serde(rename = "match")]
    streams: StreamPattern,
    /// The endpoint, in which `*` is replaced by the text that `*` in the pattern matches. Without
    /// a `*`, that text is appended as a further segment.
    to: String,
}

distributary_config::serde_checked!(Redirect);

/// The target of a redirect is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedirectError {
    /// It has more than one `*`, or one although the pattern has none.
    #[error("to = {0:?}: * is allowed once, and only if match has a *")]
    Star(String),
    /// It is not an HTTP URL.
    #[error("to = {0:?}: expected a URL such as https://edge.example/whep/live/*")]
    Url(String),
}

impl Redirect {
    /// Redirects the viewers of `streams` to the endpoint `to`, in which `*` is replaced by the
    /// text that `*` in the pattern matches. Without a `*`, that text is appended as a further
    /// segment.
    ///
    /// # Errors
    /// Fails when `to` is not such a URL.
    pub fn new(streams: StreamPattern, to: &str) -> Result<Self, RedirectError> {
        let to = to.to_owned();
        let redirect = Self { streams, to };
        redirect.check()?;
        Ok(redirect)
    }

    fn check(&self) -> Result<(), RedirectError> {
        let to = || self.to.clone();
        let stars = self.to.matches('*').count();
        if stars > 1 || (stars == 1 && !self.streams.is_wild()) {
            return Err(RedirectError::Star(to()));
        }
        let is_endpoint = self.to.parse().is_ok_and(|url: Uri| {
            let is_http = matches!(url.scheme_str(), Some("http" | "https"));
            is_http && url.host().is_some() && url.query().is_none()
        });
        if is_endpoint {
            Ok(())
        } else {
            Err(RedirectError::Url(to()))
        }
    }

    /// Returns the origin of the target, as a source of a content security policy: scheme, host and
    /// port.
    pub(crate) fn origin(&self) -> &str {
        let host = self.to.find("://").map_or(0, |at| at + 3);
        let path = self.to[host..]
            .find('/')
            .map_or(self.to.len(), |at| host + at);
        &self.to[..path]
    }

    /// Returns the URL to redirect a viewer of `name` to, with its query string, which may contain
    /// a token; `None` if the pattern does not match the stream.
    pub(crate) fn target(&self, name: &StreamName, query: Option<&str>) -> Option<String> {
        let part = path::escaped(self.streams.matches(name)?);
        let mut target = if self.streams.is_wild() && !self.to.contains('*') {
            format!("{}/{part}", self.to.trim_end_matches('/'))
        } else {
            self.to.replacen('*', &part, 1)
        };
        if let Some(query) = query.filter(|query| !query.is_empty()) {
            target.push('?');
            target.push_str(query);
        }
        Some(target)
    }
}

/// Redirects a POST so that the client repeats it as a POST (RFC 9110 section 15.4.8).
pub(crate) fn temporary_redirect(target: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(target) else {
        // A URL, a percent-encoded name and a query string have only characters that a header may
        // have.
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
    fn target_has_the_name_and_the_query_string() {
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
    fn origin_has_scheme_host_and_port() {
        for (to, origin) in [
            ("https://a.example:8443/whep/x", "https://a.example:8443"),
            ("http://a.example", "http://a.example"),
        ] {
            assert_eq!(redirect("live/x", to).unwrap().origin(), origin);
        }
    }

    #[test]
    fn invalid_targets_are_refused() {
        for (streams, to) in [("live/*", "https://a/*/*"), ("live/x", "https://a/*")] {
            let star = Err(RedirectError::Star(to.to_owned()));
            assert_eq!(redirect(streams, to), star);
        }
        for to in [
            "",
            "a",
            "/whep/x",
            "rtmp://a/b",
            "https://",
            "http://a/?b=c",
            "http://a b/",
        ] {
            let url = Err(RedirectError::Url(to.to_owned()));
            assert_eq!(redirect("live/*", to), url);
        }
    }

    #[test]
    fn entry_of_the_configuration_is_checked() {
        let entry = r#"{"match":"vod/*","to":"https://edge.example/whep/vod"}"#;
        let read: Redirect = serde_json::from_str(entry).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), entry);
        let wrong = r#"{"match":"vod/*","to":"edge.example"}"#;
        let error = serde_json::from_str::<Redirect>(wrong)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("to = \"edge.example\": "), "{error}");
    }
}
