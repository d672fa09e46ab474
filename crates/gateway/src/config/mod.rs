//! The configuration: one file, every key with a default.
//!
//! The sections are types of the crates that use them; this module combines them.
//!
//! * [`reading`]: a configuration with every error in its sources; `document`: the file.
//! * [`environment`]: variables that override the file.
//! * [`error`]: errors of the configuration.
//! * `explanation`: explains an error in a file, with its line; `nearest`: finds the most similar
//!   name.

mod document;
pub mod environment;
pub mod error;
mod explanation;
mod nearest;
pub mod reading;
#[cfg(test)]
mod reference;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use distributary_auth::AuthConfig;
use distributary_cluster::ClusterConfig;
use distributary_config::{KeyPath, Section, time};
use distributary_egress::ViewersConfig;
use distributary_egress::engine::EngineConfig;
use distributary_hub::{HubConfig, LimitsConfig, RenditionRule, StreamRule, StreamsConfig};
use distributary_net::{ListenAddress, OptionalAddress};
use distributary_rtmp::{PublishersConfig, PullRule, PullsConfig, RtmpConfig};
use distributary_tls::TlsListener;
use distributary_transcode::TranscodeConfig;
use distributary_whep::{
    FrontConfig, HttpConfig, IceServer, Offline, Redirect, RequestsConfig, WhepConfig,
};
use serde::{Deserialize, Serialize};

use crate::logging::LogFormat;

pub use error::{ConfigError, ConfigErrors};

/// Interfaces of containers and virtual machines on this machine, which lead to no viewer.
const CONTAINER_INTERFACES: [&str; 8] = [
    "docker*", "br-*", "veth*", "virbr*", "cni*", "podman*", "flannel*", "cali*",
];

/// Default address of the admin API: loopback, because it has full control.
const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8180);

/// The configuration of the gateway. `config/distributary.toml` explains every key.
///
/// Most keys before the first table have a flag of the same name. Unknown keys are refused, so that
/// a misspelled key is not ignored. `#[reload]` marks the keys that a reload applies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Section)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Listener for RTMP publishers.
    pub rtmp: ListenAddress,
    /// Listener for WHEP, the public API and the player.
    pub http: ListenAddress,
    /// Address from which media is sent.
    pub webrtc: ListenAddress,
    /// Listener for the admin API and the metrics; off if there is none.
    pub admin: OptionalAddress,
    /// Token that the admin API requires; empty for none.
    pub admin_token: String,
    /// Hosts announced to viewers instead of the addresses of the machine.
    pub advertise: Vec<String>,
    /// Interfaces whose addresses are announced, by patterns of their names; empty for all.
    pub interfaces: Vec<String>,
    /// Interfaces whose addresses are not announced.
    pub exclude_interfaces: Vec<String>,
    /// Levels of the log.
    #[reload]
    pub log: String,
    /// Format of the log.
    pub log_format: LogFormat,
    /// Log lines per minute that one client can cause; 0 means no limit.
    #[reload]
    pub log_lines_per_minute: u32,
    /// Time that viewers and publishers have to reconnect elsewhere after SIGTERM.
    #[serde(with = "time")]
    pub drain_timeout: Duration,
    /// Streams that are pulled from other servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pull: Vec<PullRule>,
    /// Exceptions from `streams` for some streams.
    #[reload]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stream: Vec<StreamRule>,
    /// Streams that are renditions of others.
    #[reload]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rendition: Vec<RenditionRule>,
    /// STUN and TURN servers that are announced to players.
    #[reload]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ice_server: Vec<IceServer>,
    /// Streams whose viewers are redirected to another gateway.
    #[reload]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redirect: Vec<Redirect>,
    /// RTMP over TLS.
    #[section]
    pub rtmps: TlsListener,
    /// HTTP over TLS.
    #[section]
    pub https: TlsListener,
    /// The admin API over TLS.
    #[section]
    pub admin_https: TlsListener,
    /// Limits of the gateway as a whole.
    #[section]
    pub limits: LimitsConfig,
    /// Limits for publishers.
    #[section]
    pub publishers: PublishersConfig,
    /// Limits for pulled streams.
    #[section]
    pub pulls: PullsConfig,
    /// Storage and processing of streams.
    #[section]
    pub streams: StreamsConfig,
    /// Transcoding.
    #[section]
    pub transcode: TranscodeConfig,
    /// Settings and limits of viewers.
    #[section]
    pub viewers: ViewersConfig,
    /// The public HTTP API.
    #[section]
    pub whep: WhepConfig,
    /// Limits for HTTP.
    #[section]
    pub requests: RequestsConfig,
    /// Authorization of publishers and viewers.
    #[section]
    pub auth: AuthConfig,
    /// The cluster that this gateway belongs to.
    #[section]
    pub cluster: ClusterConfig,
}

impl Config {
    /// Returns every key, and whether a reload applies it.
    pub fn keys() -> Vec<KeyPath> {
        distributary_config::paths::<Self>()
    }

    /// Returns the settings of the HTTP front door.
    pub fn front(&self) -> FrontConfig {
        FrontConfig {
            whep: self.whep.clone(),
            ice_servers: self.ice_server.clone(),
            redirects: self.redirect.clone(),
            offline_grace: self.viewers.offline_grace,
            max_event_streams_per_ip: (self.whep.max_event_streams / 2).max(1),
        }
    }

    /// Returns the time for which viewers of a stream that is not live stay; `None` for no limit.
    pub fn offline_grace(&self) -> Option<Duration> {
        match self.whep.offline {
            Offline::Refuse => Some(self.viewers.offline_grace),
            Offline::Wait => None,
        }
    }

    /// Returns the settings of the hub.
    pub fn hub(&self) -> HubConfig {
        HubConfig {
            streams: self.streams.clone(),
            exceptions: self.stream.clone(),
            renditions: self.rendition.clone(),
            viewers: self.viewers.limits(),
            standby_after: self.publishers.standby_after,
            limits: self.limits.clone(),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rtmp: RtmpConfig::default().listen.into(),
            http: HttpConfig::default().listen.into(),
            webrtc: EngineConfig::default().listen.into(),
            admin: OptionalAddress(Some(DEFAULT_ADMIN.into())),
            admin_token: String::new(),
            advertise: Vec::new(),
            interfaces: Vec::new(),
            exclude_interfaces: CONTAINER_INTERFACES.map(str::to_owned).to_vec(),
            log: "info".to_owned(),
            log_format: LogFormat::default(),
            log_lines_per_minute: 600,
            drain_timeout: Duration::from_secs(3),
            pull: Vec::new(),
            stream: Vec::new(),
            rendition: Vec::new(),
            ice_server: Vec::new(),
            redirect: Vec::new(),
            rtmps: TlsListener::default(),
            https: TlsListener::default(),
            admin_https: TlsListener::default(),
            limits: LimitsConfig::default(),
            publishers: PublishersConfig::default(),
            pulls: PullsConfig::default(),
            streams: StreamsConfig::default(),
            transcode: TranscodeConfig::default(),
            viewers: ViewersConfig::default(),
            whep: WhepConfig::default(),
            requests: RequestsConfig::default(),
            auth: AuthConfig::default(),
            cluster: ClusterConfig::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn empty_file_is_the_default_configuration() {
        assert_eq!(parse("").unwrap(), Config::default());
    }

    #[test]
    fn unknown_key_is_refused_with_its_line() {
        for (text, key) in [
            ("\nhtpp = \"[::]:1\"", "htpp"),
            ("[viewers]\nshard = 1", "shard"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("line 2") && error.contains(key), "{error}");
        }
    }

    #[test]
    fn invalid_value_is_refused_with_its_line() {
        for text in [
            "\nrtmp = \"x\"",
            "[streams]\ncache_size = \"32\"",
            "[streams]\ncache_duration = 30",
            "[publishers]\nmax = -1",
            "[publishers]\non_duplicate = \"maybe\"",
            "[publishers]\nstandby_after = \"99ms\"",
            "[streams]\nbframes = \"keep\"",
            "[streams]\nopus_bitrate = 1000",
            "[streams]\nopus_complexity = 11",
            "[[stream]]\nmatch = \"*/*\"",
            "[[pull]]\nmatch = \"*/*\"\nfrom = \"rtmp://origin/live\"",
            "\n[[pull]]\nmatch = \"live/*\"\nfrom = \"https://origin/live\"",
            "\n[[rendition]]\nstream = \"live/*\"\nfrom = [\"live/low\"]",
            "[publishers]\nswf = 5",
            "[rtmps]\nlisten = \"x\"",
            "[viewers]\nplayout_delay = \"200ms\"",
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("line 2"), "{error}");
        }
    }
}
