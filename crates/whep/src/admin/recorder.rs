//! Records the history of the gateway, once a second.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use distributary_hub::JournalKind;
use distributary_names::StreamName;
use tokio::time::{MissedTickBehavior, interval};

use super::door::AdminDoor;
use super::history::{Second, StreamSample, TotalSample};
use super::link::SentBytes;
use super::process;
use super::streams::{StreamStatus, statuses};

/// Interval between two samples.
const INTERVAL: Duration = Duration::from_secs(1);

/// Records the stats of the gateway and its streams once a second while it is polled, and the
/// advice to publishers in the journal.
pub async fn record(door: AdminDoor) {
    let mut recorder = Recorder::default();
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let now = ticks.tick().await.into_std();
        recorder.record(&door, now);
    }
}

/// State from the last sample.
#[derive(Debug, Default)]
struct Recorder {
    /// The streams with advice, and the advice that was recorded.
    advised: HashMap<String, String>,
    /// The CPU time of the process, and when it was read.
    cpu: Option<(Duration, Instant)>,
    /// The bytes that the machine has sent through its link, and when they were read.
    sent: Option<(SentBytes, Instant)>,
}

impl Recorder {
    fn record(&mut self, door: &AdminDoor, now: Instant) {
        let streams = statuses(door, now);
        let ended = door.hub.journal().take_ends().into_iter();
        let second = Second {
            streams: streams
                .iter()
                .map(|stream| (stream.name.clone(), sample(stream)))
                .collect(),
            ended: ended
                .map(|(stream, reason)| (stream.to_string(), reason))
                .collect(),
        };
        let mut total = TotalSample {
            received: 0,
            sent: 0,
            viewers: 0,
            streams: u16::try_from(streams.len()).unwrap_or(u16::MAX),
            cpu: self.cpu(now),
        };
        for (_, sample) in &second.streams {
            total.received = total.received.saturating_add(sample.received);
            total.sent = total.sent.saturating_add(sample.sent);
            total.viewers = total.viewers.saturating_add(sample.viewers);
        }
        let since_start = now.saturating_duration_since(door.info.started).as_secs();
        door.history.record(since_start, total, second);
        door.history.record_link(self.link_bps(now));
        self.advise(door, &streams, now);
    }

    /// Records advice that is new.
    fn advise(&mut self, door: &AdminDoor, streams: &[StreamStatus], now: Instant) {
        let advised: HashMap<String, String> = streams
            .iter()
            .filter_map(|stream| Some((stream.name.clone(), stream.advice.clone()?)))
            .collect();
        for (name, advice) in &advised {
            if self.advised.get(name) != Some(advice)
                && let Ok(name) = StreamName::parse(name)
            {
                let journal = door.hub.journal();
                journal.record(JournalKind::Advice, Some(&name), None, advice, now);
            }
        }
        self.advised = advised;
    }

    /// Returns the CPU time since the last call, in percent of one core; `None` if it is not known.
    fn cpu(&mut self, now: Instant) -> Option<u16> {
        let time = process::cpu_time()?;
        let (used, at) = self.cpu.replace((time, now))?;
        let seconds = now.saturating_duration_since(at).as_secs_f64();
        let used = time.saturating_sub(used).as_secs_f64();
        Some((100.0 * used / seconds.max(0.1)) as u16)
    }

    /// Returns the rate of the link since the last call, in bits per second; `None` if it is not
    /// known.
    fn link_bps(&mut self, now: Instant) -> Option<u64> {
        let earlier = self.sent.take();
        let (sent, at) = self.sent.insert((SentBytes::read()?, now));
        let (before, since) = earlier?;
        sent.rate_since(&before, at.saturating_duration_since(since))
    }
}

fn sample(stream: &StreamStatus) -> StreamSample {
    let (video, audio) = (stream.video.as_ref(), stream.audio.as_ref());
    let received =
        video.map_or(0, |video| video.bitrate_bps) + audio.map_or(0, |audio| audio.bitrate_bps);
    StreamSample {
        received: kilobits(received),
        sent: kilobits(stream.viewers.bitrate_bps),
        viewers: u32::try_from(stream.viewers.connected).unwrap_or(u32::MAX),
        frame_rate: video.map_or(0, |video| (10.0 * video.frame_rate) as u16),
        jitter: (10.0 * stream.publisher.jitter_ms) as u16,
    }
}

fn kilobits(bits: u64) -> u32 {
    u32::try_from(bits / 1000).unwrap_or(u32::MAX)
}
