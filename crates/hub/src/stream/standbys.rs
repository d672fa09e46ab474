//! The description of the publishers that stand by.

use std::sync::Arc;
use std::time::{Duration, Instant};

use distributary_media::{AudioTrack, VideoTrack};

use super::{PublisherInfo, Stream};
use crate::meter::PublisherStats;

/// A publisher that stands by.
#[derive(Clone, Debug)]
pub struct StandbyStats {
    /// Its number among the publishers of its name, for [`Stream::promote`] and
    /// [`Stream::dismiss`].
    pub id: u64,
    /// Time at which it began to publish.
    pub since: Instant,
    /// Time since its last frame.
    pub silent_for: Duration,
    /// True if it takes over with its next keyframe.
    pub is_next: bool,
    /// Its metadata.
    pub info: Option<Arc<PublisherInfo>>,
    /// Its video track, once declared.
    pub video: Option<Arc<VideoTrack>>,
    /// Its audio track, once declared.
    pub audio: Option<Arc<AudioTrack>>,
    /// Its measured stats.
    pub measured: PublisherStats,
}

impl Stream {
    /// Returns the publishers that stand by at `now`, the one that has waited for longest first.
    pub fn standbys(&self, now: Instant) -> Vec<StandbyStats> {
        let mut state = self.lock();
        let is_vacant = state.active.is_none();
        let standbys = state.standbys.iter_mut();
        let stats = standbys.map(|standby| StandbyStats {
            id: standby.claimant.id,
            since: standby.claimant.since,
            silent_for: now.saturating_duration_since(standby.claimant.last_frame),
            is_next: is_vacant || standby.is_wanted,
            info: standby.contribution.info.clone(),
            video: standby.contribution.video.clone(),
            audio: standby.contribution.audio.clone(),
            measured: standby.contribution.meter.stats(now),
        });
        stats.collect()
    }
}
