//! The table of a stream's renditions: the same video in several qualities, all on the clock of the
//! stream.
//!
//! A rendition is a stream of the hub with a name of its own ([`StreamName::rendition`]). Some are
//! there as long as their publisher sends them; others are made on request, and listed before.
//!
//! The publisher of a rendition sends only video: its subscribers get the audio and the timed data
//! of the source.

use std::cmp::Reverse;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use distributary_media::{MediaTime, VideoCodec};
use distributary_names::{RenditionId, StreamName};
use tokio::sync::mpsc;

use crate::demand::Demand;
use crate::hub::{Hub, PublishError};
use crate::offer::{JoinAlignment, RenditionOffer, RenditionOrigin, SourceVideo};
use crate::stream::{Publisher, Stream};

/// One quality of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendition {
    /// Its id among the renditions of the stream.
    pub id: RenditionId,
    /// The stream of the hub that carries it, for [`Hub::subscribe`].
    pub stream: StreamName,
    /// Its origin.
    pub origin: RenditionOrigin,
    /// Its codec.
    pub codec: VideoCodec,
    /// Width of its frames in pixels; 0 if the publisher does not say it.
    pub width: u32,
    /// Height of its frames in pixels; 0 if the publisher does not say it.
    pub height: u32,
    /// Bitrate of its video in bit/s. That of a live rendition is measured: the mean of the last
    /// seconds, or more if an earlier peak was far above it. Before the first measurement, and before
    /// it is live, it is the configured one; 0 if there is none.
    pub bitrate: u64,
    /// False if it is made on request: see [`Hub::request_rendition`].
    pub is_live: bool,
    /// Its alignment with the clock of the stream, if it is [joined](RenditionOrigin::Joined).
    pub alignment: Option<JoinAlignment>,
    /// True if it has B-frames that its viewers cannot decode, according to the policy for them.
    pub needs_transcoding: bool,
}

impl Hub {
    /// Returns the renditions of a published stream at `now`, the best first, the source included.
    /// There is none before the source's video track is known.
    ///
    /// [`StreamEvent::Renditions`](crate::StreamEvent::Renditions) tells the subscribers of the
    /// stream, and of its renditions, when the list has changed. Bitrates change without an event.
    pub fn renditions(&self, name: &StreamName, now: Instant) -> Vec<Rendition> {
        let name = name.published();
        let Some(source) = self.stream(&name) else {
            return Vec::new();
        };
        let mut renditions: Vec<Rendition> = source
            .renditions()
            .iter()
            .filter_map(|(stream, origin)| Rendition::of(stream, *origin, now))
            .collect();
        if let Some(video) = source.source_video(now) {
            renditions.extend(Rendition::of(&source, RenditionOrigin::Source, now));
            for offer in self.needed_offers(&source, &video, &renditions) {
                // The offer says what a rendition is that is live and not measured yet.
                match renditions.iter_mut().find(|live| live.id == offer.id) {
                    Some(live) if live.bitrate == 0 => live.bitrate = offer.bitrate,
                    Some(_) => {}
                    None => renditions.push(Rendition::offered(&name, &offer)),
                }
            }
        }
        renditions.sort_by_key(Rendition::rank);
        renditions
    }

    /// Requests a rendition by its name without waiting for it: of the maker, or, if the stream comes
    /// from another gateway, of that. Once the rendition is live, it is kept for a moment, in which
    /// viewers have to subscribe. Returns `false` if nobody makes renditions, or the maker is busy.
    pub fn request_rendition(&self, name: &StreamName) -> bool {
        self.request(name, None)
    }

    /// Requests a keyframe of a transcoded rendition that is later than `after`, as soon as
    /// possible: a viewer that has the video up to there cannot start with an earlier one. Returns
    /// `false` if nobody makes renditions, or the maker is busy.
    pub fn request_keyframe(&self, name: &StreamName, after: MediaTime) -> bool {
        self.request(name, Some(after))
    }

    /// Returns a rendition of a stream if it is live.
    pub fn live_rendition(&self, name: &StreamName, id: &RenditionId) -> Option<Arc<Stream>> {
        self.stream(&name.rendition(id))
            .filter(|stream| stream.is_live())
    }

    /// Starts publishing a rendition of the stream `of`. Its frames are on the clock of that
    /// stream.
    ///
    /// # Errors
    /// Returns [`PublishError::AlreadyLive`] if the rendition is already published.
    pub fn publish_rendition(
        &self,
        of: &Arc<Stream>,
        id: &RenditionId,
        origin: RenditionOrigin,
        now: Instant,
    ) -> Result<Publisher, PublishError> {
        let name = of.name().rendition(id);
        let publisher = self.claim(&name, of.epoch(), |stream| stream.take_publisher(now));
        let publisher = publisher.ok_or(PublishError::AlreadyLive)?;
        Ok(publisher.follow(of, origin))
    }

    /// Starts publishing a further video track of the publisher `of` as a rendition of its stream, in
    /// place of that of an earlier publisher. `None` if `of` is not the active publisher.
    pub fn publish_track(&self, of: &Publisher, number: u8, now: Instant) -> Option<Publisher> {
        if !of.is_active() {
            return None;
        }
        let id = RenditionId::track(number);
        let track = self.take_over_rendition(of.stream(), &id, RenditionOrigin::Track, now);
        // A takeover in the meantime may have ended the tracks before this one was added.
        of.is_active().then_some(track)
    }

    /// Starts publishing the video of another stream as a rendition of the stream `of`, in place of
    /// that which is published.
    pub(crate) fn publish_joined(
        &self,
        of: &Arc<Stream>,
        id: &RenditionId,
        now: Instant,
    ) -> Publisher {
        self.take_over_rendition(of, id, RenditionOrigin::Joined, now)
    }

    fn take_over_rendition(
        &self,
        of: &Arc<Stream>,
        id: &RenditionId,
        origin: RenditionOrigin,
        now: Instant,
    ) -> Publisher {
        let name = of.name().rendition(id);
        self.claim(&name, of.epoch(), |stream| Some(stream.take_over(now)))
            .expect("a takeover is never refused")
            .follow(of, origin)
    }

    /// Registers a maker of renditions. `offers` returns those that it can make of a stream; it is
    /// called often and must be cheap. Requests arrive as with [`Self::provide`].
    pub fn provide_renditions(
        &self,
        offers: impl Fn(&SourceVideo) -> Vec<RenditionOffer> + Send + Sync + 'static,
    ) -> mpsc::Receiver<Demand> {
        let maker = self.maker().write();
        *maker.unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(offers));
        let demands = self.provide_as_transcoder();
        for stream in self.streams() {
            stream.tell_renditions();
        }
        demands
    }

    /// Returns the renditions that can be made of a published stream, whether they are live or not.
    pub fn rendition_offers(&self, name: &StreamName, now: Instant) -> Vec<RenditionOffer> {
        let Some(source) = self.stream(&name.published()) else {
            return Vec::new();
        };
        match (source.remote_offers(), source.source_video(now)) {
            (Some(offers), _) => offers.to_vec(),
            (None, Some(video)) => self.makes(&video),
            (None, None) => Vec::new(),
        }
    }

    /// Returns those that are listed beside the renditions that are live.
    fn needed_offers(
        &self,
        source: &Stream,
        video: &SourceVideo,
        live: &[Rendition],
    ) -> Vec<RenditionOffer> {
        // Its gateway has left out what is not needed.
        if let Some(offers) = source.remote_offers() {
            return offers.to_vec();
        }
        let smallest = smallest_sent(live);
        let is_live = |offer: &RenditionOffer| live.iter().any(|one| one.id == offer.id);
        let mut offers = self.makes(video);
        offers.retain(|offer| is_live(offer) || is_needed(offer, smallest));
        offers
    }

    /// Returns what this gateway makes of a video.
    fn makes(&self, video: &SourceVideo) -> Vec<RenditionOffer> {
        let maker = self.maker().read();
        let maker = maker.unwrap_or_else(PoisonError::into_inner).clone();
        maker.map_or_else(Vec::new, |offers| offers(video))
    }
}

impl Rendition {
    /// Describes a stream that carries a rendition; `None` before it has a video track.
    fn of(stream: &Stream, origin: RenditionOrigin, now: Instant) -> Option<Self> {
        let video = stream.source_video(now)?;
        Some(Self {
            id: video.stream.rendition_id(),
            stream: video.stream,
            origin,
            codec: video.track.codec,
            width: video.track.width,
            height: video.track.height,
            bitrate: video.bitrate,
            is_live: true,
            alignment: stream.alignment(),
            needs_transcoding: video.needs_transcoding,
        })
    }

    fn offered(source: &StreamName, offer: &RenditionOffer) -> Self {
        Self {
            id: offer.id,
            stream: source.rendition(&offer.id),
            origin: offer.origin,
            codec: offer.codec,
            width: offer.width,
            height: offer.height,
            bitrate: offer.bitrate,
            is_live: false,
            alignment: None,
            needs_transcoding: offer.needs_transcoding,
        }
    }

    fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Returns the key by which the best rendition comes first.
    fn rank(&self) -> impl Ord + use<> {
        let pixels = self.pixels();
        let is_transcoded = self.origin == RenditionOrigin::Transcoded;
        (
            Reverse(pixels),
            is_transcoded,
            Reverse(self.bitrate),
            self.origin,
            self.id,
        )
    }
}

/// Returns the pixels of the smallest video besides the source that publishers send in H264, which
/// those viewers can decode to whom renditions are offered.
fn smallest_sent(renditions: &[Rendition]) -> Option<u64> {
    let sent = renditions.iter().filter(|rendition| {
        let is_sent = matches!(
            rendition.origin,
            RenditionOrigin::Track | RenditionOrigin::Joined
        );
        is_sent && rendition.codec == VideoCodec::H264 && !rendition.needs_transcoding
    });
    sent.map(Rendition::pixels)
        .filter(|pixels| *pixels > 0)
        .min()
}

/// Returns whether a rendition is offered beside those that publishers send, of which the smallest
/// has so many pixels: it is not worth an encoder unless it is clearly smaller.
fn is_needed(offer: &RenditionOffer, smallest: Option<u64>) -> bool {
    let pixels = u64::from(offer.width) * u64::from(offer.height);
    offer.id == RenditionId::H264 || smallest.is_none_or(|smallest| pixels * 3 <= smallest * 2)
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;
    use crate::{AudioForm, Delivery, HubConfig, Sink, StreamEvent};
    use bytes::Bytes;
    use distributary_media::test_util::{opus_frame, video_frame};
    use distributary_media::{AudioCodec, AudioFrame, AudioTrack, Frame, TimedData, VideoTrack};
    use std::time::Duration;

    fn track(height: u32) -> VideoTrack {
        VideoTrack {
            codec: VideoCodec::H264,
            width: height * 16 / 9,
            height,
            profile_level_id: [0x42, 0xc0, 0x1f],
            config: Bytes::new(),
        }
    }

    fn frame(millis: i64, bytes: usize) -> Frame {
        Frame::Video(video_frame(millis, millis == 0, bytes))
    }

    fn hub() -> (Hub, StreamName, Instant) {
        let name = StreamName::parse("live/test").unwrap();
        (Hub::new(HubConfig::default()), name, Instant::now())
    }

    fn ids(hub: &Hub, name: &StreamName, now: Instant) -> Vec<(String, bool)> {
        let renditions = hub.renditions(name, now).into_iter();
        renditions
            .map(|rendition| (rendition.id.to_string(), rendition.is_live))
            .collect()
    }

    /// Takes the queued events, and returns how many of them tell of renditions.
    fn told(queue: &mut mpsc::Receiver<Delivery>) -> usize {
        let events = std::iter::from_fn(|| queue.try_recv().ok());
        events
            .filter(|delivery| matches!(delivery.event, StreamEvent::Renditions))
            .count()
    }

    #[test]
    fn table_lists_source_published_and_offered_renditions_best_first() {
        let (hub, name, now) = hub();
        assert!(hub.renditions(&name, now).is_empty());
        let publisher = hub.publish(&name, now).unwrap();
        assert!(hub.renditions(&name, now).is_empty(), "no track yet");
        publisher.set_video_track(track(1080));
        assert_eq!(ids(&hub, &name, now), [("source".into(), true)]);

        let rung = RenditionId::rung(480);
        let _demands = hub.provide_renditions(move |source| {
            assert_eq!(
                (source.track.height, source.needs_transcoding),
                (1080, false)
            );
            let offer =
                |id, height| RenditionOffer::transcode(id, height * 16 / 9, height, 1_200_000);
            vec![offer(rung, 480), offer(RenditionId::H264, 1080)]
        });
        let expected = ["source", "h264", "480p"].map(|id| (id.to_owned(), id == "source"));
        assert_eq!(ids(&hub, &name, now), expected);

        let made = hub
            .publish_rendition(publisher.stream(), &rung, RenditionOrigin::Transcoded, now)
            .unwrap();
        made.set_video_track(track(480));
        let second = RenditionId::track(1);
        let sent = hub.publish_rendition(publisher.stream(), &second, RenditionOrigin::Track, now);
        let sent = sent.unwrap();
        sent.set_video_track(track(720));
        let expected = [
            ("source", true),
            ("h264", false),
            ("track1", true),
            ("480p", true),
        ];
        let expected = expected.map(|(id, is_live)| (id.to_owned(), is_live));
        assert_eq!(ids(&hub, &name, now), expected);
        let listed = hub.renditions(&name.rendition(&rung), now);
        assert_eq!(listed[3].stream, name.rendition(&rung));
        assert_eq!(listed[3].bitrate, 1_200_000, "as offered, not measured yet");
        for millis in (0..4000).step_by(50) {
            let at = now + Duration::from_millis(millis);
            made.push(frame(millis as i64, 1000), at).unwrap();
        }
        let later = now + Duration::from_secs(4);
        assert_eq!(hub.renditions(&name, later)[3].bitrate, 160_000);

        drop((made, sent));
        assert_eq!(ids(&hub, &name, later).len(), 3);
        drop(publisher);
        assert!(hub.renditions(&name, later).is_empty());
        assert!(hub.stream(&name).is_none(), "nothing keeps it");
    }

    #[test]
    fn subscribers_of_all_renditions_are_told_of_changes() {
        let (hub, name, now) = hub();
        let publisher = hub.publish(&name, now).unwrap();
        let (sink, mut source_queue) = Sink::channel(64);
        let _source = hub.subscribe(&name, sink, 0).unwrap();
        publisher.set_video_track(track(1080));
        assert_eq!(told(&mut source_queue), 1);
        publisher.set_video_track(track(1080));
        assert_eq!(told(&mut source_queue), 0, "it is the same track");

        let id = RenditionId::track(1);
        let publish = || {
            hub.publish_rendition(publisher.stream(), &id, RenditionOrigin::Track, now)
                .unwrap()
        };
        let rendition = publish();
        let (sink, mut rendition_queue) = Sink::channel(64);
        let watching = hub.subscribe(&name.rendition(&id), sink, 0).unwrap();
        rendition.set_video_track(track(720));
        assert_eq!(told(&mut source_queue), 2, "it is there, and has a track");
        assert_eq!(told(&mut rendition_queue), 1);
        drop(rendition);
        assert_eq!(
            (told(&mut source_queue), told(&mut rendition_queue)),
            (1, 1)
        );
        let _again = publish();
        let (source_told, rendition_told) = (told(&mut source_queue), told(&mut rendition_queue));
        assert_eq!((source_told, rendition_told), (1, 1));
        let _demands = hub.provide_renditions(|_| Vec::new());
        assert_eq!(
            (told(&mut source_queue), told(&mut rendition_queue)),
            (1, 1)
        );
        let _second = hub.take_over(&name, now);
        assert_eq!(
            (told(&mut source_queue), told(&mut rendition_queue)),
            (0, 1)
        );
        drop(watching);
    }

    #[tokio::test]
    async fn renditions_of_a_stream_from_elsewhere_are_those_that_it_has_there() {
        let (hub, name, now) = hub();
        let mut own = hub.provide_renditions(|_| {
            vec![RenditionOffer::transcode(
                RenditionId::rung(240),
                426,
                240,
                300_000,
            )]
        });
        let mut elsewhere = hub.provide_from_elsewhere();
        let publisher = hub.publish_remote(&name, now, now).unwrap();
        let publisher = publisher.from_node("a".into(), now);
        publisher.set_video_track(track(1080));
        assert_eq!(ids(&hub, &name, now), [("source".into(), true)]);
        let (sink, mut queue) = Sink::channel(64);
        let _watching = hub.subscribe(&name, sink, 0).unwrap();
        let rung = RenditionId::rung(480);
        let offered = RenditionOffer::transcode(rung, 854, 480, 1_200_000);
        let sent = RenditionOffer {
            origin: RenditionOrigin::Track,
            needs_transcoding: true,
            ..RenditionOffer::transcode(RenditionId::track(1), 1280, 720, 0)
        };
        publisher.set_offers(vec![offered, sent]);
        publisher.set_offers(vec![offered, sent]);
        assert_eq!(told(&mut queue), 1, "it is told once");
        let rows = hub.renditions(&name, now);
        let row = |at: usize| (rows[at].id.to_string(), rows[at].needs_transcoding);
        assert_eq!(rows.len(), 3);
        assert_eq!((row(1).0, row(2).0), ("track1".into(), "480p".into()));
        assert_eq!((row(1).1, row(2).1), (true, false));
        assert_eq!(rows[1].origin, RenditionOrigin::Track);

        assert!(hub.request_rendition(&name.rendition(&rung)));
        assert_eq!(elsewhere.try_recv().unwrap().name(), &name.rendition(&rung));
        assert!(own.try_recv().is_err());
        // A publisher of this gateway has the stream now.
        let local = hub.publish(&name, now).unwrap();
        local.set_video_track(track(1080));
        let made_here = [("source".to_owned(), true), ("240p".to_owned(), false)];
        assert_eq!(ids(&hub, &name, now), made_here);
        assert!(hub.request_rendition(&name.rendition(&rung)));
        assert!(own.try_recv().is_ok() && elsewhere.try_recv().is_err());
        publisher.set_offers(vec![offered]);
        assert_eq!(ids(&hub, &name, now), made_here, "it is replaced");
    }

    #[test]
    fn audio_of_a_stream_from_elsewhere_comes_in_both_forms() {
        let (hub, name, now) = hub();
        let publisher = hub.publish_remote(&name, now, now).unwrap();
        let publisher = publisher.from_node("a".into(), now);
        let stream = publisher.stream().clone();
        let listen = |form| {
            let (sink, queue) = Sink::channel(64);
            let sink = sink.with_audio(form);
            (hub.subscribe(&name, sink, 0).unwrap(), queue)
        };
        let (_browser, mut opus) = listen(AudioForm::Opus);
        assert!(!stream.has_published_listener());
        let (_player, mut published) = listen(AudioForm::Published);
        let (_encoder, mut without) = listen(AudioForm::Without);
        assert!(stream.has_published_listener());
        let aac = AudioFrame {
            codec: AudioCodec::Aac,
            pts: MediaTime::ZERO,
            data: Bytes::from_static(&[0x21]),
        };
        let mut heard = |audio_track: AudioCodec| {
            publisher.set_audio_track(AudioTrack {
                codec: audio_track,
                sample_rate: 48_000,
                channels: 2,
                config: Bytes::new(),
            });
            let made = Frame::Audio(opus_frame(0, &[1]));
            publisher.push(made, now).unwrap();
            stream.push_as_published(aac.clone());
            let codecs = |queue: &mut mpsc::Receiver<Delivery>| {
                let frames = std::iter::from_fn(|| queue.try_recv().ok());
                let frames = frames.filter_map(|delivery| match delivery.event {
                    StreamEvent::Frame(frame) => match &*frame {
                        Frame::Audio(audio) => Some(audio.codec),
                        Frame::Video(_) => None,
                    },
                    _ => None,
                });
                frames.collect::<Vec<_>>()
            };
            assert!(!stream.has_audio_job(), "nothing is transcoded here");
            (codecs(&mut opus), codecs(&mut published))
        };
        let (opus, aac) = (AudioCodec::Opus, AudioCodec::Aac);
        assert_eq!(heard(aac), (vec![opus], vec![aac]));
        let _local = hub.publish(&name, now).unwrap();
        stream.push_as_published(AudioFrame {
            codec: AudioCodec::Aac,
            pts: MediaTime::ZERO,
            data: Bytes::new(),
        });
        let events = std::iter::from_fn(|| without.try_recv().ok());
        let is_frame = |delivery: Delivery| matches!(delivery.event, StreamEvent::Frame(_));
        assert!(!events.into_iter().any(is_frame));
    }

    #[test]
    fn subscribers_of_a_rendition_get_the_audio_and_the_data_of_the_source() {
        let (hub, name, now) = hub();
        let publisher = hub.publish(&name, now).unwrap();
        let data = |name: &str| TimedData {
            time: MediaTime::ZERO,
            name: name.into(),
            values: Vec::new(),
        };
        publisher.push_data(data(TimedData::METADATA), now);
        let id = RenditionId::track(1);
        let _rendition = hub
            .publish_rendition(publisher.stream(), &id, RenditionOrigin::Track, now)
            .unwrap();
        let (sink, mut queue) = Sink::channel(64);
        let (watching, _) = hub.subscribe(&name.rendition(&id), sink, 0).unwrap();
        assert!(watching.stream().metadata().is_some());
        watching.set_audio_loss(7);
        assert_eq!(publisher.stream().audio_loss(), 7);
        for millis in [0, 20] {
            let audio = opus_frame(millis, &[1]);
            publisher.push(Frame::Audio(audio), now).unwrap();
        }
        let video = Frame::Video(video_frame(0, true, 100));
        publisher.push(video, now).unwrap();
        publisher.push_data(data("onCuePoint"), now);
        let events = std::iter::from_fn(|| queue.try_recv().ok());
        let got: Vec<_> = events
            .map(|delivery| match delivery.event {
                StreamEvent::Frame(frame) => frame.dts().as_millis().to_string(),
                StreamEvent::Data(data) => data.name.to_string(),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(got, ["0", "20", "onCuePoint"], "and no video of the source");
    }

    #[test]
    fn further_track_is_on_the_clock_of_the_stream_and_can_be_taken_over() {
        let (hub, name, now) = hub();
        let publisher = hub.publish(&name, now).unwrap();
        let first = hub.publish_track(&publisher, 1, now).unwrap();
        first.set_video_track(track(720));
        let mut early = video_frame(7_000_000, true, 9);
        assert!(!publisher.place_track(&mut early), "no clock yet");
        let main = Frame::Video(video_frame(7_000_000, true, 9));
        let later = now + Duration::from_secs(5);
        publisher.push(main, later).unwrap();
        let mut placed = video_frame(7_000_040, true, 9);
        assert!(publisher.place_track(&mut placed));
        assert_eq!(placed.pts, MediaTime::from_millis(5040));

        // The next publisher takes over before the first is gone.
        let second = hub.take_over(&name, later);
        assert!(hub.publish_track(&publisher, 1, later).is_none());
        let taken = hub.publish_track(&second, 1, later).unwrap();
        taken.set_video_track(track(480));
        second.set_video_track(track(1080));
        drop((first, publisher));
        let rows = hub.renditions(&name, later);
        let heights: Vec<_> = rows.iter().map(|row| row.height).collect();
        assert_eq!(heights, [1080, 480]);
        drop((taken, second));
        assert!(hub.stream(&name).is_none());
    }

    #[test]
    fn subscriber_of_a_rendition_keeps_the_source_and_its_clock() {
        let (hub, name, now) = hub();
        let publisher = hub.publish(&name, now).unwrap();
        let id = RenditionId::track(1);
        let rendition = hub
            .publish_rendition(publisher.stream(), &id, RenditionOrigin::Track, now)
            .unwrap();
        let (sink, _queue) = Sink::channel(64);
        let (watching, _) = hub.subscribe(&name.rendition(&id), sink, 0).unwrap();
        assert_eq!(*publisher.stream().subscribers().borrow(), 1);
        drop((rendition, publisher));
        let back = hub.publish(&name, now + Duration::from_secs(9)).unwrap();
        assert_eq!(back.stream().epoch(), watching.stream().epoch());
        drop((back, watching));
        assert!(hub.stream(&name).is_none() && hub.stream(&name.rendition(&id)).is_none());
    }
}
