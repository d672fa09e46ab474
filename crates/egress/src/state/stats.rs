//! Stats of the sessions, written by the shards and read by the API.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use distributary_hub::SentBytes;
use distributary_names::{RenditionId, StreamName};
use distributary_net::sync::{Mutex, MutexGuard};

use crate::session::{SessionContext, SessionId, ShortId, ViewerClient};
use distributary_webrtc::ice::CandidatePair;
use distributary_webrtc::peer::PeerStats;
use distributary_webrtc::sender::SenderStats;
use distributary_webrtc::srtp::SrtpProfile;

/// A session with its stats, which are a second old at most.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// The first digits of its id: enough to tell sessions apart, and not enough to end one.
    pub id: ShortId,
    /// The stream that the session watches, or its rendition.
    pub stream: StreamName,
    /// When the offer was answered.
    pub since: Instant,
    /// The address that asked for the session; media may go to another.
    pub asked_from: Option<IpAddr>,
    /// The viewer's browser and page.
    pub client: Option<Arc<ViewerClient>>,
    /// Counters and gauges of the session.
    pub stats: SessionStats,
}

/// Counters and gauges of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionStats {
    /// True if media is sent.
    pub is_connected: bool,
    /// The pair of addresses that media is sent on.
    pub pair: Option<CandidatePair>,
    /// The SRTP profile, once DTLS is done.
    pub profile: Option<SrtpProfile>,
    /// Bits of media per second over the last second, without headers.
    pub bitrate: u64,
    /// Stats from the viewer's RTCP, and the estimated bandwidth of its path.
    pub peer: PeerStats,
    /// Counters of the video that was sent.
    pub video: SenderStats,
    /// Counters of the audio that was sent.
    pub audio: SenderStats,
}

/// The stats of all sessions whose first packet has arrived. A shard writes those of its viewers
/// once a second, each behind a lock of its own.
pub(crate) struct SessionStatsTable {
    cells: Mutex<HashMap<SessionId, Arc<SessionStatsCell>>>,
    sent: Arc<SentBytes>,
}

/// The stats of one session, written by its shard.
pub(crate) struct SessionStatsCell {
    shard: usize,
    since: Instant,
    asked_from: Option<IpAddr>,
    client: Option<Arc<ViewerClient>>,
    current: Mutex<Current>,
    sent: Arc<SentBytes>,
}

/// The part of [`SessionStatsCell`] that changes.
struct Current {
    stream: StreamName,
    stats: SessionStats,
    /// When the stats were written last.
    written: Option<Instant>,
}

impl SessionStatsTable {
    /// Returns an empty table. What its sessions are sent is added to `sent`.
    pub(crate) fn new(sent: Arc<SentBytes>) -> Self {
        Self {
            cells: Mutex::default(),
            sent,
        }
    }

    /// Adds a session that `shard` owns.
    pub(crate) fn enter(
        &self,
        id: SessionId,
        stream: StreamName,
        shard: usize,
        since: Instant,
        context: &SessionContext,
    ) -> Arc<SessionStatsCell> {
        let cell = Arc::new(SessionStatsCell {
            shard,
            since,
            asked_from: context.address,
            client: context.client.clone(),
            current: Mutex::new(Current {
                stream,
                stats: SessionStats::default(),
                written: None,
            }),
            sent: Arc::clone(&self.sent),
        });
        self.lock().insert(id, Arc::clone(&cell));
        cell
    }

    /// Removes a session.
    pub(crate) fn remove(&self, id: &SessionId) {
        self.lock().remove(id);
    }

    /// Returns the number of sessions of each of `shards` shards.
    pub(crate) fn spread(&self, shards: usize) -> Vec<usize> {
        let mut spread = vec![0; shards];
        for cell in self.lock().values() {
            if let Some(count) = spread.get_mut(cell.shard) {
                *count += 1;
            }
        }
        spread
    }

    /// Returns the rendition whose video a session gets; `None` before its first packet.
    pub(crate) fn rendition_of(&self, id: &SessionId) -> Option<RenditionId> {
        let cell = self.lock().get(id).map(Arc::clone)?;
        let rendition = cell.lock().stream.rendition_id();
        Some(rendition)
    }

    /// Returns the sessions whose ids begin with `id`: one, but for a rare coincidence.
    pub(crate) fn named(&self, id: ShortId) -> Vec<SessionId> {
        let sessions = self.lock();
        let ids = sessions.keys().copied();
        ids.filter(|full| full.short() == id).collect()
    }

    /// Returns the sessions whose media goes to such an address.
    pub(crate) fn sent_to(&self, is_wanted: &dyn Fn(IpAddr) -> bool) -> Vec<SessionId> {
        let goes_there = |cell: &SessionStatsCell| {
            let pair = cell.lock().stats.pair;
            pair.is_some_and(|pair| is_wanted(pair.remote.ip()))
        };
        let sessions = self.lock();
        let wanted = sessions.iter().filter(|(_, cell)| goes_there(cell));
        wanted.map(|(id, _)| *id).collect()
    }

    /// Returns the sessions that watch `stream`, or all, the oldest first.
    pub(crate) fn list(&self, stream: Option<&StreamName>) -> Vec<SessionInfo> {
        // Cells are read without the table's lock, so that shards do not wait for it.
        let cells: Vec<(SessionId, Arc<SessionStatsCell>)> = self
            .lock()
            .iter()
            .map(|(id, cell)| (*id, Arc::clone(cell)))
            .collect();
        // A rendition's viewers are viewers of the stream.
        let is_asked_for =
            |watched: &StreamName| stream.is_none_or(|stream| watched.as_str() == stream.as_str());
        let mut infos: Vec<SessionInfo> = cells
            .iter()
            .filter_map(|(id, cell)| {
                let current = cell.lock();
                is_asked_for(&current.stream).then(|| SessionInfo {
                    id: id.short(),
                    stream: current.stream.clone(),
                    since: cell.since,
                    asked_from: cell.asked_from,
                    client: cell.client.clone(),
                    stats: current.stats,
                })
            })
            .collect();
        infos.sort_by_key(|info| info.since);
        infos
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<SessionStatsCell>>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionStatsCell {
    /// Stores `stats` at `now`, with the bitrate since the last call.
    pub(crate) fn set(&self, mut stats: SessionStats, now: Instant) {
        let mut current = self.lock();
        let octets = stats.octets().saturating_sub(current.stats.octets());
        self.sent.add(&current.stream, octets);
        if let Some(written) = current.written.replace(now) {
            let millis = now.saturating_duration_since(written).as_millis().max(1);
            stats.bitrate = u64::try_from(u128::from(octets) * 8000 / millis).unwrap_or(u64::MAX);
        }
        current.stats = stats;
    }

    /// Records that the session now watches `stream`: the stream itself or its rendition.
    pub(crate) fn set_stream(&self, stream: StreamName) {
        self.lock().stream = stream;
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionStats {
    /// Returns the payload bytes sent so far.
    pub fn octets(&self) -> u64 {
        self.video.octets + self.audio.octets
    }

    /// Returns the fraction of packets lost before the newest receiver report, 0 to 1: of the video
    /// if there is any, else of the audio.
    pub fn loss(&self) -> Option<f64> {
        let report = self.peer.report?;
        Some(f64::from(report.fraction_lost) / 256.0)
    }

    /// Returns the interarrival jitter in the newest receiver report: of the video if there is any,
    /// else of the audio.
    pub fn jitter(&self) -> Option<Duration> {
        let report = self.peer.report?;
        let rate = if self.video.packets > 0 {
            90_000
        } else {
            48_000
        };
        Some(Duration::from_nanos(
            u64::from(report.jitter) * 1_000_000_000 / rate,
        ))
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;
    use crate::session::ViewerOptions;
    use distributary_hub::{Hub, HubConfig};
    use distributary_webrtc::ice::Transport;
    use std::net::SocketAddr;

    #[test]
    fn sessions_are_listed_by_stream_until_they_end() {
        let now = Instant::now();
        let table = SessionStatsTable::new(Arc::default());
        let name = |name: &str| StreamName::parse(name).unwrap();
        let (first, second) = (SessionId::random(), SessionId::random());
        let later = now + Duration::from_secs(1);
        let hub = Hub::new(HubConfig::default());
        let permit = hub.viewers().admit(&name("live/a"), None).unwrap();
        let options = ViewerOptions {
            address: Some([192, 0, 2, 7].into()),
            ..ViewerOptions::default()
        };
        let context = SessionContext::new(&first, &name("live/a"), &options, permit);
        table.enter(second, name("live/b"), 2, later, &context);
        let cell = table.enter(
            first,
            name("live/a").rendition(&RenditionId::H264),
            0,
            now,
            &context,
        );
        let sent = |octets| SessionStats {
            is_connected: true,
            video: SenderStats {
                octets,
                ..SenderStats::default()
            },
            ..SessionStats::default()
        };
        cell.set(sent(1000), now);
        cell.set(sent(101_000), now + Duration::from_secs(2));
        assert_eq!(table.sent.list().0, [("live/a".into(), 101_000)]);
        let all = table.list(None);
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].id, first.short());
        assert_eq!(all[0].asked_from, options.address);
        let of_a = table.list(Some(&name("live/a")));
        assert!(of_a.len() == 1 && of_a[0].stats.is_connected);
        assert_eq!(of_a[0].stats.bitrate, 400_000);
        assert_eq!(table.named(first.short()), [first]);
        assert_eq!(table.spread(3), [1, 0, 1]);
        let viewer = SocketAddr::from(([198, 51, 100, 1], 4000));
        let mut stats = sent(0);
        stats.pair = Some(CandidatePair {
            local: None,
            remote: viewer,
            transport: Transport::Udp,
        });
        cell.set(stats, later);
        assert_eq!(table.sent_to(&|ip| ip == viewer.ip()), [first]);
        table.remove(&first);
        assert!(table.list(Some(&name("live/a"))).is_empty());
    }
}
