//! Tests of the publishers and subscribers of one stream.

#![allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]

use std::time::Duration;

use super::*;
use crate::{
    AdmissionError, Hub, LimitsConfig, Permit, PublishError, Sink, StreamEvent, Tenure,
    TooManyViewers, WhenTaken,
};
use distributary_media::MediaTime;
use distributary_media::test_util::video_frame;
use tokio::sync::watch;

fn keyframe() -> Frame {
    Frame::Video(video_frame(0, true, 1))
}

#[tokio::test]
async fn takeover_dismisses_the_first_publisher_and_the_stream_continues() {
    let hub = Hub::new(HubConfig::default());
    let name = StreamName::parse("live/test").unwrap();
    let now = Instant::now();
    let first = hub.publish(&name, now).unwrap();
    let (sink, mut queue) = Sink::channel(8);
    let _subscription = hub.subscribe(&name, sink, 0).unwrap();
    first.push(keyframe(), now).unwrap();
    assert!(matches!(
        hub.publish(&name, now),
        Err(PublishError::AlreadyLive)
    ));

    let second = hub.take_over(&name, now);
    assert_eq!(first.dismissed().await, Dismissal::Replaced);
    first.push(keyframe(), now).unwrap();
    first.set_info(PublisherInfo {
        encoder: Some("the first".into()),
        ..PublisherInfo::default()
    });
    drop(first);
    second
        .push(keyframe(), now + Duration::from_millis(40))
        .unwrap();
    assert!(second.stream().is_live());
    assert_eq!(second.stream().stats().info, None);
    let mut times = Vec::new();
    while let Ok(delivery) = queue.try_recv() {
        match delivery.event {
            StreamEvent::Frame(frame) => times.push(frame.dts().as_millis()),
            StreamEvent::Gap => times.push(-1),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        times,
        [0, -1, 40],
        "one clock, and no frame of the replaced one"
    );
    drop(second);
    assert!(matches!(
        queue.try_recv().unwrap().event,
        StreamEvent::Offline
    ));
}

#[test]
fn timed_data_is_delivered_at_its_time_on_the_timeline() {
    let hub = Hub::new(HubConfig::default());
    let name = StreamName::parse("live/test").unwrap();
    let start = Instant::now();
    let publisher = hub.publish(&name, start).unwrap();
    let (sink, mut queue) = Sink::channel(8);
    let (_subscription, _) = hub.subscribe(&name, sink, 0).unwrap();
    let push_data = |name: &str, at: i64, now: Instant| {
        let data = TimedData {
            time: MediaTime::from_millis(at),
            name: name.into(),
            values: vec![1.into()],
        };
        publisher.push_data(data, now);
    };
    // The publisher's clock begins at a value of its own: 100 s.
    let later = start + Duration::from_secs(1);
    push_data(TimedData::METADATA, 0, start);
    let Frame::Video(mut frame) = keyframe() else {
        panic!("not a video frame")
    };
    frame.dts = MediaTime::from_millis(100_000);
    frame.pts = frame.dts;
    publisher.push(Frame::Video(frame), later).unwrap();
    push_data("onCuePoint", 100_500, later);
    push_data("onTextData", 3, later);
    let mut received = Vec::new();
    while let Ok(delivery) = queue.try_recv() {
        if let StreamEvent::Data(data) = delivery.event {
            received.push((data.name.clone(), data.time.as_millis()));
        }
    }
    assert_eq!(
        received,
        [
            (TimedData::METADATA.to_owned(), 0),
            ("onCuePoint".to_owned(), 1500),
            ("onTextData".to_owned(), 1000),
        ]
    );
    let metadata = publisher.stream().metadata().unwrap();
    assert_eq!(metadata.values, [1]);
    drop(publisher);
    assert_eq!(hub.stream(&name).unwrap().metadata(), None);
}

#[tokio::test]
async fn number_of_subscribers_can_be_followed() {
    let hub = Hub::new(HubConfig::default());
    let name = StreamName::parse("live/test").unwrap();
    let publisher = hub.publish(&name, Instant::now()).unwrap();
    let mut count = publisher.stream().subscribers();
    let (sink, _queue) = Sink::channel(1);
    let subscription = hub.subscribe(&name, sink, 0).unwrap();
    wait_for(&mut count, 1).await;
    let reservation = hub.reserve(&name, Instant::now());
    assert_eq!(*count.borrow_and_update(), 2);
    drop(reservation);
    drop(subscription);
    wait_for(&mut count, 0).await;
}

/// Waits until a number is reported.
async fn wait_for(count: &mut watch::Receiver<usize>, expected: usize) {
    let reported = count.wait_for(|count| *count == expected);
    let reported = tokio::time::timeout(Duration::from_secs(20), reported).await;
    reported.expect("it is reported").unwrap();
}

#[test]
fn reserved_stream_is_kept_and_tells_when_it_is_live() {
    let hub = Hub::new(HubConfig::default());
    let name = StreamName::parse("live/test").unwrap();
    let reservation = hub.reserve(&name, Instant::now());
    let mut liveness = reservation.stream().liveness();
    assert!(!*liveness.borrow_and_update());
    let publisher = hub.publish(&name, Instant::now()).unwrap();
    assert!(Arc::ptr_eq(publisher.stream(), reservation.stream()));
    assert!(*liveness.borrow_and_update());
    drop(publisher);
    assert!(liveness.has_changed().unwrap() && !*liveness.borrow());
    assert!(!reservation.stream().has_ended());
    let mut publisher = hub.publish(&name, Instant::now()).unwrap();
    publisher.finish();
    assert!(!reservation.stream().has_ended());
    drop(publisher);
    assert!(reservation.stream().has_ended());
    let publisher = hub.publish(&name, Instant::now()).unwrap();
    assert!(!reservation.stream().has_ended());
    drop(publisher);
    assert!(hub.stream(&name).is_some());
    drop(reservation);
    assert!(hub.stream(&name).is_none());
}

#[test]
fn stream_without_publisher_can_be_taken_over() {
    let hub = Hub::new(HubConfig::default());
    let name = StreamName::parse("live/test").unwrap();
    let publisher = hub.take_over(&name, Instant::now());
    assert!(publisher.stream().is_live());
    drop(publisher);
    assert!(hub.stream(&name).is_none());
}

#[test]
fn end_of_an_ownership_spares_the_publisher_of_a_later_one() {
    let hub = Hub::new(HubConfig::default());
    let name = StreamName::parse("live/test").unwrap();
    let now = Instant::now();
    let (lost, later) = (Tenure::default(), Tenure::default());
    let first = hub
        .publish(&name, now)
        .unwrap()
        .with_permit(Permit::of(&lost));
    let standby = hub.stand_by(&name, Permit::of(&later), now).unwrap();
    lost.revoke();
    hub.end_tenure(&name, &lost, now);
    let replaced = Standing::Dismissed(Dismissal::Replaced);
    assert_eq!(first.standings().current(), replaced);
    assert_ne!(standby.standings().current(), replaced);
    drop((first, standby));
    // It was granted just before the name was lost.
    let late = hub
        .publish(&name, now)
        .unwrap()
        .with_permit(Permit::of(&lost));
    assert_eq!(late.standings().current(), replaced);
}

#[tokio::test]
async fn stream_of_another_gateway_gives_way_to_a_publisher_of_this_one() {
    let hub = Hub::new(HubConfig::default());
    let name = StreamName::parse("live/test").unwrap();
    let now = Instant::now();
    let remote = || {
        let publisher = hub.publish_remote(&name, now, now)?;
        Some(publisher.from_node("b".into(), now))
    };
    let first = remote().unwrap();
    let (sink, mut queue) = Sink::channel(8);
    let _subscription = hub.subscribe(&name, sink, 0).unwrap();
    let mut is_offline = || {
        let events = std::iter::from_fn(|| queue.try_recv().ok());
        let mut told = events.map(|delivery| match delivery.event {
            StreamEvent::Gap => false,
            StreamEvent::Offline => true,
            other => panic!("{other:?}"),
        });
        told.any(|is_offline| is_offline)
    };
    assert_eq!(first.stream().node().as_deref(), Some("b"));
    let tenure = Tenure::default();
    let local = hub.publish(&name, now).unwrap();
    let local = local.with_permit(Permit::of(&tenure));
    assert_eq!(first.dismissed().await, Dismissal::Replaced);
    assert_eq!(local.stream().node(), None);
    assert!(remote().is_none(), "this gateway publishes it");
    tenure.revoke();
    let second = remote().unwrap();
    assert_eq!(local.dismissed().await, Dismissal::Replaced);
    let third = remote().unwrap();
    assert_eq!(second.dismissed().await, Dismissal::Replaced);
    assert!(!is_offline());
    drop((first, local, second));
    assert!(hub.stream(&name).unwrap().is_live());
    drop(third);
    assert!(is_offline());
}

#[test]
fn viewers_that_begin_after_a_gap_wait_for_the_next_frame() {
    let hub = Hub::new(HubConfig::default());
    let name = StreamName::parse("live/test").unwrap();
    let now = Instant::now();
    let publisher = hub.publish(&name, now).unwrap();
    let (sink, mut queue) = Sink::channel(8);
    let _subscription = hub.subscribe(&name, sink, 0).unwrap();
    let push = |millis: i64| {
        let frame = Frame::Video(video_frame(millis, millis == 0, 1));
        let at = now + Duration::from_millis(millis.unsigned_abs());
        publisher.push(frame, at).unwrap();
    };
    let cached = || {
        let (sink, _queue) = Sink::channel(8);
        let (subscription, cached) = hub.subscribe(&name, sink, 0).unwrap();
        (cached.len(), subscription.stream().has_gap())
    };
    push(0);
    push(40);
    assert_eq!(cached(), (2, false));
    publisher.note_gap();
    assert_eq!(cached(), (2, true));
    push(2_000);
    assert_eq!(cached(), (3, false));
    let events = std::iter::from_fn(|| queue.try_recv().ok());
    let gaps = events.map(|delivery| matches!(delivery.event, StreamEvent::Gap));
    assert_eq!(gaps.collect::<Vec<_>>(), [false, false, true, false]);
}

#[test]
fn frames_of_another_gateway_are_placed_by_the_origin_of_their_timeline() {
    let hub = Hub::new(HubConfig::default());
    let name = StreamName::parse("live/test").unwrap();
    let now = Instant::now();
    // The GOP began two seconds before it arrives.
    let began = now.checked_sub(Duration::from_secs(2)).unwrap();
    let publisher = hub.publish_remote(&name, began, now).unwrap();
    let publisher = publisher.from_node("b".into(), began);
    for (millis, keyframe) in [(0, true), (1000, false), (2000, false)] {
        let arrived = began + Duration::from_millis(millis);
        let frame = video_frame(i64::try_from(millis).unwrap(), keyframe, 1);
        publisher.push(Frame::Video(frame), arrived).unwrap();
    }
    let snapshot = publisher.stream().snapshot(now);
    let times: Vec<_> = snapshot
        .frames
        .iter()
        .map(|frame| frame.dts().as_millis())
        .collect();
    assert_eq!(times, [0, 1000, 2000]);
    assert_eq!(publisher.stream().epoch(), began);
}

#[test]
fn stream_drops_frames_up_to_a_keyframe_when_its_memory_is_held() {
    let hub = Hub::new(HubConfig {
        limits: LimitsConfig {
            memory_per_publisher: 100_000,
            ..LimitsConfig::default()
        },
        ..HubConfig::default()
    });
    let name = StreamName::parse("live/test").unwrap();
    let now = Instant::now();
    let publisher = hub.publish(&name, now).unwrap();
    // A subscriber that does not keep up, although its queue has room.
    let (sink, mut queue) = Sink::channel(500);
    let (_subscription, _) = hub.subscribe(&name, sink, 0).unwrap();
    let push = |at: i64, keyframe| {
        let frame = video_frame(at, keyframe, 10_000);
        let arrived = now + Duration::from_millis(at as u64);
        publisher.push(Frame::Video(frame), arrived).unwrap();
    };
    push(0, true);
    for n in 1..30 {
        push(40 * n, false);
        assert!(hub.memory().media() <= 100_000);
    }
    let stats = publisher.stream().stats();
    assert_eq!(stats.cache_overflow, Some(Overflow::Memory));
    assert!(stats.dropped > 0);
    // Room for a frame is no help before a keyframe.
    let held = hub.memory().media();
    queue.try_recv().unwrap();
    assert!(hub.memory().media() < held);
    push(1200, false);
    assert!(hub.memory().media() < held);
    while queue.try_recv().is_ok() {}
    assert_eq!(hub.memory().media(), 0, "nobody has a frame");
    push(1240, true);
    push(1280, false);
    let times = std::iter::from_fn(|| queue.try_recv().ok()).map(|delivery| match delivery.event {
        StreamEvent::Frame(frame) => frame.dts().as_millis(),
        other => panic!("{other:?}"),
    });
    assert_eq!(times.collect::<Vec<_>>(), [1240, 1280]);
    assert_eq!(publisher.stream().stats().cache_overflow, None);
}

#[tokio::test]
async fn short_memory_refuses_new_streams_then_gops_then_viewers() {
    let hub = Hub::new(HubConfig::default());
    let [live, new] = ["live/test", "live/new"].map(|name| StreamName::parse(name).unwrap());
    let now = Instant::now();
    let publisher = hub.publish(&live, now).unwrap();
    let frame = video_frame(0, true, 2 << 20);
    publisher.push(Frame::Video(frame), now).unwrap();
    let use_up = |percent: usize, seconds: u64| {
        let now = now + Duration::from_secs(seconds);
        hub.memory().update(percent, Some(100), now);
        hub.limit_gops();
    };
    let overflow = || publisher.stream().stats().cache_overflow;
    use_up(85, 1);
    assert_eq!(
        hub.admit(&new, WhenTaken::Refused).await.err(),
        Some(AdmissionError::Memory)
    );
    assert!(
        hub.admit(&live, WhenTaken::TakesOver).await.is_ok(),
        "it may reconnect"
    );
    assert!(hub.viewers().admit(&live, None).is_ok());
    assert_eq!(overflow(), None);
    for seconds in 2..8 {
        use_up(90, seconds);
    }
    assert_eq!(overflow(), Some(Overflow::Memory));
    assert!(hub.viewers().admit(&live, None).is_ok());
    use_up(95, 8);
    let refused = hub.viewers().admit(&live, None).unwrap_err();
    assert_eq!(refused, TooManyViewers::Memory);
    for seconds in [9, 24] {
        use_up(10, seconds);
    }
    assert!(hub.viewers().admit(&live, None).is_ok());
    assert!(hub.admit(&new, WhenTaken::Refused).await.is_ok());
}
