//! From tag bodies to tracks and frames.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use super::audio::{self, AudioTag};
use super::enhanced::{self, ExPacket, ExTag};
use super::video::{self, CompositionTime, VideoTag};
use super::{FlvError, TagKind};
use crate::aac::AudioSpecificConfig;
use crate::av1::{Av1CodecConfigurationRecord, SequenceHeader, TemporalUnitFilter};
use crate::h264::nal::{self, LengthPrefixed};
use crate::h264::{AccessUnitFilter, AvcDecoderConfigurationRecord, Sps};
use crate::h265::{self, HevcDecoderConfigurationRecord};
use crate::vp9::FrameHeader;
use crate::{
    AudioCodec, AudioFrame, AudioTrack, Frame, MediaTime, VideoCodec, VideoFrame, VideoTrack,
};

/// Reads the bodies of FLV tags, which are the payloads of RTMP's audio and video messages.
///
/// NAL units and AAC access units come out as slices of the body: no media is copied. Pictures come out
/// ready for WebRTC, by the rules of [`AccessUnitFilter`], [`h265::AccessUnitFilter`] and
/// [`TemporalUnitFilter`].
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
    /// The other tracks of a multitrack publisher that were reported.
    others: BTreeSet<(TagKind, u8)>,
}

/// What is known after a video sequence header.
#[derive(Debug)]
struct VideoState {
    track: VideoTrack,
    syntax: VideoSyntax,
}

/// How pictures stand in their tags.
#[derive(Debug)]
enum VideoSyntax {
    /// NAL units with lengths of this size.
    H264 {
        length_size: u8,
        filter: AccessUnitFilter,
    },
    /// NAL units with lengths of this size.
    H265 {
        length_size: u8,
        filter: h265::AccessUnitFilter,
    },
    /// OBUs.
    Av1(TemporalUnitFilter),
    /// As they are.
    Vp9,
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
    /// The publisher sends one more track, which is not used. Comes once for each.
    OtherTrack(OtherTrack),
}

/// A track of a multitrack publisher (Enhanced RTMP, version 2) beside the one that is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherTrack {
    /// Audio or video.
    pub kind: TagKind,
    /// Its number; the track that is used has 0.
    pub id: u8,
    /// Its codec's FourCC.
    pub codec: String,
}

/// The events of one tag, in order: at most a track and a frame, and other tracks.
#[derive(Clone, Debug, Default)]
pub struct FlvEvents {
    track: Option<FlvEvent>,
    frame: Option<Frame>,
    /// Last one first.
    others: Vec<OtherTrack>,
}

impl Iterator for FlvEvents {
    type Item = FlvEvent;

    fn next(&mut self) -> Option<FlvEvent> {
        self.track
            .take()
            .or_else(|| self.frame.take().map(FlvEvent::Frame))
            .or_else(|| self.others.pop().map(FlvEvent::OtherTrack))
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
        if !video::is_enhanced(&body) {
            return self.video_tag(timestamp, VideoTag::parse(body)?);
        }
        if video::is_command(&body) {
            return Ok(FlvEvents::default());
        }
        let (timestamp, main, others) = self.tracks(TagKind::Video, timestamp, body)?;
        let mut events = match main {
            Some(packet) => self.video_tag(timestamp, VideoTag::from_enhanced(packet)?)?,
            None => FlvEvents::default(),
        };
        events.others = others;
        Ok(events)
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
        if !audio::is_enhanced(&body) {
            return self.audio_tag(timestamp, AudioTag::parse(body)?);
        }
        let (timestamp, main, others) = self.tracks(TagKind::Audio, timestamp, body)?;
        let mut events = match main {
            Some(packet) => self.audio_tag(timestamp, AudioTag::from_enhanced(packet)?)?,
            None => FlvEvents::default(),
        };
        events.others = others;
        Ok(events)
    }

    /// Takes an enhanced tag apart: its time, what it has for track 0, and tracks not seen before.
    fn tracks(
        &mut self,
        kind: TagKind,
        timestamp: MediaTime,
        body: Bytes,
    ) -> Result<(MediaTime, Option<ExPacket>, Vec<OtherTrack>), FlvError> {
        let tag = ExTag::parse(kind, body)?;
        let timestamp = timestamp + Duration::from_nanos(tag.nanos.into());
        let (mut main, mut others) = (None, Vec::new());
        for packet in tag {
            let packet = packet?;
            if packet.track == 0 {
                main = Some(packet);
            } else if packet.packet_type == enhanced::SEQUENCE_START
                && self.others.insert((kind, packet.track))
            {
                others.push(OtherTrack {
                    kind,
                    id: packet.track,
                    codec: enhanced::codec_name(packet.codec),
                });
            }
        }
        others.reverse();
        Ok((timestamp, main, others))
    }

    fn video_tag(&mut self, timestamp: MediaTime, tag: VideoTag) -> Result<FlvEvents, FlvError> {
        match tag {
            VideoTag::SequenceHeader { codec, config } => {
                let mut video = self.video.iter().map(|video| &video.track);
                if codec != VideoCodec::H264
                    && video.any(|track| track.codec == codec && track.config == config)
                {
                    // What pictures have told since then is newer.
                    return Ok(FlvEvents::default());
                }
                let (track, syntax) = match codec {
                    VideoCodec::H264 => configure_h264(&config)?,
                    VideoCodec::H265 => configure_h265(&config)?,
                    VideoCodec::Av1 => configure_av1(&config)?,
                    // Its record says nothing that its keyframes do not.
                    VideoCodec::Vp9 => (track(codec, &config), VideoSyntax::Vp9),
                };
                let is_new = self.video.as_ref().is_none_or(|video| video.track != track);
                let event = is_new.then(|| FlvEvent::VideoTrack(track.clone()));
                self.video = Some(VideoState { track, syntax });
                Ok(FlvEvents {
                    track: event,
                    ..FlvEvents::default()
                })
            }
            VideoTag::Picture {
                codec,
                composition,
                data,
            } => {
                let tag = TagKind::Video;
                let video = self.video.as_mut();
                let video = video
                    .filter(|video| video.track.codec == codec)
                    .ok_or(FlvError::NoSequenceHeader { tag })?;
                video.picture(timestamp, composition, data)
            }
            VideoTag::Nothing => Ok(FlvEvents::default()),
        }
    }

    fn audio_tag(&mut self, timestamp: MediaTime, tag: AudioTag) -> Result<FlvEvents, FlvError> {
        match tag {
            AudioTag::SequenceHeader { codec, config } => self.configure_audio(codec, &config),
            AudioTag::Block { codec, data } => {
                let tag = TagKind::Audio;
                if self.audio.as_ref().is_none_or(|track| track.codec != codec) {
                    return Err(FlvError::NoSequenceHeader { tag });
                }
                let frame = AudioFrame {
                    codec,
                    pts: timestamp,
                    data,
                };
                Ok(FlvEvents {
                    frame: Some(Frame::Audio(frame)),
                    ..FlvEvents::default()
                })
            }
            AudioTag::Nothing => Ok(FlvEvents::default()),
        }
    }

    fn configure_audio(&mut self, codec: AudioCodec, data: &Bytes) -> Result<FlvEvents, FlvError> {
        let (sample_rate, channels) = match codec {
            AudioCodec::Aac => {
                let config = AudioSpecificConfig::parse(data)?;
                (config.sample_rate(), config.channels())
            }
            // Opus always decodes to 48 kHz. The channel count follows the signature and a version
            // (RFC 7845 section 5.1); a publisher may leave the header out.
            AudioCodec::Opus => (48_000, data.get(9).copied().unwrap_or(2).max(1)),
        };
        let track = AudioTrack {
            codec,
            sample_rate,
            channels,
            config: Bytes::copy_from_slice(data),
        };
        if self.audio.as_ref() == Some(&track) {
            return Ok(FlvEvents::default());
        }
        self.audio = Some(track.clone());
        Ok(FlvEvents {
            track: Some(FlvEvent::AudioTrack(track)),
            ..FlvEvents::default()
        })
    }
}

fn configure_h264(data: &Bytes) -> Result<(VideoTrack, VideoSyntax), FlvError> {
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
        config: if nal::begins_with_start_code(data) {
            AvcDecoderConfigurationRecord::write(filter.parameter_sets())
        } else {
            // A copy: a slice would keep the buffer it was read into for as long as the track lasts.
            Bytes::copy_from_slice(data)
        },
    };
    let length_size = record.length_size;
    Ok((
        track,
        VideoSyntax::H264 {
            length_size,
            filter,
        },
    ))
}

fn configure_h265(data: &Bytes) -> Result<(VideoTrack, VideoSyntax), FlvError> {
    let record = HevcDecoderConfigurationRecord::parse(data)?;
    let mut filter = h265::AccessUnitFilter::default();
    let mut track = track(VideoCodec::H265, data);
    track.profile_level_id = record.profile_tier_level;
    if let Some(sps) = filter.configure(&record)? {
        track.set_h265(&sps);
    }
    let length_size = record.length_size;
    let syntax = VideoSyntax::H265 {
        length_size,
        filter,
    };
    Ok((track, syntax))
}

fn configure_av1(data: &Bytes) -> Result<(VideoTrack, VideoSyntax), FlvError> {
    let record = Av1CodecConfigurationRecord::parse(data)?;
    let mut filter = TemporalUnitFilter::default();
    let mut track = track(VideoCodec::Av1, data);
    track.profile_level_id = [record.profile, record.tier, record.level_idx];
    if let Some(header) = filter.configure(&record) {
        track.set_av1(&header);
    }
    Ok((track, VideoSyntax::Av1(filter)))
}

/// A track of which nothing but the codec is known.
fn track(codec: VideoCodec, config: &Bytes) -> VideoTrack {
    VideoTrack {
        codec,
        width: 0,
        height: 0,
        profile_level_id: [0; 3],
        // A copy: a slice would keep the buffer it was read into for as long as the track lasts.
        config: Bytes::copy_from_slice(config),
    }
}

impl VideoTrack {
    fn set_h265(&mut self, sps: &h265::Sps) {
        (self.width, self.height) = (sps.width, sps.height);
        self.profile_level_id = sps.profile_tier_level();
    }

    fn set_av1(&mut self, header: &SequenceHeader) {
        (self.width, self.height) = (header.width, header.height);
        self.profile_level_id = [header.profile, header.tier, header.level_idx];
    }

    /// Takes what a keyframe of VP9 tells. Returns whether it is news.
    fn set_vp9(&mut self, header: &FrameHeader) -> bool {
        let Some(size) = header.keyframe else {
            return false;
        };
        let told = (size.width, size.height, [header.profile, 0, 0]);
        let is_news = (self.width, self.height, self.profile_level_id) != told;
        (self.width, self.height, self.profile_level_id) = told;
        is_news
    }
}

impl VideoState {
    fn picture(
        &mut self,
        timestamp: MediaTime,
        composition: CompositionTime,
        data: Bytes,
    ) -> Result<FlvEvents, FlvError> {
        let mut frame = VideoFrame {
            codec: self.track.codec,
            pts: composition.add_to(timestamp),
            dts: timestamp,
            // The picture itself tells: tags are known to be wrong.
            keyframe: false,
            units: Vec::new(),
        };
        let mut track = None;
        match &mut self.syntax {
            VideoSyntax::H264 {
                length_size,
                filter,
            } => {
                let Some(unit) = filter.filter(nal::units(data, *length_size))? else {
                    return Ok(FlvEvents::default());
                };
                frame.keyframe = unit.keyframe;
                frame.units = unit.units;
                track = unit.new_sps.map(|sps| {
                    self.track = VideoTrack {
                        codec: VideoCodec::H264,
                        width: sps.width,
                        height: sps.height,
                        profile_level_id: sps.profile_level_id(),
                        config: AvcDecoderConfigurationRecord::write(filter.parameter_sets()),
                    };
                    FlvEvent::VideoTrack(self.track.clone())
                });
            }
            VideoSyntax::H265 {
                length_size,
                filter,
            } => {
                let Some(unit) = filter.filter(LengthPrefixed::new(data, *length_size))? else {
                    return Ok(FlvEvents::default());
                };
                frame.keyframe = unit.keyframe;
                frame.units = unit.units;
                track = unit.new_sps.map(|sps| {
                    self.track.set_h265(&sps);
                    FlvEvent::VideoTrack(self.track.clone())
                });
            }
            VideoSyntax::Av1(filter) => {
                let Some(unit) = filter.filter(data)? else {
                    return Ok(FlvEvents::default());
                };
                frame.keyframe = unit.keyframe;
                frame.units = unit.units;
                track = unit.new_header.map(|header| {
                    self.track.set_av1(&header);
                    FlvEvent::VideoTrack(self.track.clone())
                });
            }
            VideoSyntax::Vp9 => {
                let len = data.len();
                let header = FrameHeader::parse(&data).ok_or(FlvError::Vp9 { len })?;
                frame.keyframe = header.keyframe.is_some();
                if self.track.set_vp9(&header) {
                    track = Some(FlvEvent::VideoTrack(self.track.clone()));
                }
                frame.units.push(data);
            }
        }
        if frame.units.is_empty() {
            return Ok(FlvEvents::default());
        }
        Ok(FlvEvents {
            track,
            frame: Some(Frame::Video(frame)),
            ..FlvEvents::default()
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
    fn start_codes_in_place_of_lengths_are_understood() {
        let mut demuxer = FlvDemuxer::new();
        let header = "17 00 000000 00000001
            6742c01ed900a02ff970110000030001000003003c0f162e48 00000001 68cb83cb20";
        let [FlvEvent::VideoTrack(track)] = &video(&mut demuxer, 0, header)[..] else {
            panic!("a track");
        };
        assert_eq!((track.width, track.height), (640, 360));
        assert_eq!(track.profile_level_id, [0x42, 0xc0, 0x1e]);
        assert!(AvcDecoderConfigurationRecord::parse(&track.config).is_ok());
        assert_eq!(track.config[0], 1, "players get a record");
        let idr = "17 01 000000 00000001 09f0 00000001 658880aabb 000001 658880ccdd";
        let [FlvEvent::Frame(Frame::Video(frame))] = &video(&mut demuxer, 0, idr)[..] else {
            panic!("a picture");
        };
        assert!(frame.keyframe);
        let types: Vec<u8> = frame.units.iter().map(|unit| unit[0]).collect();
        assert_eq!(types, [0x67, 0x68, 0x65, 0x65]);
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
        assert!(matches!(audio("af 00 11"), Err(FlvError::Aac(_))));
    }

    fn enhanced(demuxer: &mut FlvDemuxer, kind: TagKind, body: &[u8]) -> Vec<FlvEvent> {
        let (time, body) = (MediaTime::from_millis(40), Bytes::copy_from_slice(body));
        let events = match kind {
            TagKind::Video => demuxer.handle_video(time, body),
            _ => demuxer.handle_audio(time, body),
        };
        events.unwrap().collect()
    }

    /// A legacy body with its codec named by FourCC.
    fn by_four_cc(first: u8, body: &str) -> Vec<u8> {
        [&[first][..], b"avc1", &hex(body)].concat()
    }

    #[test]
    fn h264_named_by_its_four_cc_is_the_same_as_legacy() {
        let legacy = hex(HEADER_360P);
        let mut one = FlvDemuxer::new();
        let mut other = FlvDemuxer::new();
        let header = [b"\x90avc1", &legacy[5..]].concat();
        assert_eq!(
            enhanced(&mut one, TagKind::Video, &header),
            video(&mut other, 40, HEADER_360P)
        );
        assert_eq!(
            enhanced(
                &mut one,
                TagKind::Video,
                &by_four_cc(0x91, &format!("000021 {IDR}"))
            ),
            video(&mut other, 40, &format!("17 01 000021 {IDR}"))
        );
        // CodedFramesX has no composition time, and legacy tags may follow.
        assert_eq!(
            enhanced(&mut one, TagKind::Video, &by_four_cc(0xa3, SLICE)),
            video(&mut other, 40, &format!("27 01 000000 {SLICE}"))
        );
        one_frame(video(&mut one, 80, &format!("27 01 000000 {SLICE}")));
    }

    const HVCC: &str = "01 01 60000000 900000000000 3c f000 fc fd f8 f8 0000 0f 03
        20 0001 0018 40010c01ffff01600000030090000003000003003cba0240
        21 0001 0028 42010101600000030090000003000003003ca00a080f165ba4a4c2f0168080000003008000000784
        22 0001 0006 4401c073c189";

    #[test]
    fn h265_comes_out_as_nal_units_with_its_parameter_sets() {
        let mut demuxer = FlvDemuxer::new();
        let header = [b"\x90hvc1", &hex(HVCC)[..]].concat();
        let events = enhanced(&mut demuxer, TagKind::Video, &header);
        let [FlvEvent::VideoTrack(track)] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!((track.codec, track.width), (VideoCodec::H265, 320));
        assert_eq!((track.height, track.profile_level_id), (240, [1, 0, 60]));
        assert_eq!(enhanced(&mut demuxer, TagKind::Video, &header), []);

        // The frame type says that it is no keyframe; the picture says that it is.
        let idr = [&b"\xa1hvc1\0\0\x0a"[..], &hex("00000003 280180")].concat();
        let frame = one_frame(enhanced(&mut demuxer, TagKind::Video, &idr));
        assert!(frame.keyframe);
        assert_eq!((frame.dts.as_millis(), frame.pts.as_millis()), (40, 50));
        let types: Vec<_> = frame.units.iter().map(|unit| unit[0] >> 1).collect();
        assert_eq!(types, [32, 33, 34, 20]);
        let slice = [&b"\x93hvc1"[..], &hex("00000003 0201d0")].concat();
        let frame = one_frame(enhanced(&mut demuxer, TagKind::Video, &slice));
        assert!(!frame.keyframe);
        assert_eq!(frame.units, [hex("0201d0")]);

        let short = Bytes::from_static(b"\x90hvc1\x01");
        let error = demuxer.handle_video(MediaTime::ZERO, short).unwrap_err();
        assert!(matches!(error, FlvError::H265(_)), "{error}");
    }

    #[test]
    fn av1_comes_out_with_a_sequence_header_in_front_of_keyframes() {
        let mut demuxer = FlvDemuxer::new();
        let sequence_header = hex("0a0b0200000521e7fde257c802");
        let header = [&b"\x90av01"[..], &hex("81000c00"), &sequence_header].concat();
        let events = enhanced(&mut demuxer, TagKind::Video, &header);
        let [FlvEvent::VideoTrack(track)] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!((track.codec, track.width), (VideoCodec::Av1, 320));
        let keyframe = hex("1200 3203 10aabb");
        let body = [&b"\xa1av01"[..], &keyframe].concat();
        let frame = one_frame(enhanced(&mut demuxer, TagKind::Video, &body));
        assert!(frame.keyframe);
        assert_eq!(frame.units, [&sequence_header, &keyframe]);
        let body = [&b"\x91av01"[..], &hex("3203 30aabb")].concat();
        let frame = one_frame(enhanced(&mut demuxer, TagKind::Video, &body));
        assert_eq!((frame.keyframe, frame.units.len()), (false, 1));

        // Level 8 and the High tier: another sequence header in the stream is another track.
        let other = hex("0a0b 0200001 521e7fde257c80 2");
        let body = [&b"\x91av01"[..], &other, &keyframe].concat();
        let events = enhanced(&mut demuxer, TagKind::Video, &body);
        assert!(
            matches!(&events[..], [FlvEvent::VideoTrack(_), FlvEvent::Frame(_)]),
            "{events:?}"
        );
        assert_eq!(enhanced(&mut demuxer, TagKind::Video, &header), []);
        let body = Bytes::from_static(b"\x91av01\x32\x09");
        let error = demuxer.handle_video(MediaTime::ZERO, body).unwrap_err();
        assert!(matches!(error, FlvError::Av1(_)), "{error}");
    }

    #[test]
    fn vp9_tells_its_size_with_its_keyframes() {
        let mut demuxer = FlvDemuxer::new();
        let header = b"\x90vp09\x01\0\0\0\0\x14\x82\x02\x02\x02\0\0";
        let events = enhanced(&mut demuxer, TagKind::Video, header);
        assert!(
            matches!(&events[..], [FlvEvent::VideoTrack(track)] if track.width == 0),
            "{events:?}"
        );
        let keyframe = [&b"\xa1vp09"[..], &hex("824983420013f00ef6")].concat();
        let events = enhanced(&mut demuxer, TagKind::Video, &keyframe);
        let [FlvEvent::VideoTrack(track), FlvEvent::Frame(frame)] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!((track.width, track.height), (320, 240));
        assert!(frame.is_keyframe());
        assert_eq!(enhanced(&mut demuxer, TagKind::Video, header), []);
        one_frame(enhanced(&mut demuxer, TagKind::Video, &keyframe));
        let body = [&b"\x91vp09"[..], &hex("8600")].concat();
        let frame = one_frame(enhanced(&mut demuxer, TagKind::Video, &body));
        assert_eq!((frame.keyframe, frame.units.len()), (false, 1));
        let body = Bytes::from_static(b"\x91vp09\x32");
        let error = demuxer.handle_video(MediaTime::ZERO, body).unwrap_err();
        assert_eq!(error, FlvError::Vp9 { len: 1 });
    }

    #[test]
    fn opus_passes_as_it_is() {
        let mut demuxer = FlvDemuxer::new();
        let header = b"\x90OpusOpusHead\x01\x01\x38\x01\x80\xbb\0\0\0\0\0";
        let events = enhanced(&mut demuxer, TagKind::Audio, header);
        let [FlvEvent::AudioTrack(track)] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(
            (track.codec, track.sample_rate, track.channels),
            (AudioCodec::Opus, 48_000, 1)
        );
        let events = enhanced(&mut demuxer, TagKind::Audio, b"\x91Opus\xfcdata");
        assert!(
            matches!(&events[..], [FlvEvent::Frame(Frame::Audio(frame))]
                if frame.codec == AudioCodec::Opus && frame.data[..] == b"\xfcdata"[..]),
            "{events:?}"
        );
        let aac = demuxer.handle_audio(MediaTime::ZERO, Bytes::from_static(&[0xaf, 1, 0x21]));
        assert!(matches!(aac, Err(FlvError::NoSequenceHeader { .. })));
    }

    #[test]
    fn nanoseconds_make_times_finer() {
        let mut demuxer = configured();
        let body = [&b"\x97\x02\x01\x86\xa0\x03avc1"[..], &hex(SLICE)].concat();
        let frame = one_frame(enhanced(&mut demuxer, TagKind::Video, &body));
        assert_eq!(frame.dts.as_nanos(), 40_100_000);
    }

    #[test]
    fn of_many_tracks_the_first_is_used_and_the_others_are_reported_once() {
        let mut demuxer = configured();
        let config = &hex(HEADER_360P)[5..];
        let mut header = b"\x96\x10avc1".to_vec();
        for track in [0, 1, 2] {
            header.extend([track, 0, 0, config.len() as u8]);
            header.extend(config);
        }
        let other = |id| {
            FlvEvent::OtherTrack(OtherTrack {
                kind: TagKind::Video,
                id,
                codec: "avc1".into(),
            })
        };
        let events = enhanced(&mut demuxer, TagKind::Video, &header);
        assert_eq!(events, [other(1), other(2)]);
        assert_eq!(enhanced(&mut demuxer, TagKind::Video, &header), []);

        let slice = hex(SLICE);
        let mut body = b"\xa6\x13avc1".to_vec();
        for (track, data) in [(1, b"other"), (0, &slice[..5].try_into().unwrap())] {
            body.extend([track, 0, 0, if track == 0 { slice.len() as u8 } else { 5 }]);
            body.extend(if track == 0 { &slice[..] } else { &data[..] });
        }
        let frame = one_frame(enhanced(&mut demuxer, TagKind::Video, &body));
        assert_eq!(frame.units, [&slice[4..]]);
    }

    proptest! {
        #[test]
        fn arbitrary_enhanced_tags_never_panic(
            bodies in proptest::collection::vec(
                (any::<bool>(), 0..8u8, prop::sample::select(vec![b"avc1", b"hvc1", b"av01", b"vp09", b"Opus"]),
                 proptest::collection::vec(any::<u8>(), 0..80)),
                1..20,
            ),
        ) {
            let mut demuxer = configured();
            for (is_video, packet_type, four_cc, data) in bodies {
                let body = [&[0x90 | packet_type], &four_cc[..], &data].concat();
                let result = if is_video {
                    demuxer.handle_video(MediaTime::ZERO, body.into())
                } else {
                    demuxer.handle_audio(MediaTime::ZERO, body.into())
                };
                for event in result.into_iter().flatten() {
                    if let FlvEvent::Frame(Frame::Video(frame)) = event {
                        prop_assert!(frame.units.iter().all(|unit| !unit.is_empty()));
                    }
                }
            }
        }

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
