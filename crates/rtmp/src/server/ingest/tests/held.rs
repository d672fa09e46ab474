//! The first access unit is held until it is complete, and for a second at most.

use distributary_hub::Sink;

use super::*;

/// A tag without a frame: a command to the decoder (FLV specification 10.1, annex E.4.3.1).
const COMMAND: &[u8] = &[0x57, 0];

#[test]
fn first_frame_is_pushed_after_a_second_although_messages_without_frames_arrive() {
    let start = Instant::now();
    let mut ingest = ingest(start);
    ingest.send_video(0, VIDEO_HEADER, start);
    ingest.send_video(10, KEYFRAME, start);
    let due = start + Duration::from_millis(10) + ACCESS_UNIT_TIMEOUT;
    for time in (100..=1000).step_by(100) {
        ingest.send_video(time, COMMAND, start);
        ingest.send_video(time, &VIDEO_HEADER[..1], start);
        assert_eq!((ingest.frames(), ingest.deadline()), (0, Some(due)));
    }
    ingest.handle_deadline(due).unwrap();
    assert_eq!((ingest.frames(), ingest.deadline()), (1, None));
}

#[test]
fn first_frame_is_pushed_by_a_late_message_of_any_kind() {
    let start = Instant::now();
    let mut ingest = ingest(start);
    ingest.send_video(0, VIDEO_HEADER, start);
    ingest.send_video(0, KEYFRAME, start);
    ingest.send_video(1100, COMMAND, start);
    assert_eq!(ingest.frames(), 1);
}

#[test]
fn each_slice_restarts_the_timeout_of_its_access_unit() {
    // Two slices of one keyframe; the second begins at a later macroblock.
    const SLICE: &[u8] = &[0x17, 1, 0, 0, 0, 0, 0, 0, 4, 0x65, 0x11, 0xE0, 0x80];
    let start = Instant::now();
    let mut ingest = ingest(start);
    ingest.send_video(0, VIDEO_HEADER, start);
    for (arrives, body) in [(0, KEYFRAME), (900, SLICE)] {
        let message = MediaMessage::Video {
            timestamp: MediaTime::ZERO,
            body: Bytes::from_static(body),
        };
        let now = start + Duration::from_millis(arrives);
        ingest.handle(message, now).unwrap();
        assert_eq!(ingest.deadline(), Some(now + ACCESS_UNIT_TIMEOUT));
    }
}

#[test]
fn frame_that_was_held_keeps_its_distance_from_the_frame_after_a_pause() {
    let (hub, start) = (Hub::new(HubConfig::default()), Instant::now());
    let name = StreamName::parse("live/test").unwrap();
    let publisher = hub.publish(&name, start).unwrap();
    let mut ingest = Ingest::new(hub.clone(), publisher, None, start);
    ingest.send_video(0, VIDEO_HEADER, start);
    ingest.send_video(0, KEYFRAME, start);
    // The timer runs late.
    let late = start + ACCESS_UNIT_TIMEOUT + Duration::from_millis(5);
    ingest.handle_deadline(late).unwrap();
    ingest.send_video(1728, FRAME, start);
    let (sink, _queue) = Sink::channel(1);
    let (_subscription, gop) = hub.subscribe(&name, sink, 0).unwrap();
    let times: Vec<_> = gop.iter().map(|frame| frame.dts().as_millis()).collect();
    assert_eq!(times, [0, 1728]);
}

/// Returns an enhanced tag with a packet of one further track (Enhanced RTMP version 2, "Multitrack").
fn further(packet_type: u8, body: &[u8]) -> Vec<u8> {
    [&[0x96, packet_type][..], b"avc1", &[1], body].concat()
}

#[test]
fn access_unit_of_a_further_track_that_falls_silent_is_not_kept() {
    let start = Instant::now();
    let mut ingest = ingest(start);
    ingest.send_video(0, VIDEO_HEADER, start);
    ingest.send_video(0, KEYFRAME, start);
    ingest.send_video(10, &further(0, &VIDEO_HEADER[5..]), start);
    // The composition time is in front of the units, as in the tag of track 0.
    ingest.send_video(20, &further(1, &KEYFRAME[2..]), start);
    ingest.send_video(33, FRAME, start);
    let due = start + Duration::from_millis(20) + ACCESS_UNIT_TIMEOUT;
    assert_eq!(ingest.deadline(), Some(due));
    // The main track goes on.
    for time in (66..1000).step_by(33) {
        ingest.send_video(time, FRAME, start);
        assert_eq!(ingest.deadline(), Some(due));
    }
    ingest.handle_deadline(due).unwrap();
    assert_eq!(ingest.deadline(), None);
    assert_eq!(ingest.demuxer.holding_further().count(), 0);
}
