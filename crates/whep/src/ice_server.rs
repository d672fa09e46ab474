//! STUN and TURN servers that players are told of, by `Link` headers (RFC 9725 section 4.6).

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

/// What a TURN server asks of those who use it.
#[derive(Clone, PartialEq, Eq)]
pub enum TurnCredentials {
    /// The same for all.
    Static {
        /// The name of the user.
        username: String,
        /// Its password.
        password: String,
    },
    /// Made for each player, from a secret that the TURN server has as well, as coturn's
    /// `use-auth-secret` wants them: the user name is the moment up to which they are good, in seconds
    /// since 1970, and the password its HMAC-SHA1.
    Shared {
        /// The secret.
        secret: String,
        /// How long credentials are good for beginning to use the server.
        lifetime: Duration,
    },
}

/// The keys of an entry, of which some exclude each other.
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

/// A server that players could not be told of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IceServerError {
    /// The URL is not that of a server.
    #[error(
        "expected a URL such as stun:stun.example:3478 or turn:turn.example:3478?transport=udp"
    )]
    Url,
    /// Credentials of both kinds, or only a part of one.
    #[error("give username and password together, or secret instead of both")]
    MixedCredentials,
    /// A TURN server without credentials, which browsers refuse to be told of.
    #[error("a TURN server needs either username and password, or secret")]
    MissingCredentials,
    /// A STUN server with credentials, which it has no use for.
    #[error("a STUN server takes no credentials")]
    UselessCredentials,
    /// A user name or a password that cannot stand in a header.
    #[error("user name and password are made of visible ASCII characters")]
    Unprintable,
}

impl IceServer {
    /// A server with the URL of RFC 7064 (`stun:`) or RFC 7065 (`turn:`).
    ///
    /// # Errors
    /// When the URL is none of these, or the credentials do not go with it.
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

    /// Whether it takes credentials, which are nothing for strangers.
    pub(crate) fn has_credentials(&self) -> bool {
        self.credentials.is_some()
    }

    /// The value of a `Link` header for a player that comes at `now`.
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
    /// User name and password for somebody who comes at `now`.
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
                    .expect("HMAC takes keys of every length");
                hmac.update(username.as_bytes());
                let password = STANDARD.encode(hmac.finalize().into_bytes());
                (username, password)
            }
        }
    }
}

/// Whoever prints it, for whatever reason, does not print the credentials.
impl std::fmt::Debug for IceServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IceServer({})", self.url)
    }
}

/// Bytes of a URL that mean nothing to the `Link` header around it (RFC 3986 section 2).
fn is_of_url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte)
}

/// A quoted string (RFC 9110 section 5.6.4).
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
    fn a_server_is_told_as_a_link() {
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
    fn what_a_browser_would_not_take_is_refused() {
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
