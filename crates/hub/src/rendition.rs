//! What a viewer is given that cannot show a stream as it is published.

use std::sync::Arc;
use std::time::Duration;

use distributary_media::VideoTrack;
use tracing::{info, warn};

use crate::demand::DemandError;
use crate::hub::Hub;
use crate::name::StreamName;
use crate::stream::Stream;

/// How long a viewer waits for a rendition at most, before it is given what there is.
const PATIENCE: Duration = Duration::from_secs(8);

impl Hub {
    /// What a viewer is to be given of `stream`. Where the stream has B-frames that it is to be encoded
    /// anew for, or pictures in a coding that the viewer does not take, that is its rendition, as soon as
    /// there is a picture of it. Where that cannot be had, it is the stream.
    pub async fn watchable(
        &self,
        stream: Arc<Stream>,
        takes: impl FnOnce(&VideoTrack) -> bool,
    ) -> Arc<Stream> {
        let is_taken = stream.stats().video.is_none_or(|track| takes(&track));
        if is_taken && !stream.is_to_be_transcoded() {
            return stream;
        }
        let name = stream.name().rendition();
        let refusal = match tokio::time::timeout(PATIENCE, self.summon(&name)).await {
            Ok(Ok(())) => match self.live_rendition(&name) {
                Some(rendition) => return rendition,
                None => DemandError::NoProvider,
            },
            Ok(Err(refusal)) => refusal,
            Err(_) => {
                warn!(stream = %name, "the viewer is not kept waiting longer for a transcode");
                return stream;
            }
        };
        match refusal {
            DemandError::NoProvider => {}
            error => info!(stream = %name, %error, "the viewer is not given a transcode"),
        }
        stream
    }

    /// What is made of the published stream `name` now for viewers that cannot show it.
    pub fn live_rendition(&self, name: &StreamName) -> Option<Arc<Stream>> {
        self.stream(&name.rendition())
            .filter(|stream| stream.is_live())
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;
    use crate::{BFramePolicy, ByStream, HubConfig, Publisher};
    use bytes::Bytes;
    use distributary_media::{Frame, MediaTime, VideoCodec, VideoFrame};
    use std::time::Instant;

    /// Main profile with `pic_order_cnt_type` 0.
    const SPS: &[u8] = &[0x67, 0x4d, 0, 0x1f, 0xf2, 0x81, 0x40, 0x5f, 0x20];
    const IDR: &[u8] = &[0x65, 0b1000_1000, 0x80];
    const B: &[u8] = &[0x01, 0b1001_1110, 0x80];
    const REFERENCE_B: &[u8] = &[0x21, 0b1001_1110, 0x80];

    fn hub(policy: BFramePolicy) -> Hub {
        Hub::new(HubConfig {
            b_frames: ByStream::new(policy, Vec::new()),
            ..HubConfig::default()
        })
    }

    fn publish(hub: &Hub, codec: VideoCodec, pictures: &[&[&[u8]]]) -> Publisher {
        let name = StreamName::parse("live/test").unwrap();
        let publisher = hub.publish(&name, Instant::now()).unwrap();
        publisher.set_video_track(VideoTrack {
            codec,
            width: 640,
            height: 360,
            profile_level_id: [0x4d, 0, 0x1f],
            config: Bytes::new(),
        });
        for units in pictures {
            let frame = VideoFrame {
                codec,
                pts: MediaTime::ZERO,
                dts: MediaTime::ZERO,
                keyframe: units.contains(&IDR),
                units: units
                    .iter()
                    .map(|unit| Bytes::copy_from_slice(unit))
                    .collect(),
            };
            publisher.push(Frame::Video(frame), Instant::now()).unwrap();
        }
        publisher
    }

    /// Whether a viewer that takes H264 is given a rendition of the stream, where there can be one.
    async fn is_given_a_rendition(
        policy: BFramePolicy,
        codec: VideoCodec,
        pictures: &[&[&[u8]]],
    ) -> bool {
        let hub = hub(policy);
        let publisher = publish(&hub, codec, pictures);
        let mut demands = hub.provide_renditions();
        let provider = async {
            let demand = demands.recv().await.unwrap();
            let _rendition = hub.publish(demand.name(), Instant::now()).unwrap();
            demand.answer(Ok(()));
            std::future::pending().await
        };
        let stream = Arc::clone(publisher.stream());
        tokio::select! {
            given = hub.watchable(stream, |track| track.codec == VideoCodec::H264) => {
                given.name().is_rendition()
            }
            () = provider => panic!("it never ends"),
        }
    }

    #[tokio::test]
    async fn the_policy_says_which_b_frames_make_a_rendition_needed() {
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
            for (pictures, expected) in [in_order, disposable, pyramid].iter().zip(expected) {
                let given = is_given_a_rendition(policy, VideoCodec::H264, pictures).await;
                assert_eq!(given, expected, "{policy:?} {pictures:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_coding_that_the_viewer_does_not_take_makes_a_rendition_needed() {
        let pictures: &[&[&[u8]]] = &[&[&[0x26, 1]]];
        assert!(is_given_a_rendition(BFramePolicy::Drop, VideoCodec::H265, pictures).await);
    }

    #[tokio::test]
    async fn without_a_rendition_the_viewer_is_given_the_stream() {
        let hub = hub(BFramePolicy::Transcode);
        let publisher = publish(&hub, VideoCodec::H265, &[]);
        let given = async |hub: &Hub| {
            let stream = Arc::clone(publisher.stream());
            hub.watchable(stream, |_| false).await.name().is_rendition()
        };
        assert!(!given(&hub).await, "nobody makes any");
        let mut demands = hub.provide_renditions();
        let provider = async {
            let demand = demands.recv().await.unwrap();
            demand.answer(Err(DemandError::Failed("no encoder".into())));
        };
        let (given, ()) = tokio::join!(given(&hub), provider);
        assert!(!given, "none can be made");
    }

    #[tokio::test]
    async fn a_rendition_is_not_listed_among_the_streams() {
        let hub = hub(BFramePolicy::Auto);
        let publisher = publish(&hub, VideoCodec::H264, &[]);
        let name = publisher.stream().name();
        assert!(hub.live_rendition(name).is_none());
        let _rendition = hub.publish(&name.rendition(), Instant::now()).unwrap();
        assert!(hub.live_rendition(name).is_some());
        let listed = hub.streams();
        assert!(listed.len() == 1 && !listed[0].name().is_rendition());
    }
}
