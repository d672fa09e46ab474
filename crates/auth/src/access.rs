//! What somebody wants to do, and why they may not.

use std::fmt;
use std::net::IpAddr;

use distributary_names::StreamName;
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

/// Parameters of a URL in which clients without headers show what they have; the first that is there
/// counts.
const TOKEN_PARAMETERS: [&str; 2] = ["token", "key"];

/// What is to be done with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// To send it.
    Publish,
    /// To watch it.
    Play,
}

/// What somebody wants to do.
#[derive(Clone, Copy)]
pub struct AccessRequest<'a> {
    /// What.
    pub action: Action,
    /// With which stream.
    pub stream: &'a StreamName,
    /// From where; behind a proxy that is believed, the address that it tells.
    pub ip: IpAddr,
    /// The bearer token of the request's header, where there is one.
    pub bearer: Option<&'a str>,
    /// The query of the URL, without the question mark. It may hold a secret.
    pub query: &'a str,
    /// What the client calls itself: `User-Agent` or `flashVer`.
    pub client: Option<&'a str>,
}

impl AccessRequest<'_> {
    /// What the client shows: the bearer token, else `token` or `key` of the query.
    pub fn credential(&self) -> Option<String> {
        if let Some(bearer) = self.bearer {
            return Some(bearer.to_owned());
        }
        TOKEN_PARAMETERS.iter().find_map(|name| {
            let mut pairs = form_urlencoded::parse(self.query.as_bytes());
            let (_, value) = pairs.find(|(key, value)| key == name && !value.is_empty())?;
            Some(value.into_owned())
        })
    }
}

impl fmt::Debug for AccessRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessRequest")
            .field("action", &self.action)
            .field("stream", &self.stream.as_str())
            .field("ip", &self.ip)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// Why somebody may not do what they want. The text is for the person at the other end: it tells nothing
/// that helps to guess a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// Nothing was shown.
    #[error("a token or key is needed: Authorization: Bearer ..., ?token=... or ?key=...")]
    Missing,
    /// What was shown is not valid, or no longer.
    #[error("{0}")]
    Invalid(&'static str),
    /// What was shown is valid, and not for this.
    #[error("{0}")]
    Forbidden(&'static str),
    /// Whoever decides cannot be asked now.
    #[error("whether this is allowed cannot be found out now; try again later")]
    Unavailable,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Publish => "publish",
            Self::Play => "play",
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    pub(crate) fn name(text: &str) -> StreamName {
        StreamName::parse(text).unwrap()
    }

    /// Somebody who wants to do `action` and shows `query`.
    pub(crate) fn asking<'a>(
        action: Action,
        stream: &'a StreamName,
        query: &'a str,
    ) -> AccessRequest<'a> {
        AccessRequest {
            action,
            stream,
            ip: Ipv4Addr::LOCALHOST.into(),
            bearer: None,
            query,
            client: None,
        }
    }

    #[test]
    fn the_header_counts_before_the_query_and_token_before_key() {
        let stream = name("live/test");
        let shown = |query| asking(Action::Play, &stream, query).credential();
        assert_eq!(shown(""), None);
        assert_eq!(shown("x=1&key=a%2Bb"), Some("a+b".to_owned()));
        assert_eq!(shown("key=a&token=b"), Some("b".to_owned()));
        assert_eq!(shown("token=&key=a"), Some("a".to_owned()));
        let with_header = AccessRequest {
            bearer: Some("c"),
            ..asking(Action::Play, &stream, "token=b")
        };
        assert_eq!(with_header.credential(), Some("c".to_owned()));
    }

    #[test]
    fn a_request_does_not_show_its_secrets_in_a_log() {
        let stream = name("live/test");
        let request = AccessRequest {
            bearer: Some("hidden"),
            ..asking(Action::Play, &stream, "token=hidden")
        };
        assert!(!format!("{request:?}").contains("hidden"));
    }
}
