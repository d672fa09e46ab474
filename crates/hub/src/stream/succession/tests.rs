//! Standbys of several gateways.

#![allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]

use super::*;
use crate::stream::scene::Scene;
use crate::{Hub, HubConfig, Permit, Publisher, TakeoverError};
use distributary_names::StreamName;

/// A publisher whose gateway does not have the name.
fn waiting(scene: &Scene) -> (Publisher, Tenure) {
    let tenure = Tenure::default();
    tenure.suspend();
    let permit = Permit::of(&tenure);
    let publisher = scene.hub.stand_by(&scene.name, permit, scene.at(0));
    (publisher.unwrap(), tenure)
}

#[test]
fn standby_takes_over_from_another_gateway_only_with_the_name() {
    let (scene, local) = Scene::new();
    drop(local);
    let remote = scene
        .hub
        .publish_remote(&scene.name, scene.start, scene.start);
    let remote = remote.unwrap().from_node("a".into(), scene.start);
    let (standby, tenure) = waiting(&scene);
    let stream = standby.stream();
    assert_eq!(standby.standings().current(), Standing::Standby);
    assert_eq!(
        stream.node().as_deref(),
        Some("a"),
        "viewers see the other one"
    );
    assert_eq!(stream.readiness(scene.at(0)), None);
    // The other gateway is silent.
    scene.video(&standby, 0, 5_000, true, 10);
    let readiness = stream.readiness(scene.at(5_000)).unwrap();
    assert!(!readiness.is_requested);
    assert!(!standby.is_active());
    drop(remote);
    scene.video(&standby, 0, 5_100, true, 10);
    assert!(!standby.is_active() && !stream.is_live());
    tenure.resume();
    stream.await_standby(scene.at(5_200));
    assert_eq!(standby.standings().current(), Standing::Next);
    assert!(stream.is_live());
    scene.video(&standby, 0, 5_300, false, 10);
    assert!(!standby.is_active());
    scene.video(&standby, 0, 5_400, true, 10);
    assert!(standby.is_active());
}

#[test]
fn publisher_that_loses_the_name_stands_by_behind_the_other_gateway() {
    let hub = Hub::new(HubConfig::default());
    let name = StreamName::parse("live/test").unwrap();
    let now = Instant::now();
    let tenure = Tenure::default();
    let local = hub.stand_by(&name, Permit::of(&tenure), now).unwrap();
    assert!(local.is_active());
    assert!(hub.publish_remote(&name, now, now).is_none());
    tenure.suspend();
    assert!(local.is_active(), "until frames of the other one come");
    let remote = hub.publish_remote(&name, now, now).unwrap();
    assert!(remote.is_active());
    assert_eq!(local.standings().current(), Standing::Standby);
    drop(remote);
    assert!(!local.stream().is_live());
    assert_eq!(local.stream().standby_count(), 1);
    // Held again, it is the next.
    tenure.resume();
    local.stream().await_standby(now);
    hub.end_tenure(&name, &tenure, now);
    assert_eq!(local.standings().current(), Standing::Next);
}

#[test]
fn stream_waits_for_a_standby_of_another_gateway_until_its_ownership_ends() {
    let hub = Hub::new(HubConfig::default());
    let name = StreamName::parse("live/test").unwrap();
    let now = Instant::now();
    let tenure = Tenure::default();
    let local = hub.stand_by(&name, Permit::of(&tenure), now).unwrap();
    let stream = Arc::clone(local.stream());
    let successor = Successor {
        node: "b".into(),
        standbys: 1,
        is_ready: true,
    };
    stream.set_successors(vec![successor]);
    drop(local);
    assert!(stream.is_live());
    assert!(stream.gives_way(true, None, now));
    tenure.revoke();
    hub.end_tenure(&name, &tenure, now);
    assert!(!stream.is_live());
    assert!(hub.stream(&name).is_none());
}

#[test]
fn silence_between_questions_counts_in_full() {
    let (scene, local) = Scene::new();
    scene.video(&local, 0, 0, true, 10);
    let stream = local.stream();
    let gives_way = |at, silence| {
        let silence = Duration::from_millis(silence);
        stream.gives_way(true, Some(silence), scene.at(at))
    };
    assert!(!gives_way(50, 100));
    assert!(gives_way(250, 100), "the next question");
    assert!(gives_way(5_000, 1_000), "the first one of another gateway");
}

#[test]
fn gateway_gives_way_when_its_publisher_is_frozen_or_on_request() {
    let (scene, local) = Scene::new();
    let silence = Duration::from_secs(1);
    scene.video(&local, 0, 0, true, 10);
    let stream = local.stream();
    let gives_way = |at, silence| stream.gives_way(true, silence, scene.at(at));
    // The gateway stood still after the first question.
    for at in [100, 1_100, 1_300, 1_499] {
        assert!(!gives_way(at, Some(silence)));
    }
    assert!(gives_way(1_500, Some(silence)));
    assert!(!gives_way(1_500, None));
    // A standby of its own comes first.
    let standby = scene.stand_by(0);
    scene.video(&standby, 0, 1_400, true, 10);
    assert!(!gives_way(1_500, Some(silence)));
    drop(standby);
    let request = |at| stream.request_takeover(None, scene.at(at));
    assert_eq!(request(1_000), Err(TakeoverError::NoStandby));
    let mut successor = Successor {
        node: "b".into(),
        standbys: 1,
        is_ready: false,
    };
    stream.set_successors(vec![successor.clone()]);
    assert_eq!(request(1_000), Err(TakeoverError::Silent));
    successor.is_ready = true;
    stream.set_successors(vec![successor]);
    assert_eq!(request(1_000), Ok(None));
    assert!(gives_way(1_000, None));
    assert!(!gives_way(11_000, None), "the request has expired");
}
