//! The media that simulated publishers send: each frame says which one it is.

use bytes::Bytes;
use distributary_media::VideoCodec;
use distributary_media::VideoTrack;

use crate::random::mix;

/// First bytes of an IDR slice: NAL unit header, first macroblock 0, type I, parameter set 0.
const IDR: [u8; 3] = [0x65, 0b1000_1000, 0x80];

/// First bytes of a P slice that is a reference.
const P: [u8; 3] = [0x41, 0b1001_1010, 0x80];

/// A picture parameter set of Constrained Baseline.
const PPS: [u8; 4] = [0x68, 0xce, 0x3c, 0x80];

/// Length of the text that names a frame.
const NAME: usize = 4 + 2 + 8;

/// Length of the checksum.
const CHECKSUM: usize = 16;

/// Bytes of a packet of Opus that may be silence.
const MAX_SILENCE: usize = 20;

/// Configuration byte of an Opus packet with one frame of 20 ms.
const OPUS: u8 = 0xfc;

/// Which frame of the simulation a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The number of its publisher: one that restarts has another one.
    pub publisher: u16,
    /// The video track of the publisher.
    pub track: u8,
    /// The number of the frame. Frames of all tracks that belong to one time have one number.
    pub number: u32,
}

/// A frame as it was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadFrame {
    /// Which one it is.
    pub stamp: Stamp,
    /// It is an IDR frame.
    pub keyframe: bool,
    /// It has its parameter sets.
    pub has_parameter_sets: bool,
}

/// Returns the only NAL unit of a frame, of about `len` bytes.
#[must_use]
pub fn video_unit(stamp: Stamp, keyframe: bool, len: usize) -> Bytes {
    let Stamp {
        publisher,
        track,
        number,
    } = stamp;
    let mut unit = Vec::with_capacity(len.max(64));
    unit.extend_from_slice(if keyframe { &IDR } else { &P });
    unit.extend_from_slice(format!("{publisher:04x}{track:02x}{number:08x}").as_bytes());
    let rest = len.saturating_sub(unit.len() + CHECKSUM);
    // No zeros, which would need emulation prevention (ISO/IEC 14496-10 section 7.4.1).
    unit.extend((0..rest).map(|at| 0x80 | (at as u8).wrapping_mul(7).wrapping_add(number as u8)));
    let checksum = checksum(&unit);
    unit.extend_from_slice(format!("{checksum:016x}").as_bytes());
    unit.into()
}

/// Reads a frame from its NAL units. Returns `None` if it is not a frame of the simulation as it
/// was sent.
#[must_use]
pub fn read_video(units: &[Vec<u8>]) -> Option<ReadFrame> {
    let kind = |unit: &Vec<u8>| unit.first().map(|header| header & 0x1f);
    let has = |wanted: u8| units.iter().any(|unit| kind(unit) == Some(wanted));
    let mut slices = units
        .iter()
        .filter(|unit| matches!(kind(unit), Some(1 | 5)));
    let (Some(slice), None) = (slices.next(), slices.next()) else {
        return None;
    };
    let text = |range: std::ops::Range<usize>| std::str::from_utf8(slice.get(range)?).ok();
    let at = slice.len().checked_sub(CHECKSUM)?;
    let expected = u64::from_str_radix(text(at..slice.len())?, 16).ok()?;
    if at < IDR.len() + NAME || checksum(&slice[..at]) != expected {
        return None;
    }
    Some(ReadFrame {
        stamp: Stamp {
            publisher: u16::from_str_radix(text(3..7)?, 16).ok()?,
            track: u8::from_str_radix(text(7..9)?, 16).ok()?,
            number: u32::from_str_radix(text(9..17)?, 16).ok()?,
        },
        keyframe: kind(slice) == Some(5),
        has_parameter_sets: has(7) && has(8),
    })
}

/// Returns a packet of Opus.
#[must_use]
pub fn audio_packet(publisher: u16, number: u32) -> Bytes {
    let mut packet = vec![OPUS];
    packet.extend_from_slice(format!("{publisher:04x}{number:08x}").as_bytes());
    packet.resize(80, 0x5a);
    packet.into()
}

/// Reads a packet of Opus: the publisher and the number of each frame in it. The gateway joins two
/// frames to one packet (RFC 6716 section 3.2.4) for streams of many viewers.
#[must_use]
pub fn read_audio(packet: &[u8]) -> Option<Vec<(u16, u32)>> {
    let (config, rest) = packet.split_first()?;
    if config & 3 == 0 {
        return Some(vec![read_audio_frame(rest)?]);
    }
    let (len, rest) = rest.split_first()?;
    let (one, other) = rest.split_at_checked(usize::from(*len))?;
    let is_joined = *config == OPUS | 2;
    is_joined.then_some(vec![read_audio_frame(one)?, read_audio_frame(other)?])
}

/// Returns the number of frames of 20 ms in a packet of Opus (RFC 6716 section 3.1).
#[must_use]
pub fn opus_frames(packet: &[u8]) -> Option<i64> {
    let frames = match packet.first()? & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => i64::from(packet.get(1)? & 0x3f),
    };
    Some(frames)
}

/// Returns whether a packet of Opus may be silence, which no publisher sends.
#[must_use]
pub fn is_silence(packet: &[u8]) -> bool {
    packet.len() <= MAX_SILENCE
}

fn read_audio_frame(frame: &[u8]) -> Option<(u16, u32)> {
    let text = |range: std::ops::Range<usize>| std::str::from_utf8(frame.get(range)?).ok();
    let publisher = u16::from_str_radix(text(0..4)?, 16).ok()?;
    let number = u32::from_str_radix(text(4..12)?, 16).ok()?;
    (frame == &audio_packet(publisher, number)[1..]).then_some((publisher, number))
}

/// Returns the video track of this size in pixels, multiples of 16.
#[must_use]
pub fn video_track(width: u32, height: u32) -> VideoTrack {
    let sps = sequence_parameter_set(width / 16, height / 16);
    let mut config = vec![1, 0x42, 0xc0, 0x1f, 0xff, 0xe1];
    config.extend_from_slice(&(sps.len() as u16).to_be_bytes());
    config.extend_from_slice(&sps);
    config.push(1);
    config.extend_from_slice(&(PPS.len() as u16).to_be_bytes());
    config.extend_from_slice(&PPS);
    VideoTrack {
        codec: VideoCodec::H264,
        width,
        height,
        profile_level_id: [0x42, 0xc0, 0x1f],
        config: config.into(),
    }
}

/// Returns a sequence parameter set of Constrained Baseline without reordering, of this size in
/// macroblocks (ISO/IEC 14496-10 section 7.3.2.1).
fn sequence_parameter_set(width: u32, height: u32) -> Vec<u8> {
    let mut bits = Bits::default();
    for value in [0, 0, 2, 1] {
        bits.golomb(value);
    }
    bits.put(0, 1);
    bits.golomb(width - 1);
    bits.golomb(height - 1);
    // Frames only, direct 8x8 inference, no cropping, no VUI, stop bit.
    bits.put(0b1_1001, 5);
    let mut sps = vec![0x67, 0x42, 0xc0, 0x1f];
    sps.extend(bits.finish());
    sps
}

#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn put(&mut self, value: u32, count: u32) {
        self.0
            .extend((0..count).rev().map(|at| value >> at & 1 != 0));
    }

    /// Writes an Exp-Golomb code.
    fn golomb(&mut self, value: u32) {
        let code = value + 1;
        let len = u32::BITS - code.leading_zeros();
        self.put(0, len - 1);
        self.put(code, len);
    }

    fn finish(self) -> Vec<u8> {
        let byte = |bits: &[bool]| {
            let bits = bits.iter().enumerate();
            bits.fold(0, |byte, (at, bit)| byte | u8::from(*bit) << (7 - at))
        };
        self.0.chunks(8).map(byte).collect()
    }
}

fn checksum(bytes: &[u8]) -> u64 {
    let fold = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        publisher: 7,
        track: 1,
        number: 70_000,
    };

    #[test]
    fn frame_says_which_one_it_is() {
        for keyframe in [true, false] {
            let unit = video_unit(STAMP, keyframe, 3000).to_vec();
            assert_eq!(unit.len(), 3000);
            let frame = read_video(std::slice::from_ref(&unit)).unwrap();
            assert_eq!((frame.stamp, frame.keyframe), (STAMP, keyframe));
            let mut damaged = unit;
            damaged[1000] ^= 1;
            assert_eq!(read_video(&[damaged]), None);
        }
    }

    #[test]
    fn track_has_the_size_that_its_parameter_set_says() {
        let record = distributary_media::h264::AvcDecoderConfigurationRecord::parse(
            &video_track(1280, 720).config,
        );
        assert_eq!(record.unwrap().pps, [Bytes::from_static(&PPS)]);
    }
}
