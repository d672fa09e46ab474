//! A stream in figures, and what its publisher says about itself.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use distributary_media::flv::OtherTrack;
use distributary_media::h264::BFrames;
use distributary_media::{AudioTrack, VideoTrack};

use crate::cache::Overflow;

/// What a publisher says about itself, for people to read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PublisherInfo {
    /// Where it is; `None` where that means nothing.
    pub address: Option<SocketAddr>,
    /// The encoder's name.
    pub encoder: Option<String>,
    /// Frames per second.
    pub frame_rate: Option<f64>,
    /// Video bit rate, in kbit/s.
    pub video_kbps: Option<f64>,
    /// Audio bit rate, in kbit/s.
    pub audio_kbps: Option<f64>,
    /// Tracks that it sends beside the two that are used.
    pub other_tracks: Vec<OtherTrack>,
}

/// Why viewers see nothing, or nothing new, though the publisher sends video.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingVideo {
    /// Whether there has been a keyframe, so that viewers have seen something.
    pub has_keyframe: bool,
    /// Why the last message of video was dropped, unless a frame was taken since.
    pub reason: Option<String>,
}

impl fmt::Display for MissingVideo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (&self.reason, self.has_keyframe) {
            (None, false) => {
                "video arrives without a keyframe: viewers see nothing; let the encoder make a keyframe every two seconds"
            }
            (_, false) => "video arrives without a usable frame: viewers see nothing",
            (_, true) => "video arrives without a usable frame: viewers see nothing new",
        })?;
        match &self.reason {
            Some(reason) => write!(f, "; it is dropped because {reason}"),
            None => Ok(()),
        }
    }
}

/// Why viewers hear nothing, or nothing new, though the publisher sends audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingAudio {
    /// Why the last message of audio was dropped.
    pub reason: String,
}

impl fmt::Display for MissingAudio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason } = self;
        write!(
            f,
            "audio arrives without a usable frame: viewers hear nothing; it is dropped because {reason}"
        )
    }
}

/// A stream in figures.
#[derive(Clone, Debug, Default)]
pub struct StreamStats {
    /// Since when a publisher is there; `None` while it is gone.
    pub live_since: Option<Instant>,
    /// What the publisher says about itself.
    pub info: Option<Arc<PublisherInfo>>,
    /// The video track, once its sequence header has come.
    pub video: Option<Arc<VideoTrack>>,
    /// The audio track, once its sequence header has come.
    pub audio: Option<Arc<AudioTrack>>,
    /// Set while video arrives that viewers cannot be shown.
    pub missing_video: Option<Arc<MissingVideo>>,
    /// Set while audio arrives that viewers cannot hear.
    pub missing_audio: Option<Arc<MissingAudio>>,
    /// The B-frames of the video; `None` before it is certain whether there are any.
    pub b_frames: Option<BFrames>,
    /// Video frames accepted since the stream began.
    pub video_frames: u64,
    /// Audio frames accepted since the stream began.
    pub audio_frames: u64,
    /// Bytes of coded media accepted since the stream began.
    pub bytes: u64,
    /// Frames dropped because a subscriber's queue, or that of the audio thread, was full.
    pub dropped: u64,
    /// Bytes of memory that the GOP cache holds.
    pub cached_bytes: usize,
    /// Media time in the group-of-pictures cache.
    pub cached: Duration,
    /// Why the present group of pictures is not kept, if it is too large for that: newcomers wait for a
    /// keyframe.
    pub cache_overflow: Option<Overflow>,
}
