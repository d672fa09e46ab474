//! Tests of publishers that stand by, in simulated time.

#![allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use distributary_media::test_util::{h264_track, opus_frame, video_frame};
use distributary_media::{
    AudioCodec, AudioTrack, BFrameVerdict, BFrames, Frame, MediaTime, TimedData, VideoCodec,
    VideoTrack,
};
use distributary_names::{RenditionId, StreamName};
use tokio::sync::mpsc;

use super::*;
use crate::policy::{BFramePolicy, Refusal};
use crate::stream::standing::MAX_VACANCY;
use crate::stream::takeover::{TakeoverError, TakeoverReason};
use crate::{
    Delivery, Hub, HubConfig, JournalKind, PublishError, Publisher, PublisherInfo, Sink,
    StreamsConfig, Subscription,
};

/// A stream with a subscriber, whose publishers push frames in simulated time.
struct Scene {
    hub: Hub,
    name: StreamName,
    start: Instant,
    queue: mpsc::Receiver<Delivery>,
    _subscription: Subscription,
}

impl Scene {
    /// Returns a stream that a publisher has just begun to publish.
    fn new() -> (Self, Publisher) {
        Self::of(HubConfig::default())
    }

    fn of(config: HubConfig) -> (Self, Publisher) {
        let (hub, start) = (Hub::new(config), Instant::now());
        let name = StreamName::parse("live/test").unwrap();
        let first = hub.stand_by(&name, start).unwrap();
        let (sink, queue) = Sink::channel(500);
        let (subscription, _) = hub.subscribe(&name, sink, 0).unwrap();
        let scene = Self {
            hub,
            name,
            start,
            queue,
            _subscription: subscription,
        };
        (scene, first)
    }

    fn at(&self, millis: u64) -> Instant {
        self.start + Duration::from_millis(millis)
    }

    fn stand_by(&self, millis: u64) -> Publisher {
        self.hub.stand_by(&self.name, self.at(millis)).unwrap()
    }

    /// Pushes a video frame of `len` bytes at this time of the scene, with its timestamp on the
    /// clock of a publisher that has begun at `clock`.
    fn video(&self, publisher: &Publisher, clock: i64, millis: u64, is_keyframe: bool, len: usize) {
        let frame = video_frame(millis as i64 - clock, is_keyframe, len);
        let pushed = publisher.push(Frame::Video(frame), self.at(millis));
        pushed.unwrap();
    }

    fn keyframe(&self, publisher: &Publisher, millis: u64) {
        self.video(publisher, 0, millis, true, 10);
    }

    /// Returns what the subscriber got: the times of video and audio frames, and other events.
    fn received(&mut self) -> Vec<String> {
        let events = std::iter::from_fn(|| self.queue.try_recv().ok());
        let text = |delivery: Delivery| match delivery.event {
            StreamEvent::Frame(frame) => {
                let kind = match *frame {
                    Frame::Video(_) => "video",
                    Frame::Audio(_) => "audio",
                };
                format!("{kind} {}", frame.dts().as_millis())
            }
            StreamEvent::Data(data) => format!("{} {}", data.name, data.time.as_millis()),
            StreamEvent::Renditions => String::new(),
            other => format!("{other:?}"),
        };
        events.map(text).filter(|event| !event.is_empty()).collect()
    }

    fn takeovers(&self) -> [u64; 3] {
        TakeoverReason::ALL.map(|reason| self.hub.takeovers().count(reason))
    }
}

fn audio(publisher: &Publisher, pts: i64, now: Instant) {
    let frame = Frame::Audio(opus_frame(pts, &[0xfc]));
    publisher.push(frame, now).unwrap();
}

fn track(height: u32) -> VideoTrack {
    VideoTrack {
        height,
        ..h264_track()
    }
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
    for millis in [0, 500, 990] {
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
        scene.keyframe(&second, seconds * 1000 + 940);
    }
    assert!(first.is_active());
    scene.keyframe(&second, 6950);
    assert!(second.is_active());
}

#[test]
fn publisher_that_does_not_stand_by_itself_gets_its_turn_again() {
    let hub = Hub::new(HubConfig::default());
    let (name, start) = (StreamName::parse("live/test").unwrap(), Instant::now());
    // As that of a pulled stream does.
    let pulled = hub.publish(&name, start).unwrap();
    let second = hub.stand_by(&name, start).unwrap();
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
    audio(&second, 6500, scene.at(6500));
    assert!(second.is_active());
}

#[test]
fn standby_has_its_own_tracks_until_it_takes_over_and_afterwards() {
    let (scene, first) = Scene::new();
    let info = |encoder: &str| PublisherInfo {
        address: Some(SocketAddr::from(([192, 0, 2, 7], 1000))),
        encoder: Some(encoder.to_owned()),
        ..PublisherInfo::default()
    };
    let audio_track = AudioTrack {
        codec: AudioCodec::Aac,
        sample_rate: 48_000,
        channels: 2,
        config: bytes::Bytes::new(),
    };
    first.set_video_track(track(720));
    first.set_info(info("one"));
    scene.keyframe(&first, 0);
    let second = scene.stand_by(100);
    second.set_video_track(VideoTrack {
        codec: VideoCodec::H265,
        ..track(1080)
    });
    second.set_audio_track(audio_track.clone());
    second.set_info(info("two"));
    let stream = first.stream();
    let shown = || {
        let stats = stream.stats();
        let video = stats.video.unwrap();
        let encoder = stats.info.unwrap().encoder.clone().unwrap();
        (encoder, video.codec, video.height, stats.audio.is_some())
    };
    let active = || stream.report(scene.start).publisher_id;
    let waiting = |at| {
        let standbys = stream.report(at).standbys;
        let height = |one: &crate::StandbyStats| one.video.as_ref().map(|track| track.height);
        let all = standbys.iter();
        all.map(|one| (one.id, height(one), one.since, one.silent_for))
            .collect::<Vec<_>>()
    };
    let h264 = |encoder: &str| (encoder.to_owned(), VideoCodec::H264, 720, false);
    assert_eq!(shown(), h264("one"));
    assert_eq!(active(), Some(0));
    let silent = Duration::from_millis(100);
    let second_waits = (1, Some(1080), scene.at(100), silent);
    assert_eq!(waiting(scene.at(200)), [second_waits]);
    scene.keyframe(&second, 5000);
    let h265 = ("two".to_owned(), VideoCodec::H265, 1080, true);
    assert_eq!(shown(), h265);
    assert_eq!(active(), Some(1));
    let first_waits = (0, Some(720), scene.start, Duration::from_millis(5100));
    assert_eq!(waiting(scene.at(5100)), [first_waits]);
    // The new active one is measured since it began, and what the other does changes nothing.
    first.set_info(info("three"));
    assert_eq!(shown(), h265);
    drop(second);
    scene.keyframe(&first, 6000);
    assert_eq!(shown(), h264("three"));
    assert!(stream.report(scene.at(6000)).standbys.is_empty());
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
    assert_eq!(request(None), Ok(1));
    assert_eq!(request(Some(2)), Ok(2), "in place of the other");
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
    assert_eq!(request(None, 6000), Ok(2));
    let visible = scene.stand_by(6000);
    visible.set_video_track(track(720));
    scene.video(&visible, 0, 6000, false, 10);
    assert_eq!(request(None, 6000), Ok(3));
}

#[test]
fn request_for_a_takeover_expires() {
    let (scene, first) = Scene::new();
    let second = scene.stand_by(0);
    scene.video(&second, 0, 0, false, 10);
    let stream = first.stream();
    assert_eq!(stream.request_takeover(None, scene.at(0)), Ok(1));
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

#[tokio::test]
async fn standby_takes_over_from_a_dismissed_publisher_and_not_when_it_is_dismissed_itself() {
    let (scene, first) = Scene::new();
    scene.keyframe(&first, 0);
    let (second, third) = (scene.stand_by(0), scene.stand_by(0));
    let stream = first.stream();
    assert!(stream.dismiss_publisher());
    assert!(stream.dismiss(1) && !stream.dismiss(9));
    assert_eq!(first.dismissed().await, Dismissal::Removed);
    assert_eq!(second.dismissed().await, Dismissal::Removed);
    scene.keyframe(&second, 40);
    assert!(!second.is_active());
    scene.keyframe(&third, 80);
    assert!(third.is_active());
    stream.dismiss_all();
    assert_eq!(third.dismissed().await, Dismissal::Removed);
}

#[tokio::test]
async fn number_of_standbys_is_limited_and_a_silent_one_gives_way() {
    let (scene, _first) = Scene::new();
    let mut standbys: Vec<_> = (0..MAX_STANDBYS).map(|_| scene.stand_by(0)).collect();
    for standby in &standbys {
        scene.video(standby, 0, 1000, false, 10);
    }
    let refused = scene.hub.stand_by(&scene.name, scene.at(6000));
    assert_eq!(refused.err(), Some(PublishError::TooManyStandbys));
    for standby in &standbys[1..] {
        scene.video(standby, 0, 6000, false, 10);
    }
    let newcomer = scene.stand_by(6001);
    let evicted = standbys.remove(0);
    assert_eq!(evicted.dismissed().await, Dismissal::Evicted);
    drop(evicted);
    let ids = newcomer.stream().report(scene.at(6001)).standbys;
    let ids: Vec<_> = ids.iter().map(|one| one.id).collect();
    assert_eq!(ids, [2, 3, 4, 5], "and its end changes nothing");
}

#[tokio::test(start_paused = true)]
async fn stream_is_offline_when_no_standby_sends_a_keyframe_in_time() {
    let (mut scene, first) = Scene::new();
    scene.keyframe(&first, 0);
    let second = scene.stand_by(0);
    let mut standings = second.standings();
    assert_eq!(standings.current(), Standing::Standby);
    let stream = Arc::clone(first.stream());
    drop(first);
    assert_eq!(standings.next().await, Standing::Next);
    let began = tokio::time::Instant::now();
    let mut liveness = stream.liveness();
    assert!(stream.is_live() && *liveness.borrow_and_update());
    tokio::select! {
        standing = standings.next() => panic!("{standing:?}"),
        changed = liveness.changed() => changed.unwrap(),
    }
    assert_eq!(began.elapsed(), MAX_VACANCY);
    assert!(!stream.is_live());
    assert_eq!(scene.received(), ["video 0", "Offline"]);
    let ends = scene.hub.journal().take_ends();
    let expected = "no standby sent a keyframe within 10 s after the active publisher had left";
    assert_eq!(ends.len(), 1);
    assert_eq!(&*ends[0].1, expected);
    // It still stands by.
    scene.keyframe(&second, 20_000);
    assert_eq!(scene.received(), ["Online", "video 20000"]);
    assert_eq!(standings.next().await, Standing::Active);
}

#[test]
fn stream_ends_with_the_last_of_its_publishers() {
    for ends_itself in [false, true] {
        for is_vacant in [false, true] {
            let (mut scene, mut first) = Scene::new();
            scene.keyframe(&first, 0);
            let mut second = scene.stand_by(0);
            let stream = Arc::clone(first.stream());
            first.finish();
            first.note_end(&"first", scene.at(0));
            drop(first);
            if !is_vacant {
                assert!(stream.end_vacancy() && !stream.end_vacancy());
            }
            assert!(!stream.has_ended(), "the backup may continue");
            let mut liveness = stream.liveness();
            liveness.borrow_and_update();
            if ends_itself {
                second.finish();
            }
            second.note_end(&"second", scene.at(0));
            drop(second);
            assert_eq!(scene.received(), ["video 0", "Offline"]);
            assert!(liveness.has_changed().unwrap(), "followers look again");
            assert_eq!(stream.has_ended(), ends_itself);
            let ends = scene.hub.journal().take_ends();
            let reasons: Vec<_> = ends.iter().map(|(_, reason)| &**reason).collect();
            let expected: &[_] = if is_vacant {
                &["first", "second"]
            } else {
                &["first"]
            };
            assert_eq!(reasons, expected);
        }
    }
}

#[test]
fn newcomer_with_the_first_keyframe_takes_a_vacant_stream() {
    let (mut scene, first) = Scene::new();
    scene.keyframe(&first, 0);
    let second = scene.stand_by(0);
    drop(first);
    let back = scene.stand_by(100);
    assert_eq!(back.standings().current(), Standing::Next);
    scene.keyframe(&back, 140);
    scene.keyframe(&second, 180);
    assert!(back.is_active() && !second.is_active());
    assert_eq!(scene.received(), ["video 0", "video 140"]);
}

#[test]
fn vacant_stream_can_be_published_and_taken_over() {
    for takes_over in [false, true] {
        let (mut scene, first) = Scene::new();
        scene.keyframe(&first, 0);
        let second = scene.stand_by(0);
        drop(first);
        let third = if takes_over {
            scene.hub.take_over(&scene.name, scene.at(40))
        } else {
            scene.hub.publish(&scene.name, scene.at(40)).unwrap()
        };
        assert_eq!(second.standings().current(), Standing::Standby);
        let cached = third.stream().stats().cached_bytes;
        assert_eq!(cached, 0, "nothing of the first one is left");
        scene.keyframe(&second, 80);
        scene.keyframe(&third, 120);
        assert_eq!(scene.received(), ["video 0", "video 120"]);
    }
}

#[test]
fn stream_of_a_waiting_standby_is_kept_while_it_is_offline() {
    let hub = Hub::new(HubConfig::default());
    let (name, now) = (StreamName::parse("live/test").unwrap(), Instant::now());
    let first = hub.stand_by(&name, now).unwrap();
    let second = hub.stand_by(&name, now).unwrap();
    let stream = Arc::clone(first.stream());
    drop(first);
    stream.end_vacancy();
    let third = hub.stand_by(&name, now).unwrap();
    assert!(Arc::ptr_eq(&stream, third.stream()));
    drop((second, third));
    assert!(hub.stream(&name).is_none());
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
fn further_tracks_end_with_the_turn_of_their_publisher() {
    let (scene, first) = Scene::new();
    first.set_video_track(track(1080));
    scene.keyframe(&first, 0);
    let further = scene.hub.publish_track(&first, 1, scene.start).unwrap();
    further.set_video_track(track(720));
    let (sink, mut queue) = Sink::channel(8);
    let id = RenditionId::track(1);
    let rendition = scene.name.rendition(&id);
    let _viewer = scene.hub.subscribe(&rendition, sink, 0).unwrap();
    let second = scene.stand_by(0);
    second.set_video_track(track(1080));
    let now = scene.at(2000);
    assert_eq!(scene.hub.renditions(&scene.name, now).len(), 2);
    assert!(scene.hub.publish_track(&second, 2, now).is_none());
    scene.keyframe(&second, 2000);
    assert_eq!(scene.hub.renditions(&scene.name, now).len(), 1);
    let told = std::iter::from_fn(|| queue.try_recv().ok());
    let offline = |delivery: &Delivery| matches!(delivery.event, StreamEvent::Offline);
    assert_eq!(told.filter(offline).count(), 1);
    assert!(!further.is_active());
    let own = scene.hub.publish_track(&second, 1, now).unwrap();
    own.set_video_track(track(720));
    drop(further);
    assert_eq!(scene.hub.renditions(&scene.name, now).len(), 2);
}

#[test]
fn journal_tells_who_publishes_and_who_stands_by() {
    let (scene, first) = Scene::new();
    first.note_begin(None, scene.start);
    let second = scene.stand_by(0);
    second.note_begin(None, scene.start);
    second.note_end(&"closed", scene.start);
    let stream = first.stream();
    assert!(stream.dismiss(1));
    second.note_end(&"removed", scene.start);
    drop(second);
    let third = scene.stand_by(0);
    stream.dismiss_all();
    third.note_end(&"removed", scene.start);
    first.note_end(&"removed", scene.start);
    let kinds = scene.hub.journal().since(0);
    let kinds: Vec<_> = kinds.iter().map(|entry| entry.kind.as_str()).collect();
    let expected = [
        "published",
        "standby",
        "standby_ended",
        "standby_ended",
        "standby_ended",
        "ended",
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn evicted_standby_is_recorded_as_a_standby() {
    let (scene, _first) = Scene::new();
    let standbys: Vec<_> = (0..MAX_STANDBYS).map(|_| scene.stand_by(0)).collect();
    let _newcomer = scene.stand_by(6000);
    standbys[0].note_end(&"evicted", scene.start);
    let journal = scene.hub.journal().since(0);
    assert_eq!(journal[0].kind, JournalKind::StandbyEnded);
}
