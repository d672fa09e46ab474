//! Demuxes an audio track.

use std::time::Duration;

use bytes::Bytes;

use super::events::{FlvEvent, FlvEvents};
use super::{check_configuration, check_len};
use crate::aac::AudioSpecificConfig;
use crate::adts::{AdtsFrames, AdtsHeader};
use crate::flv::audio::AudioTag;
use crate::flv::error::FlvError;
use crate::flv::tag_kind::TagKind;
use crate::{AudioCodec, AudioFrame, AudioTrack, Frame, MediaTime, mp3};

/// Maximum size of an audio frame, in bytes: the largest packet of Opus, 48 frames of 1275 bytes
/// (RFC 6716 section 3.4). Frames of other codecs are smaller. Larger ones are dropped: queues
/// count frames, not bytes.
const MAX_AUDIO_FRAME: usize = 64 << 10;

/// Maximum frames in one tag; further ones are dropped.
const MAX_FRAMES: usize = 64;

/// Samples per channel in an access unit of AAC, in nearly all streams.
const AAC_FRAME: usize = 1024;

/// Samples per second of G.711. FLV has no number for another rate (Adobe FLV specification version
/// 10.1, annex E.4.2.1).
const G711_RATE: u32 = 8_000;

const TAG: TagKind = TagKind::Audio;

/// The demuxer of one audio track.
#[derive(Debug, Default)]
pub(super) struct AudioDemuxer {
    track: Option<AudioTrack>,
}

impl AudioDemuxer {
    /// Returns the events of a tag.
    pub(super) fn handle(
        &mut self,
        timestamp: MediaTime,
        tag: AudioTag,
    ) -> Result<FlvEvents, FlvError> {
        match tag {
            AudioTag::SequenceHeader { codec, config } => self.configure(codec, &config),
            AudioTag::Block { codec, data } => match codec {
                AudioCodec::Aac => self.aac(timestamp, data),
                AudioCodec::Mp3 => self.mp3(timestamp, &data),
                _ => self.frames(timestamp, codec, [(data, 0)], FlvEvents::default()),
            },
            AudioTag::Samples {
                codec,
                channels,
                data,
            } => {
                let events = self.set(codec, G711_RATE, channels, Bytes::new());
                self.frames(timestamp, codec, [(data, 0)], events)
            }
            AudioTag::Nothing => Ok(FlvEvents::default()),
        }
    }

    /// Demuxes access units of AAC, which may have headers of ADTS.
    fn aac(&mut self, timestamp: MediaTime, data: Bytes) -> Result<FlvEvents, FlvError> {
        // Bytes that start like ADTS by chance do not match its lengths and the configuration.
        let framed = AdtsFrames::parse(data.clone(), MAX_FRAMES)
            .filter(|framed| framed.fits || self.agrees(&framed.header));
        let (events, units) = match framed {
            Some(framed) if framed.units.is_empty() => {
                return Err(FlvError::AdtsTooLong {
                    len: framed.header.frame_len(),
                    tag_len: data.len(),
                });
            }
            Some(framed) => (self.configure_adts(&framed.header)?, framed.units),
            None => (FlvEvents::default(), vec![data]),
        };
        let frames = units.into_iter().map(|unit| (unit, AAC_FRAME));
        self.frames(timestamp, AudioCodec::Aac, frames, events)
    }

    /// Demuxes frames of MP3. Each describes itself: there is no sequence header.
    fn mp3(&mut self, timestamp: MediaTime, data: &Bytes) -> Result<FlvEvents, FlvError> {
        let frames = mp3::frames(data.clone(), MAX_FRAMES);
        let Some((header, _)) = frames.first() else {
            return Err(FlvError::Mp3 { len: data.len() });
        };
        let (rate, channels) = (header.sample_rate, header.channels);
        let events = self.set(AudioCodec::Mp3, rate, channels, Bytes::new());
        let frames = frames
            .into_iter()
            .map(|(header, frame)| (frame, header.samples));
        self.frames(timestamp, AudioCodec::Mp3, frames, events)
    }

    /// Appends frames to the events, each with its samples per channel.
    fn frames(
        &self,
        timestamp: MediaTime,
        codec: AudioCodec,
        frames: impl IntoIterator<Item = (Bytes, usize)>,
        mut events: FlvEvents,
    ) -> Result<FlvEvents, FlvError> {
        let track = self.track.as_ref().filter(|track| track.codec == codec);
        let track = track.ok_or(FlvError::NoSequenceHeader { tag: TAG })?;
        let rate = u64::from(track.sample_rate.max(1));
        let mut samples_before = 0;
        for (data, samples) in frames {
            check_len(TAG, "frame", data.len(), MAX_AUDIO_FRAME)?;
            let offset = Duration::from_nanos(samples_before * 1_000_000_000 / rate);
            samples_before += samples as u64;
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
                self.configure(AudioCodec::Aac, &Bytes::copy_from_slice(&config))
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
        let track = self.track.as_ref();
        track.filter(|track| track.codec == AudioCodec::Aac)
    }

    /// Uses the configuration of a sequence header.
    fn configure(&mut self, codec: AudioCodec, data: &Bytes) -> Result<FlvEvents, FlvError> {
        check_configuration(TAG, data)?;
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
            // Their frames describe themselves.
            AudioCodec::Mp3 | AudioCodec::G711ALaw | AudioCodec::G711MuLaw => {
                return Ok(FlvEvents::default());
            }
        };
        let config = Bytes::copy_from_slice(data);
        Ok(self.set(codec, sample_rate, channels, config))
    }

    /// Sets the track. Returns no event if it has not changed.
    fn set(
        &mut self,
        codec: AudioCodec,
        sample_rate: u32,
        channels: u8,
        config: Bytes,
    ) -> FlvEvents {
        let track = AudioTrack {
            codec,
            sample_rate,
            channels,
            config,
        };
        if self.track.as_ref() == Some(&track) {
            return FlvEvents::default();
        }
        self.track = Some(track.clone());
        FlvEvents::from_iter([FlvEvent::AudioTrack(track)])
    }
}
