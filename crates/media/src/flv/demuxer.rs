//! From tag bodies to tracks and frames.

use bytes::Bytes;

use super::audio::AudioTag;
use super::video::{CompositionTime, VideoTag};
use super::{FlvError, TagKind};
use crate::aac::AudioSpecificConfig;
use crate::h264::nal::LengthPrefixed;
use crate::h264::{AccessUnitFilter, AvcDecoderConfigurationRecord, Sps};
use crate::{
    AudioCodec, AudioFrame, AudioTrack, Frame, MediaTime, VideoCodec, VideoFrame, VideoTrack,
};

/// Reads the bodies of FLV tags, which are the payloads of RTMP's audio and video messages.
///
/// NAL units and AAC access units come out as slices of the body: no media is copied. H264 comes out
/// ready for WebRTC, by the rules of [`AccessUnitFilter`].
///
/// ```
/// use bytes::Bytes;
/// use distributary_media::flv::{FlvDemuxer, FlvEvent};
/// use distributary_media::MediaTime;
///
/// let mut demuxer = FlvDemuxer::new();
/// let body = Bytes::from_static(&[0xaf, 0, 0x11, 0x90]);
/// for event in demuxer.handle_audio(MediaTime::ZERO, body)? {
///     assert!(matches!(event, FlvEvent::AudioTrack(track) if track.sample_rate == 48_000));
/// }
/// # Ok::<(), distributary_media::flv::FlvError>(())
/// ```
#[derive(Debug, Default)]
pub struct FlvDemuxer {
    video: Option<VideoState>,
    audio: Option<AudioTrack>,
}

/// What is known after a video sequence header.
#[derive(Debug)]
struct VideoState {
    length_size: u8,
    filter: AccessUnitFilter,
    track: VideoTrack,
}

/// What the body of a tag holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlvEvent {
    /// The video track begins, or changes with the next frame.
    VideoTrack(VideoTrack),
    /// The audio track begins, or changes with the next frame.
    AudioTrack(AudioTrack),
    /// A picture or a block of sound.
    Frame(Frame),
}

/// The events of one tag, in order: at most a track and a frame.
#[derive(Clone, Debug, Default)]
pub struct FlvEvents {
    track: Option<FlvEvent>,
    frame: Option<Frame>,
}

impl Iterator for FlvEvents {
    type Item = FlvEvent;

    fn next(&mut self) -> Option<FlvEvent> {
        self.track
            .take()
            .or_else(|| self.frame.take().map(FlvEvent::Frame))
    }
}

impl FlvDemuxer {
    /// A demuxer that has seen no sequence header yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the body of a video tag. A sequence header that changes nothing, the end of a sequence
    /// and tags without a picture give no event.
    ///
    /// # Errors
    /// When the tag cannot be used. Later tags can be, so the caller may pass over a few; see
    /// [`FlvError::UnsupportedVideoCodec`] for those that concern the whole track.
    pub fn handle_video(
        &mut self,
        timestamp: MediaTime,
        body: Bytes,
    ) -> Result<FlvEvents, FlvError> {
        match VideoTag::parse(body)? {
            VideoTag::AvcSequenceHeader(record) => self.configure_video(&record),
            VideoTag::AvcAccessUnit { composition, units } => {
                let tag = TagKind::Video;
                let video = self
                    .video
                    .as_mut()
                    .ok_or(FlvError::NoSequenceHeader { tag })?;
                video.access_unit(timestamp, composition, units)
            }
            VideoTag::Nothing => Ok(FlvEvents::default()),
        }
    }

    /// Takes the body of an audio tag. A sequence header that changes nothing gives no event.
    ///
    /// # Errors
    /// As [`handle_video`](Self::handle_video).
    pub fn handle_audio(
        &mut self,
        timestamp: MediaTime,
        body: Bytes,
    ) -> Result<FlvEvents, FlvError> {
        match AudioTag::parse(body)? {
            AudioTag::AacSequenceHeader(config) => self.configure_audio(&config),
            AudioTag::AacAccessUnit(data) => {
                if self.audio.is_none() {
                    return Err(FlvError::NoSequenceHeader {
                        tag: TagKind::Audio,
                    });
                }
                let frame = AudioFrame {
                    codec: AudioCodec::Aac,
                    pts: timestamp,
                    data,
                };
                Ok(FlvEvents {
                    track: None,
                    frame: Some(Frame::Audio(frame)),
                })
            }
            AudioTag::Nothing => Ok(FlvEvents::default()),
        }
    }

    fn configure_video(&mut self, data: &Bytes) -> Result<FlvEvents, FlvError> {
        let record = AvcDecoderConfigurationRecord::parse(data)?;
        let mut filter = AccessUnitFilter::default();
        let sps = filter.configure(&record)?;
        let track = VideoTrack {
            codec: VideoCodec::H264,
            width: sps.as_ref().map_or(0, |sps| sps.width),
            height: sps.as_ref().map_or(0, |sps| sps.height),
            profile_level_id: sps
                .as_ref()
                .map_or(record.profile_level_id, Sps::profile_level_id),
            // A copy: a slice would keep the buffer it was read into for as long as the track lasts.
            config: Bytes::copy_from_slice(data),
        };
        let is_new = self.video.as_ref().is_none_or(|video| video.track != track);
        let event = is_new.then(|| FlvEvent::VideoTrack(track.clone()));
        self.video = Some(VideoState {
            length_size: record.length_size,
            filter,
            track,
        });
        Ok(FlvEvents {
            track: event,
            frame: None,
        })
    }

    fn configure_audio(&mut self, data: &Bytes) -> Result<FlvEvents, FlvError> {
        let config = AudioSpecificConfig::parse(data)?;
        let track = AudioTrack {
            codec: AudioCodec::Aac,
            sample_rate: config.sample_rate(),
            channels: config.channels(),
            config: Bytes::copy_from_slice(data),
        };
        if self.audio.as_ref() == Some(&track) {
            return Ok(FlvEvents::default());
        }
        self.audio = Some(track.clone());
        Ok(FlvEvents {
            track: Some(FlvEvent::AudioTrack(track)),
            frame: None,
        })
    }
}

impl VideoState {
    fn access_unit(
        &mut self,
        timestamp: MediaTime,
        composition: CompositionTime,
        units: Bytes,
    ) -> Result<FlvEvents, FlvError> {
        let units = LengthPrefixed::new(units, self.length_size);
        let Some(unit) = self.filter.filter(units)? else {
            return Ok(FlvEvents::default());
        };
        let track = unit.new_sps.map(|sps| {
            self.track = VideoTrack {
                codec: VideoCodec::H264,
                width: sps.width,
                height: sps.height,
                profile_level_id: sps.profile_level_id(),
                config: AvcDecoderConfigurationRecord::write(self.filter.parameter_sets()),
            };
            FlvEvent::VideoTrack(self.track.clone())
        });
        let frame = VideoFrame {
            codec: VideoCodec::H264,
            pts: composition.add_to(timestamp),
            dts: timestamp,
            keyframe: unit.keyframe,
            units: unit.units,
        };
        Ok(FlvEvents {
            track,
            frame: Some(Frame::Video(frame)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_util::hex;
    use proptest::prelude::*;

    const HEADER_360P: &str = "17 00 000000 0142c01e ffe1 0019
        6742c01ed900a02ff970110000030001000003003c0f162e48 01 0005 68cb83cb20";
    const SPS_1080P: &str = "0000001b67640028acd940780227e5c044000003000400000300f03c60c658";
    const PPS: &str = "0000000568cb83cb20";
    const IDR: &str = "00000005658880aabb";
    const SLICE: &str = "00000003419a01";

    fn video(demuxer: &mut FlvDemuxer, millis: i64, body: &str) -> Vec<FlvEvent> {
        let time = MediaTime::from_millis(millis);
        demuxer
            .handle_video(time, hex(body).into())
            .unwrap()
            .collect()
    }

    fn configured() -> FlvDemuxer {
        let mut demuxer = FlvDemuxer::new();
        let events = video(&mut demuxer, 0, HEADER_360P);
        let [FlvEvent::VideoTrack(track)] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!((track.width, track.height), (640, 360));
        assert_eq!(track.profile_level_id, [0x42, 0xc0, 0x1e]);
        assert_eq!(track.config, hex(HEADER_360P)[5..]);
        demuxer
    }

    fn one_frame(events: Vec<FlvEvent>) -> VideoFrame {
        match <[FlvEvent; 1]>::try_from(events) {
            Ok([FlvEvent::Frame(Frame::Video(frame))]) => frame,
            other => panic!("one video frame, not {other:?}"),
        }
    }

    #[test]
    fn a_picture_has_its_times_and_a_keyframe_its_parameter_sets() {
        let mut demuxer = configured();
        // The frame type says that it is no keyframe; the slice says that it is.
        let frame = one_frame(video(&mut demuxer, 40, &format!("27 01 000021 {IDR}")));
        assert!(frame.keyframe);
        assert_eq!((frame.dts.as_millis(), frame.pts.as_millis()), (40, 73));
        let types: Vec<_> = frame.units.iter().map(|unit| unit[0] & 0x1f).collect();
        assert_eq!(types, [7, 8, 5]);
        // And the other way round.
        let frame = one_frame(video(&mut demuxer, 80, &format!("17 01 ffffff {SLICE}")));
        assert!(!frame.keyframe);
        assert_eq!((frame.dts.as_millis(), frame.pts.as_millis()), (80, 79));
    }

    #[test]
    fn nal_units_are_slices_of_the_body() {
        let mut demuxer = configured();
        let body = Bytes::from(hex(&format!("27 01 000000 {SLICE}")));
        let events = demuxer.handle_video(MediaTime::ZERO, body.clone()).unwrap();
        let frame = one_frame(events.collect());
        assert_eq!(frame.units[0].as_ptr(), body[9..].as_ptr());
    }

    #[test]
    fn a_repeated_sequence_header_is_no_event_and_another_one_is() {
        let mut demuxer = configured();
        assert_eq!(video(&mut demuxer, 0, HEADER_360P), []);
        let other = HEADER_360P.replace("68cb83cb20", "68cb83cb30");
        let events = video(&mut demuxer, 0, &other);
        assert!(
            matches!(events[..], [FlvEvent::VideoTrack(_)]),
            "{events:?}"
        );
    }

    #[test]
    fn a_new_sps_in_the_stream_is_a_new_track_before_its_first_frame() {
        let mut demuxer = configured();
        let body = format!("17 01 000000 {SPS_1080P} {PPS} {IDR}");
        let events = video(&mut demuxer, 0, &body);
        let [FlvEvent::VideoTrack(track), FlvEvent::Frame(frame)] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!((track.width, track.height), (1920, 1080));
        assert_eq!(track.profile_level_id, [0x64, 0, 0x28]);
        let record = AvcDecoderConfigurationRecord::parse(&track.config).unwrap();
        assert_eq!(record.sps[0], hex(SPS_1080P)[4..]);
        assert!(frame.is_keyframe());
        one_frame(video(&mut demuxer, 40, &body));
    }

    #[test]
    fn the_end_of_a_sequence_and_frames_of_filler_alone_are_no_event() {
        let mut demuxer = configured();
        assert_eq!(video(&mut demuxer, 0, "17 02 000000"), []);
        assert_eq!(video(&mut demuxer, 0, "27 01 000000 00000003 0cff80"), []);
        assert_eq!(video(&mut demuxer, 0, "27 01 000000 00000000"), []);
    }

    #[test]
    fn pictures_before_the_sequence_header_and_broken_ones_are_errors() {
        let mut demuxer = FlvDemuxer::new();
        let body = Bytes::from(hex(&format!("27 01 000000 {SLICE}")));
        let error = demuxer.handle_video(MediaTime::ZERO, body).unwrap_err();
        assert_eq!(
            error,
            FlvError::NoSequenceHeader {
                tag: TagKind::Video
            }
        );
        let mut demuxer = configured();
        let body = Bytes::from(hex("27 01 000000 00000004 419a01"));
        let error = demuxer.handle_video(MediaTime::ZERO, body).unwrap_err();
        assert!(matches!(error, FlvError::H264(_)), "{error}");
        one_frame(video(&mut demuxer, 40, &format!("27 01 000000 {SLICE}")));
    }

    #[test]
    fn aac_comes_out_as_a_track_and_its_access_units() {
        let mut demuxer = FlvDemuxer::new();
        let mut audio = |body: &str| {
            demuxer
                .handle_audio(MediaTime::from_millis(21), hex(body).into())
                .map(Vec::from_iter)
        };
        let tag = TagKind::Audio;
        assert_eq!(
            audio("af 01 2110").unwrap_err(),
            FlvError::NoSequenceHeader { tag }
        );
        let events = audio("af 00 1210").unwrap();
        let [FlvEvent::AudioTrack(track)] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!((track.sample_rate, track.channels), (44_100, 2));
        assert_eq!(audio("af 00 1210").unwrap(), [], "it changes nothing");
        let events = audio("af 01 2110").unwrap();
        let [FlvEvent::Frame(Frame::Audio(frame))] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(
            (frame.pts.as_millis(), &frame.data[..]),
            (21, &[0x21, 0x10][..])
        );
        assert_eq!(audio("af 00 1190").unwrap().len(), 1, "another rate");
        assert!(matches!(audio("af 00"), Err(FlvError::Aac(_))));
    }

    proptest! {
        #[test]
        fn arbitrary_tags_never_panic(
            bodies in proptest::collection::vec(
                (any::<bool>(), 0..3u8, proptest::collection::vec(any::<u8>(), 0..80)),
                1..20,
            ),
        ) {
            let mut demuxer = configured();
            for (is_video, packet_type, mut body) in bodies {
                // Mostly the codecs that are read further.
                if let [first, second, ..] = &mut body[..] && *first % 8 != 0 {
                    *first = if is_video { 0x17 } else { 0xaf };
                    *second = packet_type;
                }
                let result = if is_video {
                    demuxer.handle_video(MediaTime::ZERO, body.into())
                } else {
                    demuxer.handle_audio(MediaTime::ZERO, body.into())
                };
                for event in result.into_iter().flatten() {
                    if let FlvEvent::Frame(Frame::Video(frame)) = event {
                        prop_assert!(!frame.units.is_empty());
                        prop_assert!(frame.units.iter().all(|unit| !unit.is_empty()));
                    }
                }
            }
        }

        #[test]
        fn arbitrary_nal_units_never_panic(
            units in proptest::collection::vec(
                (0..14u8, proptest::collection::vec(any::<u8>(), 0..40)),
                0..12,
            ),
        ) {
            let mut body = hex("17 01 000000");
            for (nal_type, data) in units {
                body.extend_from_slice(&(data.len() as u32 + 1).to_be_bytes());
                body.push(0x60 | nal_type);
                body.extend_from_slice(&data);
            }
            let mut demuxer = configured();
            for event in demuxer.handle_video(MediaTime::ZERO, body.into()).into_iter().flatten() {
                if let FlvEvent::Frame(Frame::Video(frame)) = event && frame.keyframe {
                    prop_assert_eq!(frame.units[0][0] & 0x1f, 7);
                }
            }
        }
    }
}
