//! How the viewers fare, for others to read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use distributary_hub::StreamName;

use crate::session::{SessionId, ShortId};
use distributary_webrtc::ice::CandidatePair;
use distributary_webrtc::peer::PeerStats;
use distributary_webrtc::sender::SenderStats;
use distributary_webrtc::srtp::SrtpProfile;

/// A session in figures, a second old at most.
#[derive(Clone, Debug)]
pub struct SessionReport {
    /// The first digits of its name: enough to tell sessions apart, and not enough to end one.
    pub id: ShortId,
    /// The stream that is watched, or its rendition.
    pub stream: StreamName,
    /// When the offer was answered.
    pub since: Instant,
    /// What is known of the viewer and its path.
    pub figures: SessionFigures,
}

/// What is known of a viewer and of its path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionFigures {
    /// Whether media is sent.
    pub is_connected: bool,
    /// The pair of addresses that is sent on.
    pub pair: Option<CandidatePair>,
    /// How media is sealed, once DTLS is done.
    pub profile: Option<SrtpProfile>,
    /// Bits of media per second that were sent lately, headers left out.
    pub bitrate: u64,
    /// What the viewer reports, and what its path is estimated to carry.
    pub peer: PeerStats,
    /// What was sent of the video.
    pub video: SenderStats,
    /// What was sent of the audio.
    pub audio: SenderStats,
}

/// The figures of all sessions that have been heard of. A shard writes those of its viewers once a
/// second, each behind a lock of its own.
#[derive(Default)]
pub(crate) struct Figures(Mutex<HashMap<SessionId, Arc<FiguresCell>>>);

/// Where a shard writes the figures of one session.
pub(crate) struct FiguresCell {
    shard: usize,
    since: Instant,
    current: Mutex<Current>,
}

/// The part of a session's figures that changes.
struct Current {
    stream: StreamName,
    figures: SessionFigures,
    /// When they were written.
    written: Option<Instant>,
}

impl Figures {
    /// A place for the figures of a session that a shard has.
    pub(crate) fn enter(
        &self,
        id: SessionId,
        stream: StreamName,
        shard: usize,
        since: Instant,
    ) -> Arc<FiguresCell> {
        let cell = Arc::new(FiguresCell {
            shard,
            since,
            current: Mutex::new(Current {
                stream,
                figures: SessionFigures::default(),
                written: None,
            }),
        });
        self.lock().insert(id, Arc::clone(&cell));
        cell
    }

    /// Forgets a session.
    pub(crate) fn remove(&self, id: &SessionId) {
        self.lock().remove(id);
    }

    /// How many of the sessions each of `shards` shards has.
    pub(crate) fn spread(&self, shards: usize) -> Vec<usize> {
        let mut spread = vec![0; shards];
        for cell in self.lock().values() {
            if let Some(count) = spread.get_mut(cell.shard) {
                *count += 1;
            }
        }
        spread
    }

    /// The sessions whose names begin like this: one, but for a rare coincidence.
    pub(crate) fn named(&self, id: ShortId) -> Vec<SessionId> {
        let sessions = self.lock();
        let ids = sessions.keys().copied();
        ids.filter(|full| full.short() == id).collect()
    }

    /// The sessions that watch `stream`, or all, the oldest first.
    pub(crate) fn report(&self, stream: Option<&StreamName>) -> Vec<SessionReport> {
        // The lock is not held while all cells are read, so that no shard waits for that.
        let cells: Vec<(SessionId, Arc<FiguresCell>)> = self
            .lock()
            .iter()
            .map(|(id, cell)| (*id, Arc::clone(cell)))
            .collect();
        // Whoever watches a rendition watches the stream.
        let is_asked_for =
            |watched: &StreamName| stream.is_none_or(|stream| watched.as_str() == stream.as_str());
        let mut reports: Vec<SessionReport> = cells
            .iter()
            .filter_map(|(id, cell)| {
                let current = cell.lock();
                is_asked_for(&current.stream).then(|| SessionReport {
                    id: id.short(),
                    stream: current.stream.clone(),
                    since: cell.since,
                    figures: current.figures,
                })
            })
            .collect();
        reports.sort_by_key(|report| report.since);
        reports
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<FiguresCell>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FiguresCell {
    /// Writes what is known at `now`; the bit rate is that since the last time.
    pub(crate) fn set(&self, mut figures: SessionFigures, now: Instant) {
        let mut current = self.lock();
        if let Some(written) = current.written.replace(now) {
            let octets = figures.octets().saturating_sub(current.figures.octets());
            let millis = now.saturating_duration_since(written).as_millis().max(1);
            figures.bitrate = u64::try_from(u128::from(octets) * 8000 / millis).unwrap_or(u64::MAX);
        }
        current.figures = figures;
    }

    /// Notes that the viewer watches `stream` from now on: another form of the same.
    pub(crate) fn set_stream(&self, stream: StreamName) {
        self.lock().stream = stream;
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionFigures {
    /// Payload bytes sent so far.
    pub fn octets(&self) -> u64 {
        self.video.octets + self.audio.octets
    }

    /// Part of the packets of the main stream that were lost before the newest report, 0 to 1.
    pub fn loss(&self) -> Option<f64> {
        let report = self.peer.report?;
        Some(f64::from(report.fraction_lost) / 256.0)
    }

    /// Variation of the time that packets of the main stream take, by the newest report.
    pub fn jitter(&self) -> Option<Duration> {
        let report = self.peer.report?;
        // The main stream is the video wherever there is any.
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

    #[test]
    fn sessions_are_reported_by_stream_and_gone_when_they_end() {
        let now = Instant::now();
        let figures = Figures::default();
        let name = |name: &str| StreamName::parse(name).unwrap();
        let (first, second) = (SessionId::random(), SessionId::random());
        let later = now + Duration::from_secs(1);
        figures.enter(second, name("live/b"), 2, later);
        let cell = figures.enter(first, name("live/a").rendition(), 0, now);
        let sent = |octets| SessionFigures {
            is_connected: true,
            video: SenderStats {
                octets,
                ..SenderStats::default()
            },
            ..SessionFigures::default()
        };
        cell.set(sent(1000), now);
        cell.set(sent(101_000), now + Duration::from_secs(2));
        let all = figures.report(None);
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].id, first.short());
        let of_a = figures.report(Some(&name("live/a")));
        assert!(of_a.len() == 1 && of_a[0].figures.is_connected);
        assert_eq!(of_a[0].figures.bitrate, 400_000);
        assert_eq!(figures.named(first.short()), [first]);
        assert_eq!(figures.spread(3), [1, 0, 1]);
        figures.remove(&first);
        assert!(figures.report(Some(&name("live/a"))).is_empty());
    }
}
