//! Tests of the log.

#![allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]

use super::*;
use distributary_media::test_util::video_frame as frame;

fn kept(log: &Log) -> impl Iterator<Item = &LoggedPacket> {
    (0..log.head()).filter_map(|number| log.get(number))
}

fn log() -> (Log, Instant) {
    (Log::new(90_000, LogLimits::default()), Instant::now())
}

#[test]
fn packets_of_a_frame_share_a_timestamp_and_the_last_has_the_marker() {
    let (mut log, now) = log();
    log.push_video(&frame(1000, true, 3000), now);
    assert_eq!(log.head(), 3);
    let packets: Vec<_> = (0..3).map(|n| log.get(n).unwrap()).collect();
    assert!(packets.iter().all(|packet| packet.timestamp == 90_000));
    let markers: Vec<bool> = packets.iter().map(|packet| packet.marker).collect();
    assert_eq!(markers, [false, false, true]);
}

#[test]
fn frames_are_padded_to_packets_of_equal_length_where_that_costs_little() {
    let (mut log, now) = log();
    log.set_padding(true);
    let mut lengths = |len: usize| {
        let start = log.head();
        log.push_video(&frame(0, true, len), now);
        let packets = (start..log.head()).map(|number| log.get(number).unwrap());
        packets
            .map(|packet| packet.payload.len() + usize::from(packet.padding))
            .collect::<Vec<_>>()
    };
    for len in 2000..2600 {
        let lengths = lengths(len);
        assert!(
            lengths.windows(2).all(|pair| pair[0] == pair[1]),
            "{lengths:?}"
        );
    }
    assert_eq!(lengths(100), [100]);
    // A parameter set in front of one packet, and a unit of a few bytes behind fragments.
    let mut odd = frame(0, false, 2000);
    odd.units.push(Bytes::from_static(&[0x06, 5, 1, 0, 0x80]));
    let start = log.head();
    log.push_video(&odd, now);
    assert_eq!(log.get(log.head() - 1).unwrap().padding, 0);
    // The length of the previous frame does not matter.
    log.push_video(&frame(40, false, 900), now);
    assert_eq!(log.get(log.head() - 1).unwrap().padding, 0);
    assert!(log.head() > start);
    log.set_padding(false);
    log.push_video(&frame(80, false, 2001), now);
    assert_eq!(log.get(log.head() - 1).unwrap().padding, 0);
}

#[test]
fn packets_carry_codec_and_disposability_of_their_frame() {
    for codec in [VideoCodec::H264, VideoCodec::Vp9] {
        for disposable in [false, true] {
            let (mut log, now) = log();
            let mut frame = VideoFrame {
                codec,
                ..frame(0, false, 3000)
            };
            frame.info.disposable = disposable;
            log.push_video(&frame, now);
            assert_eq!(log.codec(), Some(codec));
            let packets: Vec<_> = kept(&log).collect();
            assert!(packets.len() > 1);
            assert!(packets.iter().all(|packet| packet.disposable == disposable));
            assert!(packets[0].first && packets[1..].iter().all(|packet| !packet.first));
        }
    }
}

#[test]
fn next_keyframe_is_expected_after_the_last_interval() {
    let (mut log, start) = log();
    log.push_video(&frame(0, true, 100), start);
    assert_eq!(log.next_keyframe_in(start), None);
    let second = start + Duration::from_secs(2);
    log.push_video(&frame(2000, true, 100), second);
    let half = Duration::from_millis(500);
    assert_eq!(log.next_keyframe_in(second + 3 * half), Some(half));
    assert_eq!(
        log.next_keyframe_in(second + 5 * half),
        Some(Duration::ZERO)
    );
}

#[test]
fn gop_is_kept_for_newcomers_and_older_packets_for_retransmission() {
    let (mut log, start) = log();
    for n in 0..100 {
        let now = start + Duration::from_millis(100 * n);
        // Keyframes at 0 s and at 5 s.
        log.push_video(&frame(100 * n as i64, n == 0 || n == 50, 100), now);
        match n {
            49 => assert!(log.get(0).is_some(), "the first GOP is still needed"),
            60 => assert!(
                log.get(41).is_some() && log.get(38).is_none(),
                "two seconds back"
            ),
            _ => {}
        }
    }
    assert_eq!(log.keyframe(), Some(50));
    assert!(log.get(50).is_some());
    assert!(log.get(49).is_none());
}

#[test]
fn newcomers_do_not_start_with_a_suspended_gop_before_its_next_frame() {
    let (mut log, now) = log();
    log.push_video(&frame(0, true, 100), now);
    log.suspend_gop();
    assert_eq!(log.keyframe(), None);
    log.push_video(&frame(2_000, false, 100), now);
    assert_eq!(log.keyframe(), Some(0));
    log.suspend_gop();
    log.push_video(&frame(4_000, true, 100), now);
    assert_eq!(log.keyframe(), Some(2));
}

#[test]
fn reordered_frame_has_the_time_of_the_frame_that_comes_out() {
    // One frame is held back, and decoding times run three frames ahead: I P B B P B B, by
    // display order.
    let shown = [0, 3, 1, 2, 6, 4, 5];
    let (mut log, now) = log();
    for (n, order) in shown.into_iter().enumerate() {
        let mut frame = frame(40 * n as i64, n == 0, 10);
        frame.pts = MediaTime::from_millis(120 + 40 * order);
        log.push_reordered(&frame, 1, now);
    }
    let mut times: Vec<_> = kept(&log).map(|packet| packet.pts.as_millis()).collect();
    times.dedup();
    assert_eq!(times, [0, 120, 160, 200, 240, 280, 320]);
}

#[test]
fn gop_over_the_limits_is_not_kept() {
    let (mut log, start) = log();
    for n in 0..400 {
        let now = start + Duration::from_millis(100 * n);
        log.push_video(&frame(100 * n as i64, n == 0, 100), now);
    }
    assert_eq!(log.keyframe(), None);
    assert!(kept(&log).count() <= 21, "only the history is left");

    let limits = LogLimits {
        max_bytes: 10_000,
        ..LogLimits::default()
    };
    let mut log = Log::new(90_000, limits);
    log.push_video(&frame(0, true, 1000), start);
    assert_eq!(log.keyframe(), Some(0));
    for _ in 0..20 {
        log.push_video(&frame(0, false, 1000), start);
    }
    assert_eq!(log.keyframe(), None);
    assert!(log.bytes() <= 10_000);
}

#[test]
fn overhead_of_small_packets_counts_as_memory() {
    let limits = LogLimits {
        max_bytes: 1 << 20,
        ..LogLimits::default()
    };
    let (mut log, start) = (Log::new(90_000, limits), Instant::now());
    for n in 0..20_000 {
        log.push_video(&frame(n, n == 0, 1), start);
    }
    assert!(kept(&log).count() * size_of::<LoggedPacket>() <= 1 << 20);
    assert!(log.bytes() <= 1 << 20);
}

#[test]
fn previous_gop_is_kept_until_newcomers_have_left_it() {
    let (mut log, start) = log();
    let at = |millis| start + Duration::from_millis(millis);
    log.push_video(&frame(0, true, 100), at(0));
    log.push_video(&frame(1000, false, 100), at(1000));
    log.push_video(&frame(9000, true, 100), at(9000));
    assert!(log.get(0).is_some() && log.keyframe() == Some(2));
    log.push_video(&frame(9100, false, 100), at(9100));
    assert!(log.get(0).is_some());
    log.push_video(&frame(9300, false, 100), at(9300));
    assert!(log.get(1).is_none() && log.get(2).is_some());
    // Where every frame is a keyframe, the previous GOP is kept no longer than the history.
    for n in 0..400 {
        log.push_video(&frame(9400 + 25 * n, true, 100), at(9400 + 25 * n as u64));
    }
    assert!(kept(&log).count() <= 2000 / 25 + 2);
}

#[test]
fn redundant_audio_carries_the_previous_frame() {
    let (_, now) = log();
    let mut log = Log::new(48_000, LogLimits::default()).with_redundancy(true);
    for n in 0..2 {
        let frame = AudioFrame {
            codec: distributary_media::AudioCodec::Opus,
            pts: MediaTime::from_millis(20 * n),
            data: Bytes::from(vec![n as u8; 3]),
        };
        log.push_audio(&frame, now);
    }
    let red = log.get(1).unwrap().red.clone().unwrap();
    let mut bytes = vec![0; red.len()];
    red.copy_to(&mut bytes);
    assert_eq!(bytes, [0x80, 0x0f, 0, 3, 0, 0, 0, 0, 1, 1, 1]);
    assert_eq!(log.get(0).unwrap().red.as_ref().unwrap().len(), 4);
}

#[test]
fn audio_frame_is_one_packet_and_oversized_ones_are_dropped() {
    let (_, now) = log();
    let mut log = Log::new(48_000, LogLimits::default());
    let audio = |len: usize| AudioFrame {
        codec: distributary_media::AudioCodec::Opus,
        pts: MediaTime::from_millis(20),
        data: Bytes::from(vec![1; len]),
    };
    log.push_audio(&audio(200), now);
    log.push_audio(&audio(0), now);
    log.push_audio(&audio(MAX_PAYLOAD + 1), now);
    assert_eq!(log.head(), 1);
    assert_eq!(log.get(0).unwrap().timestamp, 960);
}

#[test]
fn lowered_limit_drops_the_gop_at_once_and_a_raised_one_keeps_the_next() {
    let (mut log, now) = log();
    for n in 0..20 {
        log.push_video(&frame(40 * n, n == 0, 10_000), now);
    }
    assert_eq!(log.keyframe(), Some(0));
    log.bound(50_000, now);
    assert_eq!(log.keyframe(), None);
    assert!(log.bytes() <= 50_000 && kept(&log).count() > 20);
    log.bound(usize::MAX, now);
    let start = log.head();
    log.push_video(&frame(1000, true, 100_000), now);
    assert_eq!(log.keyframe(), Some(start));
}

#[test]
fn memory_of_a_burst_is_returned() {
    let (mut log, now) = log();
    let at = |millis: u64| now + Duration::from_millis(millis);
    for n in 0..20_000_i64 {
        log.push_video(&frame(n / 10, n == 0, 10), at(n as u64 / 10));
    }
    let full = log.records();
    assert!(full >= 20_000 * size_of::<LoggedPacket>());
    for n in 0..100_i64 {
        let millis = 10_000 + 40 * n;
        log.push_video(&frame(millis, true, 10), at(millis as u64));
    }
    assert!(log.records() < full / 10);
}
