//! Counters of the cluster.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of the cluster, as they are updated.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: Counter,
    pub(crate) claims_owned: Counter,
    pub(crate) claims_provisional: Counter,
    pub(crate) claims_confirmed: Counter,
    pub(crate) claims_refused: Counter,
    pub(crate) fenced: Counter,
    pub(crate) joins: Counter,
    pub(crate) joins_failed: Counter,
    pub(crate) rejoins: Counter,
    pub(crate) gaps: Counter,
    pub(crate) frames_out: Counter,
    pub(crate) bytes_out: Counter,
    pub(crate) frames_in: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) dropped_late: Counter,
    pub(crate) dropped_away: Counter,
    pub(crate) dropped_large: Counter,
    pub(crate) malformed: Counter,
    pub(crate) other_version: Counter,
    pub(crate) redirects_load: Counter,
    pub(crate) redirects_drain: Counter,
}

/// The counters of the cluster since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterCounters {
    /// Connections to NATS servers that were established.
    pub connections: u64,
    /// Names that this node has claimed.
    pub claims_owned: u64,
    /// Claims that the arbiter could not confirm at once.
    pub claims_provisional: u64,
    /// Names that the arbiter confirmed after they were used provisionally.
    pub claims_confirmed: u64,
    /// Claims that were refused.
    pub claims_refused: u64,
    /// Streams that this node has lost to another one.
    pub fenced: u64,
    /// Streams that this node has joined at another one, each time that it has looked for the owner.
    pub joins: u64,
    /// Attempts to join, or to join again, that failed.
    pub joins_failed: u64,
    /// Streams that this node has joined again because frames were lost on the way.
    pub rejoins: u64,
    /// Gaps in streams from other nodes.
    pub gaps: u64,
    /// Live frames sent to other nodes; each counts once, however many nodes receive it.
    pub frames_out: u64,
    /// Bytes sent to other nodes for streams: frames, tracks and signs of life, also of answers to
    /// nodes that join.
    pub bytes_out: u64,
    /// Frames received from other nodes and passed on, also of answers when this node joins.
    pub frames_in: u64,
    /// Bytes received from other nodes for streams: frames, tracks and signs of life, also of such
    /// answers.
    pub bytes_in: u64,
    /// Received frames dropped because they were too late.
    pub dropped_late: u64,
    /// Parts of messages that were not sent because no NATS server was connected, or the connected
    /// one took nothing for half a second.
    pub dropped_away: u64,
    /// Frames that were not sent because they are too large, or have too many units.
    pub dropped_large: u64,
    /// Messages that were dropped because they are malformed.
    pub malformed: u64,
    /// Messages that were dropped because their sender speaks another version.
    pub other_version: u64,
    /// New viewers redirected to another node because this one had too much load.
    pub redirects_load: u64,
    /// New viewers redirected to another node because this one drained.
    pub redirects_drain: u64,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn note(&self) {
        self.add(1);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn read(&self) -> ClusterCounters {
        ClusterCounters {
            connections: self.connections.get(),
            claims_owned: self.claims_owned.get(),
            claims_provisional: self.claims_provisional.get(),
            claims_confirmed: self.claims_confirmed.get(),
            claims_refused: self.claims_refused.get(),
            fenced: self.fenced.get(),
            joins: self.joins.get(),
            joins_failed: self.joins_failed.get(),
            rejoins: self.rejoins.get(),
            gaps: self.gaps.get(),
            frames_out: self.frames_out.get(),
            bytes_out: self.bytes_out.get(),
            frames_in: self.frames_in.get(),
            bytes_in: self.bytes_in.get(),
            dropped_late: self.dropped_late.get(),
            dropped_away: self.dropped_away.get(),
            dropped_large: self.dropped_large.get(),
            malformed: self.malformed.get(),
            other_version: self.other_version.get(),
            redirects_load: self.redirects_load.get(),
            redirects_drain: self.redirects_drain.get(),
        }
    }
}
