//! The form of the audio in which a stream travels between nodes.

use distributary_hub::AudioForm;
use serde::{Deserialize, Serialize};

/// The form of the audio in which a stream travels between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    /// Opus, which the owner makes once for all nodes.
    Opus,
    /// As published, for RTMP players.
    Published,
}

impl Form {
    /// Returns the token that stands for it in a subject.
    pub(crate) fn token(self) -> &'static str {
        match self {
            Self::Opus => "o",
            Self::Published => "p",
        }
    }

    /// Returns the form in which a subscriber of the hub receives it.
    pub(crate) fn audio(self) -> AudioForm {
        match self {
            Self::Opus => AudioForm::Opus,
            Self::Published => AudioForm::Published,
        }
    }
}
