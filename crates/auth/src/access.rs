//! Access requests, and the reasons for their denial.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use distributary_names::StreamName;
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

/// Maximum difference between the clocks of two machines: a token is accepted for this long after
/// its expiry.
pub const LEEWAY: Duration = Duration::from_secs(30);

/// Query parameters with the credentials of clients that cannot set headers, in the order in which
/// they are tried: ours, that of MediaMTX, that of encoders, and the password of MediaMTX.
const TOKEN_PARAMETERS: [&str; 4] = ["token", "jwt", "key", "pass"];

/// An action on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Publish it.
    Publish,
    /// Watch it.
    Play,
}

/// A client's request for access to a stream.
#[derive(Clone, Copy)]
pub struct AccessRequest<'a> {
    /// The action.
    pub action: Action,
    /// The stream.
    pub stream: &'a StreamName,
    /// The client's address; behind a trusted proxy, the address that the proxy forwards.
    pub ip: IpAddr,
    /// The token or key of the request's `Authorization` header, if there is one.
    pub bearer: Option<&'a str>,
    /// The query string, without the question mark. It may contain a secret.
    pub query: &'a str,
    /// The client's `User-Agent` or `flashVer`.
    pub client: Option<&'a str>,
}

impl AccessRequest<'_> {
    /// Returns all credentials of the client, in the order in which they are tried: the token of
    /// the header, then `token`, `jwt`, `key` and `pass` of the query. Any of them may be the valid one:
    /// players keep sending a header that their page has set once, and proxies add one of their
    /// own.
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
    /// Expiry of the token, if there is one and the session ends with it.
    pub expires: Option<SystemTime>,
}

impl Grant {
    /// Returns the maximum duration of a session that starts at `now`: until the token is no longer
    /// accepted, [`LEEWAY`] after its expiry. `None` means no limit.
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

/// The reason for a denial. The text is shown to the client: it contains nothing that helps to
/// guess a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// The client has sent no credentials. How they are sent depends on the protocol.
    #[error("a token or key is needed")]
    Missing,
    /// The credentials are not valid, or have expired.
    #[error("{0}")]
    Invalid(&'static str),
    /// The credentials are valid, but not for this request.
    #[error("{0}")]
    Forbidden(&'static str),
    /// An administrator has blocked the client for a time, whatever its credentials.
    #[error("blocked by an administrator")]
    Blocked,
    /// The webhook or key server cannot be reached.
    #[error("access cannot be checked now; try again later")]
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

    /// Returns a request for `action` with the credentials in `query`.
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
    fn all_credentials_are_tried_the_header_first() {
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
        assert_eq!(of(None, "user=u&pass=p"), "p");
        assert_eq!(of(Some("c"), "token=b"), "c b");
        assert_eq!(of(Some(""), "token=b"), "b");
    }

    #[test]
    fn session_may_last_until_the_token_is_no_longer_accepted() {
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
    fn debug_output_of_a_request_has_no_secrets() {
        let stream = name("live/test");
        let request = AccessRequest {
            bearer: Some("hidden"),
            ..asking(Action::Play, &stream, "token=hidden")
        };
        assert!(!format!("{request:?}").contains("hidden"));
    }
}
