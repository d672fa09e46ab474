//! The streams that a shard's viewers watch.

use std::collections::HashMap;
use std::time::Instant;

use distributary_hub::{Hub, Sink};
use distributary_media::MediaTime;
use distributary_names::{RenditionId, StreamName};

use super::stream::ShardStream;
use crate::engine_config::EngineConfig;

/// The streams of a shard, each with the tag under which the hub delivers it.
#[derive(Default)]
pub(super) struct Streams {
    by_tag: HashMap<u64, ShardStream>,
    tags: HashMap<StreamName, u64>,
    next_tag: u64,
    /// Tags of the streams with audio that waits for a video frame, or waited until just now.
    audio_waits: Vec<u64>,
}

impl Streams {
    /// Returns the tag of a stream, after subscribing to it if no viewer watched it so far; `None`
    /// if the hub has no such stream any more.
    pub(super) fn open(
        &mut self,
        name: &StreamName,
        hub: &Hub,
        sink: &Sink,
        config: &EngineConfig,
        now: Instant,
    ) -> Option<u64> {
        if let Some(tag) = self.tags.get(name) {
            return Some(*tag);
        }
        let tag = self.next_tag;
        let (subscription, cached) = hub.subscribe(name, sink.clone(), tag)?;
        self.next_tag += 1;
        let epoch = subscription.stream().epoch();
        let mut stream = ShardStream::new(subscription, config, now);
        for frame in cached {
            // The age of what a newcomer lacks decides how it catches up.
            let age = frame.dts().saturating_since(MediaTime::ZERO);
            let came_at = epoch.checked_add(age).map_or(now, |at| at.min(now));
            stream.push(&frame, came_at);
        }
        if stream.subscription.stream().has_gap() {
            stream.suspend_gop();
        }
        stream.source = self
            .tags
            .get(&name.published())
            .copied()
            .filter(|_| name.is_rendition());
        self.by_tag.insert(tag, stream);
        self.tags.insert(name.clone(), tag);
        Some(tag)
    }

    pub(super) fn get(&self, tag: u64) -> Option<&ShardStream> {
        self.by_tag.get(&tag)
    }

    pub(super) fn get_mut(&mut self, tag: u64) -> Option<&mut ShardStream> {
        self.by_tag.get_mut(&tag)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &ShardStream)> {
        self.by_tag.iter().map(|(tag, stream)| (*tag, stream))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_tag.is_empty()
    }

    pub(super) fn tags(&self) -> Vec<u64> {
        self.by_tag.keys().copied().collect()
    }

    /// Adds a viewer that gets the audio of the stream `home`, and the video of that or of one of
    /// its renditions.
    pub(super) fn watch(&mut self, viewer: usize, home: u64, video: u64) {
        if let Some(stream) = self.by_tag.get_mut(&video) {
            stream.viewers.push(viewer);
            stream.was_unwatched = false;
        }
        if let Some(stream) = self.by_tag.get_mut(&home).filter(|_| home != video) {
            stream.listeners.push(viewer);
            stream.was_unwatched = false;
        }
    }

    /// Removes a viewer, as it was added.
    pub(super) fn unwatch(&mut self, viewer: usize, home: u64, video: u64) {
        for tag in [home, video] {
            if let Some(stream) = self.by_tag.get_mut(&tag) {
                stream.viewers.retain(|other| *other != viewer);
                stream.listeners.retain(|other| *other != viewer);
            }
        }
    }

    /// Records that a viewer of the stream `home` gets another video.
    pub(super) fn change_video(&mut self, viewer: usize, home: u64, from: u64, to: u64) {
        self.unwatch(viewer, home, from);
        self.watch(viewer, home, to);
    }

    /// Keeps a stream for a viewer of the stream `home` that is about to get its video.
    pub(super) fn hold(&mut self, tag: u64, home: u64) {
        if let Some(stream) = self.by_tag.get_mut(&tag) {
            stream.hold();
            stream.was_unwatched = false;
            stream.source = (tag != home).then_some(home);
        }
    }

    /// Ends [`Self::hold`].
    pub(super) fn release(&mut self, tag: Option<u64>) {
        if let Some(stream) = tag.and_then(|tag| self.by_tag.get_mut(&tag)) {
            stream.release();
        }
    }

    /// Returns whether one rendition of a stream is better than another.
    pub(super) fn is_better(&self, home: u64, one: RenditionId, other: RenditionId) -> bool {
        let stream = self.by_tag.get(&home);
        stream.is_some_and(|stream| stream.renditions.is_better(one, other))
    }

    /// Records that audio of a stream may wait for a video frame.
    pub(super) fn note_audio_wait(&mut self, tag: u64) {
        let waits = self.by_tag.get(&tag).and_then(ShardStream::audio_due);
        if waits.is_some() && !self.audio_waits.contains(&tag) {
            self.audio_waits.push(tag);
        }
    }

    /// Returns when audio has waited long enough for a video frame.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let waits = self.audio_waits.iter();
        waits
            .filter_map(|tag| self.by_tag.get(tag)?.audio_due())
            .min()
    }

    /// Logs the audio that has waited long enough. Returns the streams that have something to send.
    pub(super) fn release_due_audio(&mut self, now: Instant) -> Vec<u64> {
        let mut released = Vec::new();
        self.audio_waits.retain(|tag| {
            let stream = self.by_tag.get_mut(tag);
            // Without a deadline the audio went with a video frame.
            let Some((stream, due)) = stream.and_then(|stream| {
                let due = stream.audio_due()?;
                Some((stream, due))
            }) else {
                return false;
            };
            if due <= now {
                stream.release_audio(now);
                released.push(*tag);
            }
            due > now
        });
        released
    }

    /// Corrects which publishers are there.
    pub(super) fn check_publishers(&mut self, now: Instant) {
        for stream in self.by_tag.values_mut() {
            stream.check_publisher(now);
        }
    }

    /// Keeps all logs within the limits that memory allows at `now`.
    pub(super) fn bound(&mut self, now: Instant) {
        for stream in self.by_tag.values_mut() {
            stream.bound(now);
        }
    }

    /// Returns the memory of all logs in addition to the payload, in bytes.
    pub(super) fn log_records(&self) -> usize {
        self.by_tag.values().map(ShardStream::log_records).sum()
    }

    /// Unsubscribes from the streams that had no viewers at this upkeep and the one before, nor in
    /// between. Viewers that have just left may still ask for packets.
    pub(super) fn drop_unwatched(&mut self) {
        self.by_tag.retain(|_, stream| {
            let is_kept = stream.is_watched() || !stream.was_unwatched;
            stream.was_unwatched = !stream.is_watched();
            if !is_kept {
                self.tags.remove(stream.subscription.stream().name());
            }
            is_kept
        });
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use std::time::Duration;

    use distributary_hub::HubConfig;
    use distributary_media::Frame;
    use distributary_media::test_util::video_frame;

    use super::*;

    #[test]
    fn stream_stays_for_one_upkeep_after_its_last_viewer() {
        let hub = Hub::new(HubConfig::default());
        let names = ["live/test", "live/other"].map(|name| StreamName::parse(name).unwrap());
        let now = Instant::now();
        let _publishers = names.each_ref().map(|name| hub.publish(name, now).unwrap());
        let (sink, _queue) = Sink::channel(8);
        let config = EngineConfig::default();
        let visit = |visit: fn(&mut Streams, [u64; 2])| {
            let mut streams = Streams::default();
            let mut open = |name| streams.open(name, &hub, &sink, &config, now).unwrap();
            let tags = [open(&names[0]), open(&names[1])];
            streams.drop_unwatched();
            visit(&mut streams, tags);
            streams.drop_unwatched();
            let after_one = tags.map(|tag| streams.get(tag).is_some());
            streams.drop_unwatched();
            assert!(streams.is_empty());
            after_one
        };

        let watched = visit(|streams, [one, _]| {
            streams.watch(0, one, one);
            streams.unwatch(0, one, one);
        });
        assert_eq!(watched, [true, false]);
        let heard_and_watched = visit(|streams, [one, other]| {
            streams.watch(0, one, other);
            streams.unwatch(0, one, other);
        });
        assert_eq!(heard_and_watched, [true, true]);
        let held = visit(|streams, [one, other]| {
            streams.hold(other, one);
            streams.release(Some(other));
        });
        assert_eq!(held, [false, true]);
    }

    #[test]
    fn shard_that_begins_in_a_gap_has_the_frames_that_the_next_one_continues() {
        let hub = Hub::new(HubConfig::default());
        let name = StreamName::parse("live/test").unwrap();
        let now = Instant::now();
        let publisher = hub.publish(&name, now).unwrap();
        for millis in [0, 40] {
            let frame = Frame::Video(video_frame(millis, millis == 0, 100));
            publisher.push(frame, now).unwrap();
        }
        publisher.note_gap();
        let (sink, mut queue) = Sink::channel(8);
        let config = EngineConfig::default();
        let mut streams = Streams::default();
        let tag = streams.open(&name, &hub, &sink, &config, now).unwrap();
        let stream = streams.get_mut(tag).unwrap();
        assert_eq!(stream.video.keyframe(), None);
        let frame = Frame::Video(video_frame(4000, false, 100));
        publisher.push(frame, now + Duration::from_secs(4)).unwrap();
        let delivery = queue.try_recv().unwrap();
        stream.handle(&delivery.event, 2, now + Duration::from_secs(4));
        assert_eq!(stream.video.keyframe(), Some(0));
    }

    #[test]
    fn cached_frames_are_as_old_in_the_log_as_they_are() {
        const FRAMES: u32 = 90;
        const INTERVAL: Duration = Duration::from_millis(33);
        let hub = Hub::new(HubConfig::default());
        let name = StreamName::parse("live/test").unwrap();
        let start = Instant::now();
        let publisher = hub.publish(&name, start).unwrap();
        for number in 0..FRAMES {
            let age = INTERVAL * number;
            let frame = Frame::Video(video_frame(age.as_millis() as i64, number == 0, 1000));
            publisher.push(frame, start + age).unwrap();
        }

        let now = start + INTERVAL * FRAMES;
        let (sink, _queue) = Sink::channel(8);
        let mut streams = Streams::default();
        let config = EngineConfig::default();
        let tag = streams.open(&name, &hub, &sink, &config, now).unwrap();
        let log = &streams.get(tag).unwrap().video;
        let ages = (0..log.head()).map(|number| now - log.get(number).unwrap().at);
        assert!(ages.eq((1..=FRAMES).rev().map(|number| INTERVAL * number)));
        // 1000 bytes every 33 ms.
        let rate = log.bitrate();
        assert!((200_000..300_000).contains(&rate), "{rate}");
    }
}
