//! The admin API: the publishers of a stream.

use std::time::Instant;

use distributary_hub::{PublisherInfo, PublisherStats, StandbyStats, Successor};
use distributary_net::canonical_address;
use serde::Serialize;

use super::track_status::{AudioStatus, VideoStatus, millis, tenths};

/// The publisher: its address, the evenness of its sending, and its own description.
#[derive(Default, Serialize)]
pub(super) struct PublisherStatus {
    /// Its number among the publishers of the stream; `null` while a standby is about to take over.
    id: Option<u64>,
    /// `null` for a pulled stream.
    address: Option<String>,
    encoder: Option<String>,
    /// Jitter of the arrival of video frames.
    pub(super) jitter_ms: f64,
    frame_rate: Option<f64>,
    video_kbps: Option<f64>,
    audio_kbps: Option<f64>,
    /// Tracks other than the two in use.
    other_tracks: Vec<TrackStatus>,
}

/// A publisher that stands by.
#[derive(Serialize)]
pub(super) struct StandbyStatus {
    id: u64,
    address: Option<String>,
    encoder: Option<String>,
    connected_seconds: u64,
    /// Seconds since its last frame.
    silent_seconds: f64,
    /// It takes over with its next keyframe.
    next: bool,
    video: Option<VideoStatus>,
    audio: Option<AudioStatus>,
}

/// Another node of the cluster with publishers that stand by.
#[derive(Serialize)]
pub(super) struct StandbyNode {
    node: String,
    standbys: usize,
    /// One of them sends what viewers can begin with.
    ready: bool,
}

/// A track that is not in use.
#[derive(Serialize)]
struct TrackStatus {
    kind: String,
    id: u8,
    codec: String,
}

impl PublisherStatus {
    /// Describes the active publisher, if there is one, with these stats.
    pub(super) fn of(
        id: Option<u64>,
        info: Option<&PublisherInfo>,
        rates: &PublisherStats,
    ) -> Self {
        Self {
            id,
            jitter_ms: tenths(millis(rates.jitter)),
            ..info.map(Self::from).unwrap_or_default()
        }
    }
}

impl From<&PublisherInfo> for PublisherStatus {
    fn from(info: &PublisherInfo) -> Self {
        let others = info.other_tracks.iter();
        Self {
            id: None,
            address: info
                .address
                .map(|address| canonical_address(address).to_string()),
            jitter_ms: 0.0,
            encoder: info.encoder.clone(),
            frame_rate: info.frame_rate,
            video_kbps: info.video_kbps,
            audio_kbps: info.audio_kbps,
            other_tracks: others
                .map(|track| TrackStatus {
                    kind: track.kind.to_string(),
                    id: track.id,
                    codec: track.codec.clone(),
                })
                .collect(),
        }
    }
}

impl StandbyStatus {
    /// Describes a standby at `now`.
    pub(super) fn of(standby: &StandbyStats, now: Instant) -> Self {
        let (info, rates) = (standby.info.as_deref(), standby.measured);
        let video = standby.video.as_deref();
        let audio = standby.audio.as_deref();
        let PublisherStatus {
            address, encoder, ..
        } = info.map(PublisherStatus::from).unwrap_or_default();
        Self {
            id: standby.id,
            address,
            encoder,
            connected_seconds: now.saturating_duration_since(standby.since).as_secs(),
            silent_seconds: tenths(standby.silent_for.as_secs_f64()),
            next: standby.is_next,
            video: video.map(|track| VideoStatus::of(track, &rates)),
            audio: audio.map(|track| AudioStatus::of(track, &rates, None)),
        }
    }
}

impl From<&Successor> for StandbyNode {
    fn from(successor: &Successor) -> Self {
        Self {
            node: successor.node.to_string(),
            standbys: successor.standbys,
            ready: successor.is_ready,
        }
    }
}
