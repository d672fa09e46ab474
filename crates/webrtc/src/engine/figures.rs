//! How the viewers fare, for others to read.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use distributary_hub::StreamName;

use crate::peer::PeerStats;
use crate::sender::SenderStats;
use crate::session::{SessionId, ShortId};

/// A session in figures, a second old at most.
#[derive(Clone, Debug)]
pub struct SessionReport {
    /// The first digits of its name: enough to tell sessions apart, and not enough to end one.
    pub id: ShortId,
    /// The stream that is watched.
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
pub(crate) struct Figures {
    sessions: DashMap<SessionId, Arc<FiguresCell>>,
}

/// Where a shard writes the figures of one session.
pub(crate) struct FiguresCell {
    stream: StreamName,
    since: Instant,
    figures: Mutex<SessionFigures>,
}

impl Figures {
    /// A place for the figures of a session.
    pub(crate) fn enter(
        &self,
        id: SessionId,
        stream: StreamName,
        since: Instant,
    ) -> Arc<FiguresCell> {
        let cell = Arc::new(FiguresCell {
            stream,
            since,
            figures: Mutex::default(),
        });
        self.sessions.insert(id, Arc::clone(&cell));
        cell
    }

    /// Forgets a session.
    pub(crate) fn remove(&self, id: &SessionId) {
        self.sessions.remove(id);
    }

    /// The sessions that watch `stream`, or all, the oldest first.
    pub(crate) fn report(&self, stream: Option<&StreamName>) -> Vec<SessionReport> {
        let is_asked_for = |cell: &FiguresCell| stream.is_none_or(|stream| cell.stream == *stream);
        let entries = self.sessions.iter();
        let mut reports: Vec<SessionReport> = entries
            .filter(|entry| is_asked_for(entry.value()))
            .map(|entry| SessionReport {
                id: entry.key().short(),
                stream: entry.stream.clone(),
                since: entry.since,
                figures: *entry.lock(),
            })
            .collect();
        reports.sort_by_key(|report| report.since);
        reports
    }
}

impl FiguresCell {
    /// Writes what is known now.
    pub(crate) fn set(&self, figures: SessionFigures) {
        *self.lock() = figures;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, SessionFigures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionFigures {
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
        figures.enter(second, name("live/b"), later);
        let cell = figures.enter(first, name("live/a"), now);
        cell.set(SessionFigures {
            is_connected: true,
            ..SessionFigures::default()
        });
        let all = figures.report(None);
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].id, first.short());
        let of_a = figures.report(Some(&name("live/a")));
        assert!(of_a.len() == 1 && of_a[0].figures.is_connected);
        figures.remove(&first);
        assert!(figures.report(Some(&name("live/a"))).is_empty());
    }
}
