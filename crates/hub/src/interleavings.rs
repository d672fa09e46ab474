//! Tests of the registry of streams under many interleavings of threads, which shuttle chooses at
//! random: `cargo xtask simulate --interleavings`.

#![allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
#![allow(
    clippy::unwrap_used,
    reason = "Clippy does not recognize `cfg(all(test, feature = ...))` as test code"
)]

use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::Instant;

use distributary_names::StreamName;
use shuttle::thread;

use crate::stream_table::RELEASES_BEFORE_REMOVAL;
use crate::subscriber::Sink;
use crate::{Hub, HubConfig, Permit, Standing};

/// Interleavings that each test tries.
const INTERLEAVINGS: usize = 1500;

fn name() -> StreamName {
    StreamName::parse("live/show").unwrap()
}

fn hub() -> Hub {
    Hub::new(HubConfig::default())
}

/// Runs a function under many interleavings of the threads that it starts.
fn check(test: impl Fn() + Send + Sync + 'static) {
    shuttle::check_random(test, INTERLEAVINGS);
}

#[test]
fn one_of_several_publishers_gets_a_name() {
    check(|| {
        let (hub, now) = (hub(), Instant::now());
        let claim = |hub: Hub| thread::spawn(move || hub.publish(&name(), now).ok());
        let threads: Vec<_> = (0..3).map(|_| claim(hub.clone())).collect();
        let publishers = threads
            .into_iter()
            .filter_map(|thread| thread.join().unwrap());
        let publishers: Vec<_> = publishers.collect();
        assert_eq!(publishers.len(), 1);
        assert!(publishers[0].is_active());
        drop(publishers);
        assert!(hub.streams().is_empty());
    });
}

/// A publisher leaves while a viewer comes.
fn viewer_comes_while_the_publisher_leaves() {
    let (hub, now) = (hub(), Instant::now());
    let publisher = hub.publish(&name(), now).unwrap();
    let viewer = {
        let hub = hub.clone();
        thread::spawn(move || {
            let reservation = hub.reserve(&name(), now);
            let (sink, _deliveries) = Sink::channel(8);
            let subscription = hub.subscribe(&name(), sink, 1);
            (reservation, subscription)
        })
    };
    drop(publisher);
    let (reservation, subscription) = viewer.join().unwrap();
    let (subscription, _) = subscription.expect("a reserved stream is there");
    let found = hub.stream(&name()).expect("a watched stream is there");
    assert!(Arc::ptr_eq(reservation.stream(), &found));
    assert!(Arc::ptr_eq(subscription.stream(), &found));
    // The next publisher reaches the viewer.
    let publisher = hub.publish(&name(), now).unwrap();
    assert!(Arc::ptr_eq(publisher.stream(), &found));
    drop((reservation, subscription, publisher));
    assert!(hub.streams().is_empty());
}

#[test]
fn viewer_and_publisher_share_a_stream_whenever_they_come_and_go() {
    check(viewer_comes_while_the_publisher_leaves);
}

#[test]
fn race_between_a_check_and_a_removal_is_found() {
    // All threads of shuttle run on this one.
    RELEASES_BEFORE_REMOVAL.set(true);
    let found = catch_unwind(|| check(viewer_comes_while_the_publisher_leaves));
    RELEASES_BEFORE_REMOVAL.set(false);
    assert!(found.is_err(), "the planted race was not found");
}

#[test]
fn one_publisher_is_active_after_takeovers_and_the_others_are_dismissed() {
    check(|| {
        let (hub, now) = (hub(), Instant::now());
        let first = hub.publish(&name(), now).unwrap();
        let take = |hub: Hub| thread::spawn(move || hub.take_over(&name(), now));
        let threads: Vec<_> = (0..2).map(|_| take(hub.clone())).collect();
        let leaves = thread::spawn(move || drop(first));
        let publishers: Vec<_> = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect();
        leaves.join().unwrap();
        let active = publishers.iter().filter(|publisher| publisher.is_active());
        assert_eq!(active.count(), 1);
        assert!(hub.stream(&name()).unwrap().is_live());
        drop(publishers);
        assert!(hub.streams().is_empty());
    });
}

#[test]
fn standby_is_next_whenever_the_active_publisher_leaves() {
    check(|| {
        let (hub, now) = (hub(), Instant::now());
        let active = hub.publish(&name(), now).unwrap();
        let standby = {
            let hub = hub.clone();
            thread::spawn(move || hub.stand_by(&name(), Permit::default(), now).unwrap())
        };
        drop(active);
        let standby = standby.join().unwrap();
        let standing = standby.standings().current();
        assert!(
            matches!(standing, Standing::Next | Standing::Active),
            "{standing:?}"
        );
        drop(standby);
        assert!(hub.streams().is_empty());
    });
}

#[test]
fn request_is_answered_whether_its_provider_ends_or_the_asker_leaves() {
    check(|| {
        let hub = hub();
        let mut demands = hub.provide(|_| true);
        let asker = {
            let hub = hub.clone();
            thread::spawn(move || shuttle::future::block_on(hub.ensure_live(&name())))
        };
        let provider = thread::spawn(move || {
            if let Ok(demand) = demands.try_recv() {
                demand.answer(Ok(()));
            }
            // What has not been answered is dropped with the queue.
            drop(demands);
        });
        provider.join().unwrap();
        // It does not wait for ever.
        let _ = asker.join().unwrap();
    });
}
