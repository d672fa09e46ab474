//! The sizes of a shard's tables, for simulations that check their bounds.

use super::Shard;
use crate::datagrams::Outlet;

/// The sizes of a shard's tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardTables {
    /// Viewers.
    pub viewers: usize,
    /// Addresses of viewers.
    pub addresses: usize,
    /// Addresses that the viewers have, each counted for each of its viewers.
    pub claims: usize,
    /// Our user name fragments that viewers may name.
    pub ufrags: usize,
    /// Sessions.
    pub sessions: usize,
    /// Streams and renditions with a log.
    pub streams: usize,
    /// Bytes of the largest log.
    pub log_bytes: usize,
}

impl<O: Outlet> Shard<O> {
    /// Returns the sizes of the tables.
    pub(crate) fn tables(&self) -> ShardTables {
        let (viewers, streams) = (&self.fan_out.viewers, &self.fan_out.streams);
        let [addresses, ufrags, sessions] = viewers.indexed();
        let logs = streams.iter().map(|(_, stream)| {
            let (video, audio) = (stream.video.bytes(), stream.audio.bytes());
            video.max(audio)
        });
        ShardTables {
            viewers: viewers.count(),
            addresses,
            claims: viewers.iter().map(|viewer| viewer.addresses.len()).sum(),
            ufrags,
            sessions,
            streams: streams.iter().count(),
            log_bytes: logs.max().unwrap_or(0),
        }
    }
}
