//! The configuration: one file, every key with a default.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use distributary_auth::AuthConfig;
use distributary_auth::rate::RateLimit;
use distributary_egress::engine::EngineConfig;
use distributary_hub::{HubConfig, PatternError, StreamRule, StreamsConfig, ViewerLimits};
use distributary_net::TrustedProxies;
use distributary_rtmp::amf::AmfLimits;
use distributary_rtmp::chunk::ChunkLimits;
use distributary_rtmp::{FlashProgram, PullLimits, PullRule, RtmpConfig, SessionConfig, Swf};
use distributary_tls::TlsListener;
use distributary_whep::{HttpConfig, Offline, WhepConfig};
use serde::{Deserialize, Serialize};

use crate::delay::DelayBounds;
use crate::explanation::Explanation;
use crate::front_door::{IceServerEntry, RedirectEntry, Whep, whep_config};
use crate::logging::LogFormat;
use crate::swf::SwfSource;
use crate::units::{Size, Time};
use distributary_net::{ListenAddress, OptionalAddress};
use distributary_transcode::TranscodeConfig;

/// Interfaces that lead to containers and virtual machines on this machine, and to no viewer.
const CONTAINER_INTERFACES: [&str; 8] = [
    "docker*", "br-*", "veth*", "virbr*", "cni*", "podman*", "flannel*", "cali*",
];

/// Where the admin API is: for this machine alone.
const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8180);

/// What the gateway can be told. `config/distributary.toml` explains every key.
///
/// The first keys are those that have a flag of the same name; a table for each part holds its
/// limits. Keys that do not exist are refused, so that a slip of the pen is not taken for a setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where publishers connect to.
    pub rtmp: ListenAddress,
    /// Where WHEP, the API and the page are.
    pub http: ListenAddress,
    /// Where the media is sent from.
    pub webrtc: ListenAddress,
    /// Where the admin API and the figures for Prometheus are; off when there is none.
    pub admin: OptionalAddress,
    /// What the admin API wants to be shown.
    pub admin_token: String,
    /// Hosts told to viewers instead of the addresses of the machine.
    pub advertise: Vec<String>,
    /// Interfaces whose addresses may be told to viewers, by patterns of their names.
    pub interfaces: Vec<String>,
    /// Interfaces whose addresses are not.
    pub exclude_interfaces: Vec<String>,
    /// What is logged.
    pub log: String,
    /// How it is written.
    pub log_format: LogFormat,
    /// Lines of the log that one client can fill in a minute; 0 for any number.
    pub log_lines_per_minute: u32,
    /// How long viewers and publishers may take to go elsewhere when the gateway is told to end.
    pub drain_timeout: Time,
    /// Streams that are pulled from other servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pull: Vec<Pull>,
    /// Exceptions from what holds for all streams.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stream: Vec<StreamRule>,
    /// STUN and TURN servers that players are told of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ice_server: Vec<IceServerEntry>,
    /// Streams whose viewers are sent to another gateway.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redirect: Vec<RedirectEntry>,
    /// RTMP over TLS.
    pub rtmps: TlsListener,
    /// HTTP over TLS.
    pub https: TlsListener,
    /// The admin API over TLS.
    pub admin_https: TlsListener,
    /// Limits of those who publish.
    pub publishers: Publishers,
    /// Limits of what is pulled.
    pub pulls: Pulls,
    /// What is kept of each stream.
    pub streams: StreamsConfig,
    /// How streams are encoded anew.
    pub transcode: TranscodeConfig,
    /// How viewers are served.
    pub viewers: Viewers,
    /// How players may ask for streams.
    pub whep: Whep,
    /// Limits of HTTP.
    pub requests: Requests,
    /// Who may publish and who may watch.
    pub auth: AuthConfig,
}

/// Streams that are pulled from another RTMP server when somebody asks for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pull {
    /// The names of the streams, with at most one `*`.
    #[serde(rename = "match")]
    pub streams: String,
    /// The URL to pull from, in which `*` stands for what it stands for in the name.
    pub from: String,
    /// How long a stream is kept that nobody watches any more.
    #[serde(default = "Pull::default_idle_timeout")]
    pub idle_timeout: Time,
    /// The URL of the Flash program that the server is told the gateway plays; empty for none.
    #[serde(default)]
    pub swf_url: String,
    /// The Flash program that the gateway proves to play when the server asks.
    #[serde(default)]
    pub swf: SwfSource,
}

/// What happens when a name is published that is live already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Duplicate {
    /// The newcomer is refused.
    #[default]
    Refuse,
    /// The newcomer takes the place of the first.
    Takeover,
}

/// Limits of those who publish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Publishers {
    /// Most publishers at a time.
    pub max: usize,
    /// Most publishers from one address.
    pub max_per_ip: usize,
    /// Most RTMP connections, publishing or not.
    pub max_connections: usize,
    /// Most RTMP connections from one address.
    pub max_connections_per_ip: usize,
    /// How long a connection may take for the handshake.
    pub handshake_timeout: Time,
    /// How long a connection may stay without publishing.
    pub idle_timeout: Time,
    /// How long a publisher may be silent.
    pub read_timeout: Time,
    /// Timeout of a publisher's first frame, after which it loses the name; 0 for none.
    pub publish_timeout: Time,
    /// Longest RTMP message of a publisher: its largest frame.
    pub max_message_size: Size,
    /// Most chunk streams of one connection.
    pub max_chunk_streams: usize,
    /// Deepest nesting of the values in a command or in metadata.
    pub max_amf_depth: usize,
    /// Most values in one command or data message.
    pub max_amf_values: usize,
    /// What happens when a name is published that is live already.
    pub on_duplicate: Duplicate,
    /// The Flash program that clients have to prove they play.
    pub swf: SwfSource,
}

/// Limits of what is pulled from other servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pulls {
    /// Most streams at a time.
    pub max: usize,
    /// Most of them from one server; 0 for all.
    pub max_per_origin: usize,
    /// Most attempts under way that one address has asked for.
    pub max_per_ip: usize,
}

/// How viewers are served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Viewers {
    /// Most viewers at a time, RTMP players included.
    pub max: usize,
    /// Most viewers of one stream.
    pub max_per_stream: usize,
    /// Most viewers of one address, an IPv6 /64 network counting as one.
    pub max_per_ip: usize,
    /// How long viewers wait for a publisher that has left.
    pub offline_grace: Time,
    /// Threads that send; 0 for one per core.
    pub shards: usize,
    /// From how many viewers on sound is sent with the next picture.
    pub bundle_sound_from: usize,
    /// Bits per second at which a newcomer is brought to the present.
    pub start_pacing: u64,
    /// Whether large pictures are sent at that pace, too.
    pub pacing: bool,
    /// Whether viewers may connect over TCP, too.
    pub tcp: bool,
    /// Whether viewers are asked when each packet arrived.
    pub transport_feedback: bool,
    /// Bounds for the delay that viewers add.
    pub playout_delay: DelayBounds,
    /// How long packets are kept to be sent again.
    pub history: Time,
    /// Whether packets of sound carry the one before them as well.
    pub audio_red: bool,
    /// Whether players that can decode the audio of a stream and not its video are refused.
    pub require_video: bool,
}

/// Limits of HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Requests {
    /// Most connections at a time.
    pub max_connections: usize,
    /// Most of them from one address, an IPv6 /64 network counting as one.
    pub max_connections_per_ip: usize,
    /// How long a connection may take to send the head of a request, or be idle.
    pub header_timeout: Time,
    /// Timeout of a client that does not read what it is sent.
    pub write_timeout: Time,
    /// Requests for sessions per minute and address; 0 for any number.
    pub max_posts_per_minute: u32,
    /// How many of them may come at once.
    pub post_burst: u32,
    /// Proxies that are believed when they say for whom they ask.
    pub trusted_proxies: Vec<String>,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("--config {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{}:{}: {}", path.display(), explanation.line, explanation.reason)]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong there, and where that is.
        explanation: Explanation,
    },
    /// A variable of the environment is not what its key wants.
    #[error("{name} in the environment: {reason}")]
    Environment {
        /// The variable.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A rule for pulling streams cannot be followed.
    #[error("[[pull]] match = {streams:?}: {reason}")]
    Pull {
        /// The streams it is for.
        streams: String,
        /// What is wrong.
        reason: String,
    },
    /// A value or an entry of a list cannot be used.
    #[error("{entry}: {reason}")]
    Entry {
        /// Where it is.
        entry: String,
        /// What is wrong.
        reason: String,
    },
}

impl ConfigError {
    /// The place of the file that is wrong, with a mark, for a person at a terminal.
    pub fn excerpt(&self) -> Option<String> {
        match self {
            Self::Parse { explanation, .. } => Some(explanation.to_string()),
            _ => None,
        }
    }

    pub(crate) fn entry(entry: impl Into<String>, reason: String) -> Self {
        let entry = entry.into();
        Self::Entry { entry, reason }
    }
}

impl Config {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read or is not valid.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let path = path.to_owned();
        match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|error| {
                let explanation = Explanation::new(&text, &error);
                ConfigError::Parse { path, explanation }
            }),
            Err(source) => Err(ConfigError::Read { path, source }),
        }
    }

    /// The part of WHEP.
    ///
    /// # Errors
    /// When an entry is not what it should be; the text says which, and why.
    pub fn whep(&self) -> Result<WhepConfig, ConfigError> {
        let lists = (&*self.ice_server, &*self.redirect);
        whep_config(&self.whep, self.viewers.offline_grace.0, lists)
    }

    /// How long viewers stay whose stream is not live, if not for ever.
    pub fn offline_grace(&self) -> Option<Duration> {
        match self.whep.offline {
            Offline::Refuse => Some(self.viewers.offline_grace.0),
            Offline::Wait => None,
        }
    }

    /// How often an address may ask, and which proxies are believed.
    ///
    /// # Errors
    /// When a proxy is neither an address nor a network.
    pub fn access(&self) -> Result<(RateLimit, TrustedProxies), ConfigError> {
        let Requests {
            max_posts_per_minute,
            post_burst,
            trusted_proxies,
            ..
        } = &self.requests;
        let limit = RateLimit {
            burst: *post_burst,
            per_minute: *max_posts_per_minute,
        };
        let parse = |proxy: &String| {
            distributary_net::parse_network(proxy).map_err(|_| {
                let key = format!("[requests] trusted_proxies, {proxy:?}");
                let reason = "expected an address or a network such as 10.0.0.0/8";
                ConfigError::entry(key, reason.to_owned())
            })
        };
        let proxies = trusted_proxies
            .iter()
            .map(parse)
            .collect::<Result<_, _>>()?;
        Ok((limit, TrustedProxies(proxies)))
    }

    /// The part of the hub.
    pub fn hub(&self) -> HubConfig {
        HubConfig {
            streams: self.streams.clone(),
            exceptions: self.stream.clone(),
            viewers: self.viewers.limits(),
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
            drain_timeout: Time(Duration::from_secs(3)),
            pull: Vec::new(),
            stream: Vec::new(),
            ice_server: Vec::new(),
            redirect: Vec::new(),
            rtmps: TlsListener::default(),
            https: TlsListener::default(),
            admin_https: TlsListener::default(),
            publishers: Publishers::default(),
            pulls: Pulls::default(),
            streams: StreamsConfig::default(),
            transcode: TranscodeConfig::default(),
            viewers: Viewers::default(),
            whep: Whep::default(),
            requests: Requests::default(),
            auth: AuthConfig::default(),
        }
    }
}

impl Default for Publishers {
    fn default() -> Self {
        let rtmp = RtmpConfig::default();
        Self {
            max: rtmp.max_publishers,
            max_per_ip: rtmp.max_publishers_per_ip,
            max_connections: rtmp.max_connections,
            max_connections_per_ip: rtmp.max_connections_per_ip,
            handshake_timeout: Time(rtmp.session.handshake_timeout),
            idle_timeout: Time(rtmp.session.idle_timeout),
            read_timeout: Time(rtmp.session.read_timeout),
            publish_timeout: Time(rtmp.publish_timeout.unwrap_or_default()),
            max_message_size: Size(rtmp.session.chunks.max_message_size),
            max_chunk_streams: rtmp.session.chunks.max_chunk_streams,
            max_amf_depth: rtmp.session.amf.max_depth,
            max_amf_values: rtmp.session.amf.max_values,
            on_duplicate: Duplicate::default(),
            swf: SwfSource::default(),
        }
    }
}

impl Publishers {
    /// What is allowed on each connection.
    pub fn session(&self) -> SessionConfig {
        let max_message_size = self.max_message_size.0;
        SessionConfig {
            chunks: ChunkLimits {
                max_message_size,
                max_chunk_streams: self.max_chunk_streams,
                // The largest picture, with the other messages that are interleaved with it.
                max_reassembly: max_message_size.saturating_add(max_message_size / 2),
            },
            amf: AmfLimits {
                max_depth: self.max_amf_depth,
                max_values: self.max_amf_values,
            },
            handshake_timeout: self.handshake_timeout.0,
            idle_timeout: self.idle_timeout.0,
            read_timeout: self.read_timeout.0,
            ..SessionConfig::default()
        }
    }

    /// The Flash program that clients have to prove they play.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn swf(&self) -> Result<Option<Swf>, ConfigError> {
        self.swf.load("[publishers]")
    }
}

impl Pulls {
    /// The limits for RTMP.
    pub fn limits(&self) -> PullLimits {
        PullLimits {
            max: self.max,
            max_per_origin: Some(self.max_per_origin).filter(|max| *max > 0),
            max_per_ip: self.max_per_ip,
        }
    }
}

impl Default for Pulls {
    fn default() -> Self {
        let limits = PullLimits::default();
        Self {
            max: limits.max,
            max_per_origin: limits.max_per_origin.unwrap_or_default(),
            max_per_ip: limits.max_per_ip,
        }
    }
}

impl Pull {
    fn default_idle_timeout() -> Time {
        Time(Duration::from_secs(10))
    }

    /// The rule that this makes.
    ///
    /// # Errors
    /// When the names or the URL are not what they should be; the text says which.
    pub fn rule(&self) -> Result<PullRule, ConfigError> {
        let Self {
            streams,
            from,
            swf_url,
            ..
        } = self;
        let invalid = |reason: String| ConfigError::Pull {
            streams: streams.clone(),
            reason,
        };
        let pattern = streams
            .parse()
            .map_err(|error: PatternError| invalid(error.to_string()))?;
        let rule = PullRule::new(pattern, from, self.idle_timeout.0)
            .map_err(|error| invalid(format!("from = {from:?}: {error}")))?;
        let swf = self.swf.load(&format!("[[pull]] match = {streams:?}:"))?;
        if swf_url.is_empty() && swf.is_none() {
            return Ok(rule);
        }
        let url = swf_url.clone();
        Ok(rule.as_flash(FlashProgram { url, swf }))
    }
}

impl Viewers {
    /// How many viewers there may be.
    fn limits(&self) -> ViewerLimits {
        ViewerLimits {
            max: self.max,
            max_per_stream: self.max_per_stream,
            max_per_address: self.max_per_ip,
        }
    }
}

impl Default for Viewers {
    fn default() -> Self {
        let (engine, limits) = (EngineConfig::default(), ViewerLimits::default());
        Self {
            max: limits.max,
            max_per_stream: limits.max_per_stream,
            max_per_ip: limits.max_per_address,
            offline_grace: Time(WhepConfig::default().offline_grace),
            shards: engine.shards,
            bundle_sound_from: engine.bundle_sound_from,
            start_pacing: engine.start_pacing,
            pacing: engine.pace_pictures,
            tcp: engine.tcp,
            transport_feedback: engine.transport_feedback,
            playout_delay: DelayBounds::default(),
            history: Time(engine.log.history),
            audio_red: engine.audio_red,
            require_video: engine.require_video,
        }
    }
}

impl Default for Requests {
    fn default() -> Self {
        let http = HttpConfig::default();
        Self {
            max_connections: http.max_connections,
            max_connections_per_ip: http.max_connections_per_ip,
            header_timeout: Time(http.header_timeout),
            write_timeout: Time(http.write_timeout),
            max_posts_per_minute: 6000,
            post_burst: 600,
            trusted_proxies: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use distributary_hub::StreamName;

    const REFERENCE: &str = include_str!("../../../config/distributary.toml");

    fn parse(text: &str) -> Result<Config, toml::de::Error> {
        toml::from_str(text)
    }

    /// The keys of a table and of the tables in it, as `table.key`.
    fn keys(table: &toml::Table) -> Vec<String> {
        let nested = |(key, value): (&String, &toml::Value)| match value {
            toml::Value::Table(inner) => keys(inner)
                .into_iter()
                .map(|inner| format!("{key}.{inner}"))
                .collect(),
            _ => vec![key.clone()],
        };
        table.iter().flat_map(nested).collect()
    }

    #[test]
    fn the_reference_file_is_the_default_configuration() {
        assert_eq!(parse(REFERENCE).unwrap(), Config::default());
    }

    #[test]
    fn the_reference_file_has_every_key_with_a_comment_before_it() {
        let all = keys(&toml::Table::try_from(Config::default()).unwrap());
        assert_eq!(keys(&REFERENCE.parse().unwrap()), all);

        let lines: Vec<_> = REFERENCE.lines().collect();
        for (at, line) in lines.iter().enumerate().skip(1) {
            if line.contains(" = ") && !line.starts_with('#') {
                assert!(lines[at - 1].starts_with("# "), "no comment before: {line}");
            }
        }
    }

    #[test]
    fn an_empty_file_is_the_default_configuration() {
        assert_eq!(parse("").unwrap(), Config::default());
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        for (text, key) in [
            ("\nhtpp = \"[::]:1\"", "htpp"),
            ("[viewers]\nshard = 1", "shard"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("line 2") && error.contains(key), "{error}");
        }
    }

    #[test]
    fn a_bad_value_is_refused_with_its_line() {
        for text in [
            "\nrtmp = \"1935\"",
            "[streams]\ncache_size = \"32\"",
            "[streams]\ncache_duration = 30",
            "[publishers]\nmax = -1",
            "[publishers]\non_duplicate = \"maybe\"",
            "[streams]\nbframes = \"keep\"",
            "[streams]\nopus_bitrate = 1000",
            "[streams]\nopus_complexity = 11",
            "[[stream]]\nmatch = \"live\"",
            "[rtmps]\nlisten = \"1936\"",
            "[viewers]\nplayout_delay = \"200ms\"",
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("line 2"), "{error}");
        }
    }

    #[test]
    fn streams_to_pull_are_read() {
        let text = "[[pull]]\nmatch = \"live/*\"\nfrom = \"rtmp://origin/live\"";
        let pull = &parse(text).unwrap().pull[0];
        assert_eq!(pull.idle_timeout.to_string(), "10s");
        let rule = pull.rule().unwrap();
        let source = rule.source(&StreamName::parse("live/a").unwrap());
        assert_eq!(source.unwrap().to_string(), "rtmp://origin:1935/live/a");

        let refused = |streams: &str, from: &str| {
            let pull = Pull {
                streams: streams.to_owned(),
                from: from.to_owned(),
                idle_timeout: Pull::default_idle_timeout(),
                swf_url: String::new(),
                swf: SwfSource::default(),
            };
            pull.rule().unwrap_err().to_string()
        };
        let error = refused("live", "rtmp://origin/live");
        assert!(error.contains("match = \"live\""), "{error}");
        let error = refused("live/*", "https://origin/live");
        assert!(error.contains("https://origin/live"), "{error}");
    }

    #[test]
    fn program_of_swf_verification_is_a_file_or_its_hash_and_size() {
        assert_eq!(parse("").unwrap().publishers.swf().unwrap(), None);
        let hash = "5a".repeat(32);
        let known = format!("swf = {{ hash = \"{hash}\", size = 1000 }}");
        let swf = Swf::new(&hash, 1000).ok();
        let config = parse(&format!("[publishers]\n{known}")).unwrap();
        assert_eq!(config.publishers.swf().unwrap(), swf);

        let pull = "[[pull]]\nmatch = \"live/*\"\nfrom = \"rtmp://origin/live\"";
        let rule = |text: &str| parse(text).unwrap().pull[0].rule().unwrap();
        let url = "https://site.example/player.swf".to_owned();
        let flash = rule(&format!("{pull}\nswf_url = \"{url}\"\n{known}"));
        assert_eq!(flash, rule(pull).as_flash(FlashProgram { url, swf }));

        let error = parse("[publishers]\nswf = 5").unwrap_err().to_string();
        assert!(
            error.contains("expected the path of an SWF file"),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Config::read(Path::new("/nowhere/x.toml")).unwrap_err();
        assert!(error.to_string().starts_with("--config /nowhere/x.toml: "));
    }
}
