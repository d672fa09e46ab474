//! From tag bodies to tracks and frames.
//!
//! * [`FlvDemuxer`]: takes tags.
//! * `pictures`: how the pictures of a video track stand in them.
//! * `join`: the slices of an access unit that stand in tags of their own.
//! * `events`: [`FlvEvent`], what comes out of them.

mod events;
mod join;
mod pictures;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use super::audio::{self, AudioTag};
use super::enhanced::{self, ExPacket, ExTag};
use super::video::{self, VideoTag};
use super::{FlvError, TagKind};
use crate::aac::AudioSpecificConfig;
use crate::adts::{AdtsFrames, AdtsHeader};
use crate::{AudioCodec, AudioFrame, AudioTrack, Frame, MediaTime, VideoCodec};
use join::{Join, TaggedPicture};
use pictures::VideoState;

pub use events::{FlvEvent, FlvEvents, OtherTrack};

/// Most bytes in a sequence header: more than a record with parameter sets of every id has in practice. The
/// track keeps it as long as it lasts.
const MAX_CONFIGURATION: usize = 64 << 10;

/// Most bytes in an audio frame: the largest packet of Opus, 48 frames of 1275 bytes (RFC 6716 section 3.4).
/// Access units of AAC are smaller. Larger ones are dropped: queues count frames, not bytes.
const MAX_AUDIO_FRAME: usize = 64 << 10;

/// Most access units in one tag; those behind are dropped.
const MAX_ACCESS_UNITS: usize = 64;

/// Samples per channel in an access unit of AAC, in nearly all streams.
const AAC_FRAME: u64 = 1024;

/// Reads the bodies of FLV tags, which are the payloads of RTMP's audio and video messages.
///
/// NAL units and AAC access units come out as slices of the body; they are copied only where they are a
/// small part of it, since a slice keeps the whole body in memory. Pictures come out
/// ready for WebRTC, by the rules of [`h264::AccessUnitFilter`](crate::h264::AccessUnitFilter),
/// [`h265::AccessUnitFilter`](crate::h265::AccessUnitFilter) and
/// [`TemporalUnitFilter`](crate::av1::TemporalUnitFilter).
///
/// A tag carries a whole access unit. Some encoders send each slice in a tag of its own, all with one
/// timestamp: once that is seen (see [`FlvEvent::SlicesJoined`]), slices are joined into access units. An access
/// unit is then complete when the next one begins, so it comes out one tag of video later. Of the access unit at
/// which it is seen, the first tag has come out already, and the others are dropped: a demuxer for
/// [live](FlvDemuxer::live) publishers therefore holds the first access unit until it shows how they send them.
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
    /// A demuxer that has seen no sequence header yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a demuxer for a publisher that may send the slices of an access unit in tags of their own. It holds
    /// the first access unit until the next tag of video. Whoever uses it calls [`flush`](Self::flush) when no tag of
    /// video comes for a while, and at the end.
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

    /// Gives out the access unit that is held, as far as it has come: its slices that come later are dropped.
    ///
    /// # Errors
    /// When the access unit cannot be used.
    pub fn flush(&mut self) -> Result<FlvEvents, FlvError> {
        match &mut self.video {
            Some(video) => self.join.release(video),
            None => Ok(FlvEvents::default()),
        }
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

    /// Takes the body of an audio tag. A sequence header that changes nothing gives no event.
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

    /// Takes an enhanced tag apart: its time, what it has for track 0, and tracks not seen before.
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

    /// Takes what a tag of `held` bytes has for the video track.
    fn video_tag(
        &mut self,
        timestamp: MediaTime,
        tag: VideoTag,
        held: usize,
    ) -> Result<FlvEvents, FlvError> {
        match tag {
            VideoTag::SequenceHeader { codec, config } => self.configure_video(codec, &config),
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
                let picture = TaggedPicture {
                    timestamp,
                    composition,
                    data,
                    more: Vec::new(),
                    held,
                };
                self.join.handle(picture, video)
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
            // What frames have told since then is newer.
            return Ok(FlvEvents::default());
        }
        let state = VideoState::configure(codec, config)?;
        let mut events = FlvEvents::default();
        if let Some(video) = &mut self.video {
            // It belongs to the configuration before. A broken one must not keep the next one away.
            events = self.join.release(video).unwrap_or_default();
        }
        let before = self.video.replace(state).map(|video| video.track);
        let track = self.video.as_ref().map(|video| video.track.clone());
        if track != before {
            events.extend(track.map(FlvEvent::VideoTrack));
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
        // Bytes that happen to begin like ADTS neither have its lengths nor say what the configuration does.
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

    /// Takes the configuration from ADTS, unless that of the sequence header says the same and perhaps
    /// more.
    fn configure_adts(&mut self, header: &AdtsHeader) -> Result<FlvEvents, FlvError> {
        match header.config() {
            Some(config) if self.aac_track().is_none() || !self.agrees(header) => {
                self.configure_audio(AudioCodec::Aac, &Bytes::copy_from_slice(&config))
            }
            _ => Ok(FlvEvents::default()),
        }
    }

    /// Whether a header of ADTS does not contradict the configuration of AAC so far, if there is one.
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
            // It leaves the channels to the access units.
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
