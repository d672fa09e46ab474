//! The part of the configuration that is about how viewers are received over HTTP.

use std::time::Duration;

use distributary_hub::{PatternError, StreamPattern};
use distributary_whep::{
    AllowedOrigins, IceServer, Offline, PublicPath, Redirect, TurnCredentials, WhepConfig,
};
use serde::{Deserialize, Serialize};

use crate::config::ConfigError;
use crate::units::Time;

/// How players may ask for streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Whep {
    /// Origins of the pages whose players may watch.
    pub allowed_origins: Vec<String>,
    /// What those get who ask for a stream that is not live.
    pub offline: Offline,
    /// Most players at a time that listen for events.
    pub max_event_streams: usize,
    /// Whether everybody may see the names of the live streams.
    pub list_streams: bool,
    /// The path under which a proxy serves the gateway.
    pub public_path: PublicPath,
}

/// A STUN or TURN server that players are told of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IceServerEntry {
    /// Its URL.
    pub url: String,
    /// User of a TURN server, the same for all players.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Password of that user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The secret from which each player's user and password are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// How long those are good.
    #[serde(default = "IceServerEntry::default_lifetime")]
    pub lifetime: Time,
}

/// Streams whose viewers are sent to another gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedirectEntry {
    /// The names of the streams, with at most one `*`.
    #[serde(rename = "match")]
    pub streams: String,
    /// The endpoint to ask instead, in which `*` stands for what it stands for in the name.
    pub to: String,
}

impl Default for Whep {
    fn default() -> Self {
        let whep = WhepConfig::default();
        Self {
            allowed_origins: vec!["*".to_owned()],
            offline: whep.offline,
            max_event_streams: whep.max_event_streams,
            list_streams: true,
            public_path: PublicPath::default(),
        }
    }
}

impl IceServerEntry {
    fn default_lifetime() -> Time {
        Time(Duration::from_secs(24 * 3600))
    }

    fn server(&self) -> Result<IceServer, ConfigError> {
        let Self { url, .. } = self;
        let invalid =
            |reason: String| ConfigError::entry(format!("[[ice_server]] url = {url:?}"), reason);
        let credentials = match (&self.username, &self.password, &self.secret) {
            (None, None, None) => None,
            (Some(username), Some(password), None) => Some(TurnCredentials::Static {
                username: username.clone(),
                password: password.clone(),
            }),
            (None, None, Some(secret)) => Some(TurnCredentials::Shared {
                secret: secret.clone(),
                lifetime: self.lifetime.0,
            }),
            _ => {
                let reason = "give username and password together, or secret instead of both";
                return Err(invalid(reason.to_owned()));
            }
        };
        IceServer::new(url, credentials).map_err(|error| invalid(error.to_string()))
    }
}

impl RedirectEntry {
    fn redirect(&self) -> Result<Redirect, ConfigError> {
        let Self { streams, to } = self;
        let invalid = |reason: String| {
            ConfigError::entry(format!("[[redirect]] match = {streams:?}"), reason)
        };
        let streams: StreamPattern = streams
            .parse()
            .map_err(|error: PatternError| invalid(error.to_string()))?;
        Redirect::new(streams, to).map_err(|error| invalid(format!("to = {to:?}: {error}")))
    }
}

/// What the WHEP side is told.
///
/// # Errors
/// When an entry is not what it should be; the text says which, and why.
pub fn whep_config(
    whep: &Whep,
    offline_grace: Duration,
    (ice_servers, redirects): (&[IceServerEntry], &[RedirectEntry]),
) -> Result<WhepConfig, ConfigError> {
    let origins = AllowedOrigins::parse(&whep.allowed_origins)
        .map_err(|error| ConfigError::entry("[whep] allowed_origins", error.to_string()))?;
    Ok(WhepConfig {
        allowed_origins: origins,
        offline: whep.offline,
        offline_grace,
        max_event_streams: whep.max_event_streams,
        max_event_streams_per_ip: (whep.max_event_streams / 2).max(1),
        hides_streams: !whep.list_streams,
        public_path: whep.public_path.clone(),
        ice_servers: ice_servers
            .iter()
            .map(IceServerEntry::server)
            .collect::<Result<_, _>>()?,
        redirects: redirects
            .iter()
            .map(RedirectEntry::redirect)
            .collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    /// What is wrong with this text.
    fn error(text: &str) -> String {
        let config: Config = toml::from_str(text).unwrap();
        config.whep().unwrap_err().to_string()
    }

    #[test]
    fn servers_and_redirects_are_read() {
        let text = r#"
            [whep]
            allowed_origins = ["https://www.example"]
            [[ice_server]]
            url = "stun:stun.example"
            [[ice_server]]
            url = "turn:turn.example?transport=udp"
            secret = "north"
            [[redirect]]
            match = "vod/*"
            to = "https://vod.example/whep/vod"
        "#;
        let config: Config = toml::from_str(text).unwrap();
        let whep = config.whep().unwrap();
        assert_eq!((whep.ice_servers.len(), whep.redirects.len()), (2, 1));
        assert_eq!(config.ice_server[1].lifetime.to_string(), "24h");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let half = error("[[ice_server]]\nurl = \"turn:a\"\nusername = \"me\"");
        assert!(
            half.contains("\"turn:a\"") && half.contains("password"),
            "{half}"
        );
        let open = error("[[ice_server]]\nurl = \"turn:a\"");
        assert!(open.contains("secret"), "{open}");
        let to = error("[[redirect]]\nmatch = \"live/*\"\nto = \"edge\"");
        assert!(
            to.contains("match = \"live/*\"") && to.contains("to = \"edge\""),
            "{to}"
        );
        let origin = error("[whep]\nallowed_origins = [\"a.example\"]");
        assert!(
            origin.contains("allowed_origins") && origin.contains("a.example"),
            "{origin}"
        );
    }
}
