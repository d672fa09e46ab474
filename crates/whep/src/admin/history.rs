//! The stats of the last 15 minutes, for graphs that are full when the dashboard opens.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Time that is kept, in seconds: one sample a second. Ended streams are kept as long.
pub(super) const SECONDS: usize = 15 * 60;

/// Maximum number of streams with a history, live or ended. A ring of 900 samples of 20 bytes has
/// 18 000 bytes, so all rings have at most 18 MB. Beyond it, the stream that ended first loses its
/// history to a live one, and a stream that finds no place has none.
const MAX_STREAMS: usize = 1000;

/// The stats of a stream in one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StreamSample {
    /// Received media, in kbit/s.
    pub(super) received: u32,
    /// Media sent to all viewers, in kbit/s.
    pub(super) sent: u32,
    pub(super) viewers: u32,
    /// Tenths of frames per second.
    pub(super) frame_rate: u16,
    /// Jitter of the publisher in tenths of a millisecond.
    pub(super) jitter: u16,
}

/// The stats of the gateway in one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TotalSample {
    /// Received media, in kbit/s.
    pub(super) received: u32,
    /// Media sent to all viewers, in kbit/s.
    pub(super) sent: u32,
    pub(super) viewers: u32,
    pub(super) streams: u16,
    /// CPU time of the process, in percent of one core; `None` if it is not known.
    pub(super) cpu: Option<u16>,
}

/// A stream that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EndedStream {
    pub(super) name: String,
    /// Seconds since its end.
    pub(super) ago: u64,
    /// The reason in the words of the log; `None` if it is not known.
    pub(super) reason: Option<Arc<str>>,
    /// The highest number of viewers in the time that is kept.
    pub(super) most_viewers: u32,
}

/// The history of the gateway and its streams, in memory only. A clone is a handle to the same.
#[derive(Clone, Debug, Default)]
pub struct History(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    /// Rate at which the machine sends through its link, in bits per second; no history is kept.
    link_bps: Option<u64>,
    /// The second of the newest samples, counted from the start.
    second: u64,
    total: Ring<TotalSample>,
    streams: HashMap<String, Track>,
}

#[derive(Debug, Default)]
struct Track {
    ring: Ring<StreamSample>,
    end: Option<End>,
}

#[derive(Debug)]
struct End {
    second: u64,
    reason: Option<Arc<str>>,
    most_viewers: u32,
}

/// The stats of one second.
#[derive(Debug, Default)]
pub(super) struct Second {
    /// The live streams.
    pub(super) streams: Vec<(String, StreamSample)>,
    /// Names and reasons of the publishers that have ended since the last second.
    pub(super) ended: Vec<(String, Arc<str>)>,
}

/// The samples of a series, the oldest first, with gaps.
#[derive(Debug, PartialEq)]
pub(super) struct Series<T> {
    /// Seconds since the newest sample.
    pub(super) age: u64,
    pub(super) samples: Vec<Option<T>>,
}

impl History {
    /// Adds the stats of a second, counted from the start.
    pub(super) fn record(&self, second: u64, total: TotalSample, stats: Second) {
        self.lock().record(second, total, stats);
    }

    /// Returns the history of the whole gateway.
    pub(super) fn total(&self) -> Series<TotalSample> {
        let table = self.lock();
        table.total.series(table.second)
    }

    /// Returns the history of a stream; `None` if there is none.
    pub(super) fn stream(&self, name: &str) -> Option<Series<StreamSample>> {
        let table = self.lock();
        let track = table.streams.get(name)?;
        Some(track.ring.series(table.second))
    }

    /// Returns the CPU time of the process in the last second, in percent of one core.
    pub(super) fn cpu(&self) -> Option<u16> {
        self.lock().total.newest().and_then(|sample| sample.cpu)
    }

    /// Returns what the machine sent through its link in the last second, in bits.
    pub(super) fn link_bps(&self) -> Option<u64> {
        self.lock().link_bps
    }

    /// Records what the machine sent through its link in the last second, in bits.
    pub(super) fn record_link(&self, link_bps: Option<u64>) {
        self.lock().link_bps = link_bps;
    }

    /// Returns the memory that it takes, in bytes.
    pub(super) fn memory(&self) -> usize {
        let table = self.lock();
        let streams = table.streams.values();
        let streams = streams.map(|track| track.ring.memory()).sum::<usize>();
        table.total.memory() + streams
    }

    /// Returns at most `max` streams that have ended, the last one first.
    pub(super) fn ended(&self, max: usize) -> Vec<EndedStream> {
        let table = self.lock();
        let mut ended: Vec<_> = table
            .streams
            .iter()
            .filter_map(|(name, track)| Some((name, track.end.as_ref()?)))
            .collect();
        ended.sort_by(|a, b| (b.1.second, a.0).cmp(&(a.1.second, b.0)));
        ended.truncate(max);
        let described = ended.into_iter().map(|(name, end)| EndedStream {
            name: name.clone(),
            ago: table.second - end.second,
            reason: end.reason.clone(),
            most_viewers: end.most_viewers,
        });
        described.collect()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn record(&mut self, second: u64, total: TotalSample, stats: Second) {
        self.second = self.second.max(second);
        self.total.push(second, total);
        let live: HashMap<String, StreamSample> = stats.streams.into_iter().collect();
        for (name, reason) in stats.ended {
            if !live.contains_key(&name) {
                self.end(name, reason, second);
            }
        }
        for (name, track) in &mut self.streams {
            if !live.contains_key(name) && track.end.is_none() {
                track.end(second, None);
            }
        }
        let second = self.second;
        self.streams
            .retain(|_, track| track.age(second) < SECONDS as u64);
        for (name, sample) in live {
            if let Some(track) = self.track(name) {
                track.end = None;
                track.ring.push(second, sample);
            }
        }
    }

    /// Notes that a stream has ended, perhaps between two samples.
    fn end(&mut self, name: String, reason: Arc<str>, second: u64) {
        let Some(track) = self.track(name) else {
            return;
        };
        match &mut track.end {
            // The reason of an end that was noted because there was no sample.
            Some(end) if end.reason.is_none() => end.reason = Some(reason),
            // Another end has its own reason: the stream was live again between two samples.
            _ => track.end(second, Some(reason)),
        }
    }

    /// Returns the history of a stream, new or not; `None` if there is no place for another.
    fn track(&mut self, name: String) -> Option<&mut Track> {
        if !self.streams.contains_key(&name) && self.streams.len() >= MAX_STREAMS {
            let ended = self.streams.iter();
            let ended = ended.filter_map(|(name, track)| Some((track.end.as_ref()?.second, name)));
            let (_, first) = ended.min()?;
            let first = first.clone();
            self.streams.remove(&first);
        }
        Some(self.streams.entry(name).or_default())
    }
}

impl Track {
    fn end(&mut self, second: u64, reason: Option<Arc<str>>) {
        let viewers = self.ring.samples.iter().flatten();
        let most = viewers.map(|sample| sample.viewers).max();
        self.end = Some(End {
            second,
            reason,
            most_viewers: most.unwrap_or(0),
        });
    }

    /// Returns the seconds since the end; 0 while it is live.
    fn age(&self, now: u64) -> u64 {
        self.end.as_ref().map_or(0, |end| now - end.second)
    }
}

/// The last [`SECONDS`] samples. Its memory is taken as a whole with the first.
#[derive(Debug)]
struct Ring<T> {
    samples: Vec<Option<T>>,
    /// Index of the oldest sample, once the ring is full.
    oldest: usize,
    /// Second of the newest sample.
    second: u64,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self {
            samples: Vec::new(),
            oldest: 0,
            second: 0,
        }
    }
}

impl<T: Copy> Ring<T> {
    /// Adds the sample of a second; those that were missed before it are gaps.
    fn push(&mut self, second: u64, sample: T) {
        if self.samples.is_empty() {
            self.samples.reserve_exact(SECONDS);
        } else if second <= self.second {
            return;
        } else {
            let missed = (second - self.second - 1).min(SECONDS as u64);
            for _ in 0..missed {
                self.push_one(None);
            }
        }
        self.push_one(Some(sample));
        self.second = second;
    }

    fn memory(&self) -> usize {
        self.samples.capacity() * size_of::<Option<T>>()
    }

    fn push_one(&mut self, sample: Option<T>) {
        if self.samples.len() < SECONDS {
            self.samples.push(sample);
        } else {
            self.samples[self.oldest] = sample;
            self.oldest = (self.oldest + 1) % SECONDS;
        }
    }

    fn newest(&self) -> Option<T> {
        let last = match self.oldest {
            0 => self.samples.last(),
            oldest => self.samples.get(oldest - 1),
        };
        last.copied().flatten()
    }

    fn series(&self, now: u64) -> Series<T> {
        let (newer, older) = self.samples.split_at(self.oldest);
        Series {
            age: now.saturating_sub(self.second),
            samples: older.iter().chain(newer).copied().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: TotalSample = TotalSample {
        received: 1,
        sent: 2,
        viewers: 3,
        streams: 1,
        cpu: Some(4),
    };

    fn sample(viewers: u32) -> StreamSample {
        StreamSample {
            received: 1000,
            sent: 1000 * viewers,
            viewers,
            frame_rate: 300,
            jitter: 0,
        }
    }

    fn live(names: &[&str], viewers: u32) -> Second {
        Second {
            streams: names
                .iter()
                .map(|name| ((*name).to_owned(), sample(viewers)))
                .collect(),
            ended: Vec::new(),
        }
    }

    fn ended(name: &str, reason: &str) -> Second {
        Second {
            streams: Vec::new(),
            ended: vec![(name.to_owned(), reason.into())],
        }
    }

    #[test]
    fn samples_have_the_documented_size() {
        assert_eq!(size_of::<Option<StreamSample>>(), 20);
        assert_eq!(size_of::<Option<TotalSample>>(), 20);
    }

    #[test]
    fn last_fifteen_minutes_are_kept_with_gaps() {
        let history = History::default();
        for second in 0..2000 {
            history.record(second, TOTAL, live(&["a"], second as u32));
        }
        let series = history.stream("a").unwrap();
        assert_eq!((series.samples.len(), series.age), (SECONDS, 0));
        assert_eq!(series.samples[0], Some(sample(1100)));
        assert_eq!(series.samples[SECONDS - 1], Some(sample(1999)));
        // The recorder was late.
        history.record(2002, TOTAL, live(&["a"], 1));
        let series = history.stream("a").unwrap();
        let last = &series.samples[SECONDS - 4..];
        assert_eq!(last, [Some(sample(1999)), None, None, Some(sample(1))]);
        assert_eq!(history.total().samples.len(), SECONDS);
        assert_eq!(history.cpu(), Some(4));
    }

    #[test]
    fn ended_stream_stays_for_fifteen_minutes_with_its_reason() {
        let history = History::default();
        history.record(1, TOTAL, live(&["a"], 7));
        history.record(2, TOTAL, ended("a", "closed"));
        history.record(3, TOTAL, Second::default());
        let gone = &history.ended(9)[0];
        assert_eq!((gone.ago, gone.most_viewers), (1, 7));
        assert_eq!(gone.reason.as_deref(), Some("closed"));
        assert_eq!(history.stream("a").unwrap().age, 2);
        history.record(1 + SECONDS as u64, TOTAL, Second::default());
        assert_eq!(history.ended(9).len(), 1);
        history.record(2 + SECONDS as u64, TOTAL, Second::default());
        assert!(history.ended(9).is_empty() && history.stream("a").is_none());
    }

    #[test]
    fn stream_that_is_live_again_continues_its_history() {
        let history = History::default();
        history.record(1, TOTAL, live(&["a"], 1));
        history.record(2, TOTAL, ended("a", "closed"));
        history.record(4, TOTAL, live(&["a"], 2));
        assert!(history.ended(9).is_empty());
        let samples = history.stream("a").unwrap().samples;
        assert_eq!(samples, [Some(sample(1)), None, None, Some(sample(2))]);
    }

    #[test]
    fn reason_that_comes_late_is_kept_and_a_short_stream_is_listed() {
        let history = History::default();
        history.record(1, TOTAL, live(&["a"], 1));
        history.record(2, TOTAL, Second::default());
        assert_eq!(history.ended(9)[0].reason, None);
        history.record(3, TOTAL, ended("a", "lost"));
        history.record(4, TOTAL, ended("b", "short"));
        let names: Vec<_> = history.ended(9).into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["b", "a"], "the last one first");
        assert_eq!(history.ended(9)[1].reason.as_deref(), Some("lost"));
    }

    #[test]
    fn stream_that_was_live_again_between_two_samples_has_the_time_of_its_last_end() {
        let history = History::default();
        history.record(1, TOTAL, live(&["a"], 1));
        history.record(2, TOTAL, ended("a", "closed"));
        history.record(9, TOTAL, ended("a", "lost"));
        history.record(10, TOTAL, Second::default());
        let gone = &history.ended(9)[0];
        assert_eq!((gone.ago, gone.reason.as_deref()), (1, Some("lost")));
    }

    #[test]
    fn publisher_with_many_names_is_bounded_and_displaces_no_live_stream() {
        let history = History::default();
        history.record(0, TOTAL, live(&["mine"], 1));
        for second in 1..=3 {
            let names: Vec<_> = (0..MAX_STREAMS).map(|n| format!("{second}/{n}")).collect();
            let mut names: Vec<_> = names.iter().map(String::as_str).collect();
            names.push("mine");
            history.record(second, TOTAL, live(&names, 1));
            assert!(history.lock().streams.len() <= MAX_STREAMS);
            assert_eq!(history.stream("mine").unwrap().age, 0);
        }
    }
}
