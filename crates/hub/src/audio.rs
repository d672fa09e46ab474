//! A stream's audio thread: AAC in, Opus out, off the publisher's path.
//!
//! * [`AudioThread`]: the handle, and the thread behind it.
//! * `queue`: the queue of frames that wait for the thread.

mod queue;

use std::io;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use distributary_media::{AudioError, AudioFrame, AudioTrack, OpusConfig, OpusTranscoder};
use distributary_names::StreamName;

use crate::event_limit::EventLimit;
use crate::stream::Stream;
use queue::{FrameQueue, QueuedFrame};

/// Limit of log lines of one kind about one stream: a frame may be broken every 20 ms.
const LOG_LIMIT: EventLimit = EventLimit::new(2, Duration::from_secs(60));

/// The handle of a stream's audio thread.
///
/// Transcoding takes about one percent of a core per stream. It has its own thread, so that a video
/// frame never waits for it. One thread serves the stream as long as a subscriber receives Opus,
/// whatever the publisher changes.
///
/// The thread ends when this handle is dropped. Nothing waits for its end: the handle is dropped
/// under the stream's lock, which the thread takes to deliver.
#[derive(Debug)]
pub(crate) struct AudioThread {
    id: u64,
    queue: Arc<FrameQueue>,
}

impl AudioThread {
    /// Starts a thread that delivers to `stream` under this id.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub(crate) fn spawn(id: u64, stream: &Arc<Stream>) -> io::Result<Self> {
        let queue = Arc::new(FrameQueue::default());
        let name = stream.name().clone();
        let worker = Worker {
            id,
            stream: Arc::downgrade(stream),
            name: name.clone(),
            config: stream.opus_config(),
            queue: Arc::clone(&queue),
            broken: LOG_LIMIT,
            unusable: LOG_LIMIT,
        };
        thread::Builder::new()
            .name(format!("audio {name}"))
            .spawn(move || worker.run())?;
        Ok(Self { id, queue })
    }

    /// Returns the id under which the thread delivers.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Queues a frame of `track` that arrived at `now`. Never waits; returns the number of frames
    /// dropped because the thread is behind.
    pub(crate) fn push(&self, track: Arc<AudioTrack>, frame: AudioFrame, now: Instant) -> u64 {
        self.queue.push(QueuedFrame {
            track,
            frame,
            arrived: now,
        })
    }
}

impl Drop for AudioThread {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// The state of the running thread.
struct Worker {
    id: u64,
    /// Weak: the stream lives as long as it has publishers and subscribers, not as long as its
    /// thread.
    stream: Weak<Stream>,
    name: StreamName,
    config: OpusConfig,
    queue: Arc<FrameQueue>,
    broken: EventLimit,
    unusable: EventLimit,
}

impl Worker {
    fn run(mut self) {
        let mut chain = Chain::default();
        let mut packets = Vec::new();
        while let Some(QueuedFrame {
            track,
            frame,
            arrived,
        }) = self.queue.pop()
        {
            let Some(stream) = self.stream.upgrade() else {
                break;
            };
            if let Err(error) = chain.follow(&track, &self.config) {
                self.log_unusable_audio(&error, arrived);
            }
            match chain.push(&frame, stream.audio_loss(), &mut packets) {
                Ok(()) => {}
                Err(error @ AudioError::Decode { .. }) => self.log_broken_frame(&error, arrived),
                Err(error) => self.log_unusable_audio(&error, arrived),
            }
            stream.deliver_opus(self.id, packets.drain(..));
        }
        let stream = &self.name;
        tracing::debug!(%stream, "audio transcoding stops");
    }

    fn log_broken_frame(&mut self, error: &AudioError, now: Instant) {
        if let Some(held_back) = self.broken.admit(now) {
            let stream = &self.name;
            tracing::warn!(
                %stream, %error, held_back,
                "broken audio is replaced by silence; check the encoder and its connection"
            );
        }
    }

    fn log_unusable_audio(&mut self, error: &AudioError, now: Instant) {
        if let Some(held_back) = self.unusable.admit(now) {
            let stream = &self.name;
            tracing::error!(
                %stream, %error, held_back,
                "the audio cannot be transcoded: viewers hear nothing; let the encoder send AAC-LC at 48 kHz"
            );
        }
    }
}

/// The transcoder of the published track.
#[derive(Default)]
struct Chain {
    track: Option<Arc<AudioTrack>>,
    /// `None` before the first usable track.
    transcoder: Option<OpusTranscoder>,
    /// Set while the track cannot be transcoded, or the transcoder has failed: its frames are
    /// dropped.
    is_unusable: bool,
    /// Packet loss in percent that the encoder is set to.
    loss: u8,
}

impl Chain {
    /// Sets the transcoder up for `track` if it has changed.
    fn follow(&mut self, track: &Arc<AudioTrack>, config: &OpusConfig) -> Result<(), AudioError> {
        if self
            .track
            .as_ref()
            .is_some_and(|own| Arc::ptr_eq(own, track))
        {
            return Ok(());
        }
        self.track = Some(Arc::clone(track));
        self.is_unusable = true;
        match &mut self.transcoder {
            Some(transcoder) => transcoder.set_track(track)?,
            None => {
                self.transcoder = Some(OpusTranscoder::new(track, config)?);
                self.loss = 0;
            }
        }
        self.is_unusable = false;
        Ok(())
    }

    fn push(
        &mut self,
        frame: &AudioFrame,
        loss: u8,
        packets: &mut Vec<AudioFrame>,
    ) -> Result<(), AudioError> {
        let Some(transcoder) = self.transcoder.as_mut().filter(|_| !self.is_unusable) else {
            return Ok(());
        };
        let mut pushed = Ok(());
        if loss != self.loss {
            pushed = transcoder.set_packet_loss(loss);
            self.loss = loss;
        }
        let pushed = pushed.and_then(|()| transcoder.push(frame, packets));
        if !matches!(pushed, Ok(()) | Err(AudioError::Decode { .. })) {
            // The next track gets a transcoder that has not failed.
            self.transcoder = None;
            self.is_unusable = true;
        }
        pushed
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;
    use crate::config::HubConfig;
    use crate::hub::Hub;
    use crate::stream::{Publisher, Subscription};
    use crate::subscriber::{Delivery, Sink, StreamEvent};
    use bytes::Bytes;
    use distributary_media::flv::TagKind;
    use distributary_media::{AudioCodec, FlvDemuxer, FlvEvent, FlvReader, Frame, MediaTime};
    use std::time::{Duration, Instant};
    use tokio::sync::mpsc;

    const STEREO_48000: &[u8] = include_bytes!("../../media/tests/fixtures/stereo-48000.flv");

    fn fixture() -> (AudioTrack, Vec<AudioFrame>) {
        let mut demuxer = FlvDemuxer::new();
        let (mut track, mut frames) = (None, Vec::new());
        for tag in FlvReader::new(Bytes::from_static(STEREO_48000)).unwrap() {
            let tag = tag.unwrap();
            if tag.kind != TagKind::Audio {
                continue;
            }
            let time = MediaTime::from_millis(i64::from(tag.timestamp_millis));
            for event in demuxer.handle_audio(time, tag.body).unwrap() {
                match event {
                    FlvEvent::AudioTrack(new) => track = Some(new),
                    FlvEvent::Frame(Frame::Audio(frame)) => frames.push(frame),
                    other => panic!("{other:?}"),
                }
            }
        }
        (track.unwrap(), frames)
    }

    struct Harness {
        hub: Hub,
        name: StreamName,
        publisher: Publisher,
        track: AudioTrack,
        frames: Vec<AudioFrame>,
        now: Instant,
    }

    impl Harness {
        fn new() -> Self {
            let hub = Hub::new(HubConfig::default());
            let name = StreamName::parse("live/test").unwrap();
            let now = Instant::now();
            let publisher = hub.publish(&name, now).unwrap();
            let (track, frames) = fixture();
            publisher.set_audio_track(track.clone());
            Self {
                hub,
                name,
                publisher,
                track,
                frames,
                now,
            }
        }

        fn subscribe(&self) -> (Subscription, mpsc::Receiver<Delivery>) {
            let (sink, queue) = Sink::channel(1024);
            let (subscription, _) = self.hub.subscribe(&self.name, sink, 0).unwrap();
            (subscription, queue)
        }

        fn push(&self, range: std::ops::Range<usize>) {
            for frame in &self.frames[range] {
                self.publisher
                    .push(Frame::Audio(frame.clone()), self.now)
                    .unwrap();
            }
        }
    }

    async fn next_opus(queue: &mut mpsc::Receiver<Delivery>) -> AudioFrame {
        let delivery = tokio::time::timeout(Duration::from_secs(60), queue.recv());
        match delivery.await.expect("Opus in time").unwrap().event {
            StreamEvent::Frame(frame) => match &*frame {
                Frame::Audio(frame) if frame.codec == AudioCodec::Opus => frame.clone(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn subscribers_get_opus_every_20_ms_and_no_aac() {
        let harness = Harness::new();
        let (_subscription, mut queue) = harness.subscribe();
        harness.push(0..30);
        let mut last = next_opus(&mut queue).await.pts;
        // 30 frames of 1024 samples are 32 packets of 960.
        for _ in 1..32 {
            let pts = next_opus(&mut queue).await.pts;
            assert_eq!(pts.saturating_since(last), Duration::from_millis(20));
            last = pts;
        }
    }

    #[tokio::test]
    async fn encoder_expects_the_highest_loss_of_any_subscriber() {
        let harness = Harness::new();
        let (first, mut queue) = harness.subscribe();
        let (second, _other) = harness.subscribe();
        first.set_audio_loss(3);
        second.set_audio_loss(12);
        assert_eq!(harness.publisher.stream().audio_loss(), 12);
        harness.push(0..30);
        for _ in 0..20 {
            next_opus(&mut queue).await;
        }
        drop(second);
        assert_eq!(harness.publisher.stream().audio_loss(), 3);
    }

    #[tokio::test]
    async fn thread_runs_only_while_there_are_subscribers() {
        let harness = Harness::new();
        harness.push(0..10);
        assert!(!harness.publisher.stream().has_audio_thread());
        let (subscription, mut queue) = harness.subscribe();
        harness.push(10..20);
        next_opus(&mut queue).await;
        assert!(harness.publisher.stream().has_audio_thread());
        drop(subscription);
        assert!(!harness.publisher.stream().has_audio_thread());
        assert_eq!(harness.publisher.stream().stats().dropped, 0);
    }

    #[tokio::test]
    async fn changed_configuration_continues_on_the_same_thread() {
        let harness = Harness::new();
        let (_subscription, mut queue) = harness.subscribe();
        harness.push(0..10);
        let mut last = next_opus(&mut queue).await.pts;
        let thread = harness.publisher.stream().audio_thread_id();
        for n in 10..40 {
            let mut other = harness.track.clone();
            // Explicitly without HE-AAC: the same audio, described differently.
            other.config = [&[0x11, 0x90][..], &[n as u8]].concat().into();
            harness.publisher.set_audio_track(other);
            harness.push(n..n + 1);
        }
        assert!(thread.is_some());
        assert_eq!(harness.publisher.stream().audio_thread_id(), thread);
        for _ in 0..25 {
            let pts = next_opus(&mut queue).await.pts;
            let step = pts.saturating_since(last).as_millis();
            assert!((20..60).contains(&step), "{step} ms");
            last = pts;
        }
    }

    #[tokio::test]
    async fn next_publisher_continues_on_the_same_thread() {
        let harness = Harness::new();
        let (_subscription, mut queue) = harness.subscribe();
        harness.push(0..10);
        let thread = harness.publisher.stream().audio_thread_id();
        let second = harness.hub.take_over(&harness.name, harness.now);
        let later = harness.now + Duration::from_millis(500);
        for frame in &harness.frames[..20] {
            second.push(Frame::Audio(frame.clone()), later).unwrap();
        }
        assert_eq!(second.stream().audio_thread_id(), thread);
        let mut last = next_opus(&mut queue).await.pts;
        let mut gaps = Vec::new();
        for _ in 0..25 {
            let pts = next_opus(&mut queue).await.pts;
            gaps.push(pts.saturating_since(last).as_millis());
            last = pts;
        }
        gaps.retain(|gap| *gap != 20);
        assert!(matches!(gaps[..], [200..500]), "{gaps:?}");
    }

    #[tokio::test]
    async fn burst_after_a_stall_is_transcoded_to_the_last_frame() {
        let harness = Harness::new();
        let (_subscription, mut queue) = harness.subscribe();
        // The timestamps continue from one round to the next: six seconds.
        let round = Duration::from_nanos(harness.frames.len() as u64 * 1_024_000_000_000 / 48_000);
        let mut last = MediaTime::ZERO;
        for n in 0..3 {
            for frame in &harness.frames {
                let mut frame = frame.clone();
                frame.pts = frame.pts + round * n;
                last = frame.pts;
                harness
                    .publisher
                    .push(Frame::Audio(frame), harness.now)
                    .unwrap();
            }
        }
        let first = next_opus(&mut queue).await.pts;
        let mut pts = first;
        let spoken = last.saturating_since(harness.frames[0].pts) - Duration::from_millis(60);
        while pts.saturating_since(first) < spoken {
            let next = next_opus(&mut queue).await.pts;
            assert_eq!(next.saturating_since(pts), Duration::from_millis(20));
            pts = next;
        }
        assert_eq!(harness.publisher.stream().stats().dropped, 0);
    }

    #[tokio::test]
    async fn replaced_thread_delivers_nothing() {
        let harness = Harness::new();
        let (subscription, mut queue) = harness.subscribe();
        harness.push(0..10);
        let packet = next_opus(&mut queue).await;
        let marked = |mark: u8| {
            let data = Bytes::from(vec![mark]);
            std::iter::once(AudioFrame {
                data,
                ..packet.clone()
            })
        };
        let stream = Arc::clone(harness.publisher.stream());
        drop(subscription);
        let (_subscription, mut queue) = harness.subscribe();
        stream.deliver_opus(1, marked(1));
        harness.push(10..11);
        stream.deliver_opus(1, marked(1));
        stream.deliver_opus(2, marked(2));
        loop {
            match next_opus(&mut queue).await.data[..] {
                [1] => panic!("the first thread still delivers"),
                [2] => break,
                _ => {}
            }
        }
    }

    #[tokio::test]
    async fn audio_that_cannot_be_transcoded_does_not_stop_other_audio() {
        let harness = Harness::new();
        let mut track = harness.track.clone();
        // xHE-AAC.
        track.config = Bytes::from_static(&[0xf9, 0x46, 0x42, 0x00]);
        harness.publisher.set_audio_track(track);
        let (_subscription, mut queue) = harness.subscribe();
        for _ in 0..10 {
            harness.push(0..harness.frames.len());
        }
        let opus = AudioFrame {
            codec: AudioCodec::Opus,
            pts: MediaTime::from_millis(60_000),
            data: Bytes::from_static(&[0xfc]),
        };
        harness
            .publisher
            .push(Frame::Audio(opus), harness.now)
            .unwrap();
        assert_eq!(
            next_opus(&mut queue).await.data[..],
            [0xfc],
            "the first audio delivered"
        );
    }

    #[test]
    fn thread_ends_with_its_stream() {
        let harness = Harness::new();
        let (subscription, queue) = harness.subscribe();
        harness.push(0..10);
        let stream = Arc::downgrade(harness.publisher.stream());
        drop((subscription, queue, harness));
        // The thread may hold the stream for the length of one delivery.
        while stream.strong_count() > 0 {
            thread::yield_now();
        }
    }
}
