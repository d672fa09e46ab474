//! The ladder: the smaller renditions that can be made of a stream.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use distributary_hub::{RenditionOffer, SourceVideo};
use distributary_media::VideoCodec;
use distributary_names::RenditionId;
use serde::{Deserialize, Serialize};

/// Heights of a rung, in pixels.
const HEIGHTS: RangeInclusive<u32> = 64..=4320;

/// Bitrates of a rung, in bit/s.
const BITRATES: RangeInclusive<u64> = 50_000..=100_000_000;

/// Maximum number of rungs.
const MAX_RUNGS: usize = 8;

/// Lower bound for the limit of a transcode's bitrate, in bit/s: the bitrate of a still source
/// says nothing about the next scene.
const MIN_LIMIT: u64 = 100_000;

/// Rungs, the highest first. No two have the same height.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Rung>", into = "Vec<Rung>")]
pub struct Ladder(Vec<Rung>);

/// One rung: `720p 2500k` is 720 pixels high (or wide, if the video is upright) and has at most
/// 2.5 Mbit/s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rung {
    /// Length of the shorter side of a frame, in pixels.
    pub height: u32,
    /// Maximum bitrate in bit/s.
    pub bitrate: u64,
}

/// A text is not a rung, or a list of rungs is no ladder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LadderError {
    /// The text is not a height and a bitrate, or one of them is out of range.
    #[error(
        "expected a height and a bitrate such as \"720p 2500k\" (64p to 4320p, 50k to 100M) instead of {0:?}"
    )]
    NotARung(String),
    /// Two rungs have the same height.
    #[error("two rungs are {0} pixels high")]
    SameHeight(u32),
    /// There are too many rungs.
    #[error("there are {0} rungs; {MAX_RUNGS} is the limit")]
    TooMany(usize),
}

/// One of the outputs of an encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    /// The rendition.
    pub(crate) id: RenditionId,
    /// Size of the frames, if it is not that of the source.
    pub(crate) size: Option<(u32, u32)>,
    /// Upper bound of the bitrate, in bit/s; `None` leaves it to the encoding options.
    pub(crate) limit: Option<u64>,
}

impl Ladder {
    /// Returns the renditions that can be made of a stream: its rungs, and H264 in its own size if
    /// viewers need that.
    pub(crate) fn offers(&self, source: &SourceVideo) -> Vec<RenditionOffer> {
        let track = &source.track;
        let same_size = needs_same_size(source).then(|| {
            let (width, height) = (track.width, track.height);
            RenditionOffer::transcode(RenditionId::H264, width, height, source.bitrate)
        });
        let rungs = self.rungs_below(source).map(|rung| {
            let (width, height) = rung.size(track.width, track.height);
            RenditionOffer::transcode(rung.id(), width, height, rung.bitrate)
        });
        same_size.into_iter().chain(rungs).collect()
    }

    /// Returns how a rendition is made of a stream; `None` if there is no such rendition.
    pub(crate) fn output(&self, id: RenditionId, source: &SourceVideo) -> Option<Output> {
        // Never more than the source has.
        let of_source = (source.bitrate > 0).then(|| source.bitrate.max(MIN_LIMIT));
        if id == RenditionId::H264 {
            let (size, limit) = (None, of_source);
            return Some(Output { id, size, limit });
        }
        let rung = self.0.iter().find(|rung| rung.id() == id)?;
        let (width, height) = (source.track.width, source.track.height);
        let limit = of_source.map_or(rung.bitrate, |limit| limit.min(rung.bitrate));
        (rung.height < width.min(height)).then(|| Output {
            id,
            size: Some(rung.size(width, height)),
            limit: Some(limit),
        })
    }

    /// Returns the rungs that are smaller than the source, and need less of the path.
    fn rungs_below(&self, source: &SourceVideo) -> impl Iterator<Item = &Rung> {
        let side = source.track.width.min(source.track.height);
        self.0
            .iter()
            .filter(move |rung| rung.height < side && rung.bitrate < source.bitrate)
    }
}

impl Default for Ladder {
    fn default() -> Self {
        let rungs = [(720, 2_500_000), (480, 1_200_000), (360, 600_000)];
        Self(
            rungs
                .map(|(height, bitrate)| Rung { height, bitrate })
                .into(),
        )
    }
}

impl TryFrom<Vec<Rung>> for Ladder {
    type Error = LadderError;

    fn try_from(mut rungs: Vec<Rung>) -> Result<Self, LadderError> {
        if rungs.len() > MAX_RUNGS {
            return Err(LadderError::TooMany(rungs.len()));
        }
        rungs.sort_by_key(|rung| std::cmp::Reverse(rung.height));
        let mut pairs = rungs.windows(2);
        if let Some([rung, _]) = pairs.find(|pair| matches!(pair, [a, b] if a.height == b.height)) {
            return Err(LadderError::SameHeight(rung.height));
        }
        Ok(Self(rungs))
    }
}

impl From<Ladder> for Vec<Rung> {
    fn from(ladder: Ladder) -> Self {
        ladder.0
    }
}

impl Rung {
    fn id(&self) -> RenditionId {
        RenditionId::rung(self.height)
    }

    /// Returns the size of its frames, for a source of this size: in the same aspect, and even, as
    /// the encoder's color format needs it.
    fn size(&self, width: u32, height: u32) -> (u32, u32) {
        let short = width.min(height).max(1);
        let scaled = |side: u32| {
            let half = (u64::from(side) * u64::from(self.height)).div_ceil(u64::from(short));
            u32::try_from(half.div_ceil(2) * 2).unwrap_or(u32::MAX)
        };
        (scaled(width), scaled(height))
    }
}

impl FromStr for Rung {
    type Err = LadderError;

    fn from_str(text: &str) -> Result<Self, LadderError> {
        let parse = || {
            let (height, bitrate) = text.split_once(char::is_whitespace)?;
            let height = height.strip_suffix('p')?.parse().ok()?;
            let bitrate = bitrate.trim_start();
            let (number, factor) = match (bitrate.strip_suffix('M'), bitrate.strip_suffix('k')) {
                (Some(number), _) => (number, 1_000_000),
                (_, Some(number)) => (number, 1000),
                _ => return None,
            };
            let bitrate = number.parse::<u64>().ok()?.checked_mul(factor)?;
            let is_valid = HEIGHTS.contains(&height) && BITRATES.contains(&bitrate);
            is_valid.then_some(Self { height, bitrate })
        };
        parse().ok_or_else(|| LadderError::NotARung(text.to_owned()))
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}p ", self.height)?;
        match self.bitrate % 1_000_000 {
            0 => write!(f, "{}M", self.bitrate / 1_000_000),
            _ => write!(f, "{}k", self.bitrate / 1000),
        }
    }
}

distributary_config::serde_as_text!(Rung);

/// Returns whether viewers may need the stream in H264 without B-frames, in its own size.
fn needs_same_size(source: &SourceVideo) -> bool {
    source.needs_transcoding || source.track.codec != VideoCodec::H264
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;
    use distributary_hub::{Hub, HubConfig};
    use distributary_media::VideoTrack;
    use distributary_names::StreamName;
    use std::sync::Arc;

    fn source(width: u32, height: u32, bitrate: u64) -> SourceVideo {
        SourceVideo {
            stream: StreamName::parse("live/test").unwrap(),
            track: Arc::new(VideoTrack {
                codec: VideoCodec::H264,
                width,
                height,
                profile_level_id: [0; 3],
                config: bytes::Bytes::new(),
            }),
            bitrate,
            needs_transcoding: false,
        }
    }

    fn offered(source: &SourceVideo) -> Vec<(String, u32, u32)> {
        let offers = Ladder::default().offers(source);
        let all = offers.iter();
        all.map(|offer| (offer.id.to_string(), offer.width, offer.height))
            .collect()
    }

    #[test]
    fn only_rungs_below_the_source_in_size_and_bitrate_are_offered() {
        let all = [("720p", 1280, 720), ("480p", 854, 480), ("360p", 640, 360)];
        let all = all.map(|(id, width, height)| (id.to_owned(), width, height));
        assert_eq!(offered(&source(1920, 1080, 6_000_000)), all);
        assert_eq!(offered(&source(1920, 1080, 2_000_000)), all[1..]);
        assert_eq!(offered(&source(1280, 720, 6_000_000)), all[1..]);
        assert_eq!(offered(&source(1280, 720, 500_000)), []);
        assert_eq!(offered(&source(1920, 1080, 0)), [], "not measured yet");
        assert_eq!(offered(&source(0, 0, 6_000_000)), [], "of unknown size");
        let upright = offered(&source(1080, 1920, 1_000_000));
        assert_eq!(upright, [("360p".to_owned(), 360, 640)]);
    }

    #[test]
    fn same_size_is_offered_where_viewers_need_it() {
        let mut source = source(640, 360, 500_000);
        assert_eq!(offered(&source), []);
        source.needs_transcoding = true;
        let same = [("h264".to_owned(), 640, 360)];
        assert_eq!(offered(&source), same);
        source.needs_transcoding = false;
        Arc::make_mut(&mut source.track).codec = VideoCodec::H265;
        assert_eq!(offered(&source), same);
    }

    #[test]
    fn no_output_has_more_than_the_source() {
        let ladder = Ladder::default();
        let limit = |id, bitrate| {
            let output = ladder.output(id, &source(1920, 1080, bitrate));
            output.unwrap().limit
        };
        let rung = RenditionId::rung(720);
        assert_eq!(limit(rung, 6_000_000), Some(2_500_000));
        assert_eq!(limit(rung, 1_500_000), Some(1_500_000));
        assert_eq!(limit(rung, 0), Some(2_500_000));
        assert_eq!(limit(RenditionId::H264, 1_500_000), Some(1_500_000));
        assert_eq!(limit(RenditionId::H264, 10), Some(MIN_LIMIT));
        assert_eq!(limit(RenditionId::H264, 0), None);
        let small = source(640, 360, 6_000_000);
        assert_eq!(ladder.output(rung, &small), None);
        assert_eq!(ladder.output(RenditionId::rung(100), &small), None);
    }

    #[test]
    fn sizes_keep_the_aspect_and_are_even() {
        let rung: Rung = "360p 600k".parse().unwrap();
        assert_eq!(rung.size(1920, 1080), (640, 360));
        assert_eq!(rung.size(1920, 800), (864, 360));
        assert_eq!(rung.size(1001, 999), (362, 360));
        assert_eq!(rung.size(u32::MAX, 1).1, 360);
    }

    #[test]
    fn rung_is_read_from_text_and_written_as_text() {
        for text in ["720p 2500k", "1080p 4M", "64p 50k"] {
            assert_eq!(text.parse::<Rung>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "720",
            "720p",
            "720p 2.5M",
            "720 2M",
            "63p 2M",
            "720p 2",
            "720p 200M",
        ] {
            assert!(text.parse::<Rung>().is_err(), "{text}");
        }
        let rungs = |texts: &[&str]| {
            let rungs: Vec<Rung> = texts.iter().map(|text| text.parse().unwrap()).collect();
            Ladder::try_from(rungs)
        };
        assert_eq!(
            rungs(&["360p 600k", "480p 1200k", "720p 2500k"]),
            Ok(Ladder::default())
        );
        assert_eq!(
            rungs(&["360p 1M", "360p 2M"]),
            Err(LadderError::SameHeight(360))
        );
        assert_eq!(rungs(&["360p 1M"; 9]), Err(LadderError::TooMany(9)));
        assert_eq!(
            rungs(&[]).unwrap().offers(&source(1920, 1080, 6_000_000)),
            []
        );
    }

    #[test]
    fn default_ladder_offers_nothing_near_what_the_publisher_sends() {
        let hub = Hub::new(HubConfig::default());
        let now = std::time::Instant::now();
        let name = StreamName::parse("live/test").unwrap();
        let publisher = hub.publish(&name, now).unwrap();
        let track = |codec, width, height| {
            let source = source(width, height, 0);
            VideoTrack {
                codec,
                ..(*source.track).clone()
            }
        };
        publisher.set_video_track(track(VideoCodec::H264, 1920, 1080));
        // As if its bitrate was measured.
        let measured = |source: &SourceVideo| SourceVideo {
            bitrate: 6_000_000,
            ..source.clone()
        };
        let offers = move |source: &SourceVideo| Ladder::default().offers(&measured(source));
        let _demands = hub.provide_renditions(offers);
        let ids = || -> Vec<String> {
            let all = hub.renditions(&name, now).into_iter();
            all.map(|rendition| rendition.id.to_string()).collect()
        };
        assert_eq!(ids(), ["source", "720p", "480p", "360p"]);
        let second = hub.publish_track(&publisher, 1, now).unwrap();
        second.set_video_track(track(VideoCodec::H264, 1280, 720));
        assert_eq!(ids(), ["source", "track1", "480p", "360p"]);
        let third = hub.publish_track(&publisher, 2, now).unwrap();
        third.set_video_track(track(VideoCodec::H264, 640, 360));
        assert_eq!(ids(), ["source", "track1", "track2"]);
        third.set_video_track(track(VideoCodec::H265, 640, 360));
        let with_other_codec = ["source", "track1", "480p", "track2", "360p"];
        assert_eq!(ids(), with_other_codec, "not all viewers decode it");
        drop((second, third));
        assert_eq!(ids(), ["source", "720p", "480p", "360p"]);
    }
}
