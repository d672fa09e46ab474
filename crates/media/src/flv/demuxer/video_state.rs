//! The state of a video track, which turns tags into frames.

use bytes::Bytes;

use super::super::error::FlvError;
use super::tagged_frame::{Part, TaggedFrame};
use super::{FlvEvent, FlvEvents};
use crate::av1::{Av1CodecConfigurationRecord, SequenceHeader, TemporalUnitFilter};
use crate::h264::nal;
use crate::h264::{AccessUnitFilter, AvcDecoderConfigurationRecord, H264Error, Sps};
use crate::h265::{self, HevcDecoderConfigurationRecord};
use crate::vp9::FrameHeader;
use crate::{Frame, FrameInfo, FrameInspector, VideoCodec, VideoFrame, VideoTrack};

/// The state after a video sequence header.
#[derive(Debug)]
pub(super) struct VideoState {
    pub(super) track: VideoTrack,
    syntax: VideoSyntax,
    pub(super) inspector: FrameInspector,
}

/// The form of the frames in their tags.
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
    /// The bare frame.
    Vp9,
}

impl VideoState {
    /// Parses a sequence header.
    pub(super) fn configure(codec: VideoCodec, config: &Bytes) -> Result<Self, FlvError> {
        let (track, syntax) = match codec {
            VideoCodec::H264 => configure_h264(config)?,
            VideoCodec::H265 => configure_h265(config)?,
            VideoCodec::Av1 => configure_av1(config)?,
            // Its keyframes contain all that its record does.
            VideoCodec::Vp9 => (track(codec, config), VideoSyntax::Vp9),
        };
        Ok(Self {
            track,
            syntax,
            inspector: FrameInspector::default(),
        })
    }

    /// Returns a tag's part of an access unit; `None` if frames do not consist of NAL units.
    pub(super) fn part(&self, data: &Bytes) -> Option<Part> {
        match self.syntax {
            VideoSyntax::H264 { length_size, .. } => {
                Some(Part::of_h264(nal::units(data.clone(), length_size)))
            }
            VideoSyntax::H265 { length_size, .. } => {
                Some(Part::of_h265(nal::units(data.clone(), length_size)))
            }
            VideoSyntax::Av1(_) | VideoSyntax::Vp9 => None,
        }
    }

    /// Parses a frame.
    pub(super) fn frame(&mut self, frame: TaggedFrame) -> Result<FlvEvents, FlvError> {
        let TaggedFrame {
            timestamp,
            composition,
            data,
            more,
            held,
        } = frame;
        let mut frame = VideoFrame {
            codec: self.track.codec,
            pts: composition.add_to(timestamp),
            dts: timestamp,
            // The frame itself decides: the flags of tags can be wrong.
            keyframe: false,
            info: FrameInfo::default(),
            units: Vec::new(),
        };
        let mut track = None;
        match &mut self.syntax {
            VideoSyntax::H264 {
                length_size,
                filter,
            } => {
                let units = nal_units(data, more, *length_size);
                let Some(unit) = filter.filter(units)? else {
                    return Ok(FlvEvents::default());
                };
                (frame.keyframe, frame.units) = (unit.keyframe, unit.units);
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
                let units = nal_units(data, more, *length_size);
                let Some(unit) = filter.filter(units)? else {
                    return Ok(FlvEvents::default());
                };
                (frame.keyframe, frame.units) = (unit.keyframe, unit.units);
                track = unit.new_sps.map(|sps| {
                    self.track.set_h265(&sps);
                    FlvEvent::VideoTrack(self.track.clone())
                });
            }
            VideoSyntax::Av1(filter) => {
                let Some(unit) = filter.filter(&data)? else {
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
        self.inspector.inspect(&mut frame);
        frame.compact(held);
        let frame = FlvEvent::Frame(Frame::Video(frame));
        Ok(track.into_iter().chain([frame]).collect())
    }
}

/// Returns the NAL units of all messages of a frame.
fn nal_units(
    first: Bytes,
    more: impl IntoIterator<Item = Bytes>,
    length_size: u8,
) -> impl Iterator<Item = Result<Bytes, H264Error>> {
    let parts = std::iter::once(first).chain(more);
    parts.flat_map(move |data| nal::units(data, length_size))
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
            // A copy: a slice would keep the buffer it was read into for as long as the track
            // lasts.
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

/// Returns a track of which only the codec is known.
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

    /// Updates the track by a keyframe of VP9. Returns whether it has changed.
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
