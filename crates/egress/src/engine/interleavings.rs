//! Tests of the state that the HTTP side and the shards share, under many interleavings of threads, which
//! shuttle chooses at random: `cargo xtask simulate --interleavings`.
//!
//! The shards are real, and each has a thread. Time stands still while threads run.

#![allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
#![allow(
    clippy::unwrap_used,
    reason = "Clippy does not recognize `cfg(all(test, feature = ...))` as test code"
)]

use std::net::{IpAddr, SocketAddr};
use std::panic::catch_unwind;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use distributary_bench::answer::Answer as PlayerAnswer;
use distributary_bench::offer::offer;
use distributary_hub::{Hub, HubConfig, TooManyViewers, ViewerLimits};
use distributary_names::StreamName;
use distributary_net::{FairQuota, Quota};
use distributary_webrtc::certificate::{Certificate, Fingerprint};
use distributary_webrtc::ice::Credentials;
use distributary_webrtc::sdp::{IceFragment, Offer};
use distributary_webrtc::stun::{IceRole, Message, MessageWriter, Method, TransactionId};
use shuttle::scheduler::RandomScheduler;
use shuttle::thread::{self, JoinHandle};
use shuttle::{Config, Runner};

use super::counter_offer::tests::answer_to;
use super::{
    CloseError, IcePatch, OpenError, OpenedSession, ViewerOptions, close, counter_offer, open,
    patch,
};
use crate::command::Command;
use crate::datagrams::{Outlet, Received, SendError};
use crate::driven::{DrivenSetup, DrivenShard};
use crate::session::{CONNECT_TIMEOUT, Location, RELEASES_BEFORE_CLAIM, SessionId};
use crate::shard::ShardTables;
use crate::state::EngineState;

/// Interleavings that each test tries.
const INTERLEAVINGS: usize = 500;

/// Time after which the upkeep of a shard is due again.
const UPKEEP: Duration = Duration::from_millis(1100);

/// Stack of a thread in bytes: a shard calls OpenSSL.
const STACK: usize = 1 << 20;

static FINGERPRINT: LazyLock<Fingerprint> = LazyLock::new(|| {
    let certificate = Certificate::generate(SystemTime::now()).unwrap();
    certificate.fingerprint().clone()
});

/// Runs a function under many interleavings of the threads that it starts.
fn check(test: impl Fn() + Send + Sync + 'static) {
    LazyLock::force(&FINGERPRINT);
    let mut config = Config::new();
    config.stack_size = STACK;
    Runner::new(RandomScheduler::new(INTERLEAVINGS), config).run(test);
}

/// An outlet to nowhere.
#[derive(Clone, Copy)]
struct Nowhere;

impl Outlet for Nowhere {
    fn send(
        &self,
        _destination: SocketAddr,
        _local: Option<IpAddr>,
        _contents: &[u8],
        _segment_size: usize,
    ) -> Result<(), SendError> {
        Ok(())
    }
}

/// A shard, and its time.
struct Driven {
    driven: DrivenShard<Nowhere>,
    now: Instant,
}

impl Driven {
    /// Handles the commands that wait. Returns whether there was one.
    fn handle_commands(&mut self) -> bool {
        self.driven.handle_commands(self.now)
    }

    /// Handles a datagram, and the commands that wait before and after it.
    fn receive(&mut self, source: SocketAddr, mut bytes: Vec<u8>) {
        self.handle_commands();
        let datagram = Received {
            source,
            local: None,
            bytes: &mut bytes,
        };
        self.driven.shard.handle_datagram(datagram, self.now);
        thread::yield_now();
        self.handle_commands();
    }

    fn tables(&self) -> ShardTables {
        self.driven.shard.tables()
    }

    fn viewers(&self) -> usize {
        self.tables().viewers
    }
}

/// A gateway of which the test is the HTTP side.
#[derive(Clone)]
struct Gateway {
    shared: Arc<EngineState>,
    now: Instant,
}

impl Gateway {
    fn new(shards: usize, viewers: ViewerLimits) -> (Self, Vec<Driven>) {
        let now = Instant::now();
        let hub = Hub::new(HubConfig {
            viewers,
            ..HubConfig::default()
        });
        let setup = DrivenSetup::for_test(hub, shards, now);
        let (shared, shards) = setup.start(|| Nowhere).unwrap();
        let shards = shards.into_iter().map(|driven| Driven { driven, now });
        let shards = shards.collect();
        (Self { shared, now }, shards)
    }

    /// Opens a session of a viewer that counts against this address.
    fn open(&self, stream: &StreamName, address: u8) -> Result<Viewer, OpenError> {
        let credentials = Credentials::new("view", "thePasswordOfTheViewer").unwrap();
        let text = offer(1, &credentials, &FINGERPRINT, false);
        let address = IpAddr::from([192, 0, 2, address]);
        let options = ViewerOptions {
            address: Some(address),
            counts_as: Some(address),
            ..ViewerOptions::default()
        };
        let parsed = Offer::parse(&text).unwrap();
        let opened = open(&self.shared, stream, &parsed, options, self.now)?;
        Ok(Viewer::new(&opened))
    }

    fn close(&self, id: SessionId) -> Result<(), CloseError> {
        close(&self.shared, &id, self.now)
    }

    /// Restarts ICE of a session. Returns our new fragment.
    fn restart(&self, id: SessionId, theirs: &str) -> Option<String> {
        let text = format!("a=ice-ufrag:{theirs}\r\na=ice-pwd:anotherPasswordOfTheSame\r\n");
        let fragment = IceFragment::parse(&text).unwrap();
        match patch(&self.shared, &id, &fragment) {
            Ok(IcePatch::Restarted(restarted)) => Some(restarted.etag),
            Ok(IcePatch::Noted) => panic!("it is a restart"),
            Err(_) => None,
        }
    }

    /// Lets the shards handle what waits until nothing is left.
    fn settle(&self, shards: &mut [Driven]) {
        while shards.iter_mut().any(Driven::handle_commands) {}
        // Streams are dropped at the second upkeep without viewers.
        for _ in 0..2 {
            for shard in &mut *shards {
                shard.now += UPKEEP;
                shard.driven.shard.handle_timeout(shard.now);
            }
        }
    }

    /// Checks that the registry, the shards and the counts have this many sessions, of which some
    /// wait.
    fn expect_sessions(&self, shards: &[Driven], claimed: usize, waiting: usize) {
        let tables: Vec<ShardTables> = shards.iter().map(Driven::tables).collect();
        let viewers: usize = tables.iter().map(|tables| tables.viewers).sum();
        assert_eq!(viewers, claimed, "{tables:?}");
        assert!(
            tables
                .iter()
                .all(|tables| tables.sessions == tables.viewers)
        );
        assert_eq!(self.shared.registry.len(), claimed + waiting);
        assert_eq!(self.shared.hub.viewers().count(), claimed + waiting);
        assert_eq!(self.shared.handshakes.taken(), claimed);
        let spread = self.shared.stats.spread(shards.len());
        assert_eq!(spread.iter().sum::<usize>(), claimed);
    }

    /// Checks that nothing is left of sessions.
    fn expect_nothing(&self, shards: &[Driven]) {
        self.expect_sessions(shards, 0, 0);
        for shard in shards {
            assert_eq!(shard.tables(), ShardTables::default());
        }
        assert!(self.shared.hub.streams().is_empty());
    }
}

/// A viewer that was answered.
struct Viewer {
    id: SessionId,
    ufrag: String,
    /// Its first check.
    check: Vec<u8>,
}

impl Viewer {
    fn new(opened: &OpenedSession) -> Self {
        let answer = PlayerAnswer::parse(&opened.answer).unwrap();
        let ours = answer.credentials;
        let mut check = Vec::new();
        let class = distributary_webrtc::stun::Class::Request;
        MessageWriter::new(&mut check, class, Method::BINDING, TransactionId([7; 12]))
            .username(&format!("{}:view", ours.ufrag()))
            .ice_role(IceRole::Controlling(1))
            .use_candidate()
            .message_integrity(ours.password().as_bytes())
            .finish();
        assert!(Message::parse(&check).is_ok());
        Self {
            id: opened.id,
            ufrag: ours.ufrag().to_owned(),
            check,
        }
    }
}

fn name(name: &str) -> StreamName {
    StreamName::parse(name).unwrap()
}

fn source(host: u8) -> SocketAddr {
    ([198, 51, 100, host], 4000).into()
}

/// Lets each shard receive datagrams on a thread of its own.
fn receive(
    shards: Vec<Driven>,
    datagrams: Vec<Vec<(SocketAddr, Vec<u8>)>>,
) -> Vec<JoinHandle<Driven>> {
    let threads = shards.into_iter().zip(datagrams);
    threads
        .map(|(mut shard, datagrams)| {
            thread::spawn(move || {
                for (source, bytes) in datagrams {
                    shard.receive(source, bytes);
                }
                shard
            })
        })
        .collect()
}

fn join<T>(threads: Vec<JoinHandle<T>>) -> Vec<T> {
    let threads = threads.into_iter();
    threads.map(|thread| thread.join().unwrap()).collect()
}

/// Two checks of a viewer come to two shards at a time, as from two networks.
fn checks_of_one_viewer_come_to_two_shards() {
    let (gateway, shards) = Gateway::new(2, ViewerLimits::default());
    let viewer = gateway.open(&name("live/show"), 1).unwrap();
    let checks = vec![
        vec![(source(1), viewer.check.clone())],
        vec![(source(2), viewer.check.clone())],
    ];
    let mut shards = join(receive(shards, checks));
    gateway.settle(&mut shards);
    gateway.expect_sessions(&shards, 1, 0);
    let owner = shards
        .iter()
        .position(|shard| shard.viewers() == 1)
        .unwrap();
    let located = gateway.shared.registry.locate(&viewer.ufrag);
    assert_eq!(located, Some(Location::Shard(owner)));
    gateway.close(viewer.id).unwrap();
    gateway.settle(&mut shards);
    gateway.expect_nothing(&shards);
}

#[test]
fn session_gets_one_shard_when_checks_come_to_several() {
    check(checks_of_one_viewer_come_to_two_shards);
}

#[test]
fn race_between_the_look_at_an_owner_and_the_claim_is_found() {
    // All threads of shuttle run on this one.
    RELEASES_BEFORE_CLAIM.set(true);
    let found = catch_unwind(|| check(checks_of_one_viewer_come_to_two_shards));
    RELEASES_BEFORE_CLAIM.set(false);
    assert!(found.is_err(), "the planted race was not found");
}

#[test]
fn session_that_ends_while_its_viewer_comes_leaves_nothing() {
    check(|| {
        let (gateway, shards) = Gateway::new(2, ViewerLimits::default());
        let viewer = gateway.open(&name("live/show"), 1).unwrap();
        let id = viewer.id;
        let checks = vec![
            vec![(source(1), viewer.check.clone()); 2],
            vec![(source(2), viewer.check.clone()); 2],
        ];
        let threads = receive(shards, checks);
        let restart = {
            let gateway = gateway.clone();
            thread::spawn(move || gateway.restart(id, "next"))
        };
        let closed = gateway.close(id);
        let fragment = restart.join().unwrap();
        let mut shards = join(threads);
        gateway.settle(&mut shards);
        assert_eq!(closed, Ok(()));
        gateway.expect_nothing(&shards);
        assert_eq!(gateway.shared.registry.locate(&viewer.ufrag), None);
        let located = fragment.and_then(|ufrag| gateway.shared.registry.locate(&ufrag));
        assert_eq!(located, None);
        assert!(gateway.shared.registry.has_ended(&id));
        // A check that comes late gets nothing.
        shards[0].receive(source(1), viewer.check);
        gateway.settle(&mut shards);
        gateway.expect_nothing(&shards);
    });
}

#[test]
fn restarts_reach_the_shard_that_claims_the_session_meanwhile() {
    check(|| {
        let (gateway, shards) = Gateway::new(2, ViewerLimits::default());
        let viewer = gateway.open(&name("live/show"), 1).unwrap();
        let id = viewer.id;
        let checks = vec![vec![(source(1), viewer.check.clone())], Vec::new()];
        let threads = receive(shards, checks);
        let restart = |theirs: &'static str| {
            let gateway = gateway.clone();
            thread::spawn(move || gateway.restart(id, theirs))
        };
        let restarts = vec![restart("one1"), restart("two2")];
        let fragments = join(restarts).into_iter().map(Option::unwrap);
        let fragments: Vec<_> = fragments.chain([viewer.ufrag]).collect();
        let mut shards = join(threads);
        gateway.settle(&mut shards);
        gateway.expect_sessions(&shards, 1, 0);
        let known = fragments
            .iter()
            .filter_map(|ufrag| gateway.shared.registry.locate(ufrag));
        let known: Vec<_> = known.collect();
        assert!(known.iter().all(|at| *at == Location::Shard(0)));
        assert_eq!(shards[0].tables().ufrags, known.len());
    });
}

#[test]
fn late_messages_for_a_session_meet_no_other_one() {
    check(|| {
        let (gateway, mut shards) = Gateway::new(2, ViewerLimits::default());
        let (old, new) = (
            gateway.open(&name("live/show"), 1).unwrap(),
            gateway.open(&name("live/show"), 2).unwrap(),
        );
        shards[0].receive(source(1), old.check.clone());
        gateway.expect_sessions(&shards, 1, 1);
        // The new viewer gets the place of the old one in the shard, and comes from its address.
        let checks = vec![
            vec![
                (source(1), new.check.clone()),
                (source(1), old.check.clone()),
            ],
            vec![(source(1), old.check.clone())],
        ];
        let threads = receive(shards, checks);
        let id = old.id;
        let end = || {
            let gateway = gateway.clone();
            thread::spawn(move || {
                let closed = gateway.close(id);
                // The revocation of its handshake comes as late as it can.
                let inbox = &gateway.shared.inboxes[0];
                inbox.try_send(Command::EndHandshake(id)).unwrap();
                closed
            })
        };
        let ends = join(vec![end(), end()]);
        assert!(ends.contains(&Ok(())), "{ends:?}");
        let mut shards = join(threads);
        gateway.settle(&mut shards);
        gateway.expect_sessions(&shards, 1, 0);
        assert!(gateway.shared.registry.contains(&new.id));
        assert_eq!(
            gateway.shared.registry.locate(&new.ufrag),
            Some(Location::Shard(0))
        );
        assert_eq!(gateway.shared.registry.locate(&old.ufrag), None);
        gateway.close(new.id).unwrap();
        gateway.settle(&mut shards);
        gateway.expect_nothing(&shards);
    });
}

#[test]
fn limits_admit_as_many_viewers_as_they_say_and_no_more() {
    check(|| {
        let limits = ViewerLimits {
            max: 2,
            ..ViewerLimits::default()
        };
        let (gateway, shards) = Gateway::new(1, limits);
        let open = |address| {
            let gateway = gateway.clone();
            thread::spawn(move || gateway.open(&name("live/show"), address).ok())
        };
        let opened = join((1..=3).map(open).collect());
        assert_eq!(opened.iter().flatten().count(), 2);
        gateway.expect_sessions(&shards, 0, 2);
        // One leaves while two come: one of them gets its place, or none that came before.
        let leaver = opened.into_iter().flatten().next().unwrap().id;
        let leaves = {
            let gateway = gateway.clone();
            thread::spawn(move || gateway.close(leaver).unwrap())
        };
        let opened = join(vec![open(4), open(5)]);
        leaves.join().unwrap();
        let came = opened.iter().flatten().count();
        assert!(came <= 1);
        gateway.expect_sessions(&shards, 0, 1 + came);
    });
}

#[test]
fn viewer_that_is_refused_takes_no_place_of_another() {
    check(|| {
        let limits = ViewerLimits {
            max: 9,
            max_per_stream: 1,
            max_per_address: 1,
        };
        let (gateway, _) = Gateway::new(1, limits);
        let _watches = gateway.open(&name("live/full"), 9).unwrap();
        let refused = {
            let gateway = gateway.clone();
            thread::spawn(move || gateway.open(&name("live/full"), 1).err())
        };
        let admitted = gateway.open(&name("live/show"), 1).err();
        assert_eq!(admitted, None);
        // By the limit that is reached for it when it comes.
        let refused = refused.join().unwrap();
        let expected = [TooManyViewers::Stream(1), TooManyViewers::Address(1)];
        let expected = expected.map(|limit| Some(OpenError::Full(limit)));
        assert!(expected.contains(&refused), "{refused:?}");
    });
}

#[test]
fn handshakes_and_quotas_are_counted_exactly() {
    check(|| {
        let now = Instant::now();
        let quota = Arc::new(Quota::new(1, 1));
        let fair = Arc::new(FairQuota::new(2, 1));
        let address = |n: u8| Some(IpAddr::from([192, 0, 2, n]));
        let take = |n: u8| {
            let (quota, fair) = (Arc::clone(&quota), Arc::clone(&fair));
            thread::spawn(move || (quota.take(address(n)).ok(), fair.take(address(n), now).ok()))
        };
        let taken = join(vec![take(1), take(1), take(2)]);
        assert_eq!(
            taken.iter().filter(|(permit, _)| permit.is_some()).count(),
            1
        );
        assert_eq!(
            taken.iter().filter(|(_, permit)| permit.is_some()).count(),
            2
        );
        assert_eq!((quota.taken(), fair.taken()), (1, 2));
        drop(taken);
        assert_eq!((quota.taken(), fair.count()), (0, 0));
    });
}

#[test]
fn shutdown_ends_the_sessions_of_viewers_that_come_meanwhile() {
    check(|| {
        let (gateway, shards) = Gateway::new(2, ViewerLimits::default());
        let viewers = [1, 2].map(|n| gateway.open(&name("live/show"), n).unwrap());
        let checks = vec![
            vec![(source(1), viewers[0].check.clone())],
            vec![
                (source(1), viewers[0].check.clone()),
                (source(2), viewers[1].check.clone()),
            ],
        ];
        let threads: Vec<_> = shards
            .into_iter()
            .zip(checks)
            .map(|(mut shard, checks)| {
                thread::spawn(move || {
                    for (source, bytes) in checks {
                        shard.receive(source, bytes);
                    }
                    // As the driver of a shard does.
                    shard.driven.shard.close_all(shard.now);
                    shard.tables().viewers
                })
            })
            .collect();
        let id = viewers[0].id;
        let closes = {
            let gateway = gateway.clone();
            thread::spawn(move || gateway.close(id))
        };
        assert_eq!(join(threads), [0, 0]);
        // Where the shard has ended, so has the session.
        let _ = closes.join().unwrap();
        // Those whose viewers did not come in time.
        gateway
            .shared
            .keep_up(gateway.now + CONNECT_TIMEOUT + Duration::from_secs(1));
        gateway.expect_sessions(&[], 0, 0);
        assert!(gateway.shared.hub.streams().is_empty());
    });
}

#[test]
fn session_is_found_and_ends_while_its_offer_is_being_answered() {
    check(|| {
        let (gateway, shards) = Gateway::new(1, ViewerLimits::default());
        let address = IpAddr::from([192, 0, 2, 1]);
        let options = ViewerOptions {
            address: Some(address),
            ..ViewerOptions::default()
        };
        let stream = name("live/show");
        let offered = counter_offer::offer(&gateway.shared, &stream, options, gateway.now).unwrap();
        let (id, answer) = (offered.id, answer_to(&offered.offer, &FINGERPRINT));
        let answers = {
            let gateway = gateway.clone();
            thread::spawn(move || {
                counter_offer::accept(&gateway.shared, &id, &answer, gateway.now).is_ok()
            })
        };
        let found = close::of_viewers(&gateway.shared, &|ip| ip == address);
        assert!(found.contains(&id), "a session of the address is not found");
        assert_eq!(gateway.close(id), Ok(()));
        let _ = answers.join().unwrap();
        gateway.expect_nothing(&shards);
    });
}
