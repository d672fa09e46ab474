//! Errors of the publishers.

use std::io;

use distributary_media::flv::FlvFileError;
use url::Url;

/// The reason why nothing can be published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishersError {
    /// The URL is not that of an RTMP stream.
    #[error("{0} is not of the form rtmp://host/app/name")]
    Url(Url),
    /// The system has refused something.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is not FLV.
    #[error(transparent)]
    File(#[from] FlvFileError),
    /// The file has no audio and no video tags.
    #[error("the file has neither audio nor video")]
    Empty,
}
