//! The sections `[streams]` and `[[stream]]` of the configuration.

use std::fmt::Display;
use std::time::Duration;

use distributary_config::Section;
use distributary_media::{OpusApplication, OpusConfig};
use distributary_names::{RenditionId, StreamName, StreamPattern};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::joined::RenditionRule;
use crate::policy::{BFramePolicy, SeiPolicy, VuiPolicy};
use crate::viewers::ViewerLimits;

/// The configuration of the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubConfig {
    /// The settings of all streams.
    pub streams: StreamsConfig,
    /// Exceptions for some streams. The first that matches a name and has the setting applies.
    pub exceptions: Vec<StreamRule>,
    /// Streams that are renditions of others. The first entry that matches a name applies.
    pub renditions: Vec<RenditionRule>,
    /// The limits of viewers.
    pub viewers: ViewerLimits,
    /// Time by which the next frame of an active publisher may be late before one that stands by
    /// takes over: of its video, if it has any.
    pub standby_after: Duration,
    /// The limits of memory.
    pub limits: LimitsConfig,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            streams: StreamsConfig::default(),
            exceptions: Vec::new(),
            renditions: Vec::new(),
            viewers: ViewerLimits::default(),
            standby_after: Self::STANDBY_AFTER,
            limits: LimitsConfig::default(),
        }
    }
}

/// The section `[limits]`: limits of the gateway as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Section)]
#[serde(default, deny_unknown_fields)]
#[reload]
pub struct LimitsConfig {
    /// The memory of the process.
    pub memory: MemoryBudget,
    /// Maximum memory of the frames of one publisher, in bytes; 0 means no limit.
    #[serde(with = "distributary_config::size")]
    pub memory_per_publisher: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            memory: MemoryBudget::Auto,
            memory_per_publisher: 256 << 20,
        }
    }
}

/// The memory that the process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryBudget {
    /// A part of what the machine has.
    Auto,
    /// This many bytes; 0 means no limit.
    Bytes(usize),
}

impl Serialize for MemoryBudget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Bytes(bytes) => distributary_config::size::serialize(bytes, serializer),
        }
    }
}

impl<'de> Deserialize<'de> for MemoryBudget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let bytes = distributary_config::size::parse(&text);
        bytes
            .map(Self::Bytes)
            .map_err(|error| D::Error::custom(format!("{error}, or \"auto\"")))
    }
}

/// The section `[streams]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Section)]
#[serde(default, deny_unknown_fields)]
#[reload]
pub struct StreamsConfig {
    /// Maximum size of the video in a stream's GOP cache, in bytes.
    #[serde(with = "distributary_config::size")]
    pub cache_size: usize,
    /// Maximum duration of the video in a stream's GOP cache, in media time.
    #[serde(with = "distributary_config::time")]
    pub cache_duration: Duration,
    /// Maximum number of frames of one stream in one subscriber's queue.
    pub queue_frames: usize,
    /// Bitrate of the Opus that the gateway encodes, in bits per second.
    #[serde(deserialize_with = "opus_bitrate")]
    pub opus_bitrate: u32,
    /// True to add in-band forward error correction to this Opus.
    pub opus_fec: bool,
    /// The application that the Opus encoder optimizes for.
    pub opus_application: OpusApplication,
    /// Complexity of the Opus encoder, 0 to 10.
    #[serde(deserialize_with = "opus_complexity")]
    pub opus_complexity: u8,
    /// Policy for B-frames.
    pub bframes: BFramePolicy,
    /// Policy for supplemental enhancement information.
    pub sei: SeiPolicy,
    /// Policy for the frame reordering that streams declare.
    pub vui: VuiPolicy,
}

/// An entry of `[[stream]]`: exceptions from `[streams]` for the streams that match a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamRule {
    /// The streams.
    #[serde(rename = "match")]
    pub streams: StreamPattern,
    /// Policy for B-frames.
    pub bframes: Option<BFramePolicy>,
    /// Policy for supplemental enhancement information.
    pub sei: Option<SeiPolicy>,
    /// Policy for the frame reordering that the streams declare.
    pub vui: Option<VuiPolicy>,
}

impl HubConfig {
    /// The default of [`standby_after`](Self::standby_after).
    pub const STANDBY_AFTER: Duration = Duration::from_secs(1);

    /// Returns what to do with B-frames of the stream `name`.
    pub(crate) fn b_frames(&self, name: &StreamName) -> BFramePolicy {
        self.setting(name, self.streams.bframes, |rule| rule.bframes)
    }

    /// Returns what to do with supplemental enhancement information of the stream `name`.
    pub(crate) fn sei(&self, name: &StreamName) -> SeiPolicy {
        self.setting(name, self.streams.sei, |rule| rule.sei)
    }

    /// Returns what to do with the frame reordering that the stream `name` declares.
    pub(crate) fn vui(&self, name: &StreamName) -> VuiPolicy {
        self.setting(name, self.streams.vui, |rule| rule.vui)
    }

    /// Returns the streams that are renditions of the stream `name`, with their ids.
    pub(crate) fn members(&self, name: &StreamName) -> Vec<(RenditionId, StreamName)> {
        let mut rules = self.renditions.iter();
        rules
            .find_map(|rule| rule.members(name))
            .unwrap_or_default()
    }

    fn setting<T>(
        &self,
        name: &StreamName,
        default: T,
        exception: impl Fn(&StreamRule) -> Option<T>,
    ) -> T {
        let mut rules = self.exceptions.iter();
        rules
            .find_map(|rule| rule.streams.matches(name).and(exception(rule)))
            .unwrap_or(default)
    }
}

impl StreamsConfig {
    /// Returns the settings of the Opus encoder.
    pub(crate) fn opus(&self) -> OpusConfig {
        OpusConfig {
            bitrate: self.opus_bitrate,
            fec: self.opus_fec,
            application: self.opus_application,
            complexity: self.opus_complexity,
        }
    }
}

impl Default for StreamsConfig {
    fn default() -> Self {
        let opus = OpusConfig::default();
        Self {
            cache_size: 32 << 20,
            cache_duration: Duration::from_secs(30),
            queue_frames: 512,
            opus_bitrate: opus.bitrate,
            opus_fec: opus.fec,
            opus_application: opus.application,
            opus_complexity: opus.complexity,
            bframes: BFramePolicy::default(),
            sei: SeiPolicy::default(),
            vui: VuiPolicy::default(),
        }
    }
}

fn opus_bitrate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    checked(deserializer, |bitrate| OpusConfig {
        bitrate,
        ..OpusConfig::default()
    })
}

fn opus_complexity<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    checked(deserializer, |complexity| OpusConfig {
        complexity,
        ..OpusConfig::default()
    })
}

/// Deserializes a value, and checks it in the configuration that `config` returns for it.
fn checked<'de, D, T>(deserializer: D, config: impl Fn(T) -> OpusConfig) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Copy + Display,
{
    let value = T::deserialize(deserializer)?;
    config(value).check().map_err(D::Error::custom)?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_auto_or_a_size() {
        for (text, expected) in [
            ("auto", MemoryBudget::Auto),
            ("0B", MemoryBudget::Bytes(0)),
            ("2GiB", MemoryBudget::Bytes(2 << 30)),
        ] {
            let limits: LimitsConfig = toml::from_str(&format!("memory = \"{text}\"")).unwrap();
            assert_eq!(limits.memory, expected);
            let written = toml::to_string(&limits).unwrap();
            assert!(
                written.contains(&format!("memory = \"{text}\"")),
                "{written}"
            );
        }
        let error = toml::from_str::<LimitsConfig>("memory = \"much\"").unwrap_err();
        assert!(error.to_string().contains("or \"auto\""), "{error}");
    }

    #[test]
    fn first_exception_that_has_the_setting_applies() {
        let rule = |streams: &str, bframes, sei| StreamRule {
            streams: streams.parse().unwrap(),
            bframes,
            sei,
            vui: None,
        };
        let config = HubConfig {
            streams: StreamsConfig {
                bframes: BFramePolicy::Drop,
                ..StreamsConfig::default()
            },
            exceptions: vec![
                rule("live/show", None, Some(SeiPolicy::Drop)),
                rule("live/show", Some(BFramePolicy::Refuse), None),
                rule("live/*", Some(BFramePolicy::Reorder), None),
            ],
            ..HubConfig::default()
        };
        let settings = |name| {
            let name = StreamName::parse(name).unwrap();
            (config.b_frames(&name), config.sei(&name))
        };
        let show = (BFramePolicy::Refuse, SeiPolicy::Drop);
        assert_eq!(settings("live/show"), show);
        let other = (BFramePolicy::Reorder, SeiPolicy::Keep);
        assert_eq!(settings("live/other"), other);
        let test = (BFramePolicy::Drop, SeiPolicy::Keep);
        assert_eq!(settings("test/show"), test);
    }
}
