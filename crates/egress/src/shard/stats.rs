//! The stats of the viewers, for the API and for the audio encoder.

use std::time::{Duration, Instant};

use super::streams::Streams;
use super::viewers::{Viewer, Viewers};
use crate::state::SessionStats;

/// Time between two updates of the stats, a little less than a round of upkeep.
const STATS_INTERVAL: Duration = Duration::from_millis(900);

/// Interval at which the audio encoder is told the loss.
const LOSS_INTERVAL: Duration = Duration::from_secs(5);

/// Percentile of the viewers' loss that the audio encoder gets: one bad path is no reason to encode
/// the audio of all viewers for it.
const LOSS_PERCENTILE: usize = 90;

/// Steps of the reported loss, in percent: each change costs a moment of quality.
const LOSS_STEPS: [u8; 6] = [0, 2, 5, 10, 15, 20];

/// Writes the stats of a shard's viewers.
pub(super) struct StatsWriter {
    next: Instant,
    next_loss: Instant,
}

impl StatsWriter {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            next: now,
            next_loss: now + LOSS_INTERVAL,
        }
    }

    /// Writes the stats of all viewers for the API, and now and then the loss of each stream for
    /// its audio encoder.
    pub(super) fn write(&mut self, viewers: &Viewers, streams: &Streams, now: Instant) {
        if now < self.next {
            return;
        }
        self.next = now + STATS_INTERVAL;
        for viewer in viewers.iter() {
            viewer.write_stats(now);
        }
        if now < self.next_loss {
            return;
        }
        self.next_loss = now + LOSS_INTERVAL;
        for (_, stream) in streams.iter() {
            let keys = stream.all_viewers();
            let losses = keys.filter_map(|key| viewers.get(key)?.peer.stats().audio_loss);
            let loss = percentile(losses.collect());
            stream.subscription.set_audio_loss(stepped(loss));
        }
    }
}

impl Viewer {
    /// Writes the viewer's stats where others read them.
    pub(super) fn write_stats(&self, now: Instant) {
        let (video, audio) = self.peer.sender_stats();
        let stats = SessionStats {
            is_connected: self.peer.is_connected(),
            pair: self.peer.pair(),
            profile: self.peer.profile(),
            bitrate: 0,
            peer: self.peer.stats(),
            video,
            audio,
        };
        self.stats.set(stats, now);
    }
}

/// Returns the loss in 256ths that [`LOSS_PERCENTILE`] of a hundred viewers stay within.
fn percentile(mut losses: Vec<u8>) -> u8 {
    losses.sort_unstable();
    let last = losses.len().saturating_sub(1);
    let at = last * LOSS_PERCENTILE / 100;
    losses.get(at).copied().unwrap_or(0)
}

/// Returns the loss in percent, down to the next step.
fn stepped(loss: u8) -> u8 {
    let percent = u16::from(loss) * 100 / 256;
    let mut steps = LOSS_STEPS.into_iter().rev();
    steps.find(|step| u16::from(*step) <= percent).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_path_among_many_does_not_count() {
        assert_eq!(percentile(Vec::new()), 0);
        assert_eq!(percentile(vec![30]), 30);
        let mut losses = vec![3; 99];
        losses.push(200);
        assert_eq!(percentile(losses), 3);
        assert_eq!(percentile((0..=100).collect()), 90);
    }

    #[test]
    fn loss_is_reported_in_steps() {
        let reported: Vec<u8> = [0, 5, 6, 13, 40, 255].into_iter().map(stepped).collect();
        assert_eq!(reported, [0, 0, 2, 5, 15, 20]);
    }
}
