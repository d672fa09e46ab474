//! The URL of a stream on an RTMP server.

use std::fmt;
use std::str::FromStr;

use url::Url;

use crate::proto::swf::FlashProgram;

/// The port of RTMP (RTMP 1.0 section 4).
const DEFAULT_PORT: u16 = 1935;

/// The port of RTMP over TLS, as ffmpeg and librtmp have it.
const DEFAULT_TLS_PORT: u16 = 443;

/// The URL of a stream: `rtmp://host[:port]/app[/instance]/stream[?query]`, `rtmp://host/stream`
/// without an application, or `rtmps://` for TLS. The query string often holds a key, so neither
/// the `Debug` nor the `Display` form has it.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamUrl {
    host: String,
    port: u16,
    is_tls: bool,
    pub(super) tc_url: String,
    /// The application, or the stream with the query string if there is no application.
    pub(super) app: String,
    /// The stream with the query string; empty if there is no application.
    pub(super) stream: String,
    /// The Flash program that the client presents itself as.
    pub(super) flash: Option<FlashProgram>,
}

/// The error of a text that is not the URL of an RTMP stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// It is not a URL.
    #[error("not a URL: {0}")]
    Syntax(#[from] url::ParseError),
    /// It is a URL of another protocol.
    #[error("expected an rtmp:// or rtmps:// URL instead of {0}://")]
    Scheme(String),
    /// It has no host.
    #[error("the URL has no host")]
    NoHost,
    /// It names no stream.
    #[error("expected rtmp://host/app/stream or rtmp://host/stream: the stream is missing")]
    NoStream,
}

impl StreamUrl {
    /// Returns the URL `rtmp://host/app/stream`. The host may have a port, the stream a query
    /// string, and the application may be empty.
    ///
    /// # Errors
    /// Returns [`UrlError`] if the parts do not make a URL.
    pub fn new(host: &str, app: &str, stream: &str) -> Result<Self, UrlError> {
        format!("rtmp://{host}/{app}/{stream}").parse()
    }

    /// Returns the URL for a client that presents itself as a Flash program.
    #[must_use]
    pub fn as_flash(self, program: FlashProgram) -> Self {
        Self {
            flash: Some(program),
            ..self
        }
    }

    /// Returns whether the connection is over TLS.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Returns the host, an address (IPv6 without brackets) or a name, and the port.
    pub fn authority(&self) -> (&str, u16) {
        (&self.host, self.port)
    }
}

impl FromStr for StreamUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let url = Url::parse(text)?;
        let (is_tls, default_port) = match url.scheme() {
            "rtmp" => (false, DEFAULT_PORT),
            "rtmps" => (true, DEFAULT_TLS_PORT),
            other => return Err(UrlError::Scheme(other.to_owned())),
        };
        let host = url
            .host_str()
            .filter(|host| !host.is_empty())
            .ok_or(UrlError::NoHost)?;
        let path = url.path().trim_matches('/');
        if path.is_empty() {
            return Err(UrlError::NoStream);
        }
        let (app, stream) = halves(path, url.query());
        let port = url.port().unwrap_or(default_port);
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            is_tls,
            tc_url: format!("{}://{host}:{port}/{app}", url.scheme()),
            app,
            stream,
            flash: None,
        })
    }
}

/// Splits a path into the application and the stream, as ffmpeg does: one name alone is the
/// application.
fn halves(path: &str, query: Option<&str>) -> (String, String) {
    let named = |name: &str| match query {
        Some(query) => format!("{name}?{query}"),
        None => name.to_owned(),
    };
    match path.rsplit_once('/') {
        Some((app, stream)) => (app.to_owned(), named(stream)),
        None => (named(path), String::new()),
    }
}

impl fmt::Display for StreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [tc_url, stream] =
            [&self.tc_url, &self.stream].map(|text| text.split('?').next().unwrap_or_default());
        let slash = if stream.is_empty() { "" } else { "/" };
        write!(f, "{tc_url}{slash}{stream}")
    }
}

impl fmt::Debug for StreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_is_split_into_the_parts_that_rtmp_sends() {
        let url: StreamUrl = "rtmp://origin.example/live/eu/show?key=s".parse().unwrap();
        assert_eq!(url.authority(), ("origin.example", 1935));
        assert_eq!(url.app, "live/eu");
        assert_eq!(url.stream, "show?key=s");
        assert_eq!(url.tc_url, "rtmp://origin.example:1935/live/eu");
        let url = StreamUrl::new("[::1]:1936", "live", "a").unwrap();
        assert_eq!(url.authority(), ("::1", 1936));
        assert_eq!(url.tc_url, "rtmp://[::1]:1936/live");
    }

    #[test]
    fn one_name_alone_is_sent_as_the_application() {
        let url: StreamUrl = "rtmp://camera.example/cam?key=secret".parse().unwrap();
        assert_eq!((&*url.app, &*url.stream), ("cam?key=secret", ""));
        assert_eq!(url.tc_url, "rtmp://camera.example:1935/cam?key=secret");
        assert_eq!(
            format!("{url:?}"),
            "StreamUrl(rtmp://camera.example:1935/cam)"
        );
        assert_eq!(
            StreamUrl::new("camera.example", "", "cam?key=secret"),
            Ok(url)
        );
    }

    #[test]
    fn url_of_tls_has_the_port_of_tls() {
        let url: StreamUrl = "rtmps://origin.example/live/show".parse().unwrap();
        assert_eq!(url.authority(), ("origin.example", 443));
        assert!(url.is_tls());
        assert_eq!(url.tc_url, "rtmps://origin.example:443/live");
        assert_eq!(url.to_string(), "rtmps://origin.example:443/live/show");
    }

    #[test]
    fn key_of_a_url_is_not_printed() {
        let url = StreamUrl::new("origin", "live", "show?key=secret").unwrap();
        assert_eq!(url.to_string(), "rtmp://origin:1935/live/show");
        assert!(!format!("{url:?}").contains("secret"));
    }

    #[test]
    fn url_without_rtmp_stream_is_refused() {
        let refused = |text: &str| text.parse::<StreamUrl>().unwrap_err();
        assert_eq!(
            refused("rtmpt://host/live/a"),
            UrlError::Scheme("rtmpt".into())
        );
        assert_eq!(refused("rtmp://host/"), UrlError::NoStream);
        assert_eq!(refused("rtmp://host?key=k"), UrlError::NoStream);
        assert_eq!(refused("rtmp:///live/a"), UrlError::NoHost);
        assert!(matches!(refused("host/live/a"), UrlError::Syntax(_)));
    }
}
