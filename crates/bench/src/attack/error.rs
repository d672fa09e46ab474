//! The reasons why an attack ends early.

use std::io;
use std::time::Duration;

use distributary_media::flv::FlvFileError;
use distributary_rtmp::client::{ClientError, ClientSessionError};
use distributary_webrtc::certificate::CertificateError;
use distributary_webrtc::dtls::DtlsError;

use crate::answer::AnswerError;

/// The reason why an attack ended early. Often the gateway should do that.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttackError {
    /// The system or the gateway has refused a connection, or has closed it.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The RTMP connection failed.
    #[error("RTMP: {0}")]
    Rtmp(#[from] ClientError),
    /// The RTMP session was refused.
    #[error("RTMP: {0}")]
    RtmpSession(#[from] ClientSessionError),
    /// The response is not HTTP.
    #[error("no HTTP response: {0}")]
    Http(&'static str),
    /// The response has another status than that of success.
    #[error("HTTP status {0}")]
    Status(u16),
    /// The answer is of no use.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// DTLS could not be set up.
    #[error("DTLS: {0}")]
    Dtls(#[from] DtlsError),
    /// The certificate could not be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The system has no random numbers.
    #[error("no random numbers")]
    Random,
    /// The clip is not FLV.
    #[error("the clip: {0}")]
    Clip(#[from] FlvFileError),
    /// The clip lacks something.
    #[error("the clip has no {0}")]
    Lacks(&'static str),
    /// The gateway has not behaved as the attack requires.
    #[error("no {0} within {1:?}")]
    Timeout(&'static str, Duration),
}
