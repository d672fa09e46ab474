//! A stream's stats, and the metadata of its publisher.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use distributary_media::BFrames;
use distributary_media::flv::OtherTrack;
use distributary_media::{AudioTrack, VideoTrack};

use super::State;
use super::contribution::Contribution;
use crate::cache::Overflow;

/// The metadata of a publisher, for display.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PublisherInfo {
    /// Its address; `None` if it has none of its own.
    pub address: Option<SocketAddr>,
    /// The encoder's name.
    pub encoder: Option<String>,
    /// Frames per second.
    pub frame_rate: Option<f64>,
    /// Video bitrate, in kbit/s.
    pub video_kbps: Option<f64>,
    /// Audio bitrate, in kbit/s.
    pub audio_kbps: Option<f64>,
    /// Tracks that it sends in addition to the two that are used.
    pub other_tracks: Vec<OtherTrack>,
}

/// The reason why viewers see nothing, or nothing new, although the publisher sends video.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingVideo {
    /// True if there was a keyframe, so that viewers have seen something.
    pub has_keyframe: bool,
    /// The reason why the last video message was dropped, unless a frame was accepted since.
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

/// The reason why viewers hear nothing, or nothing new, although the publisher sends audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingAudio {
    /// The reason why the last audio message was dropped.
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

/// The stats of a stream.
#[derive(Clone, Debug, Default)]
pub struct StreamStats {
    /// Time at which the publisher started; `None` while there is none.
    pub live_since: Option<Instant>,
    /// The metadata of the publisher.
    pub info: Option<Arc<PublisherInfo>>,
    /// The video track, once its sequence header has arrived.
    pub video: Option<Arc<VideoTrack>>,
    /// The audio track, once its sequence header has arrived.
    pub audio: Option<Arc<AudioTrack>>,
    /// Set while video arrives that viewers cannot see.
    pub missing_video: Option<Arc<MissingVideo>>,
    /// Set while audio arrives that viewers cannot hear.
    pub missing_audio: Option<Arc<MissingAudio>>,
    /// The B-frames of the video; `None` before it is certain whether there are any.
    pub b_frames: Option<BFrames>,
    /// The loudest recent audio sample, where 1 is full scale; `None` while it is not decoded for
    /// viewers.
    pub audio_peak: Option<f32>,
    /// Video frames accepted since the stream began.
    pub video_frames: u64,
    /// Audio frames accepted since the stream began.
    pub audio_frames: u64,
    /// Bytes of encoded media accepted since the stream began.
    pub bytes: u64,
    /// Frames dropped because a subscriber's queue, or that of the audio thread, was full.
    pub dropped: u64,
    /// Bytes of memory that the GOP cache holds.
    pub cached_bytes: usize,
    /// Media time in the GOP cache.
    pub cached: Duration,
    /// The limit that the current GOP has exceeded, if it is not kept: new viewers wait for a
    /// keyframe.
    pub cache_overflow: Option<Overflow>,
}

impl State {
    pub(super) fn stats(&self) -> StreamStats {
        let b_frames = self.b_frames.verdict;
        let Contribution {
            info,
            missing_video,
            missing_audio,
            video,
            audio,
            ..
        } = &self.contribution;
        StreamStats {
            live_since: self.live_since,
            info: info.clone(),
            video: video.clone(),
            audio: audio.clone(),
            missing_video: missing_video.clone(),
            missing_audio: missing_audio.clone(),
            b_frames: b_frames.is_certain.then_some(b_frames.kind),
            audio_peak: self.audio_job.is_some().then_some(self.audio_peak),
            video_frames: self.video_frames,
            audio_frames: self.audio_frames,
            bytes: self.bytes,
            dropped: self.dropped,
            cached_bytes: self.cache.bytes(),
            cached: self.cache.duration(),
            cache_overflow: self.cache.overflow(),
        }
    }
}
