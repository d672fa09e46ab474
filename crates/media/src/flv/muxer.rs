//! Muxes tracks and frames to tag bodies, for players of FLV or RTMP.

use bytes::{BufMut, Bytes, BytesMut};

use super::audio;
use crate::{AudioCodec, AudioFrame, AudioTrack, VideoCodec, VideoFrame, VideoTrack};

/// Returns the body of a video sequence header. H264 has the legacy form, other codecs that of
/// Enhanced RTMP.
pub fn video_header(track: &VideoTrack) -> Bytes {
    let mut body = BytesMut::with_capacity(5 + track.config.len());
    match four_cc(track.codec) {
        None => {
            body.put_slice(&[0x17, 0, 0, 0, 0]);
            body.put_slice(&track.config);
        }
        Some(four_cc) => {
            body.put_u8(0x90);
            body.put_slice(four_cc);
            body.put_slice(&track.config);
        }
    }
    // Length prefixes of NAL units have four bytes here, whatever the publisher used
    // (ISO/IEC 14496-15 sections 5.3.3.1 and 8.3.3.1).
    let flags = match track.codec {
        VideoCodec::H264 => Some(5 + 4),
        VideoCodec::H265 => Some(5 + 21),
        _ => None,
    };
    if let Some(flags) = flags.and_then(|at| body.get_mut(at)) {
        *flags |= 0b11;
    }
    body.freeze()
}

/// Returns the body of a video tag with a frame, in one piece.
pub fn video_frame(frame: &VideoFrame) -> Bytes {
    video_frame_parts(frame).concat().into()
}

/// Returns the body of a video tag with a frame, in pieces that share the memory of the frame
/// except for their framing.
pub fn video_frame_parts(frame: &VideoFrame) -> Vec<Bytes> {
    let mut framing = BytesMut::with_capacity(8 + 4 * frame.units.len());
    let mut parts = Vec::with_capacity(2 * frame.units.len());
    let frame_type = if frame.keyframe { 0x10 } else { 0x20 };
    let has_composition = match four_cc(frame.codec) {
        None => {
            framing.put_slice(&[frame_type | 7, 1]);
            true
        }
        Some(four_cc) => {
            framing.put_u8(0x80 | frame_type | 1);
            framing.put_slice(four_cc);
            frame.codec == VideoCodec::H265
        }
    };
    if has_composition {
        let millis = frame.pts.as_millis() - frame.dts.as_millis();
        framing.put_int(millis.clamp(-0x80_0000, 0x7F_FFFF), 3);
    }
    for unit in &frame.units {
        if matches!(frame.codec, VideoCodec::H264 | VideoCodec::H265) {
            framing.put_u32(unit.len() as u32);
        }
        parts.push(framing.split().freeze());
        parts.push(unit.clone());
    }
    if !framing.is_empty() {
        parts.push(framing.freeze());
    }
    parts
}

/// Returns the body of an audio sequence header; `None` for codecs that have none. AAC has the
/// legacy form, Opus that of Enhanced RTMP.
pub fn audio_header(track: &AudioTrack) -> Option<Bytes> {
    match track.codec {
        AudioCodec::Aac => Some([&[0xAF, 0], &track.config[..]].concat().into()),
        AudioCodec::Opus => Some([&b"\x90Opus"[..], &track.config].concat().into()),
        AudioCodec::Mp3 | AudioCodec::G711ALaw | AudioCodec::G711MuLaw => None,
    }
}

/// Returns the body of a tag with an audio frame of a track.
pub fn audio_frame(frame: &AudioFrame, track: &AudioTrack) -> Bytes {
    let flags = sound_flags(track);
    match frame.codec {
        AudioCodec::Aac => [&[0xAF, 1], &frame.data[..]].concat().into(),
        AudioCodec::Opus => [&b"\x91Opus"[..], &frame.data].concat().into(),
        AudioCodec::Mp3 if track.sample_rate == 8_000 => tagged(audio::MP3_8_KHZ, flags, frame),
        AudioCodec::Mp3 => tagged(audio::MP3, flags, frame),
        AudioCodec::G711ALaw => tagged(audio::G711_A_LAW, flags, frame),
        AudioCodec::G711MuLaw => tagged(audio::G711_MU_LAW, flags, frame),
    }
}

/// Returns rate, size (16 bits) and type of a track's sound. Rates without a number have that of
/// 44.1 kHz, or of 5.5 kHz if they are low.
fn sound_flags(track: &AudioTrack) -> u8 {
    let rate = match track.sample_rate {
        ..11_025 => 0,
        11_025..22_050 => 1,
        22_050..32_000 => 2,
        32_000.. => 3,
    };
    rate << 2 | 0b10 | u8::from(track.channels > 1)
}

fn tagged(format: u8, flags: u8, frame: &AudioFrame) -> Bytes {
    [&[format << 4 | flags], &frame.data[..]].concat().into()
}

/// Returns the FourCC of the codec in Enhanced RTMP; `None` for the one with a legacy number.
fn four_cc(codec: VideoCodec) -> Option<&'static [u8; 4]> {
    match codec {
        VideoCodec::H264 => None,
        VideoCodec::H265 => Some(b"hvc1"),
        VideoCodec::Av1 => Some(b"av01"),
        VideoCodec::Vp9 => Some(b"vp09"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flv::{FlvDemuxer, FlvEvent};
    use crate::test_util::hex;
    use crate::{Frame, MediaTime};

    /// Muxes the demuxer's events, and demuxes the result again.
    fn round_trip(bodies: &[Vec<u8>], is_video: bool) -> (Vec<FlvEvent>, Vec<FlvEvent>) {
        let (mut first, mut second) = (FlvDemuxer::new(), FlvDemuxer::new());
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let mut audio = None;
        let feed = |demuxer: &mut FlvDemuxer, time, body| {
            let events = if is_video {
                demuxer.handle_video(time, body)
            } else {
                demuxer.handle_audio(time, body)
            };
            events.unwrap().collect::<Vec<_>>()
        };
        for (n, body) in bodies.iter().enumerate() {
            let time = MediaTime::from_millis(40 * n as i64);
            for event in feed(&mut first, time, body.clone().into()) {
                let made = match &event {
                    FlvEvent::VideoTrack(track) => video_header(track),
                    FlvEvent::AudioTrack(track) => {
                        audio = Some(track.clone());
                        before.push(event.clone());
                        let header = audio_header(track).unwrap_or_default();
                        after.extend(feed(&mut second, time, header));
                        continue;
                    }
                    FlvEvent::Frame(Frame::Video(frame)) => video_frame(frame),
                    FlvEvent::Frame(Frame::Audio(frame)) => {
                        audio_frame(frame, audio.as_ref().unwrap())
                    }
                    FlvEvent::OtherTrack(_) | FlvEvent::SlicesJoined => continue,
                };
                after.extend(feed(&mut second, time, made));
                before.push(event);
            }
        }
        (before, after)
    }

    #[test]
    fn h264_stays_the_same_with_lengths_of_four_bytes() {
        // Lengths of two bytes.
        let header = "17 00 000000 0142c01e fd e1 0019
            6742c01ed900a02ff970110000030001000003003c0f162e48 01 0005 68cb83cb20";
        let bodies = [
            hex(header),
            hex("17 01 000021 0005658880aabb"),
            hex("27 01 ffffff 0003419a01"),
        ];
        let (before, after) = round_trip(&bodies, true);
        assert_eq!(before.len(), 3);
        assert_eq!(before[1..], after[1..]);
        let FlvEvent::VideoTrack(track) = &after[0] else {
            panic!("{after:?}")
        };
        assert_eq!(track.config[4], 0xFF);
    }

    #[test]
    fn codecs_of_enhanced_rtmp_survive_muxing() {
        let mut config = [1; 23];
        (config[21], config[22]) = (0xFF, 0);
        let h265 = [
            [b"\x90hvc1", &config[..]].concat(),
            [&b"\xa1hvc1\0\0\x0a"[..], &[0, 0, 0, 3, 0x02, 1, 9]].concat(),
        ];
        let av1 = [
            hex("90 61763031 81000c00 0a0b0200000521e7fde257c802"),
            hex("91 61763031 0a0b0200000521e7fde257c802 3203 10aabb"),
        ];
        let vp9 = [b"\x90vp09config".to_vec(), hex("a1 76703039 8600")];
        for bodies in [h265, av1, vp9] {
            let (before, after) = round_trip(&bodies, true);
            assert_eq!((before.len(), &before), (2, &after));
        }
    }

    #[test]
    fn audio_survives_muxing() {
        let aac = [hex("af 00 1210"), hex("af 01 2110")];
        let opus = [
            b"\x90OpusOpusHead\x01\x02".to_vec(),
            b"\x91Opus\xfcab".to_vec(),
        ];
        let mut frame = hex("2f fffb9064");
        frame.resize(1 + 417, 7);
        let low = [hex("ee ffe318c0"), vec![7; 68]].concat();
        let (mp3, low_mp3) = ([frame.clone(), frame], [low.clone(), low]);
        // One event more than tags: the track comes with the first frame.
        for bodies in [
            mp3,
            low_mp3,
            [hex("72 d5d5"), hex("72 aa")],
            [hex("83 ff"), hex("83 80")],
        ] {
            let (before, after) = round_trip(&bodies, false);
            assert_eq!((before.len(), &before), (3, &after));
        }
        for bodies in [aac, opus] {
            let (before, after) = round_trip(&bodies, false);
            assert_eq!((before.len(), &before), (2, &after));
        }
    }
}
