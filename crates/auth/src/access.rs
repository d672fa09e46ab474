//! What somebody wants to do, and why they may not.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use distributary_names::StreamName;
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use crate::jwt::LEEWAY;

/// Parameters of a URL in which clients without headers show what they have, in the order in which they are
/// tried: ours, that of MediaMTX, and that of encoders.
const TOKEN_PARAMETERS: [&str; 3] = ["token", "jwt", "key"];

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
    /// The token or key of the request's `Authorization` header, where there is one.
    pub bearer: Option<&'a str>,
    /// The query of the URL, without the question mark. It may hold a secret.
    pub query: &'a str,
    /// What the client calls itself: `User-Agent` or `flashVer`.
    pub client: Option<&'a str>,
}

impl AccessRequest<'_> {
    /// Returns all that the client shows, in the order in which it is tried: the token of the header, then
    /// `token`, `jwt` and `key` of the query. Any of them may be the good one: players keep sending a header
    /// that their page has set once, and proxies add one of their own.
    pub fn credentials(&self) -> Vec<Cow<'_, str>> {
        let header = self.bearer.filter(|token| !token.is_empty());
        let of_query = TOKEN_PARAMETERS.iter().filter_map(|name| {
            let mut pairs = form_urlencoded::parse(self.query.as_bytes());
            let (_, value) = pairs.find(|(key, value)| key == name && !value.is_empty())?;
            Some(value)
        });
        header
            .map(Cow::Borrowed)
            .into_iter()
            .chain(of_query)
            .collect()
    }
}

/// The access that an authorizer has granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// When the token expires, where there is one and a session ends with it.
    pub expires: Option<SystemTime>,
}

impl Grant {
    /// Returns how long a session that begins at `now` may last: until the token would not be accepted any more,
    /// [`LEEWAY`] after its expiry. `None`: for ever.
    pub fn left(&self, now: SystemTime) -> Option<Duration> {
        let end = self.expires?.checked_add(LEEWAY)?;
        Some(end.duration_since(now).unwrap_or(Duration::ZERO))
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
    fn all_that_is_shown_counts_the_header_first() {
        let stream = name("live/test");
        let of = |bearer, query| {
            let request = AccessRequest {
                bearer,
                ..asking(Action::Play, &stream, query)
            };
            request.credentials().join(" ")
        };
        assert_eq!(of(None, ""), "");
        assert_eq!(of(None, "x=1&key=a%2Bb"), "a+b");
        assert_eq!(of(None, "key=a&jwt=b&token=c"), "c b a");
        assert_eq!(of(None, "token=&key=a&token=d"), "d a");
        assert_eq!(of(Some("c"), "token=b"), "c b");
        assert_eq!(of(Some(""), "token=b"), "b");
    }

    #[test]
    fn a_session_may_last_until_the_token_is_not_accepted_any_more() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let left = |grant: Grant| grant.left(now).map(|left| left.as_secs());
        let until = |seconds| Grant {
            expires: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)),
        };
        assert_eq!(left(until(1_060)), Some(90));
        assert_eq!(left(until(980)), Some(10));
        assert_eq!(left(until(500)), Some(0));
        assert_eq!(left(Grant::default()), None);
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
