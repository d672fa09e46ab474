//! Selects the transcode for viewers that cannot decode a stream as published.

use std::time::Duration;

use distributary_media::VideoTrack;
use distributary_names::{RenditionId, StreamName};
use tracing::info;

use crate::demand::DemandError;
use crate::hub::Hub;

/// Maximum time that a viewer waits for a rendition before it gets the stream itself.
const RENDITION_TIMEOUT: Duration = Duration::from_secs(8);

/// Selects how a viewer receives a stream with B-frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BFrameChoice {
    /// As the policy of the stream says.
    #[default]
    Policy,
    /// As published: the viewer's player asks for it.
    Player,
}

impl Hub {
    /// Returns the name of the stream that a viewer of `name` gets. If the stream has B-frames that
    /// require transcoding (unless the player asks for them), or its video codec is not supported
    /// by the viewer (`supports`), that is its transcode, once it has a frame. If there is none, it
    /// is the stream itself.
    pub async fn watchable(
        &self,
        name: &StreamName,
        choice: BFrameChoice,
        supports: impl FnOnce(&VideoTrack) -> bool,
    ) -> StreamName {
        let Some(stream) = self.stream(name) else {
            return name.clone();
        };
        let accepts_b_frames = choice == BFrameChoice::Player || !stream.needs_transcoding();
        let supports_codec = stream.stats().video.is_none_or(|track| supports(&track));
        if supports_codec && accepts_b_frames {
            return name.clone();
        }
        let rendition = name.rendition(&RenditionId::H264);
        let live = tokio::time::timeout(RENDITION_TIMEOUT, self.ensure_live(&rendition)).await;
        let error = match live.unwrap_or_else(|_| Err(timed_out())) {
            Ok(()) => return rendition,
            Err(error) => error,
        };
        if error == DemandError::NoProvider {
            stream.note_no_transcoder(supports_codec);
        } else {
            info!(stream = %name, %error, "the viewer is sent the stream, not a transcode");
        }
        name.clone()
    }
}

/// Returns the error for a rendition that is not live within the timeout.
fn timed_out() -> DemandError {
    DemandError::Failed(format!("it was not live within {RENDITION_TIMEOUT:?}").into())
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;
    use crate::{
        BFramePolicy, HubConfig, PublishError, Publisher, RenditionOrigin, Sink, Stream,
        StreamEvent, StreamsConfig,
    };
    use bytes::Bytes;
    use distributary_media::test_util::{B, IDR, REFERENCE_B, SPS, h264_frame};
    use distributary_media::{
        AudioCodec, AudioFrame, Frame, FrameInfo, FrameInspector, MediaTime, VideoCodec, VideoFrame,
    };
    use std::sync::Arc;
    use std::time::Instant;

    fn hub(policy: BFramePolicy) -> Hub {
        Hub::new(HubConfig {
            streams: StreamsConfig {
                bframes: policy,
                ..StreamsConfig::default()
            },
            ..HubConfig::default()
        })
    }

    fn publish(hub: &Hub, codec: VideoCodec, frames: &[&[&[u8]]]) -> Publisher {
        let name = StreamName::parse("live/test").unwrap();
        let publisher = hub.publish(&name, Instant::now()).unwrap();
        publisher.set_video_track(VideoTrack {
            codec,
            width: 640,
            height: 360,
            profile_level_id: [0x4d, 0, 0x1f],
            config: Bytes::new(),
        });
        let mut inspector = FrameInspector::default();
        for units in frames {
            let mut frame = VideoFrame {
                codec,
                ..h264_frame(units, 0)
            };
            inspector.inspect(&mut frame);
            publisher.push(Frame::Video(frame), Instant::now()).unwrap();
        }
        publisher
    }

    fn transcode(hub: &Hub, of: &Arc<Stream>, now: Instant) -> Result<Publisher, PublishError> {
        hub.publish_rendition(of, &RenditionId::H264, RenditionOrigin::Transcoded, now)
    }

    /// Returns whether a viewer that supports only H264 gets a rendition of the stream.
    async fn gets_rendition(
        policy: BFramePolicy,
        choice: BFrameChoice,
        codec: VideoCodec,
        frames: &[&[&[u8]]],
    ) -> bool {
        let hub = hub(policy);
        let publisher = publish(&hub, codec, frames);
        let mut demands = hub.provide_renditions(|_| Vec::new());
        let provider = async {
            let demand = demands.recv().await.unwrap();
            let _rendition = transcode(&hub, publisher.stream(), Instant::now());
            demand.answer(Ok(()));
            std::future::pending::<()>().await;
        };
        let name = publisher.stream().name();
        tokio::select! {
            given = hub.watchable(name, choice, |track| track.codec == VideoCodec::H264) => {
                given.is_rendition()
            }
            () = provider => panic!("it never ends"),
        }
    }

    #[tokio::test]
    async fn policy_decides_which_b_frames_require_a_rendition() {
        use BFramePolicy::{Auto, Drop, Reorder, Transcode};
        let in_order: &[&[&[u8]]] = &[&[SPS, IDR]];
        let disposable: &[&[&[u8]]] = &[&[SPS, IDR], &[B]];
        let pyramid: &[&[&[u8]]] = &[&[SPS, IDR], &[REFERENCE_B]];
        for (policy, expected) in [
            (Auto, [false, false, true]),
            (Transcode, [false, true, true]),
            (Drop, [false; 3]),
            (Reorder, [false; 3]),
        ] {
            for (frames, expected) in [in_order, disposable, pyramid].iter().zip(expected) {
                let given =
                    async |choice| gets_rendition(policy, choice, VideoCodec::H264, frames).await;
                let what = format!("{policy:?} {frames:?}");
                assert_eq!(given(BFrameChoice::Policy).await, expected, "{what}");
                assert!(!given(BFrameChoice::Player).await, "{what}");
            }
        }
    }

    #[tokio::test]
    async fn unsupported_codec_requires_a_rendition() {
        let frames: &[&[&[u8]]] = &[&[&[0x26, 1]]];
        for choice in [BFrameChoice::Policy, BFrameChoice::Player] {
            let policy = BFramePolicy::Drop;
            assert!(gets_rendition(policy, choice, VideoCodec::H265, frames).await);
        }
    }

    #[tokio::test]
    async fn reordered_hevc_requires_a_rendition_even_if_hevc_is_supported() {
        // From x265, with a reorder depth of one frame and of none.
        const REORDERED: &[u8] = b"\x42\x01\x01\x01\x60\0\0\x03\0\x90\0\0\x03\0\0\x03\0\x3f\xa0\x05\x02\x01\x71\xf2\xe5\x95\x99\x29\x30\xbc\x05\xa0\x20\0\0\x03\0\x20\0\0\x03\x03\x21";
        const IN_ORDER: &[u8] = b"\x42\x01\x01\x01\x60\0\0\x03\0\x90\0\0\x03\0\0\x03\0\x3f\xa0\x05\x02\x01\x71\xf2\xe5\xba\x4a\x4c\x2f\x01\x68\x08\0\0\x03\0\x08\0\0\x03\0\xc8\x40";
        for (sps, delay, expected) in [(REORDERED, 80, true), (IN_ORDER, 0, false)] {
            let hub = hub(BFramePolicy::Auto);
            let publisher = publish(&hub, VideoCodec::H265, &[]);
            let mut frame = VideoFrame {
                codec: VideoCodec::H265,
                pts: MediaTime::from_millis(delay),
                dts: MediaTime::ZERO,
                keyframe: true,
                info: FrameInfo::default(),
                units: [sps, &[0x26, 1]].map(Bytes::from_static).to_vec(),
            };
            FrameInspector::default().inspect(&mut frame);
            publisher.push(Frame::Video(frame), Instant::now()).unwrap();
            assert_eq!(publisher.stream().needs_transcoding(), expected);
        }
    }

    #[tokio::test]
    async fn viewer_gets_the_stream_without_a_rendition() {
        let hub = hub(BFramePolicy::Transcode);
        let publisher = publish(&hub, VideoCodec::H265, &[]);
        let given = async |hub: &Hub| {
            let name = publisher.stream().name();
            let given = hub.watchable(name, BFrameChoice::Policy, |_| false);
            given.await.is_rendition()
        };
        assert!(!given(&hub).await, "there is no provider");
        let stream = publisher.stream();
        assert!(!stream.note_no_transcoder(false), "logged already");
        let _second = hub.take_over(stream.name(), Instant::now());
        assert!(stream.note_no_transcoder(false), "once for each publisher");
        let mut demands = hub.provide_renditions(|_| Vec::new());
        let provider = async {
            let demand = demands.recv().await.unwrap();
            demand.answer(Err(DemandError::Failed("no encoder".into())));
        };
        let (given, ()) = tokio::join!(given(&hub), provider);
        assert!(!given, "the provider fails");
    }

    #[tokio::test]
    async fn rendition_is_not_listed_among_the_streams() {
        let hub = hub(BFramePolicy::Auto);
        let publisher = publish(&hub, VideoCodec::H264, &[]);
        let name = publisher.stream().name();
        assert!(hub.live_rendition(name, &RenditionId::H264).is_none());
        let rendition = transcode(&hub, publisher.stream(), Instant::now());
        assert_eq!(
            rendition.unwrap().stream().name(),
            &name.rendition(&RenditionId::H264)
        );
        let _rendition = transcode(&hub, publisher.stream(), Instant::now());
        assert!(hub.live_rendition(name, &RenditionId::H264).is_some());
        let listed = hub.streams();
        assert!(listed.len() == 1 && !listed[0].name().is_rendition());
    }

    #[test]
    fn rendition_has_the_clock_of_its_stream() {
        let hub = hub(BFramePolicy::Auto);
        let publisher = publish(&hub, VideoCodec::H264, &[]);
        let source = publisher.stream();
        let now = source.epoch() + Duration::from_secs(100);
        let rendition = transcode(&hub, source, now).unwrap();
        assert_eq!(rendition.stream().epoch(), source.epoch());
        assert_eq!(rendition.stream().stats().live_since, Some(now));
        let (sink, mut queue) = Sink::channel(8);
        let _subscription = hub.subscribe(rendition.stream().name(), sink, 0).unwrap();
        // It arrives late by the delay of its encoder; another follows after a long pause.
        for millis in [99_000, 98_980, 150_000] {
            let pts = MediaTime::from_millis(millis);
            let (data, codec) = (Bytes::from_static(&[1]), AudioCodec::Opus);
            let audio = AudioFrame { codec, pts, data };
            rendition.push(Frame::Audio(audio), now).unwrap();
        }
        let times = std::iter::from_fn(|| match queue.try_recv().ok()?.event {
            StreamEvent::Frame(frame) => Some(frame.dts().as_millis()),
            other => panic!("{other:?}"),
        });
        assert!(times.eq([99_000, 99_000, 150_000]), "time never goes back");
    }
}
