//! The section `[publishers]` of the configuration.

use std::time::Duration;

use distributary_config::{Section, size, time};
use distributary_hub::HubConfig;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::proto::amf::AmfLimits;
use crate::proto::chunk::ChunkLimits;
use crate::proto::session::SessionConfig;
use crate::proto::swf::Swf;
use crate::server::swf_source::SwfSource;

/// Limits for publishers and for RTMP connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Section)]
#[serde(default, deny_unknown_fields)]
pub struct PublishersConfig {
    /// Maximum number of publishers.
    pub max: usize,
    /// Maximum number of publishers from one IPv4 address or IPv6 /64 network. The loopback address
    /// has no limit of its own.
    pub max_per_ip: usize,
    /// Maximum number of connections, publishing or not.
    pub max_connections: usize,
    /// Maximum number of connections from one IPv4 address or IPv6 /64 network. The loopback
    /// address has no limit of its own.
    pub max_connections_per_ip: usize,
    /// Timeout of the TLS or RTMP handshake.
    #[serde(with = "time")]
    pub handshake_timeout: Duration,
    /// Time that a connection may stay without publishing or playing.
    #[serde(with = "time")]
    pub idle_timeout: Duration,
    /// Time without data after which a publisher counts as gone.
    #[serde(with = "time")]
    pub read_timeout: Duration,
    /// Time that a publisher may hold a name before its first frame, and time after its last frame
    /// during which it keeps the name and its permit from others; `None` for no limit.
    #[serde(with = "time::optional")]
    pub publish_timeout: Option<Duration>,
    /// Maximum size of a message of a publisher, in bytes.
    #[serde(with = "size")]
    pub max_message_size: usize,
    /// Maximum number of chunk streams of one connection.
    pub max_chunk_streams: usize,
    /// Maximum nesting of the values in a command or in metadata.
    pub max_amf_depth: usize,
    /// Maximum number of values in a command or data message.
    pub max_amf_values: usize,
    /// Action when a name is published that is already live.
    pub on_duplicate: OnDuplicate,
    /// Time by which the next frame of the active publisher may be late before a standby takes
    /// over: of its video, if it has any.
    #[serde(deserialize_with = "standby_after", serialize_with = "time::serialize")]
    #[reload]
    pub standby_after: Duration,
    /// The Flash program that clients have to prove they play.
    pub swf: SwfSource,
}

/// The action when a name is published that is already live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDuplicate {
    /// Refuses the newcomer, unless it is the same publisher that reconnects after its connection
    /// became silent.
    #[default]
    Refuse,
    /// Replaces the first publisher by the newcomer; sessions of viewers continue.
    Takeover,
    /// Lets the newcomer stand by: it takes over with its next keyframe when the first one is gone
    /// or silent; sessions of viewers continue.
    Standby,
}

impl PublishersConfig {
    /// Returns the limits and timeouts of one connection; clients have to prove that they play
    /// `swf`, if set.
    pub(crate) fn session(&self, swf: Option<Swf>) -> SessionConfig {
        SessionConfig {
            chunks: ChunkLimits {
                max_message_size: self.max_message_size,
                max_chunk_streams: self.max_chunk_streams,
                // The largest frame, with the other messages that are interleaved with it.
                max_reassembly: self
                    .max_message_size
                    .saturating_add(self.max_message_size / 2),
            },
            amf: AmfLimits {
                max_depth: self.max_amf_depth,
                max_values: self.max_amf_values,
            },
            handshake_timeout: self.handshake_timeout,
            idle_timeout: self.idle_timeout,
            read_timeout: self.read_timeout,
            swf,
            ..SessionConfig::default()
        }
    }
}

impl Default for PublishersConfig {
    fn default() -> Self {
        let session = SessionConfig::default();
        Self {
            max: 2048,
            max_per_ip: 512,
            max_connections: 4096,
            max_connections_per_ip: 1024,
            handshake_timeout: session.handshake_timeout,
            idle_timeout: session.idle_timeout,
            read_timeout: session.read_timeout,
            publish_timeout: Some(Duration::from_secs(10)),
            max_message_size: session.chunks.max_message_size,
            max_chunk_streams: session.chunks.max_chunk_streams,
            max_amf_depth: session.amf.max_depth,
            max_amf_values: session.amf.max_values,
            on_duplicate: OnDuplicate::default(),
            standby_after: HubConfig::STANDBY_AFTER,
            swf: SwfSource::default(),
        }
    }
}

/// The shortest `standby_after`: frames of a busy path arrive further apart than shorter ones.
const MIN_STANDBY_AFTER: Duration = Duration::from_millis(100);

fn standby_after<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let after = time::deserialize(deserializer)?;
    if after < MIN_STANDBY_AFTER {
        let error = format!("expected at least {} ms", MIN_STANDBY_AFTER.as_millis());
        return Err(D::Error::custom(error));
    }
    Ok(after)
}
