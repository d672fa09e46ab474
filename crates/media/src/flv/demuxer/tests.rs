use super::*;
use crate::VideoCodec;
use crate::VideoFrame;
use crate::h264::AvcDecoderConfigurationRecord;
use crate::test_util::hex;
use crate::{AudioCodec, AudioTrack, Frame};
use proptest::prelude::*;

pub(super) const HEADER_360P: &str = "17 00 000000 0142c01e ffe1 0019
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

pub(super) fn configured() -> FlvDemuxer {
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
fn frame_has_its_times_and_a_keyframe_its_parameter_sets() {
    let mut demuxer = configured();
    // The frame type says that it is not a keyframe; the slice says that it is.
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

/// Returns whether a stored frame releases the message that it arrived in.
fn lets_go(demuxer: &mut FlvDemuxer, kind: TagKind, body: Vec<u8>) -> bool {
    let body = Bytes::from(body);
    let events = match kind {
        TagKind::Audio => demuxer.handle_audio(MediaTime::ZERO, body.clone()),
        _ => demuxer.handle_video(MediaTime::ZERO, body.clone()),
    };
    let kept: Vec<_> = events.unwrap().collect();
    let is_frame = |event: &FlvEvent| matches!(event, FlvEvent::Frame(_));
    assert!(kept.iter().any(is_frame), "{kept:?}");
    body.is_unique()
}

const LARGE: usize = 1 << 20;

#[test]
fn small_frame_does_not_keep_a_large_message_in_memory() {
    let mut demuxer = configured();
    // Filler, a type that the payload formats use, and a unit that was replaced.
    for useless in ["0c", "1e", "1f"] {
        let mut unit = hex(useless);
        unit.resize(LARGE, 0xff);
        let mut body = hex(&format!("27 01 000000 {SLICE}"));
        body.extend((LARGE as u32).to_be_bytes());
        body.extend(unit);
        assert!(lets_go(&mut demuxer, TagKind::Video, body), "{useless}");
    }
    // Another track in addition to the used one.
    let mut demuxer = FlvDemuxer::new();
    enhanced(&mut demuxer, TagKind::Audio, b"\x90OpusOpusHead");
    let mut body = hex("95 11");
    body.extend(b"Opus\0\0\0\x02\xfc\x01\x01");
    body.extend(&(LARGE as u32).to_be_bytes()[1..]);
    body.extend(vec![0; LARGE]);
    assert!(lets_go(&mut demuxer, TagKind::Audio, body));
    // Padding of AV1.
    let mut demuxer = FlvDemuxer::new();
    let record = hex("81000c00 0a0b0200000521e7fde257c802");
    let header = [&b"\x90av01"[..], &record].concat();
    enhanced(&mut demuxer, TagKind::Video, &header);
    let mut body = [&b"\x91av01"[..], &hex("3203 10aabb 7a 808040")].concat();
    body.extend(vec![0; LARGE]);
    assert!(lets_go(&mut demuxer, TagKind::Video, body));
}

#[test]
fn size_of_sequence_headers_and_audio_frames_is_limited() {
    let mut demuxer = FlvDemuxer::new();
    let time = MediaTime::ZERO;
    let long = |head: &[u8]| Bytes::from([head, &[0; 70_000]].concat());
    for head in [&b"\x90Opus"[..], b"\xaf\0"] {
        let refused = demuxer.handle_audio(time, long(head));
        assert!(
            matches!(refused, Err(FlvError::TooLarge { .. })),
            "{head:?}"
        );
    }
    for head in [
        &b"\x90vp09"[..],
        b"\x90av01",
        b"\x90hvc1",
        b"\x17\0\0\0\0\x01",
    ] {
        let refused = demuxer.handle_video(time, long(head));
        assert!(
            matches!(refused, Err(FlvError::TooLarge { .. })),
            "{head:?}"
        );
    }
    demuxer
        .handle_audio(time, Bytes::from_static(b"\xaf\0\x11\x90"))
        .unwrap();
    let refused = demuxer.handle_audio(time, long(b"\xaf\x01"));
    assert!(matches!(refused, Err(FlvError::TooLarge { .. })));
}

#[test]
fn repeated_sequence_header_is_no_event_and_a_changed_one_is() {
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
fn new_sps_in_the_stream_is_a_new_track_before_its_first_frame() {
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
fn start_codes_instead_of_lengths_are_accepted() {
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
        panic!("not a video frame");
    };
    assert!(frame.keyframe);
    let types: Vec<u8> = frame.units.iter().map(|unit| unit[0]).collect();
    assert_eq!(types, [0x67, 0x68, 0x65, 0x65]);
}

#[test]
fn end_of_sequence_and_frames_of_filler_are_no_event() {
    let mut demuxer = configured();
    assert_eq!(video(&mut demuxer, 0, "17 02 000000"), []);
    assert_eq!(video(&mut demuxer, 0, "27 01 000000 00000003 0cff80"), []);
    assert_eq!(video(&mut demuxer, 0, "27 01 000000 00000000"), []);
}

#[test]
fn frames_before_the_sequence_header_and_broken_ones_are_errors() {
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
fn aac_is_demuxed_to_a_track_and_its_access_units() {
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

/// Returns a frame of ADTS: AAC-LC, 48 kHz, stereo.
fn adts(payload: &[u8]) -> Vec<u8> {
    let len = payload.len() + 7;
    let [middle, low] = [(len >> 3) as u8, ((len & 7) << 5) as u8 | 0x1f];
    let header = [
        0xff,
        0xf1,
        0x4c,
        0x80 | (len >> 11) as u8,
        middle,
        low,
        0xfc,
    ];
    [&header[..], payload].concat()
}

/// Demuxes the body of an AAC tag. Returns the track, if it is new, and the access units with their
/// times.
fn aac(
    demuxer: &mut FlvDemuxer,
    packet_type: u8,
    data: &[u8],
) -> (Option<AudioTrack>, Vec<(i64, Vec<u8>)>) {
    let body = [&[0xaf, packet_type], data].concat();
    let events = demuxer.handle_audio(MediaTime::from_millis(100), body.into());
    let (mut track, mut units) = (None, Vec::new());
    for event in events.unwrap() {
        match event {
            FlvEvent::AudioTrack(told) => {
                assert!(units.is_empty(), "the track comes before its frames");
                track = Some(told);
            }
            FlvEvent::Frame(Frame::Audio(frame)) => {
                units.push((frame.pts.as_millis(), frame.data.to_vec()));
            }
            other => panic!("{other:?}"),
        }
    }
    (track, units)
}

const UNITS: [&[u8]; 2] = [&[0x21, 0x10, 1, 2, 3], &[0x21, 0x20, 4]];

#[test]
fn adts_without_a_sequence_header_sets_the_configuration_once() {
    let mut demuxer = FlvDemuxer::new();
    let both = [adts(UNITS[0]), adts(UNITS[1])].concat();
    let (track, units) = aac(&mut demuxer, 1, &both);
    let track = track.expect("the header tells the configuration");
    assert_eq!(track.config, [0x11, 0x90][..]);
    assert_eq!((track.sample_rate, track.channels), (48_000, 2));
    // 1024 samples of 48 kHz are 21.3 ms.
    let expected = [(100, UNITS[0].to_vec()), (121, UNITS[1].to_vec())];
    assert_eq!(units, expected);
    let (again, units) = aac(&mut demuxer, 1, &both);
    assert_eq!((again, units), (None, expected.to_vec()));
}

#[test]
fn adts_after_a_sequence_header_keeps_a_more_detailed_configuration() {
    let mut demuxer = FlvDemuxer::new();
    // HE-AAC: a core of 48 kHz with an output of 96 kHz.
    let config = [0x29, 0x90, 0x08, 0x00];
    let (track, _) = aac(&mut demuxer, 0, &config);
    assert_eq!(track.unwrap().config, config[..]);
    let (track, units) = aac(&mut demuxer, 1, &adts(UNITS[0]));
    assert_eq!((track, units), (None, vec![(100, UNITS[0].to_vec())]));
    // A wrong one is replaced by that of the access units.
    let mut demuxer = FlvDemuxer::new();
    aac(&mut demuxer, 0, &[0x12, 0x10]).0.expect("44.1 kHz");
    let (track, units) = aac(&mut demuxer, 1, &adts(UNITS[0]));
    assert_eq!(track.unwrap().config, [0x11, 0x90][..]);
    assert_eq!(units, [(100, UNITS[0].to_vec())]);
}

#[test]
fn adts_instead_of_a_sequence_header_is_accepted() {
    let mut demuxer = FlvDemuxer::new();
    let (track, units) = aac(&mut demuxer, 0, &adts(UNITS[0]));
    let track = track.expect("a track");
    assert_eq!(track.config, [0x11, 0x90][..]);
    assert!(units.is_empty(), "{units:?}");
    // Raw access units and ADTS may follow.
    for data in [UNITS[1].to_vec(), adts(UNITS[1])] {
        let (again, units) = aac(&mut demuxer, 1, &data);
        assert_eq!((again, units), (None, vec![(100, UNITS[1].to_vec())]));
    }
}

#[test]
fn raw_access_units_that_look_like_adts_are_unchanged() {
    let mut demuxer = FlvDemuxer::new();
    aac(&mut demuxer, 0, &[0x12, 0x10]).0.expect("44.1 kHz");
    // As ADTS these would be 48 kHz, and longer or shorter than they are.
    let (cut, mut longer) = (adts(&[7; 40])[..30].to_vec(), adts(&[7; 40]));
    longer.extend([9; 5]);
    for data in [cut, longer] {
        let (track, units) = aac(&mut demuxer, 1, &data);
        assert_eq!((track, units), (None, vec![(100, data)]));
    }
}

pub(super) fn enhanced(demuxer: &mut FlvDemuxer, kind: TagKind, body: &[u8]) -> Vec<FlvEvent> {
    let (time, body) = (MediaTime::from_millis(40), Bytes::copy_from_slice(body));
    let events = match kind {
        TagKind::Video => demuxer.handle_video(time, body),
        _ => demuxer.handle_audio(time, body),
    };
    events.unwrap().collect()
}

/// Returns the enhanced form of a legacy body.
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

pub(super) const HVCC: &str = "01 01 60000000 900000000000 3c f000 fc fd f8 f8 0000 0f 03
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

    // The frame type says that it is not a keyframe; the frame itself says that it is.
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
fn opus_is_passed_through() {
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
fn nanoseconds_refine_timestamps() {
    let mut demuxer = configured();
    let body = [&b"\x97\x02\x01\x86\xa0\x03avc1"[..], &hex(SLICE)].concat();
    let frame = one_frame(enhanced(&mut demuxer, TagKind::Video, &body));
    assert_eq!(frame.dts.as_nanos(), 40_100_000);
}

#[test]
fn first_of_many_tracks_is_used_and_the_others_are_reported_once() {
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

#[test]
fn further_video_tracks_are_demuxed_each_with_its_own_errors() {
    let mut demuxer = configured();
    let config = &hex(HEADER_360P)[5..];
    let slice = hex(SLICE);
    // As OBS sends them: one track per tag.
    let one = |packet_type: u8, track: u8, data: &[u8]| {
        [&[0x96, packet_type][..], b"avc1", &[track], data].concat()
    };
    let mut further = Vec::new();
    let mut handle = |body: Vec<u8>| {
        further.clear();
        let events = demuxer.handle_video_tracks(MediaTime::ZERO, body.into(), &mut further);
        (events.map(Vec::from_iter), further.clone())
    };
    let (main, header) = handle(one(0, 1, config));
    assert_eq!(main, Ok(vec![]), "it is used, so it is not reported");
    let [(1, Ok(events))] = &header[..] else {
        panic!("{header:?}");
    };
    let events: Vec<_> = events.clone().collect();
    assert!(matches!(&events[..], [FlvEvent::VideoTrack(track)] if track.height == 360));
    let (main, frames) = handle(one(3, 1, &slice));
    let [(1, Ok(events))] = &frames[..] else {
        panic!("{frames:?}");
    };
    assert_eq!((main, events.clone().count()), (Ok(vec![]), 1));

    let (main, broken) = handle(one(3, 1, b"\0"));
    assert!(
        main == Ok(vec![]) && matches!(&broken[..], [(1, Err(_))]),
        "{broken:?}"
    );
    let (_, without_header) = handle(one(3, 2, &slice));
    assert_eq!(without_header.len(), 0, "it has not begun");

    for track in 2..=MAX_FURTHER_VIDEO as u8 {
        assert_eq!(handle(one(0, track, config)).1.len(), 1);
    }
    let (main, beyond) = handle(one(0, 200, config));
    assert!(beyond.is_empty());
    assert!(matches!(&main.unwrap()[..], [FlvEvent::OtherTrack(track)] if track.id == 200));
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
                demuxer.handle_video_tracks(MediaTime::ZERO, body.into(), &mut Vec::new())
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
            // Mostly the codecs that are parsed further.
            if let [first, second, ..] = &mut body[..] && *first % 8 != 0 {
                *first = if is_video { 0x17 } else { 0xaf };
                *second = packet_type;
            }
            let result = if is_video {
                demuxer.handle_video_tracks(MediaTime::ZERO, body.into(), &mut Vec::new())
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

#[test]
fn adts_frame_that_is_longer_than_its_tag_is_an_error_and_the_next_one_is_used() {
    let mut demuxer = FlvDemuxer::new();
    let mut audio = |body: &str| demuxer.handle_audio(MediaTime::ZERO, hex(body).into());
    // AAC-LC, 48 kHz, stereo: 32 bytes are declared, 10 are present.
    let error = audio("af01fff14c80041ffc010203").unwrap_err();
    let expected = FlvError::AdtsTooLong {
        len: 32,
        tag_len: 10,
    };
    assert_eq!(error, expected);
    let events: Vec<_> = audio("af01fff14c80015ffc010203").unwrap().collect();
    let [
        FlvEvent::AudioTrack(_),
        FlvEvent::Frame(Frame::Audio(frame)),
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(frame.data[..], [1, 2, 3]);
}

#[test]
fn last_access_unit_of_a_further_track_comes_at_the_end() {
    let mut demuxer = FlvDemuxer::live();
    let config = &hex(HEADER_360P)[5..];
    let slice = hex(SLICE);
    let mut further = Vec::new();
    for (packet_type, data) in [(0, config), (3, &slice[..])] {
        let body = [&[0x96, packet_type][..], b"avc1", &[1], data].concat();
        let main = demuxer.handle_video_tracks(MediaTime::ZERO, body.into(), &mut further);
        assert_eq!(main.unwrap().count(), 0);
    }
    let frames = |tags: Vec<FurtherVideo>| -> Vec<_> {
        let events = tags.into_iter().flat_map(|(number, events)| {
            let frames = events
                .unwrap()
                .filter(|event| matches!(event, FlvEvent::Frame(_)));
            frames.map(move |_| number)
        });
        events.collect()
    };
    assert_eq!(
        frames(further),
        [0_u8; 0],
        "its slices may come in several tags"
    );
    assert!(demuxer.holding_further().map(|(number, _)| number).eq([1]));
    let flushed = demuxer.flush_further(1).into_iter().collect();
    assert_eq!(frames(flushed), [1]);
    assert_eq!(demuxer.holding_further().count(), 0);
}

#[test]
fn mp3_describes_itself_and_may_come_in_several_frames() {
    let mut demuxer = FlvDemuxer::new();
    let mut handle = |body: Vec<u8>| {
        let events = demuxer.handle_audio(MediaTime::from_millis(10), body.into());
        events.map(Iterator::collect::<Vec<_>>)
    };
    // 417 bytes, 44.1 kHz, stereo.
    let mut frame = vec![0xFF, 0xFB, 0x90, 0x64];
    frame.resize(417, 7);
    let events = handle([&[0x2F], &*frame, &*frame].concat()).unwrap();
    let [FlvEvent::AudioTrack(track), frames @ ..] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(
        (track.codec, track.sample_rate, track.channels),
        (AudioCodec::Mp3, 44_100, 2)
    );
    let times: Vec<_> = frames
        .iter()
        .map(|event| match event {
            FlvEvent::Frame(Frame::Audio(audio)) if audio.data == frame => {
                audio.pts.as_nanos() / 1_000
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(times, [10_000, 36_122]);
    // The same over Enhanced RTMP is no other track.
    let enhanced = handle([b"\x91.mp3", &*frame].concat()).unwrap();
    assert_eq!(enhanced.len(), 1);
    // Mono is.
    frame[3] = 0xC4;
    let events = handle([&[0x2E], &*frame].concat()).unwrap();
    assert!(matches!(&events[0], FlvEvent::AudioTrack(track) if track.channels == 1));
    for broken in [&b"\x2Fab"[..], &[0x2F, 0xFF, 0xFB, 0x90, 0x64]] {
        assert!(matches!(handle(broken.to_vec()), Err(FlvError::Mp3 { .. })));
    }
}

#[test]
fn g711_is_a_track_of_8_khz() {
    let mut demuxer = FlvDemuxer::new();
    for (body, codec, channels) in [
        (&[0x72, 0xD5, 0xD5], AudioCodec::G711ALaw, 1),
        (&[0x83, 0xFF, 0xFF], AudioCodec::G711MuLaw, 2),
    ] {
        let body = Bytes::copy_from_slice(body);
        let events = demuxer.handle_audio(MediaTime::ZERO, body.clone()).unwrap();
        let events: Vec<_> = events.collect();
        let [
            FlvEvent::AudioTrack(track),
            FlvEvent::Frame(Frame::Audio(frame)),
        ] = &events[..]
        else {
            panic!("{events:?}");
        };
        assert_eq!(
            (track.codec, track.sample_rate, track.channels),
            (codec, 8_000, channels)
        );
        assert_eq!(frame.data, body[1..]);
        let again = demuxer.handle_audio(MediaTime::ZERO, body).unwrap();
        assert_eq!(again.count(), 1);
    }
}

#[test]
fn number_of_tracks_in_a_tag_is_limited() {
    let mut demuxer = FlvDemuxer::new();
    let tag = |tracks| {
        // Frames of many tracks of one codec, all of them empty.
        let tracks = b"\x07\0\0\0".repeat(tracks);
        Bytes::from([&b"\x96\x11avc1"[..], &tracks].concat())
    };
    let events = demuxer.handle_video(MediaTime::ZERO, tag(MAX_TRACKS));
    assert!(events.is_ok(), "{events:?}");
    let error = demuxer.handle_video(MediaTime::ZERO, tag(MAX_TRACKS + 1));
    assert!(
        matches!(error, Err(FlvError::TooManyTracks { .. })),
        "{error:?}"
    );
}
