//! Demuxes tag bodies to tracks and frames.
//!
//! * [`FlvDemuxer`]: the demuxer.
//! * `video_state`: the state of a video track.
//! * `join`: joins the slices of an access unit that arrive in separate tags.
//! * `events`: [`FlvEvent`], the output.

mod events;
mod join;
mod tagged_frame;
#[cfg(test)]
mod tests;
mod video_state;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use super::audio::{self, AudioTag};
use super::enhanced::{self, ExPacket, ExTag};
use super::error::FlvError;
use super::tag_kind::TagKind;
use super::video::{self, VideoTag};
use crate::aac::AudioSpecificConfig;
use crate::adts::{AdtsFrames, AdtsHeader};
use crate::{AudioCodec, AudioFrame, AudioTrack, Frame, MediaTime, VideoCodec};
use join::Join;
use tagged_frame::TaggedFrame;
use video_state::VideoState;

pub use events::{FlvEvent, FlvEvents, OtherTrack};

/// Maximum size of a sequence header, in bytes: more than a record with parameter sets of every id
/// has in practice. The track keeps it as long as it lasts.
const MAX_CONFIGURATION: usize = 64 << 10;

/// Maximum size of an audio frame, in bytes: the largest packet of Opus, 48 frames of 1275 bytes
/// (RFC 6716 section 3.4). Access units of AAC are smaller. Larger ones are dropped: queues count
/// frames, not bytes.
const MAX_AUDIO_FRAME: usize = 64 << 10;

/// Maximum access units in one tag; further ones are dropped.
const MAX_ACCESS_UNITS: usize = 64;

/// Samples per channel in an access unit of AAC, in nearly all streams.
const AAC_FRAME: u64 = 1024;

/// Demuxes the bodies of FLV tags, which are the payloads of RTMP's audio and video messages.
///
/// NAL units and AAC access units are slices of the body; they are copied only if they are a small
/// part of it, since a slice keeps the whole body in memory. Video frames are ready for WebRTC, by
/// the rules of [`h264::AccessUnitFilter`](crate::h264::AccessUnitFilter),
/// [`h265::AccessUnitFilter`](crate::h265::AccessUnitFilter) and
/// [`TemporalUnitFilter`](crate::av1::TemporalUnitFilter).
///
/// A tag carries a whole access unit. Some encoders send each slice in a separate tag, all with one
/// timestamp: once that is detected (see [`FlvEvent::SlicesJoined`]), slices are joined into access
/// units. An access unit is then complete when the next one starts, so it is returned one video tag
/// later. The access unit at which it is detected is incomplete: its first tag was already
/// returned, and the others are dropped. A demuxer for [live](FlvDemuxer::live) publishers
/// therefore holds the first access unit until it is known how they send them.
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
    join: Join,
    audio: Option<AudioTrack>,
    /// The other tracks of a multitrack publisher that were reported.
    others: BTreeSet<(TagKind, u8)>,
}

impl FlvDemuxer {
    /// Returns a demuxer without tracks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a demuxer for a publisher that may send the slices of an access unit in separate
    /// tags. It holds the first access unit until the next video tag. Call [`flush`](Self::flush)
    /// when no video tag arrives for a while, and at the end.
    pub fn live() -> Self {
        Self {
            join: Join::holding_first(),
            ..Self::default()
        }
    }

    /// Returns whether an access unit is held that may be complete.
    pub fn is_holding(&self) -> bool {
        self.join.is_holding()
    }

    /// Returns the number of tags so far that have begun or extended a held access unit. A tag that
    /// leaves it unchanged says nothing about when the held access unit is complete.
    pub fn held_tags(&self) -> u64 {
        self.join.held_tags()
    }

    /// Returns the access unit that is held, as far as it has arrived: its later slices are
    /// dropped.
    ///
    /// # Errors
    /// When the access unit cannot be used.
    pub fn flush(&mut self) -> Result<FlvEvents, FlvError> {
        match &mut self.video {
            Some(video) => self.join.release(video),
            None => Ok(FlvEvents::default()),
        }
    }

    /// Demuxes the body of a video tag. A sequence header that changes nothing, the end of a
    /// sequence and tags without a frame return no event.
    ///
    /// # Errors
    /// When the tag cannot be used. Later tags can be, so the caller may skip a few; see
    /// [`FlvError::UnsupportedVideoCodec`] for errors of the whole track.
    pub fn handle_video(
        &mut self,
        timestamp: MediaTime,
        body: Bytes,
    ) -> Result<FlvEvents, FlvError> {
        let held = body.len();
        if !video::is_enhanced(&body) {
            return self.video_tag(timestamp, VideoTag::parse(body)?, held);
        }
        if video::is_command(&body) {
            return Ok(FlvEvents::default());
        }
        let (timestamp, main, others) = self.tracks(TagKind::Video, timestamp, body)?;
        let mut events = match main {
            Some(packet) => self.video_tag(timestamp, VideoTag::from_enhanced(packet)?, held)?,
            None => FlvEvents::default(),
        };
        events.extend(others);
        Ok(events)
    }

    /// Demuxes the body of an audio tag. A sequence header that changes nothing returns no event.
    ///
    /// # Errors
    /// As [`handle_video`](Self::handle_video).
    pub fn handle_audio(
        &mut self,
        timestamp: MediaTime,
        body: Bytes,
    ) -> Result<FlvEvents, FlvError> {
        let held = body.len();
        let mut events = self.read_audio(timestamp, body)?;
        events.compact(held);
        Ok(events)
    }

    fn read_audio(&mut self, timestamp: MediaTime, body: Bytes) -> Result<FlvEvents, FlvError> {
        if !audio::is_enhanced(&body) {
            return self.audio_tag(timestamp, AudioTag::parse(body)?);
        }
        let (timestamp, main, others) = self.tracks(TagKind::Audio, timestamp, body)?;
        let mut events = match main {
            Some(packet) => self.audio_tag(timestamp, AudioTag::from_enhanced(packet)?)?,
            None => FlvEvents::default(),
        };
        events.extend(others);
        Ok(events)
    }

    /// Parses an enhanced tag. Returns its time, its content for track 0, and tracks not seen
    /// before.
    fn tracks(
        &mut self,
        kind: TagKind,
        timestamp: MediaTime,
        body: Bytes,
    ) -> Result<(MediaTime, Option<ExPacket>, Vec<FlvEvent>), FlvError> {
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
                others.push(FlvEvent::OtherTrack(OtherTrack {
                    kind,
                    id: packet.track,
                    codec: enhanced::codec_name(packet.codec),
                }));
            }
        }
        Ok((timestamp, main, others))
    }

    /// Handles the content of a tag of `held` bytes for the video track.
    fn video_tag(
        &mut self,
        timestamp: MediaTime,
        tag: VideoTag,
        held: usize,
    ) -> Result<FlvEvents, FlvError> {
        match tag {
            VideoTag::SequenceHeader { codec, config } => self.configure_video(codec, &config),
            VideoTag::Frame {
                codec,
                composition,
                data,
            } => {
                let tag = TagKind::Video;
                let video = self.video.as_mut();
                let video = video
                    .filter(|video| video.track.codec == codec)
                    .ok_or(FlvError::NoSequenceHeader { tag })?;
                let frame = TaggedFrame {
                    timestamp,
                    composition,
                    data,
                    more: Vec::new(),
                    held,
                };
                self.join.handle(frame, video)
            }
            VideoTag::Nothing => Ok(FlvEvents::default()),
        }
    }

    fn configure_video(
        &mut self,
        codec: VideoCodec,
        config: &Bytes,
    ) -> Result<FlvEvents, FlvError> {
        check_configuration(TagKind::Video, config)?;
        let mut video = self.video.iter().map(|video| &video.track);
        if codec != VideoCodec::H264
            && video.any(|track| track.codec == codec && track.config == *config)
        {
            // The information in later frames is newer.
            return Ok(FlvEvents::default());
        }
        let mut state = VideoState::configure(codec, config)?;
        let mut events = FlvEvents::default();
        let mut before = None;
        if let Some(mut video) = self.video.take() {
            // It belongs to the previous configuration. A broken one must not prevent the next one.
            events = self.join.release(&mut video).unwrap_or_default();
            // Some publishers repeat the header: the verdict on their B-frames stays.
            state.inspector = video.inspector;
            before = Some(video.track);
        }
        let track = state.track.clone();
        self.video = Some(state);
        if before.as_ref() != Some(&track) {
            events.push(FlvEvent::VideoTrack(track));
        }
        Ok(events)
    }

    fn audio_tag(&mut self, timestamp: MediaTime, tag: AudioTag) -> Result<FlvEvents, FlvError> {
        match tag {
            AudioTag::SequenceHeader { codec, config } => self.configure_audio(codec, &config),
            AudioTag::Block { codec, data } => self.audio_block(timestamp, codec, data),
            AudioTag::Nothing => Ok(FlvEvents::default()),
        }
    }

    fn audio_block(
        &mut self,
        timestamp: MediaTime,
        codec: AudioCodec,
        data: Bytes,
    ) -> Result<FlvEvents, FlvError> {
        let framed = match codec {
            AudioCodec::Aac => AdtsFrames::parse(data.clone(), MAX_ACCESS_UNITS),
            AudioCodec::Opus => None,
        };
        // Bytes that start like ADTS by chance do not match its lengths and the configuration.
        let framed = framed.filter(|framed| framed.fits || self.agrees(&framed.header));
        let (mut events, units) = match framed {
            Some(framed) if framed.units.is_empty() => {
                return Err(FlvError::AdtsTooLong {
                    len: framed.header.frame_len(),
                    tag_len: data.len(),
                });
            }
            Some(framed) => (self.configure_adts(&framed.header)?, framed.units),
            None => (FlvEvents::default(), vec![data]),
        };
        let tag = TagKind::Audio;
        let track = self.audio.as_ref().filter(|track| track.codec == codec);
        let track = track.ok_or(FlvError::NoSequenceHeader { tag })?;
        let rate = u64::from(track.sample_rate.max(1));
        for (n, data) in units.into_iter().enumerate() {
            check_len(tag, "frame", data.len(), MAX_AUDIO_FRAME)?;
            let offset = Duration::from_nanos(n as u64 * AAC_FRAME * 1_000_000_000 / rate);
            events.push(FlvEvent::Frame(Frame::Audio(AudioFrame {
                codec,
                pts: timestamp + offset,
                data,
            })));
        }
        Ok(events)
    }

    /// Uses the configuration of ADTS, unless that of the sequence header is equivalent, perhaps
    /// with extensions.
    fn configure_adts(&mut self, header: &AdtsHeader) -> Result<FlvEvents, FlvError> {
        match header.config() {
            Some(config) if self.aac_track().is_none() || !self.agrees(header) => {
                self.configure_audio(AudioCodec::Aac, &Bytes::copy_from_slice(&config))
            }
            _ => Ok(FlvEvents::default()),
        }
    }

    /// Returns whether a header of ADTS does not contradict the current AAC configuration, if there
    /// is one.
    fn agrees(&self, header: &AdtsHeader) -> bool {
        let Some(track) = self.aac_track() else {
            return true;
        };
        let own = AudioSpecificConfig::parse(&track.config);
        let told = header
            .config()
            .map(|told| AudioSpecificConfig::parse(&told));
        match (own, told) {
            (Ok(own), Some(Ok(told))) => {
                (own.core_sample_rate, own.core_channels)
                    == (told.core_sample_rate, told.core_channels)
            }
            // The access units describe the channels.
            (_, None) => true,
            _ => false,
        }
    }

    fn aac_track(&self) -> Option<&AudioTrack> {
        let track = self.audio.as_ref();
        track.filter(|track| track.codec == AudioCodec::Aac)
    }

    fn configure_audio(&mut self, codec: AudioCodec, data: &Bytes) -> Result<FlvEvents, FlvError> {
        check_configuration(TagKind::Audio, data)?;
        if let (AudioCodec::Aac, Some(header)) = (codec, AdtsHeader::parse(data)) {
            return self.configure_adts(&header);
        }
        let (sample_rate, channels) = match codec {
            AudioCodec::Aac => {
                let config = AudioSpecificConfig::parse(data)?;
                (config.sample_rate(), config.channels())
            }
            // Opus always decodes to 48 kHz. The channel count follows the signature and a version
            // (RFC 7845 section 5.1); a publisher may omit the header.
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
        Ok(FlvEvents::from_iter([FlvEvent::AudioTrack(track)]))
    }
}

fn check_configuration(tag: TagKind, data: &[u8]) -> Result<(), FlvError> {
    check_len(tag, "sequence header", data.len(), MAX_CONFIGURATION)
}

fn check_len(
    tag: TagKind,
    structure: &'static str,
    len: usize,
    limit: usize,
) -> Result<(), FlvError> {
    if len > limit {
        return Err(FlvError::TooLarge {
            tag,
            structure,
            len,
            limit,
        });
    }
    Ok(())
}
