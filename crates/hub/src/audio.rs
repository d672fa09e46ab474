//! A stream's audio thread: AAC in, Opus out, off the publisher's path.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::thread;

use distributary_media::{AudioError, AudioFrame, AudioTrack, OpusConfig, OpusTranscoder};
use distributary_names::StreamName;

use crate::stream::Stream;

/// Most AAC frames that wait for the thread: more than a second of sound.
const QUEUE_FRAMES: usize = 64;

/// Decoding and encoding take about one percent of a core for each stream. They have a thread of
/// their own, so that a picture never waits for them.
///
/// The thread ends when this handle is dropped. Nobody waits for that: the handle is dropped under
/// the stream's lock, which the thread takes to deliver.
#[derive(Debug)]
pub(crate) struct AudioThread {
    id: u64,
    queue: SyncSender<AudioFrame>,
}

impl AudioThread {
    /// Starts a thread for a track of AAC, which delivers to `stream` under this id.
    pub(crate) fn spawn(id: u64, stream: &Arc<Stream>, track: Arc<AudioTrack>) -> Self {
        let (queue, frames) = sync_channel(QUEUE_FRAMES);
        let name = stream.name().clone();
        let worker = Worker {
            id,
            stream: Arc::downgrade(stream),
            name: name.clone(),
            reported: false,
        };
        let config = stream.opus_config().clone();
        let spawned = thread::Builder::new()
            .name(format!("audio {name}"))
            .spawn(move || worker.run(&track, &config, &frames));
        if let Err(error) = spawned {
            tracing::error!(stream = %name, %error, "no thread for the sound of the stream: viewers hear nothing");
        }
        Self { id, queue }
    }

    /// The id under which it delivers.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Queues a frame. Never waits; returns `false` when the thread is behind and the frame is lost.
    pub(crate) fn push(&self, frame: AudioFrame) -> bool {
        // A thread that has ended said why.
        !matches!(self.queue.try_send(frame), Err(TrySendError::Full(_)))
    }
}

/// What runs in the thread.
struct Worker {
    id: u64,
    /// Weak: the stream lives as long as it has publishers and subscribers, not as long as its thread.
    stream: Weak<Stream>,
    name: StreamName,
    /// Whether a broken frame was logged: there may be one every 20 ms.
    reported: bool,
}

impl Worker {
    fn run(mut self, track: &AudioTrack, config: &OpusConfig, frames: &Receiver<AudioFrame>) {
        let mut transcoder = match OpusTranscoder::new(track, config) {
            Ok(transcoder) => transcoder,
            Err(error) => return self.report_end(&error),
        };
        let mut packets = Vec::new();
        let mut loss = 0;
        while let Ok(frame) = frames.recv() {
            if let Err(error) = self.follow_loss(&mut transcoder, &mut loss) {
                return self.report_end(&error);
            }
            match transcoder.push(&frame, &mut packets) {
                Ok(()) => {}
                Err(error @ AudioError::Decode { .. }) => self.report_broken_frame(&error),
                Err(error) => return self.report_end(&error),
            }
            let Some(stream) = self.stream.upgrade() else {
                break;
            };
            stream.deliver_opus(self.id, packets.drain(..));
        }
        let (stream, concealed) = (&self.name, transcoder.concealed());
        tracing::debug!(%stream, concealed, "the sound is not transcoded any more");
    }

    /// Lets the encoder know when listeners begin to lose more, or less.
    fn follow_loss(
        &self,
        transcoder: &mut OpusTranscoder,
        told: &mut u8,
    ) -> Result<(), AudioError> {
        let loss = self
            .stream
            .upgrade()
            .map_or(0, |stream| stream.audio_loss());
        if loss != *told {
            transcoder.set_packet_loss(loss)?;
            *told = loss;
        }
        Ok(())
    }

    fn report_broken_frame(&mut self, error: &AudioError) {
        if !self.reported {
            self.reported = true;
            let stream = &self.name;
            tracing::warn!(
                %stream, %error,
                "silence takes the place of broken sound (said once); check the encoder and its connection"
            );
        }
    }

    fn report_end(&self, error: &AudioError) {
        let stream = &self.name;
        tracing::error!(
            %stream, %error,
            "the sound cannot be transcoded: viewers hear nothing; let the encoder send AAC-LC at 48 kHz"
        );
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;
    use crate::hub::{Hub, HubConfig};
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
    async fn the_encoder_bears_the_most_that_any_subscriber_loses() {
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
    async fn there_is_no_thread_without_subscribers() {
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
    async fn another_configuration_gets_another_thread() {
        let harness = Harness::new();
        let (_subscription, mut queue) = harness.subscribe();
        harness.push(0..10);
        let before = next_opus(&mut queue).await;
        let mut other = harness.track.clone();
        // Explicitly without HE-AAC: the same sound, said in another way.
        other.config = Bytes::from_static(&[0x11, 0x90]);
        harness.publisher.set_audio_track(other);
        assert!(!harness.publisher.stream().has_audio_thread());
        harness.push(10..40);
        let mut last = before.pts;
        // What the first thread had not delivered by then is left out, the rest is in order.
        for _ in 0..20 {
            let pts = next_opus(&mut queue).await.pts;
            assert!(pts > last, "{pts:?} after {last:?}");
            last = pts;
        }
    }

    #[tokio::test]
    async fn a_thread_that_was_replaced_delivers_nothing() {
        let harness = Harness::new();
        let (_subscription, mut queue) = harness.subscribe();
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
        let second = harness.hub.take_over(&harness.name, harness.now);
        stream.deliver_opus(1, marked(1));
        second
            .push(Frame::Audio(harness.frames[0].clone()), harness.now)
            .unwrap();
        stream.deliver_opus(1, marked(1));
        stream.deliver_opus(2, marked(2));
        loop {
            match next_opus(&mut queue).await.data[..] {
                [1] => panic!("the first thread has nothing to say any more"),
                [2] => break,
                _ => {}
            }
        }
    }

    #[tokio::test]
    async fn sound_that_cannot_be_transcoded_leaves_the_rest_alone() {
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
            "the first that comes"
        );
    }

    #[test]
    fn the_thread_ends_with_its_stream() {
        let harness = Harness::new();
        let (subscription, queue) = harness.subscribe();
        harness.push(0..10);
        let stream = Arc::downgrade(harness.publisher.stream());
        drop((subscription, queue, harness));
        // The thread may hold it for the length of one delivery.
        while stream.strong_count() > 0 {
            thread::yield_now();
        }
    }
}
