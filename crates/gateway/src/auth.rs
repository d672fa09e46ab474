//! The part of the configuration that says who may publish and who may watch.

use std::path::Path;
use std::time::Duration;

use distributary_auth::jwt::{JwtConfig, KeySource};
use distributary_auth::keys::KeyRule;
use distributary_auth::webhook::{Format, WebhookConfig};
use distributary_auth::{AuthConfig, Method};
use serde::{Deserialize, Serialize};

use crate::config::ConfigError;
use crate::units::Time;
use distributary_hub::StreamPattern;

/// Who may publish and who may watch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Who may publish, over RTMP.
    pub publish: AuthMethod,
    /// Who may watch, over WHEP and RTMP.
    pub play: AuthMethod,
    /// Keys for some streams.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<KeyEntry>,
    /// How tokens are verified.
    pub jwt: JwtSection,
    /// Whom to ask.
    pub webhook: WebhookSection,
}

/// How it is decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMethod {
    /// Everybody may.
    #[default]
    Open,
    /// Who shows a key of `[[auth.key]]`.
    Keys,
    /// Who shows a JSON Web Token.
    Jwt,
    /// Whom another program lets.
    Webhook,
}

/// Keys for the streams of some names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    /// The names of the streams, with at most one `*`.
    #[serde(rename = "match")]
    pub streams: StreamPattern,
    /// Any of these lets somebody publish.
    #[serde(default)]
    pub publish: Vec<String>,
    /// Any of these lets somebody watch.
    #[serde(default)]
    pub play: Vec<String>,
}

/// How tokens are verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JwtSection {
    /// The secret of HS256.
    pub secret: String,
    /// PEM file of the public key of RS256 or ES256.
    pub public_key: String,
    /// File or URL of a key set.
    pub jwks: String,
    /// The claim with the streams.
    pub stream_claim: String,
    /// The claim with the actions.
    pub action_claim: String,
    /// Who must have issued the token.
    pub issuer: String,
    /// Whom it must be for.
    pub audience: String,
    /// Whether sessions go on when their token has expired.
    pub session_outlives_token: bool,
}

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookSection {
    /// Who is asked about publishers.
    pub publish_url: String,
    /// Who is asked about viewers.
    pub play_url: String,
    /// How the question is written.
    pub format: WebhookFormat,
    /// How long the answer may take.
    pub timeout: Time,
}

/// How the question is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WebhookFormat {
    /// As a JSON object.
    #[default]
    Json,
    /// As nginx-rtmp does.
    Form,
}

impl Default for JwtSection {
    fn default() -> Self {
        Self {
            secret: String::new(),
            public_key: String::new(),
            jwks: String::new(),
            stream_claim: "stream".to_owned(),
            action_claim: "action".to_owned(),
            issuer: String::new(),
            audience: String::new(),
            session_outlives_token: false,
        }
    }
}

impl Default for WebhookSection {
    fn default() -> Self {
        Self {
            publish_url: String::new(),
            play_url: String::new(),
            format: WebhookFormat::default(),
            timeout: Time(Duration::from_secs(3)),
        }
    }
}

impl Auth {
    /// The rules that this makes.
    ///
    /// # Errors
    /// When something that is needed is missing, or is not what it should be.
    pub fn rules(&self) -> Result<AuthConfig, ConfigError> {
        Ok(AuthConfig {
            publish: self.method(
                self.publish,
                ("publish_url", &self.webhook.publish_url),
                |key| !key.publish.is_empty(),
            )?,
            play: self.method(self.play, ("play_url", &self.webhook.play_url), |key| {
                !key.play.is_empty()
            })?,
        })
    }

    fn method(
        &self,
        method: AuthMethod,
        (url_key, url): (&str, &str),
        has_keys: impl Fn(&KeyEntry) -> bool,
    ) -> Result<Method, ConfigError> {
        Ok(match method {
            AuthMethod::Open => Method::Open,
            AuthMethod::Keys if !self.key.iter().any(has_keys) => {
                let reason = "there is no key for it: add match and keys";
                return Err(ConfigError::entry("[[auth.key]]", reason.to_owned()));
            }
            AuthMethod::Keys => Method::Keys(self.key.iter().map(KeyEntry::rule).collect()),
            AuthMethod::Jwt => Method::Jwt(self.jwt.config()?),
            AuthMethod::Webhook => Method::Webhook(self.webhook.config(url_key, url)?),
        })
    }
}

impl KeyEntry {
    fn rule(&self) -> KeyRule {
        KeyRule {
            streams: self.streams.clone(),
            publish: self.publish.clone(),
            play: self.play.clone(),
        }
    }
}

impl JwtSection {
    fn config(&self) -> Result<JwtConfig, ConfigError> {
        let invalid = |reason: &str| Err(ConfigError::entry("[auth.jwt]", reason.to_owned()));
        let file = |path: &str| Path::new(path).to_owned();
        let keys = match (&*self.secret, &*self.public_key, &*self.jwks) {
            ("", "", "") => return invalid("give one of secret, public_key and jwks"),
            (secret, "", "") => KeySource::Secret(secret.to_owned()),
            ("", path, "") => KeySource::PublicKey(file(path)),
            ("", "", url) if url.contains("://") => {
                KeySource::KeySetUrl(parse_url(url).map_err(|reason| {
                    ConfigError::entry(format!("[auth.jwt] jwks = {url:?}"), reason)
                })?)
            }
            ("", "", path) => KeySource::KeySetFile(file(path)),
            _ => return invalid("give only one of secret, public_key and jwks"),
        };
        Ok(JwtConfig {
            keys,
            stream_claim: self.stream_claim.clone(),
            action_claim: self.action_claim.clone(),
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            session_outlives_token: self.session_outlives_token,
        })
    }
}

impl WebhookSection {
    fn config(&self, key: &str, url: &str) -> Result<WebhookConfig, ConfigError> {
        let url = parse_url(url).map_err(|reason| {
            ConfigError::entry(format!("[auth.webhook] {key} = {url:?}"), reason)
        })?;
        Ok(WebhookConfig {
            url,
            format: match self.format {
                WebhookFormat::Json => Format::Json,
                WebhookFormat::Form => Format::Form,
            },
            timeout: self.timeout.0,
        })
    }
}

/// A URL that can be asked.
fn parse_url(text: &str) -> Result<distributary_auth::webhook::Uri, String> {
    let expected = || "expected a URL such as http://127.0.0.1:9000/auth".to_owned();
    let url: distributary_auth::webhook::Uri = text.parse().map_err(|_| expected())?;
    match (url.scheme_str(), url.host()) {
        (Some("http" | "https"), Some(_)) => Ok(url),
        _ => Err(expected()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Result<AuthConfig, String> {
        let auth: Auth = toml::from_str(text).unwrap();
        auth.rules().map_err(|error| error.to_string())
    }

    #[test]
    fn each_method_has_what_it_needs() {
        for text in [
            "",
            "publish = \"keys\"\n[[key]]\nmatch = \"live/*\"\npublish = [\"a\"]",
            "play = \"jwt\"\njwt.secret = \"s\"",
            "play = \"jwt\"\njwt.jwks = \"https://id.example/keys\"",
            "publish = \"webhook\"\nwebhook.publish_url = \"http://127.0.0.1:1/x\"",
        ] {
            let rules = rules(text);
            assert!(rules.is_ok(), "{text}: {:?}", rules.err());
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (text, words) in [
            ("publish = \"keys\"", "[[auth.key]]"),
            (
                "publish = \"keys\"\n[[key]]\nmatch = \"live/*\"\nplay = [\"a\"]",
                "[[auth.key]]",
            ),
            ("play = \"jwt\"", "one of secret, public_key and jwks"),
            (
                "play = \"jwt\"\njwt.secret = \"s\"\njwt.jwks = \"x\"",
                "only one of secret",
            ),
            ("play = \"webhook\"", "[auth.webhook] play_url = \"\""),
            (
                "publish = \"webhook\"\nwebhook.publish_url = \"ftp://x\"",
                "publish_url = \"ftp://x\": expected a URL",
            ),
        ] {
            let error = rules(text).err().unwrap();
            assert!(error.contains(words), "{error}");
        }
    }
}
