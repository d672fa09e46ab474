//! The publisher's description of its stream, for the log and the API.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use distributary_hub::{EventLimit, PublisherInfo};
use distributary_media::flv::OtherTrack;
use tracing::info;

use crate::proto::metadata::Metadata;

/// Limit for log lines about metadata and other tracks.
const LOG_LIMIT: EventLimit = EventLimit::new(8, Duration::from_secs(10));

/// Rounds a bitrate, whose digits behind the point say nothing.
fn rounded(kbps: f64) -> u64 {
    kbps.round() as u64
}

/// The last metadata, and the other tracks.
#[derive(Debug)]
pub(super) struct Description {
    metadata: Metadata,
    info: PublisherInfo,
    log_limit: EventLimit,
}

impl Description {
    /// Returns the description of a publisher at `address`, if it has one.
    pub(super) fn new(address: Option<SocketAddr>) -> Self {
        Self {
            metadata: Metadata::default(),
            info: PublisherInfo {
                address,
                ..PublisherInfo::default()
            },
            log_limit: LOG_LIMIT,
        }
    }

    /// Returns the last metadata.
    pub(super) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Returns the description for the API.
    pub(super) fn info(&self) -> &PublisherInfo {
        &self.info
    }

    /// Sets the metadata. Returns whether it has changed: some encoders repeat it several times a
    /// second.
    pub(super) fn set_metadata(&mut self, metadata: Metadata, now: Instant) -> bool {
        if metadata == self.metadata {
            return false;
        }
        if let Some(held_back) = self.log_limit.admit(now) {
            info!(
                encoder = metadata.encoder,
                video_kbps = metadata.video_kbps.map(rounded),
                audio_kbps = metadata.audio_kbps.map(rounded),
                held_back = NonZeroU64::new(held_back),
                "metadata"
            );
        }
        self.info = PublisherInfo {
            address: self.info.address,
            encoder: metadata.encoder.clone(),
            frame_rate: metadata.frame_rate,
            video_kbps: metadata.video_kbps,
            audio_kbps: metadata.audio_kbps,
            other_tracks: std::mem::take(&mut self.info.other_tracks),
        };
        self.metadata = metadata;
        true
    }

    /// Adds a track that is not used.
    pub(super) fn add_other_track(&mut self, track: OtherTrack, now: Instant) {
        if let Some(held_back) = self.log_limit.admit(now) {
            info!(
                kind = %track.kind,
                id = track.id,
                codec = track.codec,
                held_back = NonZeroU64::new(held_back),
                "another track, which is not used"
            );
        }
        self.info.other_tracks.push(track);
    }
}
