//! The renditions of a stream that a viewer can get.
//!
//! All renditions of a stream have its clock, so a viewer can move between them within its session.
//! One that cannot decode the stream as published, for its B-frames, gets those that it can decode;
//! a session may be older than that: the viewer came with the first frames, waited for the
//! publisher, or stayed while the publisher came back with other settings.

use std::time::{Duration, Instant};

use distributary_hub::{BFrameChoice, Hub, Rendition, RenditionOrigin};
use distributary_media::VideoCodec;
use distributary_names::{RenditionId, StreamName};
use distributary_webrtc::quality::Rung;

/// Time between two requests of a rendition that does not come.
const REQUEST_INTERVAL: Duration = Duration::from_secs(2);

/// Time after the first request of a rendition after which it is not awaited any longer, and for
/// which it then counts as not there.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const MISSING: Duration = Duration::from_secs(30);

/// Time after which a rendition is made again because a path may slow down. It may be chance, and
/// with many viewers there is always one.
const PREPARE_INTERVAL: Duration = Duration::from_secs(30);

/// Bits per second of the audio beside the video, and headers in percent.
const AUDIO_RATE: u64 = 110_000;
const OVERHEAD: u64 = 5;

/// Bits per second for each pixel of a rendition whose bitrate is not known yet.
const RATE_PER_PIXEL: u64 = 2;

/// The renditions of a stream, as the shard last saw them.
#[derive(Default)]
pub(super) struct Renditions {
    list: Vec<Rendition>,
    /// Those that were requested: when first and when last.
    requests: Vec<(RenditionId, Instant, Instant)>,
    /// Those that did not come, or have gone: when they count again.
    missing: Vec<(RenditionId, Instant)>,
    /// When one was last made for what a viewer might need.
    prepared: Option<Instant>,
}

impl Renditions {
    /// Looks up the renditions of the stream `name`.
    pub(super) fn update(&mut self, name: &StreamName, hub: &Hub, now: Instant) {
        self.list = hub.renditions(name, now);
        let is_listed = |id: &RenditionId| self.list.iter().any(|rendition| rendition.id == *id);
        self.missing
            .retain(|(id, until)| is_listed(id) && now < *until);
        self.requests.retain(|(id, _, last)| {
            is_listed(id) && now.saturating_duration_since(*last) < REQUEST_TIMEOUT
        });
    }

    /// Returns whether none is known.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns whether there is anything to choose.
    pub(super) fn has_choice(&self) -> bool {
        self.list.len() > 1
            || self
                .list
                .iter()
                .any(|rendition| rendition.needs_transcoding)
    }

    /// Returns the renditions that a viewer can decode, from the best to the least.
    pub(super) fn rungs(
        &self,
        codec: Option<VideoCodec>,
        choice: BFrameChoice,
    ) -> Vec<Rung<RenditionId>> {
        let is_missing = |id: RenditionId| self.missing.iter().any(|(other, _)| *other == id);
        let decodable = self.list.iter().filter(|rendition| {
            Some(rendition.codec) == codec
                && !(rendition.needs_transcoding && choice == BFrameChoice::Policy)
                && !is_missing(rendition.id)
        });
        decodable.map(rung).collect()
    }

    /// Returns whether one rendition is better than another.
    pub(super) fn is_better(&self, one: RenditionId, other: RenditionId) -> bool {
        let place = |id| self.list.iter().position(|rendition| rendition.id == id);
        match (place(one), place(other)) {
            (Some(one), Some(other)) => one < other,
            // A rendition that is gone is followed by a lesser one.
            _ => false,
        }
    }

    /// Returns whether a keyframe of a rendition can be requested: the gateway makes it of H264, in
    /// which any frame can be marked for its encoder.
    pub(super) fn has_keyframes_on_request(&self, id: RenditionId) -> bool {
        let of = |id| self.list.iter().find(|rendition| rendition.id == id);
        let is_made = of(id).is_some_and(|made| made.origin == RenditionOrigin::Transcoded);
        let source = of(RenditionId::SOURCE);
        is_made && source.is_some_and(|source| source.codec == VideoCodec::H264)
    }

    /// Requests a rendition that is not live, at most every [`REQUEST_INTERVAL`]. Returns `false`
    /// if it has not come for too long.
    pub(super) fn request(&mut self, name: &StreamName, hub: &Hub, now: Instant) -> bool {
        let id = name.rendition_id();
        let requested = self.requests.iter_mut().find(|(other, ..)| *other == id);
        match requested {
            Some((_, first, _)) if now.saturating_duration_since(*first) > REQUEST_TIMEOUT => {
                self.requests.retain(|(other, ..)| *other != id);
                self.note_missing(id, now);
                return false;
            }
            Some((.., last)) if now.saturating_duration_since(*last) < REQUEST_INTERVAL => {
                return true;
            }
            Some((.., last)) => *last = now,
            None => self.requests.push((id, now, now)),
        }
        hub.request_rendition(name);
        true
    }

    /// Has a rendition made that a viewer of `present` may need soon.
    pub(super) fn prepare(
        &mut self,
        name: &StreamName,
        present: RenditionId,
        hub: &Hub,
        now: Instant,
    ) {
        if self.is_preparation_due(present, now) {
            hub.request_rendition(name);
        }
    }

    /// Returns whether to have a lesser rendition than `present` made for what one viewer may need:
    /// none is live, and this was not done for the stream of late.
    fn is_preparation_due(&mut self, present: RenditionId, now: Instant) -> bool {
        let place = self.list.iter().position(|other| other.id == present);
        let lesser = place.and_then(|place| self.list.get(place + 1..));
        let is_live = lesser
            .unwrap_or_default()
            .iter()
            .any(|lesser| lesser.is_live);
        let is_due = !is_live
            && self
                .prepared
                .is_none_or(|at| now.saturating_duration_since(at) >= PREPARE_INTERVAL);
        if is_due {
            self.prepared = Some(now);
        }
        is_due
    }

    /// Records that a rendition is gone.
    pub(super) fn note_missing(&mut self, id: RenditionId, now: Instant) {
        self.missing.retain(|(other, _)| *other != id);
        self.missing.push((id, now + MISSING));
    }
}

fn rung(rendition: &Rendition) -> Rung<RenditionId> {
    let pixels = u64::from(rendition.width) * u64::from(rendition.height);
    let video = match rendition.bitrate {
        0 => RATE_PER_PIXEL * pixels,
        measured => measured,
    };
    Rung {
        id: rendition.id,
        height: rendition.height,
        rate: video * (100 + OVERHEAD) / 100 + AUDIO_RATE,
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    fn rendition(id: RenditionId, origin: RenditionOrigin, codec: VideoCodec) -> Rendition {
        Rendition {
            id,
            stream: StreamName::parse("live/a").unwrap().rendition(&id),
            origin,
            codec,
            width: 640,
            height: 360,
            bitrate: 600_000,
            is_live: true,
            alignment: None,
            needs_transcoding: false,
        }
    }

    #[test]
    fn chance_of_many_viewers_starts_few_encoders() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let of = |id, is_live| Rendition {
            is_live,
            ..rendition(id, RenditionOrigin::Transcoded, VideoCodec::H264)
        };
        let (middle, least) = (RenditionId::rung(480), RenditionId::rung(360));
        let mut renditions = Renditions {
            list: vec![
                of(RenditionId::SOURCE, true),
                of(middle, false),
                of(least, false),
            ],
            ..Renditions::default()
        };
        let times = [0, 2, 29, 30, 31];
        let due = times.map(|time| renditions.is_preparation_due(RenditionId::SOURCE, at(time)));
        assert_eq!(due, [true, false, false, true, false]);
        renditions.list[2].is_live = true;
        assert!(!renditions.is_preparation_due(RenditionId::SOURCE, at(90)));
        assert!(!renditions.is_preparation_due(middle, at(90)));
        renditions.list[2].is_live = false;
        assert!(renditions.is_preparation_due(middle, at(90)));
    }

    #[test]
    fn keyframe_can_be_requested_only_of_a_transcode_of_h264() {
        let (rung, track) = (RenditionId::rung(360), RenditionId::track(1));
        for (codec, can) in [
            (VideoCodec::H264, true),
            (VideoCodec::H265, false),
            (VideoCodec::Av1, false),
            (VideoCodec::Vp9, false),
        ] {
            let renditions = Renditions {
                list: vec![
                    rendition(RenditionId::SOURCE, RenditionOrigin::Source, codec),
                    rendition(track, RenditionOrigin::Track, codec),
                    rendition(rung, RenditionOrigin::Transcoded, VideoCodec::H264),
                ],
                ..Renditions::default()
            };
            assert_eq!(renditions.has_keyframes_on_request(rung), can, "{codec}");
            assert!(!renditions.has_keyframes_on_request(track));
        }
        let none = Renditions::default();
        assert!(!none.has_keyframes_on_request(rung), "it is gone");
    }
}
