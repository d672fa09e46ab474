//! The renditions of a stream, for the admin API.

use std::collections::HashMap;
use std::time::Instant;

use distributary_hub::{Hub, JoinAlignment, Rendition, RenditionOffer, RenditionOrigin};
use distributary_names::StreamName;
use serde::Serialize;

/// One rendition of a stream.
#[derive(Serialize)]
pub(super) struct RenditionStatus {
    /// Its id; `source` is the stream as published.
    id: String,
    /// `source`, `track`, `joined` or `transcoded`.
    origin: &'static str,
    /// 0 if the publisher does not say it.
    width: u32,
    height: u32,
    /// Measured; before the first measurement, the configured bitrate, or 0.
    bitrate_bps: u64,
    /// The bitrate that a transcode has at most; `None` for video that is published.
    max_bitrate_bps: Option<u64>,
    /// Of a joined stream: `keyframes` if they are those of the same frames, else `arrival`.
    aligned_by: Option<&'static str>,
    /// By how many milliseconds its frames are moved from their arrival for that.
    alignment_offset_ms: Option<i64>,
    /// Connected viewers that receive its video.
    viewers: usize,
    /// False if the gateway makes it on request.
    live: bool,
}

impl RenditionStatus {
    /// Describes a rendition with this many viewers; `offers` are those that can be made of its
    /// stream.
    pub(super) fn of(rendition: &Rendition, offers: &[RenditionOffer], viewers: usize) -> Self {
        let (aligned_by, offset) = match rendition.alignment {
            Some(JoinAlignment::Keyframes { offset }) => (Some("keyframes"), Some(offset)),
            Some(JoinAlignment::Arrival) => (Some("arrival"), Some(0)),
            None => (None, None),
        };
        let is_transcode = |offer: &&RenditionOffer| offer.origin == RenditionOrigin::Transcoded;
        let mut transcodes = offers.iter().filter(is_transcode);
        let offer = transcodes.find(|offer| offer.id == rendition.id);
        Self {
            id: rendition.id.to_string(),
            origin: match rendition.origin {
                RenditionOrigin::Source => "source",
                RenditionOrigin::Track => "track",
                RenditionOrigin::Joined => "joined",
                RenditionOrigin::Transcoded => "transcoded",
            },
            width: rendition.width,
            height: rendition.height,
            bitrate_bps: rendition.bitrate,
            max_bitrate_bps: offer.map(|offer| offer.bitrate),
            aligned_by,
            alignment_offset_ms: offset,
            viewers,
            live: rendition.is_live,
        }
    }
}

/// The transcodes of the streams that were asked for, by published stream.
pub(super) struct Transcodes<'a> {
    hub: &'a Hub,
    now: Instant,
    known: HashMap<StreamName, Vec<StreamName>>,
}

impl<'a> Transcodes<'a> {
    pub(super) fn new(hub: &'a Hub, now: Instant) -> Self {
        Self {
            hub,
            now,
            known: HashMap::new(),
        }
    }

    /// Returns whether a stream is a rendition that a transcoder makes.
    pub(super) fn contains(&mut self, stream: &StreamName) -> bool {
        if !stream.is_rendition() {
            return false;
        }
        let published = stream.published();
        let transcodes = self.known.entry(published).or_insert_with_key(|name| {
            let renditions = self.hub.renditions(name, self.now).into_iter();
            renditions
                .filter(is_transcoded)
                .map(|rendition| rendition.stream)
                .collect()
        });
        transcodes.contains(stream)
    }
}

/// Returns whether a transcoder makes a rendition.
pub(super) fn is_transcoded(rendition: &Rendition) -> bool {
    rendition.origin == RenditionOrigin::Transcoded
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;
    use distributary_hub::HubConfig;
    use distributary_media::test_util::h264_track;
    use distributary_names::RenditionId;

    #[test]
    fn tracks_of_the_publisher_are_not_transcodes() {
        let (hub, now) = (Hub::new(HubConfig::default()), Instant::now());
        let name = StreamName::parse("live/test").unwrap();
        let publisher = hub.publish(&name, now).unwrap();
        publisher.set_video_track(h264_track());
        let publish = |id, origin| {
            let made = hub.publish_rendition(publisher.stream(), &id, origin, now);
            let made = made.unwrap();
            made.set_video_track(h264_track());
            made
        };
        let (rung, track) = (RenditionId::rung(480), RenditionId::track(1));
        let _made = publish(rung, RenditionOrigin::Transcoded);
        let _sent = publish(track, RenditionOrigin::Track);
        let mut transcodes = Transcodes::new(&hub, now);
        assert!(transcodes.contains(&name.rendition(&rung)));
        assert!(!transcodes.contains(&name.rendition(&track)));
        assert!(!transcodes.contains(&name));
    }
}
