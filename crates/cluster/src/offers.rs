//! The renditions that an owner has of a stream, as they travel between nodes.

use std::time::Instant;

use distributary_hub::{Hub, RenditionOffer, RenditionOrigin};
use distributary_media::VideoCodec;
use distributary_names::{RenditionId, StreamName};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use crate::video_kind::VideoKind;

/// Maximum number of renditions.
pub const MAX_OFFERS: usize = 32;

/// Maximum width and height, in pixels.
const MAX_SIDE: u32 = 1 << 16;

/// Maximum bitrate, in bit/s.
const MAX_BITRATE: u64 = 10_000_000_000;

/// The renditions that an owner has of a stream, or makes on request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Offers(Vec<RenditionOffer>);

#[derive(Serialize, Deserialize)]
struct Offer {
    id: RenditionId,
    origin: Origin,
    codec: VideoKind,
    width: u32,
    height: u32,
    bitrate: u64,
    /// It has B-frames that viewers cannot decode.
    #[serde(default)]
    b_frames: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Origin {
    Track,
    Joined,
    Transcoded,
}

/// An entry of the list: one that this version does not know is left out.
#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Known(Offer),
    Unknown(IgnoredAny),
}

impl Offers {
    pub(crate) fn new(offers: &[RenditionOffer]) -> Self {
        let mut list = Self::default();
        offers.iter().for_each(|offer| list.add(*offer));
        list
    }

    pub(crate) fn list(&self) -> &[RenditionOffer] {
        &self.0
    }

    /// Adds a rendition, unless it makes no sense or there are too many.
    fn add(&mut self, offer: RenditionOffer) {
        let is_known = self.0.iter().any(|other| other.id == offer.id);
        let is_sound = offer.id != RenditionId::SOURCE
            && offer.origin != RenditionOrigin::Source
            && offer.width.max(offer.height) <= MAX_SIDE
            && offer.bitrate <= MAX_BITRATE;
        if is_sound && !is_known && self.0.len() < MAX_OFFERS {
            self.0.push(offer);
        }
    }
}

impl Serialize for Offers {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().filter_map(Offer::of))
    }
}

impl<'de> Deserialize<'de> for Offers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = Vec::<Entry>::deserialize(deserializer)?;
        let mut offers = Self::default();
        for entry in entries {
            match entry {
                Entry::Known(offer) => offers.add(offer.into()),
                Entry::Unknown(IgnoredAny) => {}
            }
        }
        Ok(offers)
    }
}

impl Offer {
    /// `None` if it cannot travel.
    fn of(offer: &RenditionOffer) -> Option<Self> {
        Some(Self {
            id: offer.id,
            origin: match offer.origin {
                RenditionOrigin::Source => return None,
                RenditionOrigin::Track => Origin::Track,
                RenditionOrigin::Joined => Origin::Joined,
                RenditionOrigin::Transcoded => Origin::Transcoded,
            },
            codec: VideoKind::of(offer.codec)?,
            width: offer.width,
            height: offer.height,
            bitrate: offer.bitrate,
            b_frames: offer.needs_transcoding,
        })
    }
}

impl From<Offer> for RenditionOffer {
    fn from(offer: Offer) -> Self {
        Self {
            id: offer.id,
            origin: match offer.origin {
                Origin::Track => RenditionOrigin::Track,
                Origin::Joined => RenditionOrigin::Joined,
                Origin::Transcoded => RenditionOrigin::Transcoded,
            },
            codec: VideoCodec::from(offer.codec),
            width: offer.width,
            height: offer.height,
            bitrate: offer.bitrate,
            needs_transcoding: offer.b_frames,
        }
    }
}

/// Returns the renditions that this node has of one of its streams, or makes on request.
pub(crate) fn offers(hub: &Hub, name: &StreamName, now: Instant) -> Vec<RenditionOffer> {
    let renditions = hub.renditions(name, now).into_iter();
    renditions
        .filter(|rendition| rendition.origin != RenditionOrigin::Source)
        .map(|rendition| RenditionOffer {
            id: rendition.id,
            origin: rendition.origin,
            codec: rendition.codec,
            width: rendition.width,
            height: rendition.height,
            bitrate: rendition.bitrate,
            needs_transcoding: rendition.needs_transcoding,
        })
        .collect()
}

/// Returns whether two lists are the same but for small differences of measured bitrates.
pub(crate) fn are_near(one: &[RenditionOffer], other: &[RenditionOffer]) -> bool {
    let is_near = |(one, other): (&RenditionOffer, &RenditionOffer)| {
        let difference = one.bitrate.abs_diff(other.bitrate);
        let bitrate = other.bitrate;
        let is_same = RenditionOffer { bitrate, ..*one } == *other;
        is_same && difference <= one.bitrate.max(bitrate) / 8
    };
    one.len() == other.len() && one.iter().zip(other).all(is_near)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Vec<RenditionOffer> {
        serde_json::from_str::<Offers>(json).unwrap().0
    }

    #[test]
    fn renditions_come_out_as_they_went_in() {
        let rung = RenditionOffer::transcode(RenditionId::rung(360), 640, 360, 600_000);
        let track = RenditionOffer {
            origin: RenditionOrigin::Track,
            codec: VideoCodec::H265,
            needs_transcoding: true,
            ..RenditionOffer::transcode(RenditionId::track(1), 1280, 720, 0)
        };
        let offers = Offers::new(&[rung, track]);
        let json = serde_json::to_string(&offers).unwrap();
        assert_eq!(read(&json), [rung, track]);
    }

    #[test]
    fn only_changes_that_matter_count() {
        let rung = |bitrate| RenditionOffer::transcode(RenditionId::rung(360), 640, 360, bitrate);
        assert!(are_near(&[rung(600_000)], &[rung(560_000)]));
        assert!(!are_near(&[rung(600_000)], &[rung(500_000)]));
        assert!(!are_near(&[rung(600_000)], &[]));
        let track = RenditionOffer {
            origin: RenditionOrigin::Track,
            ..rung(600_000)
        };
        assert!(!are_near(&[rung(600_000)], &[track]));
    }

    #[test]
    fn list_is_bounded_and_what_makes_no_sense_is_left_out() {
        let entry = |id: &str, width: u64, bitrate: u64| {
            format!(
                r#"{{"id":"{id}","origin":"track","codec":"h264","width":{width},"height":9,"bitrate":{bitrate}}}"#
            )
        };
        let list = [
            entry("a", 16, 1),
            entry("a", 32, 1),
            entry("source", 16, 1),
            entry("../x", 16, 1),
            entry("wide", 1 << 20, 1),
            entry("fast", 16, u64::MAX),
            entry("b", 16, 1).replace("h264", "h271"),
            "7".to_owned(),
            entry("c", 16, 1),
        ];
        let read = |list: &[String]| read(&format!("[{}]", list.join(",")));
        let ids = |offers: &[RenditionOffer]| {
            let ids = offers.iter().map(|offer| offer.id.to_string());
            ids.collect::<Vec<_>>()
        };
        assert_eq!(ids(&read(&list)), ["a", "c"]);
        let many: Vec<_> = (0..1000).map(|n| entry(&n.to_string(), 1, 1)).collect();
        assert_eq!(read(&many).len(), MAX_OFFERS);
    }
}
