//! Tests of the publishers of one name, in simulated time.

#![allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use distributary_media::{AudioCodec, AudioTrack, VideoCodec, VideoTrack};
use distributary_names::{RenditionId, StreamName};

use super::*;
use crate::stream::scene::{Scene, track};
use crate::stream::standing::MAX_VACANCY;
use crate::{Delivery, Hub, HubConfig, JournalKind, Permit, PublishError, PublisherInfo, Sink};

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
    let refused = scene
        .hub
        .stand_by(&scene.name, Permit::default(), scene.at(6000));
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
    let first = hub.stand_by(&name, Permit::default(), now).unwrap();
    let second = hub.stand_by(&name, Permit::default(), now).unwrap();
    let stream = Arc::clone(first.stream());
    drop(first);
    stream.end_vacancy();
    let third = hub.stand_by(&name, Permit::default(), now).unwrap();
    assert!(Arc::ptr_eq(&stream, third.stream()));
    drop((second, third));
    assert!(hub.stream(&name).is_none());
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
