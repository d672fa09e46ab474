//! The tracks of a stream and the description of its publisher, as they travel between nodes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use distributary_hub::{PublisherInfo, RenditionOffer, StreamStats};
use distributary_media::{AudioCodec, AudioTrack, VideoTrack};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::anchor::Place;
use crate::offers::Offers;
use crate::strand::Further;
use crate::video_kind::VideoKind;

pub use crate::offers::MAX_OFFERS;

/// Maximum bytes of all of it.
const MAX_LEN: usize = 128 << 10;

/// Maximum bytes of a decoder configuration.
const MAX_CONFIG: usize = 32 << 10;

/// Maximum bytes of the encoder's name.
const MAX_ENCODER: usize = 256;

/// The sample rate of Opus (RFC 7587 section 4.1), in Hz.
const OPUS_RATE: u32 = 48_000;

/// The tracks of a stream, and the description of its publisher.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrackSet {
    /// The video track, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    video: Option<Video>,
    /// The track of the audio as it travels, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    audio: Option<Audio>,
    /// The audio track as published, where it differs. RTMP players can get it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    published: Option<Audio>,
    /// The renditions that the owner has, or makes on request; `None` if it cannot be asked for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    renditions: Option<Offers>,
    /// The encoder's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encoder: Option<String>,
    /// Frames per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    frame_rate: Option<f64>,
    /// Bitrate of the video in kbit/s, as declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    video_kbps: Option<f64>,
    /// Bitrate of the audio in kbit/s, as declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    audio_kbps: Option<f64>,
    /// The place at which a node joins, in the answer to its request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<Place>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Video {
    codec: VideoKind,
    width: u32,
    height: u32,
    profile: [u8; 3],
    #[serde(serialize_with = "write_bytes", deserialize_with = "read_bytes")]
    config: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Audio {
    codec: AudioKind,
    rate: u32,
    channels: u8,
    #[serde(serialize_with = "write_bytes", deserialize_with = "read_bytes")]
    config: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AudioKind {
    Aac,
    Opus,
    Mp3,
    G711ALaw,
    G711MuLaw,
}

impl TrackSet {
    /// Returns the tracks of a stream, of which Opus is made.
    pub(crate) fn of(stats: &StreamStats) -> Self {
        let info = stats.info.as_deref();
        let published = stats.audio.as_deref();
        Self {
            video: stats.video.as_deref().and_then(Video::of),
            audio: published.map(|_| Audio::opus()),
            published: published
                .filter(|track| track.codec != AudioCodec::Opus)
                .and_then(Audio::of),
            renditions: Some(Offers::default()),
            encoder: info.and_then(|info| info.encoder.clone()),
            frame_rate: info.and_then(|info| info.frame_rate),
            video_kbps: info.and_then(|info| info.video_kbps),
            audio_kbps: info.and_then(|info| info.audio_kbps),
            place: None,
        }
    }

    /// Returns it with the renditions that the owner has.
    pub(crate) fn with_renditions(self, offers: &[RenditionOffer]) -> Self {
        let renditions = Some(Offers::new(offers));
        Self { renditions, ..self }
    }

    /// Returns it for the answer to a request to join.
    pub(crate) fn at(self, place: Place) -> Self {
        let place = Some(place);
        Self { place, ..self }
    }

    /// Returns the place at which the node joins.
    pub(crate) fn place(&self) -> Option<Place> {
        self.place
    }

    /// Returns it as JSON.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        // Numbers and texts can always be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads it; `None` if it is malformed or too large.
    pub fn from_json(json: &[u8]) -> Option<Self> {
        if json.len() > MAX_LEN {
            return None;
        }
        let mut tracks: Self = serde_json::from_slice(json).ok()?;
        let is_long = |encoder: &String| {
            encoder.len() > MAX_ENCODER || encoder.contains(|c: char| c.is_control())
        };
        if tracks.encoder.as_ref().is_some_and(is_long) {
            tracks.encoder = None;
        }
        Some(tracks)
    }

    /// Returns the video track.
    pub fn video(&self) -> Option<VideoTrack> {
        let video = self.video.as_ref()?;
        Some(VideoTrack {
            codec: video.codec.into(),
            width: video.width,
            height: video.height,
            profile_level_id: video.profile,
            config: video.config.clone().into(),
        })
    }

    /// Returns the renditions that the owner has.
    pub fn renditions(&self) -> &[RenditionOffer] {
        self.renditions.as_ref().map_or(&[], Offers::list)
    }

    /// Returns the strands beside the main one that can be requested of the owner.
    pub(crate) fn further(&self) -> Further {
        Further {
            published_audio: self.published.is_some(),
            renditions: self.renditions.is_some(),
        }
    }

    /// Returns the audio track, as published.
    pub fn audio(&self) -> Option<AudioTrack> {
        let audio = self.published.as_ref().or(self.audio.as_ref())?;
        Some(AudioTrack {
            codec: match audio.codec {
                AudioKind::Aac => AudioCodec::Aac,
                AudioKind::Opus => AudioCodec::Opus,
                AudioKind::Mp3 => AudioCodec::Mp3,
                AudioKind::G711ALaw => AudioCodec::G711ALaw,
                AudioKind::G711MuLaw => AudioCodec::G711MuLaw,
            },
            sample_rate: audio.rate,
            channels: audio.channels,
            config: audio.config.clone().into(),
        })
    }

    /// Returns the description of the publisher.
    pub(crate) fn info(&self) -> PublisherInfo {
        PublisherInfo {
            encoder: self.encoder.clone(),
            frame_rate: self.frame_rate,
            video_kbps: self.video_kbps,
            audio_kbps: self.audio_kbps,
            ..PublisherInfo::default()
        }
    }
}

impl Video {
    fn of(track: &VideoTrack) -> Option<Self> {
        Some(Self {
            codec: VideoKind::of(track.codec)?,
            width: track.width,
            height: track.height,
            profile: track.profile_level_id,
            config: track.config.to_vec(),
        })
    }
}

impl Audio {
    fn of(track: &AudioTrack) -> Option<Self> {
        let codec = match track.codec {
            AudioCodec::Aac => AudioKind::Aac,
            AudioCodec::Opus => AudioKind::Opus,
            AudioCodec::Mp3 => AudioKind::Mp3,
            AudioCodec::G711ALaw => AudioKind::G711ALaw,
            AudioCodec::G711MuLaw => AudioKind::G711MuLaw,
            _ => return None,
        };
        Some(Self {
            codec,
            rate: track.sample_rate,
            channels: track.channels,
            config: track.config.to_vec(),
        })
    }

    /// Returns the track of the Opus that the hub makes of any audio.
    fn opus() -> Self {
        Self {
            codec: AudioKind::Opus,
            rate: OPUS_RATE,
            channels: 2,
            config: Vec::new(),
        }
    }
}

fn write_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn read_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes = STANDARD.decode(text).map_err(serde::de::Error::custom)?;
    if bytes.len() > MAX_CONFIG {
        return Err(serde::de::Error::custom(
            "the decoder configuration is too large",
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use distributary_media::VideoCodec;
    use std::sync::Arc;

    #[test]
    fn tracks_come_out_as_they_went_in() {
        let video = VideoTrack {
            codec: VideoCodec::H265,
            width: 1920,
            height: 1080,
            profile_level_id: [1, 0, 120],
            config: vec![1, 2, 3].into(),
        };
        let audio = AudioTrack {
            codec: AudioCodec::Aac,
            sample_rate: 44_100,
            channels: 1,
            config: vec![0x12, 0x10].into(),
        };
        let stats = StreamStats {
            video: Some(Arc::new(video.clone())),
            audio: Some(Arc::new(audio.clone())),
            info: Some(Arc::new(PublisherInfo {
                encoder: Some("Lavf61".to_owned()),
                frame_rate: Some(29.97),
                ..PublisherInfo::default()
            })),
            ..StreamStats::default()
        };
        let published = TrackSet::of(&stats);
        let read = TrackSet::from_json(&published.to_json()).unwrap();
        assert_eq!(read, published);
        assert_eq!((read.video(), read.audio()), (Some(video), Some(audio)));
        assert_eq!(read.info().encoder.as_deref(), Some("Lavf61"));
        let further = Further {
            published_audio: true,
            renditions: true,
        };
        assert_eq!(read.further(), further);
    }

    #[test]
    fn nodes_of_earlier_versions_see_opus_and_have_nothing_else() {
        let aac = AudioTrack {
            codec: AudioCodec::Aac,
            sample_rate: 44_100,
            channels: 1,
            config: vec![0x12, 0x10].into(),
        };
        let stats = StreamStats {
            audio: Some(Arc::new(aac)),
            ..StreamStats::default()
        };
        let sent: serde_json::Value =
            serde_json::from_slice(&TrackSet::of(&stats).to_json()).unwrap();
        assert_eq!(sent["audio"]["codec"], "opus");
        let theirs = format!("{{\"audio\":{}}}", sent["audio"]);
        let read = TrackSet::from_json(theirs.as_bytes()).unwrap();
        assert_eq!(read.further(), Further::default());
        assert!(read.renditions().is_empty());
        let opus = read.audio().unwrap();
        assert_eq!(
            (opus.codec, opus.sample_rate, opus.channels),
            (AudioCodec::Opus, 48_000, 2)
        );
    }

    #[test]
    fn audio_of_every_codec_comes_out_as_it_went_in() {
        for codec in [
            AudioCodec::Aac,
            AudioCodec::Opus,
            AudioCodec::Mp3,
            AudioCodec::G711ALaw,
            AudioCodec::G711MuLaw,
        ] {
            let track = AudioTrack {
                codec,
                sample_rate: 8_000,
                channels: 1,
                config: Vec::new().into(),
            };
            let stats = StreamStats {
                audio: Some(Arc::new(track.clone())),
                ..StreamStats::default()
            };
            let read = TrackSet::from_json(&TrackSet::of(&stats).to_json()).unwrap();
            let came = read.audio().unwrap();
            assert_eq!(came.codec, track.codec);
            if codec != AudioCodec::Opus {
                assert_eq!(came, track);
            }
        }
    }

    #[test]
    fn malformed_tracks_are_refused_and_unknown_fields_ignored() {
        assert!(TrackSet::from_json(b"{\"video\":{\"codec\":\"mpeg2\"}}").is_none());
        assert!(TrackSet::from_json(b"7").is_none());
        let large = STANDARD.encode(vec![0; MAX_CONFIG + 1]);
        let json = format!(
            "{{\"audio\":{{\"codec\":\"aac\",\"rate\":1,\"channels\":1,\"config\":\"{large}\"}}}}"
        );
        assert!(TrackSet::from_json(json.as_bytes()).is_none());
        let later = TrackSet::from_json(b"{\"captions\":true,\"encoder\":\"a\\nb\"}").unwrap();
        assert_eq!(later, TrackSet::default());
    }
}
