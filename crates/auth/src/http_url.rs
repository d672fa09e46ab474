//! URLs of the configuration that are requested over HTTP.

use std::fmt;
use std::str::FromStr;

use http::Uri;

/// A URL with the scheme `http` or `https`, or none if the text is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpUrl(Option<Uri>);

/// The error for a text that is not the URL of an HTTP server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a URL such as http://127.0.0.1:9000/auth instead of {0:?}")]
pub struct HttpUrlError(String);

impl HttpUrl {
    /// Returns the URL, if there is one.
    pub fn uri(&self) -> Option<&Uri> {
        self.0.as_ref()
    }
}

impl From<Uri> for HttpUrl {
    fn from(uri: Uri) -> Self {
        Self(Some(uri))
    }
}

impl FromStr for HttpUrl {
    type Err = HttpUrlError;

    fn from_str(text: &str) -> Result<Self, HttpUrlError> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let is_http =
            |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
        let uri: Option<Uri> = text.parse().ok().filter(is_http);
        match uri {
            Some(uri) => Ok(Self(Some(uri))),
            None => Err(HttpUrlError(text.to_owned())),
        }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |uri| uri.fmt(f))
    }
}

distributary_config::serde_as_text!(HttpUrl);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_of_an_http_server_or_nothing_is_accepted() {
        for text in ["", "http://127.0.0.1:9000/auth", "https://id.example/keys"] {
            assert_eq!(text.parse::<HttpUrl>().unwrap().to_string(), text);
        }
        for text in ["ftp://x", "http://", "/auth", "id.example"] {
            let error = text.parse::<HttpUrl>().unwrap_err().to_string();
            assert!(error.ends_with(&format!("{text:?}")), "{error}");
        }
    }
}
