//! Starting at the live edge or at a keyframe, and sending on from there.

use super::*;

#[test]
fn newcomer_gets_the_gop_from_its_keyframe_on() {
    let mut viewer = Harness::new(None, 10);
    assert_eq!(viewer.send(usize::MAX), Progress::Waiting);
    for mark in 0..5 {
        viewer.frame(mark, mark == 0 || mark == 2);
    }
    assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
    assert_eq!(viewer.marks(), [(10, 2), (11, 3), (12, 4)]);
    viewer.frame(5, false);
    assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
    let packet = viewer.received().remove(0);
    assert_eq!((packet.ssrc, packet.payload_type), (5, 108));
    assert_eq!(packet.timestamp, 1000 + 5 * 33 * 90);
}

#[test]
fn frames_of_a_codec_that_was_not_negotiated_are_never_sent() {
    let mut viewer = Harness::new(None, 10);
    viewer.coded_unit(VideoCodec::Vp9, vec![0x65, 0]);
    assert_eq!(viewer.send(usize::MAX), Progress::Waiting);
    viewer.frame(1, true);
    assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
    assert_eq!(viewer.marks(), [(10, 1)]);
    // The publisher changes, and changes back.
    viewer.coded_unit(VideoCodec::Vp9, vec![0x65, 2]);
    viewer.coded_unit(VideoCodec::Vp9, vec![0x41, 3]);
    assert_eq!(viewer.send(usize::MAX), Progress::Waiting);
    assert!(!viewer.replay());
    viewer.coded_unit(VideoCodec::Vp9, vec![0x65, 4]);
    assert_eq!(viewer.send(usize::MAX), Progress::Waiting);
    viewer.frame(5, true);
    viewer.frame(6, false);
    assert_eq!(viewer.send(usize::MAX), Progress::AtHead);
    assert_eq!(viewer.marks(), [(11, 5), (12, 6)]);
}

#[test]
fn sending_stops_at_the_budget_and_continues_in_the_next_call() {
    let mut viewer = Harness::new(None, 0);
    for mark in 0..4 {
        viewer.frame(mark, mark == 0);
    }
    assert_eq!(viewer.send(2 * 30), Progress::Behind);
    assert_eq!(viewer.marks(), [(0, 0), (1, 1)]);
    assert_eq!(viewer.send(2 * 30), Progress::AtHead);
    assert_eq!(viewer.marks(), [(2, 2), (3, 3)]);
}

#[test]
fn sender_info_exists_from_the_first_packet_on() {
    let mut viewer = Harness::new(None, 0);
    assert_eq!(viewer.sender.sender_info(0), None);
    viewer.frame(0, true);
    viewer.send(usize::MAX);
    let info = viewer.sender.sender_info(90_000).unwrap();
    assert_eq!(
        (info.rtp_timestamp, info.packets, info.octets),
        (91_000, 1, 2)
    );
}

#[test]
fn newcomer_starts_at_a_recovery_point_when_the_keyframe_is_far_back() {
    let mut old = Harness::new(Some((6, 109)), 0);
    let frame = |viewer: &mut Harness, seconds: i64, units: &[&[u8]]| {
        let at = MediaTime::from_millis(1000 * seconds);
        let units = units.iter().map(|unit| bytes::Bytes::copy_from_slice(unit));
        let mut frame = VideoFrame {
            codec: VideoCodec::H264,
            pts: at,
            dts: at,
            keyframe: seconds == 0,
            info: FrameInfo::default(),
            units: units.collect(),
        };
        FrameInspector::default().inspect(&mut frame);
        viewer.log.push_video(&frame, viewer.now);
    };
    let recovery_point = [0x06, 6, 1, 0x84, 0x80];
    frame(&mut old, 0, &[&[0x65, 0]]);
    for second in 1..=11 {
        frame(&mut old, second, &[&[0x41, second as u8]]);
    }
    old.send(usize::MAX);
    old.received();
    frame(&mut old, 12, &[&recovery_point, &[0x41, 12]]);
    frame(&mut old, 13, &[&[0x41, 13]]);

    // Current viewers get nothing extra; the recovery point travels with its slice.
    old.send(usize::MAX);
    let units: Vec<_> = old
        .received()
        .iter()
        .map(|packet| packet.payload[0])
        .collect();
    assert_eq!(units, [24 | 0x40, 0x41]);

    let mut new = Harness::new(Some((6, 109)), 0);
    std::mem::swap(&mut new.log, &mut old.log);
    new.send(usize::MAX);
    let received = new.received();
    let units: Vec<_> = received.iter().map(|packet| packet.payload[0]).collect();
    assert_eq!(units, [0x65, 24 | 0x40, 0x41]);
    let times: Vec<_> = received.iter().map(|packet| packet.timestamp).collect();
    assert!(times.is_sorted() && times[1] - times[0] < 90, "{times:?}");
}
