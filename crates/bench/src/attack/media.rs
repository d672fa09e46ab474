//! FLV tag bodies: those of a real clip, and those of the attacker's own making.

use bytes::{BufMut, Bytes, BytesMut};
use distributary_media::flv::{FlvReader, TagKind};

use super::context::Context;
use super::error::AttackError;

/// The first byte of an H264 tag (FLV specification 10.1, annex E.4.3): frame type and codec.
const KEYFRAME: u8 = 0x17;
const INTER_FRAME: u8 = 0x27;

/// `AVCPacketType` and `AACPacketType`: a configuration, or a frame.
const HEADER: u8 = 0;
const FRAME: u8 = 1;

/// The first byte of an AAC tag: AAC, 44 kHz, 16 bits, stereo, as the specification wants it for
/// all.
const AAC: u8 = 0xaf;

/// A slice of a P frame of three bytes: a header and nothing that a decoder could use.
pub(super) const SLICE: &[u8] = &[0x41, 0x9a, 0x80];

/// The first tags of a clip.
pub(super) struct Clip {
    /// The tag body with the H264 parameter sets.
    pub(super) video_header: Bytes,
    /// The tag body of the first keyframe.
    pub(super) keyframe: Bytes,
    /// The tag body with the AAC configuration.
    pub(super) audio_header: Bytes,
    /// The tag body of an AAC frame.
    pub(super) audio: Bytes,
}

impl Clip {
    pub(super) fn read(context: &Context) -> Result<Self, AttackError> {
        let path = context.target().clip.as_ref();
        let path = path.ok_or(AttackError::Lacks("path (--clip)"))?;
        Self::parse(std::fs::read(path)?.into())
    }

    fn parse(file: Bytes) -> Result<Self, AttackError> {
        let tags: Vec<_> = FlvReader::new(file)?.collect::<Result<_, _>>()?;
        let find = |what, kind, codec, packet| {
            let mut bodies = tags.iter().filter(|tag| tag.kind == kind);
            let found = bodies.find(|tag| tag.body.starts_with(&[codec, packet]));
            found
                .map(|tag| tag.body.clone())
                .ok_or(AttackError::Lacks(what))
        };
        Ok(Self {
            video_header: find("H264 configuration", TagKind::Video, KEYFRAME, HEADER)?,
            keyframe: find("keyframe", TagKind::Video, KEYFRAME, FRAME)?,
            audio_header: find("AAC configuration", TagKind::Audio, AAC, HEADER)?,
            audio: find("AAC frame", TagKind::Audio, AAC, FRAME)?,
        })
    }
}

/// Returns a tag body of an inter frame with these NAL units.
pub(super) fn inter_frame(units: &[&[u8]]) -> Bytes {
    let len: usize = units.iter().map(|unit| 4 + unit.len()).sum();
    let mut out = BytesMut::with_capacity(5 + len);
    out.put_slice(&[INTER_FRAME, FRAME, 0, 0, 0]);
    for unit in units {
        out.put_u32(unit.len() as u32);
        out.put_slice(unit);
    }
    out.freeze()
}

/// Returns a filler NAL unit (ITU-T H.264 section 7.3.2.7) of `len` bytes.
pub(super) fn filler(len: usize) -> Vec<u8> {
    let mut unit = vec![0xff; len.max(2)];
    if let [first, .., last] = &mut unit[..] {
        (*first, *last) = (0x0c, 0x80);
    }
    unit
}

/// Returns a tag body with the configuration of AAC-LC in stereo at one of two sampling frequencies
/// (ISO/IEC 14496-3 section 1.6.2.1): 44 100 and 48 000 Hz.
pub(super) fn audio_header(is_odd: bool) -> Bytes {
    let config = if is_odd { [0x11, 0x90] } else { [0x12, 0x10] };
    Bytes::copy_from_slice(&[AAC, HEADER, config[0], config[1]])
}

#[cfg(test)]
mod tests {
    use distributary_media::aac::AudioSpecificConfig;

    use super::*;

    #[test]
    fn clip_has_the_first_tags_of_a_stream() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../gateway/assets/demo.flv");
        let clip = Clip::parse(std::fs::read(path).unwrap().into()).unwrap();
        assert!(clip.keyframe.len() > clip.video_header.len());
        assert!(clip.audio.len() > clip.audio_header.len());
    }

    #[test]
    fn frames_are_lists_of_units_with_lengths() {
        let frame = inter_frame(&[SLICE, &filler(4)]);
        let expected = [
            0x27, 1, 0, 0, 0, 0, 0, 0, 3, 0x41, 0x9a, 0x80, 0, 0, 0, 4, 0x0c, 0xff, 0xff, 0x80,
        ];
        assert_eq!(frame[..], expected);
    }

    #[test]
    fn audio_configurations_differ_in_their_sampling_frequency() {
        let rate = |is_odd| {
            let config = AudioSpecificConfig::parse(&audio_header(is_odd)[2..]).unwrap();
            config.core_sample_rate
        };
        assert_eq!((rate(false), rate(true)), (44_100, 48_000));
    }
}
