//! Tests of takeovers, in simulated time.

#![allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]

use distributary_media::test_util::video_frame;
use distributary_media::{BFrameVerdict, BFrames, Frame, MediaTime, TimedData};
use distributary_names::StreamName;

use super::*;
use crate::stream::scene::{Scene, audio, track};
use crate::{Hub, HubConfig, JournalKind, Permit, PublishError, Publisher, StreamsConfig};

#[test]
fn standby_takes_over_from_a_silent_publisher_which_then_stands_by() {
    let (mut scene, first) = Scene::new();
    let second = scene.stand_by(0);
    scene.keyframe(&first, 500);
    scene.keyframe(&second, 1499);
    assert!(first.is_active());
    scene.keyframe(&second, 1500);
    assert!(second.is_active() && !first.is_active());
    scene.keyframe(&first, 1510);
    scene.video(&second, 0, 1540, false, 10);
    let expected = ["video 500", "video 1500", "video 1540"];
    assert_eq!(scene.received(), expected);
    // The first one is back, and gets its turn again when the second one is silent: its next frame,
    // due after 40 ms, is late by the limit.
    scene.go_on(&first, 1600, 2579);
    scene.keyframe(&first, 2579);
    assert!(second.is_active());
    scene.keyframe(&first, 2580);
    assert!(first.is_active());
    assert_eq!(scene.received(), ["video 2580"]);
    assert_eq!(scene.takeovers(), [0, 2, 0]);
}

#[test]
fn publisher_with_frozen_video_is_silent_although_it_sends_audio() {
    let (scene, first) = Scene::new();
    first.set_video_track(track(720));
    let second = scene.stand_by(0);
    scene.keyframe(&first, 0);
    for millis in (0..1000).step_by(100) {
        audio(&first, millis, scene.at(millis as u64));
    }
    scene.keyframe(&second, 999);
    assert!(first.is_active());
    scene.keyframe(&second, 1000);
    assert!(second.is_active());
}

#[test]
fn publisher_whose_frames_cannot_be_decoded_is_silent() {
    let (scene, first) = Scene::new();
    first.set_video_track(track(720));
    let second = scene.stand_by(0);
    for millis in (0..1000).step_by(40) {
        scene.video(&first, 0, millis, false, 10);
    }
    scene.keyframe(&second, 1000);
    assert!(second.is_active());
}

#[test]
fn publisher_of_audio_alone_is_active_as_long_as_it_sends_audio() {
    let (scene, first) = Scene::new();
    let second = scene.stand_by(0);
    for millis in (0..3000).step_by(500) {
        audio(&first, millis, scene.at(millis as u64));
        scene.keyframe(&second, millis as u64 + 499);
    }
    assert!(first.is_active());
    scene.go_on(&second, 3000, 3500);
    scene.keyframe(&second, 3500);
    assert!(second.is_active());
}

#[test]
fn publisher_of_a_still_screen_with_a_frame_a_second_is_not_silent() {
    let (scene, first) = Scene::new();
    let second = scene.stand_by(0);
    scene.keyframe(&first, 0);
    scene.keyframe(&first, 900);
    for seconds in 2..6 {
        scene.keyframe(&first, seconds * 1000 - 50);
        scene.go_on(&second, seconds * 1000 - 40, seconds * 1000 + 940);
        scene.keyframe(&second, seconds * 1000 + 940);
    }
    assert!(first.is_active());
    scene.go_on(&second, 6000, 6950);
    scene.keyframe(&second, 6950);
    assert!(second.is_active());
}

#[test]
fn publisher_that_does_not_stand_by_itself_gets_its_turn_again() {
    let hub = Hub::new(HubConfig::default());
    let (name, start) = (StreamName::parse("live/test").unwrap(), Instant::now());
    // As that of a pulled stream does.
    let pulled = hub.publish(&name, start).unwrap();
    let second = hub.stand_by(&name, Permit::default(), start).unwrap();
    let push = |publisher: &Publisher, millis: u64| {
        let frame = Frame::Video(video_frame(millis as i64, true, 10));
        publisher
            .push(frame, start + Duration::from_millis(millis))
            .unwrap();
    };
    push(&second, 1000);
    assert!(second.is_active() && !pulled.is_active());
    assert_eq!(pulled.standings().current(), Standing::Standby);
    let again = hub.publish(&name, start + Duration::from_secs(1));
    assert_eq!(again.err(), Some(PublishError::AlreadyLive));
    push(&pulled, 2000);
    assert!(pulled.is_active());
}

#[test]
fn publisher_without_any_frame_is_silent() {
    let (scene, first) = Scene::new();
    let second = scene.stand_by(10);
    scene.keyframe(&second, 900);
    assert!(first.is_active());
    scene.keyframe(&second, 1000);
    assert!(second.is_active());
}

#[test]
fn limit_of_silence_is_reloaded() {
    let (scene, first) = Scene::new();
    let second = scene.stand_by(0);
    scene.keyframe(&first, 0);
    scene.hub.reconfigure(HubConfig {
        standby_after: Duration::from_millis(200),
        ..HubConfig::default()
    });
    scene.keyframe(&second, 200);
    assert!(second.is_active());
}

#[test]
fn audio_switches_with_the_video() {
    let (mut scene, first) = Scene::new();
    scene.keyframe(&first, 0);
    let second = scene.stand_by(0);
    second.set_video_track(track(720));
    audio(&first, 990, scene.at(1000));
    drop(first);
    audio(&second, 1000, scene.at(1000));
    assert_eq!(scene.received(), ["video 0", "audio 990"]);
    // Its audio arrives seconds after the video of the same time.
    scene.keyframe(&second, 5000);
    for pts in [1000, 1080, 4980, 5000, 5020] {
        audio(&second, pts, scene.at(pts as u64 + 4000));
    }
    let expected = ["video 5000", "audio 5000", "audio 5020"];
    assert_eq!(scene.received(), expected);
}

#[test]
fn standby_without_video_takes_over_once_it_has_sent_audio_for_a_while() {
    let (mut scene, first) = Scene::new();
    scene.keyframe(&first, 0);
    first.set_video_track(track(720));
    let second = scene.stand_by(0);
    drop(first);
    audio(&second, 7, scene.at(100));
    audio(&second, 1987, scene.at(2080));
    assert!(!second.is_active(), "its video header may still come");
    audio(&second, 2007, scene.at(2100));
    audio(&second, 2027, scene.at(2120));
    assert_eq!(scene.received(), ["video 0", "audio 2100", "audio 2120"]);
    assert_eq!(second.stream().stats().video, None);
}

#[test]
fn encoder_that_sends_audio_first_takes_over_with_video() {
    let (mut scene, first) = Scene::new();
    scene.keyframe(&first, 0);
    let second = scene.stand_by(0);
    drop(first);
    audio(&second, 0, scene.at(100));
    second.set_video_track(track(720));
    audio(&second, 2900, scene.at(3000));
    scene.keyframe(&second, 3000);
    assert_eq!(scene.received(), ["video 0", "video 3000"]);
}

#[test]
fn standby_with_video_goes_before_one_with_audio_alone() {
    let (scene, first) = Scene::new();
    scene.keyframe(&first, 0);
    let (second, third) = (scene.stand_by(0), scene.stand_by(0));
    third.set_video_track(track(720));
    audio(&second, 0, scene.at(0));
    drop(first);
    scene.video(&third, 0, 3000, false, 10);
    audio(&second, 8000, scene.at(8000));
    assert!(!second.is_active());
    audio(&second, 8001, scene.at(8001));
    assert!(second.is_active(), "the other one has stopped sending");
}

#[test]
fn audio_alone_does_not_replace_audio_with_frozen_video() {
    let (scene, first) = Scene::new();
    first.set_video_track(track(720));
    let second = scene.stand_by(0);
    scene.keyframe(&first, 0);
    for millis in (0..6000).step_by(500) {
        audio(&second, millis, scene.at(millis as u64));
        audio(&first, millis, scene.at(millis as u64));
    }
    assert!(first.is_active());
    audio(&second, 6000, scene.at(6000));
    audio(&second, 6500, scene.at(6500));
    assert!(second.is_active());
}

#[test]
fn video_that_arrived_before_newer_audio_is_no_silence() {
    let (scene, first) = Scene::new();
    let second = scene.stand_by(0);
    audio(&second, 0, scene.at(0));
    for millis in [0, 1000, 2000] {
        audio(&first, millis, scene.at(millis as u64));
        audio(&second, millis, scene.at(millis as u64));
    }
    // It was held meanwhile, in case more slices of it come.
    scene.keyframe(&first, 1000);
    audio(&second, 2010, scene.at(2010));
    assert!(first.is_active());
}

#[test]
fn operator_chooses_the_standby_that_takes_over() {
    let (scene, first) = Scene::new();
    scene.keyframe(&first, 0);
    let (second, third) = (scene.stand_by(0), scene.stand_by(0));
    for publisher in [&second, &third] {
        scene.video(publisher, 0, 0, false, 10);
    }
    let stream = first.stream();
    let request = |standby| stream.request_takeover(standby, scene.at(0));
    let missing = Err(TakeoverError::NoStandby);
    assert_eq!(request(Some(7)), missing);
    assert_eq!(request(Some(0)), missing, "it is active already");
    assert_eq!(request(None), Ok(Some(1)));
    assert_eq!(request(Some(2)), Ok(Some(2)), "in place of the other");
    assert_eq!(next_of(stream, scene.at(0)), [false, true]);
    for millis in [40, 80] {
        scene.keyframe(&first, millis);
        scene.keyframe(&second, millis);
        scene.video(&third, 0, millis, millis == 80, 10);
    }
    assert!(third.is_active());
    scene.keyframe(&first, 120);
    scene.keyframe(&second, 120);
    assert!(third.is_active(), "once");
    assert_eq!(scene.takeovers(), [0, 0, 1]);
    let journal = scene.hub.journal().since(0);
    let takeover = journal.last().unwrap();
    assert_eq!(takeover.kind, JournalKind::Takeover);
    assert_eq!(&*takeover.detail, "requested through the API");
}

fn next_of(stream: &Stream, now: Instant) -> Vec<bool> {
    let standbys = stream.report(now).standbys;
    standbys.iter().map(|one| one.is_next).collect()
}

#[test]
fn request_for_a_takeover_needs_a_standby_that_sends_and_prefers_video() {
    let (scene, first) = Scene::new();
    let stream = first.stream();
    let (silent, audible) = (scene.stand_by(0), scene.stand_by(0));
    let request = |standby, millis| stream.request_takeover(standby, scene.at(millis));
    assert_eq!(request(None, 0), Err(TakeoverError::Silent), "no frame yet");
    scene.video(&silent, 0, 0, false, 10);
    audio(&audible, 0, scene.at(6000));
    assert_eq!(request(Some(1), 6000), Err(TakeoverError::Silent));
    assert_eq!(request(None, 6000), Ok(Some(2)));
    let visible = scene.stand_by(6000);
    visible.set_video_track(track(720));
    scene.video(&visible, 0, 6000, false, 10);
    assert_eq!(request(None, 6000), Ok(Some(3)));
}

#[test]
fn request_for_a_takeover_expires() {
    let (scene, first) = Scene::new();
    let second = scene.stand_by(0);
    scene.video(&second, 0, 0, false, 10);
    let stream = first.stream();
    assert_eq!(stream.request_takeover(None, scene.at(0)), Ok(Some(1)));
    let expiry = MAX_VACANCY.as_millis() as u64;
    assert_eq!(next_of(stream, scene.at(expiry - 1)), [true]);
    assert_eq!(next_of(stream, scene.at(expiry)), [false]);
    scene.keyframe(&first, expiry);
    scene.keyframe(&second, expiry);
    assert!(first.is_active());
}

#[test]
fn first_gop_of_a_takeover_is_measured_once() {
    let (scene, first) = Scene::new();
    scene.keyframe(&first, 0);
    let second = scene.stand_by(0);
    drop(first);
    for millis in (0..=1000).step_by(40) {
        scene.video(&second, 0, millis, millis % 1000 == 0, 10);
    }
    let gop = second.stream().report(scene.at(1000)).measured.gop.unwrap();
    assert_eq!((gop.duration, gop.frames), (Duration::from_secs(1), 25));
    let rate = second.stream().report(scene.at(1000)).measured.frame_rate;
    assert_eq!(rate, 25.0, "in the first whole second");
}

#[test]
fn metadata_of_a_standby_is_delivered_when_it_takes_over() {
    let (mut scene, first) = Scene::new();
    scene.keyframe(&first, 0);
    let second = scene.stand_by(0);
    for name in [TimedData::METADATA, "onCuePoint"] {
        let data = TimedData {
            time: MediaTime::ZERO,
            name: name.into(),
            values: Vec::new(),
        };
        second.push_data(data, scene.at(100));
    }
    drop(first);
    scene.keyframe(&second, 200);
    let expected = ["video 0", "onMetaData 200", "video 200"];
    assert_eq!(scene.received(), expected);
    assert!(second.stream().metadata().is_some());
}

#[test]
fn standby_that_the_policy_refuses_does_not_take_over() {
    let (scene, first) = Scene::of(HubConfig {
        streams: StreamsConfig {
            bframes: BFramePolicy::Refuse,
            ..StreamsConfig::default()
        },
        ..HubConfig::default()
    });
    scene.keyframe(&first, 0);
    let second = scene.stand_by(0);
    let mut frame = video_frame(0, true, 10);
    frame.info.b_frames = BFrameVerdict {
        kind: BFrames::NonReference,
        ..BFrameVerdict::default()
    };
    let refused = second.push(Frame::Video(frame), scene.at(5000));
    assert_eq!(refused, Err(Refusal::BFrames));
    assert!(first.is_active());
}

#[test]
fn standby_takes_over_with_its_next_keyframe_when_the_active_publisher_is_gone() {
    let (mut scene, first) = Scene::new();
    scene.keyframe(&first, 0);
    let second = scene.stand_by(100);
    assert!(first.is_active() && !second.is_active());
    for millis in [200, 240] {
        scene.video(&first, 0, millis, false, 10);
        // The clock of the second one began an hour ago.
        scene.video(&second, -3_600_000, millis + 5, millis == 200, 10);
    }
    assert_eq!(scene.received(), ["video 0", "video 200", "video 240"]);
    let stream = Arc::clone(first.stream());
    let liveness = stream.liveness();
    drop(first);
    assert!(stream.is_live(), "a standby is about to take over");
    scene.video(&second, -3_600_000, 300, false, 10);
    assert_eq!(scene.received(), [""; 0]);
    assert!(!liveness.has_changed().unwrap());
    scene.video(&second, -3_600_000, 340, true, 10);
    // Transcoders start again with the video of another publisher.
    assert!(liveness.has_changed().unwrap() && *liveness.borrow());
    scene.video(&second, -3_600_000, 380, false, 10);
    assert!(second.is_active());
    assert_eq!(scene.received(), ["video 340", "video 380"]);
    assert_eq!(scene.takeovers(), [1, 0, 0]);
    drop(second);
    assert_eq!(scene.received(), ["Offline"]);
    assert!(!stream.is_live());
}

#[test]
fn gateway_that_stood_still_hears_the_active_publisher_before_it_judges_its_silence() {
    let (scene, first) = Scene::new();
    let second = scene.stand_by(0);
    for publisher in [&first, &second] {
        scene.keyframe(publisher, 0);
        scene.go_on(publisher, 100, 400);
    }
    // What came meanwhile is read late, in any order.
    scene.go_on(&second, 5000, 5001);
    scene.keyframe(&second, 5002);
    assert!(first.is_active());
    scene.go_on(&first, 5010, 5200);
    scene.go_on(&second, 5100, 6109);
    // It is silent now: its next frame, due after 100 ms, is late by the limit.
    scene.keyframe(&second, 6209);
    assert!(first.is_active());
    scene.keyframe(&second, 6210);
    assert!(second.is_active());
}

#[test]
fn publisher_whose_audio_is_read_first_after_a_standstill_stays_active() {
    let (scene, first) = Scene::new();
    first.set_video_track(track(720));
    let second = scene.stand_by(0);
    for publisher in [&first, &second] {
        scene.keyframe(publisher, 0);
        scene.go_on(publisher, 100, 400);
    }
    audio(&first, 3000, scene.at(3000));
    scene.keyframe(&second, 3001);
    assert!(first.is_active());
    // Its video is frozen.
    scene.go_on(&second, 3100, 4100);
    for millis in (3100..4100).step_by(100) {
        audio(&first, millis, scene.at(millis as u64));
    }
    scene.keyframe(&second, 4150);
    assert!(second.is_active());
}

#[test]
fn standby_with_few_frames_takes_over_with_its_second_one_at_the_latest() {
    let (scene, first) = Scene::new();
    let second = scene.stand_by(0);
    scene.keyframe(&first, 0);
    scene.keyframe(&second, 0);
    scene.keyframe(&second, 5000);
    assert!(first.is_active(), "the gateway may have stood still");
    scene.keyframe(&second, 10_000);
    assert!(second.is_active());
}

#[test]
fn publisher_that_begins_long_after_the_active_one_is_silent_takes_over_at_once() {
    let (scene, first) = Scene::new();
    let second = scene.stand_by(0);
    scene.keyframe(&first, 0);
    scene.keyframe(&second, 0);
    // Both connections hang; the encoder is started again.
    let third = scene.stand_by(6000);
    scene.keyframe(&third, 9000);
    assert!(third.is_active());
}
