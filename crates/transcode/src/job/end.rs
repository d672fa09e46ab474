//! The reasons why transcoding ends.

use std::sync::Arc;
use std::time::Duration;

use distributary_hub::{PublishError, Refusal};

use crate::attempt::RunEnd;
use crate::supervisor::Ending;

/// The reason why transcoding ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error(transparent)]
    Run(#[from] RunEnd),
    #[error("the limit of {0} transcoded streams is reached (see \"max\" under [transcode])")]
    TooMany(usize),
    #[error("no viewers")]
    Unwatched,
    #[error("there is no such rendition of the stream")]
    NotOffered,
    #[error("the stream arrives from the node {0}, which makes its renditions")]
    Elsewhere(Arc<str>),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Unfit(#[from] Refusal),
}

impl End {
    /// Returns the ending for the supervisor, after an encoder that ran for `worked` and returned
    /// `frames` frames.
    pub(super) fn ending(&self, worked: Duration, frames: u64) -> Ending {
        match self {
            Self::Run(RunEnd::Changed) => Ending::Changed,
            Self::Run(RunEnd::Offline) => Ending::Offline,
            Self::Unwatched | Self::NotOffered | Self::Elsewhere(_) => Ending::Unwatched,
            Self::Run(RunEnd::Failed(_)) | Self::TooMany(_) | Self::Publish(_) | Self::Unfit(_) => {
                Ending::Failed {
                    after: worked,
                    has_output: frames > 0,
                }
            }
        }
    }
}
