//! Changes of a track's configuration.

use super::*;

#[test]
fn configuration_changes_are_limited_and_the_last_takes_effect() {
    let hub = Hub::new(HubConfig::default());
    let start = Instant::now();
    let name = StreamName::parse("live/test").unwrap();
    let mut ingest = Ingest::new(hub.clone(), hub.publish(&name, start).unwrap(), None, start);
    let mut tracks = Vec::new();
    for n in 0..1000_u16 {
        let now = start + Duration::from_millis(u64::from(n));
        let [high, low] = n.to_be_bytes();
        for body in [&[0xaf, 0, 0x11, 0x90, high, low][..], &[0xaf, 1, 0x21]] {
            let message = MediaMessage::Audio {
                timestamp: MediaTime::from_millis(n.into()),
                body: Bytes::copy_from_slice(body),
            };
            ingest.handle(message, now).unwrap();
        }
        tracks.extend(ingest.stream().stats().audio);
    }
    tracks.dedup_by(|a, b| Arc::ptr_eq(a, b));
    assert!((2..=6).contains(&tracks.len()), "{}", tracks.len());
    assert!(
        ingest.complaints.dropped() > 900,
        "their frames are dropped"
    );
    let later = start + Duration::from_secs(10);
    let message = MediaMessage::Audio {
        timestamp: MediaTime::from_millis(1000),
        body: Bytes::from_static(&[0xaf, 1, 0x21]),
    };
    ingest.handle(message, later).unwrap();
    let last = ingest.stream().stats().audio.unwrap();
    assert_eq!(last.config, [0x11, 0x90, 3, 231][..]);
}

/// Returns a sequence parameter set that claims this level.
fn sps(level: u8) -> [u8; 25] {
    [
        0x67, 0x42, 0xC0, level, 0xD9, 0x00, 0xA0, 0x2F, 0xF9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00,
        0x01, 0x00, 0x00, 0x03, 0x00, 0x3C, 0x0F, 0x16, 0x2E, 0x48,
    ]
}

const PPS: [u8; 5] = [0x68, 0xCB, 0x83, 0xCB, 0x20];

fn header(level: u8) -> Vec<u8> {
    let sps = sps(level);
    let record = [1, sps[1], sps[2], sps[3], 0xFF, 0xE1, 0, sps.len() as u8];
    let pps = [&[1, 0, PPS.len() as u8][..], &PPS].concat();
    [&[0x17, 0, 0, 0, 0][..], &record, &sps, &pps].concat()
}

fn video_tag(units: &[&[u8]]) -> Vec<u8> {
    let is_key = units.iter().any(|unit| unit[0] & 0x1F == 5);
    let mut body = vec![if is_key { 0x17 } else { 0x27 }, 1, 0, 0, 0];
    for unit in units {
        body.extend((unit.len() as u32).to_be_bytes());
        body.extend(*unit);
    }
    body
}

const IDR: &[u8] = &[0x65, 0x88, 0x80, 0x10];
const NEXT: &[u8] = &[0x41, 0x9A, 0x02, 0x04];

#[test]
fn sequence_header_that_differs_from_the_keyframes_drops_no_frame() {
    let start = Instant::now();
    let mut ingest = ingest(start);
    for gop in 0..60 {
        let time = gop * 500;
        ingest.send_video(time, &header(30), start);
        ingest.send_video(time, &video_tag(&[&sps(31), &PPS, IDR]), start);
        ingest.send_video(time + 250, &video_tag(&[NEXT]), start);
    }
    assert_eq!((ingest.frames, ingest.complaints.dropped()), (120, 0));
    let track = ingest.stream().stats().video.unwrap();
    assert_eq!(track.profile_level_id, [0x42, 0xC0, 31]);
}

#[test]
fn return_to_the_previous_configuration_drops_no_keyframe() {
    let start = Instant::now();
    let mut ingest = ingest(start);
    ingest.send_video(0, &header(30), start);
    for gop in 0..60 {
        let level = 30 + (gop % 2) as u8;
        let keyframe = video_tag(&[&sps(level), &PPS, IDR]);
        ingest.send_video(gop * 250, &keyframe, start);
    }
    assert_eq!((ingest.frames, ingest.complaints.dropped()), (60, 0));
}

#[test]
fn video_continues_at_a_keyframe_after_a_drop() {
    let start = Instant::now();
    let mut ingest = ingest(start);
    ingest.send_video(0, &header(9), start);
    // Another one each 10 ms: all but a few are dropped.
    for level in 10..40 {
        let time = u64::from(level) * 10;
        ingest.send_video(time, &video_tag(&[&sps(level), &PPS, IDR]), start);
    }
    let shown = ingest.frames;
    assert!((1..10).contains(&shown), "{shown}");
    // The change is admitted by now, but these refer to a dropped keyframe.
    for time in 5000..5010 {
        ingest.send_video(time, &video_tag(&[NEXT]), start);
    }
    assert_eq!(ingest.frames, shown);
    ingest.send_video(5010, &video_tag(&[IDR]), start);
    ingest.send_video(5020, &video_tag(&[NEXT]), start);
    assert_eq!(ingest.frames, shown + 2);
}
