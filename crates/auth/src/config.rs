//! The section `[auth]` of the configuration.

use std::fmt;

use distributary_config::Section;
use serde::{Deserialize, Serialize};

use crate::access::Action;
use crate::jwt::JwtConfig;
use crate::keys::KeyRule;
use crate::webhook::WebhookConfig;

/// The configuration of access control.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Section)]
#[serde(default, deny_unknown_fields)]
#[reload]
pub struct AuthConfig {
    /// Authorization method for publishers.
    pub publish: Method,
    /// Authorization method for viewers, over WHEP and RTMP.
    pub play: Method,
    /// Keys for [`Method::Keys`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<KeyRule>,
    /// Settings of [`Method::Jwt`].
    #[section]
    pub jwt: JwtConfig,
    /// Settings of [`Method::Webhook`].
    #[section]
    pub webhook: WebhookConfig,
}

/// Keys that the documentation has as examples: everybody knows them.
const EXAMPLES: [&str; 2] = ["a long random text", "another one"];

impl AuthConfig {
    /// Returns the authorization method for an action.
    pub fn method(&self, action: Action) -> Method {
        match action {
            Action::Publish => self.publish,
            Action::Play => self.play,
        }
    }

    /// Returns what has no effect, with the setting that is missing, and what protects nothing.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut idle = |table: &str, keys: &str, action: Action, method: &str| {
            let now = self.method(action);
            warnings.push(format!(
                "{table}: {keys} has no effect, because [auth] {action} = \"{now}\": set {action} = \
                 \"{method}\""
            ));
        };
        for action in [Action::Publish, Action::Play] {
            let method = self.method(action);
            let (name, url) = match action {
                Action::Publish => ("publish_url", &self.webhook.publish_url),
                Action::Play => ("play_url", &self.webhook.play_url),
            };
            if method != Method::Keys && self.key.iter().any(|rule| rule.allows(action)) {
                idle("[[auth.key]]", &action.to_string(), action, "keys");
            }
            if method != Method::Webhook && url.uri().is_some() {
                idle("[auth.webhook]", name, action, "webhook");
            }
        }
        let jwt = &self.jwt;
        let has_jwt = [&jwt.secret, &jwt.public_key, &jwt.jwks]
            .iter()
            .any(|source| !source.is_empty());
        if has_jwt && self.publish != Method::Jwt && self.play != Method::Jwt {
            warnings.push(
                "[auth.jwt] has no effect: set publish = \"jwt\" or play = \"jwt\" under [auth]"
                    .to_owned(),
            );
        }
        let keys = self.key.iter();
        let keys = keys.flat_map(|rule| rule.publish.iter().chain(&rule.play));
        for example in EXAMPLES {
            if keys.clone().any(|key| key == example) {
                warnings.push(format!(
                    "[[auth.key]]: the key \"{example}\" is the example of the documentation, which \
                     everybody knows: choose another, such as that of openssl rand -hex 24"
                ));
            }
        }
        warnings
    }
}

/// An authorization method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Allows every client.
    #[default]
    Open,
    /// Allows clients with a key of the configuration.
    Keys,
    /// Allows clients with a JSON Web Token.
    Jwt,
    /// Asks a webhook.
    Webhook,
}

/// Writes the value of the configuration.
impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Keys => "keys",
            Self::Jwt => "jwt",
            Self::Webhook => "webhook",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(text: &str) -> Vec<String> {
        toml::from_str::<AuthConfig>(text).unwrap().warnings()
    }

    #[test]
    fn what_has_no_effect_is_named_with_the_missing_setting() {
        let key = "[[key]]\nmatch = \"*\"\npublish = [\"studio\"]\nplay = [\"guest\"]\n";
        assert_eq!(
            warnings(key),
            [
                "[[auth.key]]: publish has no effect, because [auth] publish = \"open\": set publish = \
                 \"keys\"",
                "[[auth.key]]: play has no effect, because [auth] play = \"open\": set play = \"keys\"",
            ]
        );
        let partly = warnings(&format!("publish = \"keys\"\nplay = \"jwt\"\n{key}"));
        assert_eq!(
            partly,
            [
                "[[auth.key]]: play has no effect, because [auth] play = \"jwt\": set play = \"keys\""
            ]
        );
        assert_eq!(
            warnings("[webhook]\nplay_url = \"http://a/b\"\n[jwt]\nsecret = \"s\"\n"),
            [
                "[auth.webhook]: play_url has no effect, because [auth] play = \"open\": set play = \
                 \"webhook\"",
                "[auth.jwt] has no effect: set publish = \"jwt\" or play = \"jwt\" under [auth]",
            ]
        );
        for fine in ["", &format!("publish = \"keys\"\nplay = \"keys\"\n{key}")] {
            assert!(warnings(fine).is_empty(), "{fine}");
        }
    }

    #[test]
    fn key_of_the_documentation_is_remarked() {
        let key =
            "publish = \"keys\"\n[[key]]\nmatch = \"*\"\npublish = [\"a long random text\"]\n";
        let [warning] = &warnings(key)[..] else {
            panic!("one warning");
        };
        assert!(
            warning.contains("\"a long random text\" is the example"),
            "{warning}"
        );
    }
}
