//! STUN and TURN servers for players, sent as `Link` headers (RFC 9725 section 4.6).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::HeaderValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha1::Sha1;

/// An entry of `[[ice_server]]`: a STUN or TURN server.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Entry", into = "Entry")]
pub struct IceServer {
    url: String,
    credentials: Option<TurnCredentials>,
}

/// Credentials for a TURN server.
#[derive(Clone, PartialEq, Eq)]
pub enum TurnCredentials {
    /// The same credentials for all players.
    Static {
        /// The name of the user.
        username: String,
        /// Its password.
        password: String,
    },
    /// Credentials generated for each player from a secret shared with the TURN server, as for
    /// coturn's `use-auth-secret`: the user name is the expiry time in seconds since 1970, and the
    /// password its HMAC-SHA1.
    Shared {
        /// The secret.
        secret: String,
        /// Time for which a player can begin to use the server.
        lifetime: Duration,
    },
}

/// The keys of an entry. Some exclude each other.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    #[serde(default = "default_lifetime", with = "distributary_config::time")]
    lifetime: Duration,
}

fn default_lifetime() -> Duration {
    Duration::from_secs(24 * 3600)
}

impl TryFrom<Entry> for IceServer {
    type Error = String;

    fn try_from(entry: Entry) -> Result<Self, String> {
        let Entry {
            url,
            username,
            password,
            secret,
            lifetime,
        } = entry;
        let credentials = match (username, password, secret) {
            (None, None, None) => Ok(None),
            (Some(username), Some(password), None) => {
                Ok(Some(TurnCredentials::Static { username, password }))
            }
            (None, None, Some(secret)) => Ok(Some(TurnCredentials::Shared { secret, lifetime })),
            _ => Err(IceServerError::MixedCredentials),
        };
        let server = credentials.and_then(|credentials| Self::new(url.as_str(), credentials));
        server.map_err(|error| format!("url = {url:?}: {error}"))
    }
}

impl From<IceServer> for Entry {
    fn from(server: IceServer) -> Self {
        let mut entry = Self {
            url: server.url,
            username: None,
            password: None,
            secret: None,
            lifetime: default_lifetime(),
        };
        match server.credentials {
            None => {}
            Some(TurnCredentials::Static { username, password }) => {
                (entry.username, entry.password) = (Some(username), Some(password));
            }
            Some(TurnCredentials::Shared { secret, lifetime }) => {
                (entry.secret, entry.lifetime) = (Some(secret), lifetime);
            }
        }
        entry
    }
}

/// The entry of a STUN or TURN server is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IceServerError {
    /// The URL is not that of a STUN or TURN server.
    #[error(
        "expected a URL such as stun:stun.example:3478 or turn:turn.example:3478?transport=udp"
    )]
    Url,
    /// Credentials of both kinds, or only a part of one.
    #[error("give username and password together, or secret instead of both")]
    MixedCredentials,
    /// A TURN server without credentials, which browsers reject.
    #[error("a TURN server needs either username and password, or secret")]
    MissingCredentials,
    /// A STUN server with credentials.
    #[error("a STUN server has no credentials")]
    UselessCredentials,
    /// A user name or password that a header cannot contain.
    #[error("user name and password are made of visible ASCII characters")]
    Unprintable,
}

impl IceServer {
    /// Creates a server from a URL of RFC 7064 (`stun:`) or RFC 7065 (`turn:`).
    ///
    /// # Errors
    /// Fails when the URL is none of these, or the credentials do not fit the kind of server.
    pub fn new(
        url: impl Into<String>,
        credentials: Option<TurnCredentials>,
    ) -> Result<Self, IceServerError> {
        let url = url.into();
        let (scheme, server) = url.split_once(':').ok_or(IceServerError::Url)?;
        if server.is_empty() || !server.bytes().all(is_of_url) {
            return Err(IceServerError::Url);
        }
        match (scheme, &credentials) {
            ("stun" | "stuns", None) | ("turn" | "turns", Some(_)) => {}
            ("stun" | "stuns", Some(_)) => return Err(IceServerError::UselessCredentials),
            ("turn" | "turns", None) => return Err(IceServerError::MissingCredentials),
            _ => return Err(IceServerError::Url),
        }
        if let Some(TurnCredentials::Static { username, password }) = &credentials
            && !(username.bytes().chain(password.bytes())).all(|byte| matches!(byte, 0x20..=0x7e))
        {
            return Err(IceServerError::Unprintable);
        }
        Ok(Self { url, credentials })
    }

    /// Returns whether it has credentials, which only authorized viewers may get.
    pub(crate) fn has_credentials(&self) -> bool {
        self.credentials.is_some()
    }

    /// Returns the value of a `Link` header for a player that connects at `now`.
    pub(crate) fn link(&self, now: SystemTime) -> HeaderValue {
        let mut link = format!("<{}>; rel=\"ice-server\"", self.url);
        if let Some(credentials) = &self.credentials {
            let (username, password) = credentials.at(now);
            link += &format!(
                "; username={}; credential={}; credential-type=\"password\"",
                quoted(&username),
                quoted(&password)
            );
        }
        let mut value = HeaderValue::from_str(&link).unwrap_or(HeaderValue::from_static(""));
        value.set_sensitive(self.has_credentials());
        value
    }
}

impl TurnCredentials {
    /// Returns user name and password for a player that connects at `now`.
    fn at(&self, now: SystemTime) -> (String, String) {
        match self {
            Self::Static { username, password } => (username.clone(), password.clone()),
            Self::Shared { secret, lifetime } => {
                let until = now + *lifetime;
                let seconds = until
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default()
                    .as_secs();
                let username = seconds.to_string();
                let mut hmac = Hmac::<Sha1>::new_from_slice(secret.as_bytes())
                    .expect("HMAC accepts keys of every length");
                hmac.update(username.as_bytes());
                let password = STANDARD.encode(hmac.finalize().into_bytes());
                (username, password)
            }
        }
    }
}

/// Omits the credentials.
impl std::fmt::Debug for IceServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IceServer({})", self.url)
    }
}

/// Returns whether a byte may be in a URL inside a `Link` header (RFC 3986 section 2).
fn is_of_url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte)
}

/// Returns the text as a quoted string (RFC 9110 section 5.6.4).
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> TurnCredentials {
        TurnCredentials::Shared {
            secret: "north".to_owned(),
            lifetime: Duration::from_secs(3600),
        }
    }

    fn fixed(username: &str, password: &str) -> TurnCredentials {
        TurnCredentials::Static {
            username: username.to_owned(),
            password: password.to_owned(),
        }
    }

    #[test]
    fn server_becomes_a_link_header() {
        let now = UNIX_EPOCH + Duration::from_secs(1_433_895_918 - 3600);
        let link = |url, credentials| {
            let value = IceServer::new(url, credentials).unwrap().link(now);
            value.to_str().unwrap().to_owned()
        };
        assert_eq!(
            link("stun:stun.example:3478", None),
            "<stun:stun.example:3478>; rel=\"ice-server\""
        );
        assert_eq!(
            link("turn:turn.example?transport=udp", Some(fixed("me", "a\"b"))),
            "<turn:turn.example?transport=udp>; rel=\"ice-server\"; username=\"me\"; \
             credential=\"a\\\"b\"; credential-type=\"password\""
        );
        // By `printf 1433895918 | openssl dgst -sha1 -hmac north -binary | base64`.
        assert_eq!(
            link("turns:turn.example", Some(shared())),
            "<turns:turn.example>; rel=\"ice-server\"; username=\"1433895918\"; \
             credential=\"3dkl8uIBelQlraT8v9eCSJTyt+U=\"; credential-type=\"password\""
        );
    }

    #[test]
    fn entry_of_the_configuration_has_one_kind_of_credentials() {
        let read = |keys: &str| serde_json::from_str::<IceServer>(&format!("{{{keys}}}"));
        for keys in [
            r#""url":"stun:a","lifetime":"24h""#,
            r#""url":"turn:a","username":"me","password":"x","lifetime":"24h""#,
            r#""url":"turn:a","secret":"north","lifetime":"1h""#,
        ] {
            let written = serde_json::to_string(&read(keys).unwrap()).unwrap();
            assert_eq!(written, format!("{{{keys}}}"));
        }
        for (keys, words) in [
            (
                r#""url":"turn:a","username":"me""#,
                "username and password together",
            ),
            (
                r#""url":"turn:a","secret":"x","password":"y""#,
                "instead of both",
            ),
            (
                r#""url":"turn.example""#,
                "url = \"turn.example\": expected a URL",
            ),
        ] {
            let error = read(keys).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn servers_that_browsers_reject_are_refused() {
        let refused = |url: &str, credentials| IceServer::new(url, credentials).unwrap_err();
        for url in [
            "",
            "stun",
            "stun:",
            "http://a",
            "stun:a b",
            "stun:a>; rel=x",
        ] {
            assert_eq!(refused(url, None), IceServerError::Url, "{url}");
        }
        assert_eq!(refused("turn:a", None), IceServerError::MissingCredentials);
        assert_eq!(
            refused("stun:a", Some(shared())),
            IceServerError::UselessCredentials
        );
        assert_eq!(
            refused("turn:a", Some(fixed("me", "a\r\nb"))),
            IceServerError::Unprintable
        );
    }

    #[test]
    fn credentials_are_not_printed() {
        let server = IceServer::new("turn:a", Some(fixed("me", "hidden"))).unwrap();
        assert!(!format!("{server:?}").contains("hidden"));
        assert!(server.link(UNIX_EPOCH).is_sensitive());
    }
}
