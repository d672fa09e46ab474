//! Settings of streams, and exceptions for some of them.

use std::fmt;
use std::str::FromStr;

use distributary_hub::{BFramePolicy, ByStream, PatternError, SeiPolicy, StreamPattern, VuiPolicy};
use serde::{Deserialize, Serialize};

use crate::units::serde_as_text;

/// What holds for the streams of some names in place of what `[streams]` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamRule {
    /// The names of the streams, with at most one `*`.
    #[serde(rename = "match")]
    pub streams: Pattern,
    /// What is done with B-frames.
    pub bframes: Option<BFrames>,
    /// What is done with supplemental enhancement information.
    pub sei: Option<Sei>,
    /// What is done with what a stream says of the order of its pictures.
    pub vui: Option<Vui>,
}

impl StreamRule {
    /// A setting of each stream: `default`, but for the streams of the rules that say something else.
    pub(crate) fn setting<T: Copy, P: From<T>>(
        default: T,
        rules: &[Self],
        of: impl Fn(&Self) -> Option<T>,
    ) -> ByStream<P> {
        let exceptions = rules
            .iter()
            .filter_map(|rule| Some((rule.streams.0.clone(), of(rule)?.into())));
        ByStream::new(default.into(), exceptions.collect())
    }
}

/// What is done with B-frames, as [`BFramePolicy`] explains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BFrames {
    /// [`BFramePolicy::Auto`].
    #[default]
    Auto,
    /// [`BFramePolicy::Drop`].
    Drop,
    /// [`BFramePolicy::Transcode`].
    Transcode,
    /// [`BFramePolicy::Reorder`].
    Reorder,
    /// [`BFramePolicy::Refuse`].
    Refuse,
}

impl From<BFrames> for BFramePolicy {
    fn from(policy: BFrames) -> Self {
        match policy {
            BFrames::Auto => Self::Auto,
            BFrames::Drop => Self::Drop,
            BFrames::Transcode => Self::Transcode,
            BFrames::Reorder => Self::Reorder,
            BFrames::Refuse => Self::Refuse,
        }
    }
}

/// What is done with supplemental enhancement information, as [`SeiPolicy`] explains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sei {
    /// [`SeiPolicy::Keep`].
    #[default]
    Keep,
    /// [`SeiPolicy::Drop`].
    Drop,
}

impl From<Sei> for SeiPolicy {
    fn from(policy: Sei) -> Self {
        match policy {
            Sei::Keep => Self::Keep,
            Sei::Drop => Self::Drop,
        }
    }
}

/// What is done with what a stream says of the order of its pictures, as [`VuiPolicy`] explains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vui {
    /// [`VuiPolicy::Keep`].
    #[default]
    Keep,
    /// [`VuiPolicy::NoReorder`].
    NoReorder,
}

impl From<Vui> for VuiPolicy {
    fn from(policy: Vui) -> Self {
        match policy {
            Vui::Keep => Self::Keep,
            Vui::NoReorder => Self::NoReorder,
        }
    }
}

/// A [`StreamPattern`] as it is in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(pub StreamPattern);

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

serde_as_text!(Pattern);
