//! The description of the publishers of a stream: the active one, and those that stand by.

use std::sync::Arc;
use std::time::{Duration, Instant};

use distributary_media::{AudioTrack, VideoTrack};

use super::{PublisherInfo, State, Stream, StreamStats, Successor};
use crate::meter::PublisherStats;

/// A publisher that stands by.
#[derive(Clone, Debug)]
pub struct StandbyStats {
    /// Its number among the publishers of its name, for
    /// [`Stream::request_takeover`] and [`Stream::dismiss`].
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

/// A stream with all its publishers at one moment.
#[derive(Clone, Debug)]
pub struct StreamReport {
    /// The stats of the stream, and of the active publisher's tracks.
    pub stats: StreamStats,
    /// The gateway from which the stream arrives; `None` if it is published here.
    pub node: Option<Arc<str>>,
    /// The number of the active publisher among the publishers of the stream; `None` if there is
    /// none.
    pub publisher_id: Option<u64>,
    /// The measured stats of the active publisher.
    pub measured: PublisherStats,
    /// The publishers that stand by, the one that has waited for longest first.
    pub standbys: Vec<StandbyStats>,
    /// The other gateways that have standbys.
    pub successors: Vec<Successor>,
}

impl Stream {
    /// Returns the stream with all its publishers at `now`.
    pub fn report(&self, now: Instant) -> StreamReport {
        let mut state = self.lock();
        StreamReport {
            stats: state.stats(),
            node: state.contribution.node.clone(),
            publisher_id: state.active.as_ref().map(|active| active.id),
            measured: state.contribution.meter.stats(now),
            standbys: state.standbys(now),
            successors: state.successors.clone(),
        }
    }
}

impl State {
    fn standbys(&mut self, now: Instant) -> Vec<StandbyStats> {
        let is_vacant = self.active.is_none();
        let standbys = self.standbys.iter_mut();
        let stats = standbys.map(|standby| StandbyStats {
            id: standby.claimant.id,
            since: standby.claimant.since,
            silent_for: standby.claimant.activity.silence(now),
            is_next: is_vacant || standby.is_requested(now),
            info: standby.contribution.info.clone(),
            video: standby.contribution.video.clone(),
            audio: standby.contribution.audio.clone(),
            measured: standby.contribution.meter.stats(now),
        });
        stats.collect()
    }
}
