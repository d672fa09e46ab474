use super::*;
use std::cell::RefCell;
use std::sync::{Barrier, LazyLock};
use std::thread;
use std::time::SystemTime;

use crate::session::{SessionContext, ViewerOptions};
use distributary_hub::{BFrameChoice, Hub, HubConfig};
use distributary_webrtc::certificate::{Certificate, Fingerprint, HashAlgorithm};
use distributary_webrtc::dtls::{DtlsContext, DtlsRole};
use distributary_webrtc::peer::{DelayPolicy, PeerConfig};
use distributary_webrtc::quality::Preference;
use tokio::sync::mpsc;

const PASSWORD: &str = "0123456789012345678901";

static DTLS: LazyLock<DtlsContext> = LazyLock::new(|| {
    let certificate = Certificate::generate(SystemTime::UNIX_EPOCH).unwrap();
    DtlsContext::new(&certificate).unwrap()
});

fn waiting(id: SessionId, ufrag: &str) -> PendingSession {
    let name = StreamName::parse("live/test").unwrap();
    let hub = Hub::new(HubConfig::default());
    let permit = hub.viewers().admit(&name, None).unwrap();
    PendingSession {
        id,
        reservation: hub.reserve(&name, origin()),
        peer: PeerConfig {
            local: Credentials::new(ufrag, PASSWORD).unwrap(),
            remote: credentials("them"),
            fingerprints: vec![Fingerprint::of(HashAlgorithm::Sha256, b"certificate")],
            role: DtlsRole::Server,
            video: None,
            audio: None,
            data: None,
            cname: "cname".into(),
            start_pacing: 1,
            pace_frames: true,
            playout_delay: DelayPolicy::Auto,
            reports_silence: false,
        },
        restarted: None,
        b_frames: BFrameChoice::default(),
        preference: Preference::default(),
        dtls: DTLS.clone(),
        created: origin(),
        was_heard: false,
        context: SessionContext::new(&id, &name, &ViewerOptions::default(), permit),
        stream: name,
    }
}

/// The origin of driven time.
#[allow(clippy::disallowed_methods, reason = "an origin for driven time")]
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

fn origin() -> Instant {
    *ORIGIN
}

fn credentials(ufrag: &str) -> Credentials {
    Credentials::new(ufrag, PASSWORD).unwrap()
}

fn is_at(registry: &Registry, ufrag: &str, shard: usize) -> bool {
    matches!(registry.claim(ufrag, 9), Claim::Elsewhere(found) if found == shard)
}

/// Enters a session with our fragment `one1`.
fn enter(registry: &Registry) -> SessionId {
    let id = SessionId::random();
    assert!(registry.insert(waiting(id, "one1")).is_ok());
    id
}

/// Returns a registry with a session of our fragment `one1` that shard 3 has claimed.
fn claimed() -> (Registry, SessionId) {
    let registry = Registry::default();
    let id = enter(&registry);
    let claim = registry.claim("one1", 3);
    assert!(matches!(claim, Claim::Claimed(_)));
    (registry, id)
}

/// The commands that a shard finds in its inbox.
type Inbox = RefCell<Vec<(usize, String)>>;

/// Restarts with our fragment `ufrag`. `None` as the inbox stands for a full one.
fn restart(
    registry: &Registry,
    id: &SessionId,
    ufrag: &str,
    inbox: Option<&Inbox>,
) -> Result<(), RestartError> {
    registry.restart(id, &credentials(ufrag), &credentials("next"), |shard| {
        let inbox = inbox?;
        Some(move || inbox.borrow_mut().push((shard, ufrag.to_owned())))
    })
}

fn is_empty(registry: &Registry) -> bool {
    let sessions = registry.lock();
    sessions.by_id.is_empty() && sessions.by_ufrag.is_empty()
}

#[test]
fn first_credentials_stay_valid_after_a_restart_before_the_first_check() {
    for named in ["one1", "six6"] {
        let registry = Registry::default();
        let id = enter(&registry);
        // Of several restarts the last counts.
        for ufrag in ["two2", "six6"] {
            let restarted = restart(&registry, &id, ufrag, None);
            assert_eq!(restarted, Ok(()));
        }
        assert_eq!(registry.locate("two2"), None);
        let Claim::Claimed(session) = registry.claim(named, 3) else {
            panic!("not under {named}");
        };
        let ufrags: Vec<&str> = session.ufrags().collect();
        assert_eq!(ufrags, ["one1", "six6"]);
        assert!(is_at(&registry, "one1", 3) && is_at(&registry, "six6", 3));
        registry.remove(&id);
        assert!(is_empty(&registry));
    }
}

#[test]
fn restarted_session_whose_viewer_never_comes_leaves_nothing_behind() {
    for expires in [true, false] {
        let registry = Registry::default();
        let id = enter(&registry);
        restart(&registry, &id, "two2", None).unwrap();
        if expires {
            registry.expire(origin() + CONNECT_TIMEOUT * 2);
        } else {
            assert!(matches!(
                registry.close(&id, origin()),
                Some(Closing::Done(None))
            ));
        }
        assert!(is_empty(&registry));
    }
}

#[test]
fn restart_with_a_full_shard_inbox_changes_nothing() {
    let (registry, id) = claimed();
    let busy = restart(&registry, &id, "two2", None);
    assert_eq!(busy, Err(RestartError::Busy));
    assert_eq!(registry.locate("two2"), None);
    assert_eq!(&*registry.fragments(&id).unwrap().0, "one1");
}

#[test]
fn restart_with_a_fragment_of_another_session_changes_nothing() {
    let registry = Registry::default();
    let (id, other) = (enter(&registry), SessionId::random());
    assert!(registry.insert(waiting(other, "one1")).is_err());
    assert!(registry.insert(waiting(other, "two2")).is_ok());
    let taken = restart(&registry, &id, "two2", None);
    assert_eq!(taken, Err(RestartError::Taken));
    assert_eq!(&*registry.fragments(&id).unwrap().0, "one1");
    assert_eq!(registry.len(), 2);
}

/// Restarts from two threads while a third claims the session. There is room for few commands.
#[test]
fn registry_and_shard_agree_in_any_order_of_restarts_and_claim() {
    const SHARD: usize = 3;
    for _ in 0..500 {
        let registry = Registry::default();
        let id = enter(&registry);
        let (inbox, mut commands) = mpsc::channel(3);
        let start = Barrier::new(3);
        let restarts = |names: [&str; 3]| {
            start.wait();
            for ufrag in names {
                let reserve = |shard| {
                    assert_eq!(shard, SHARD);
                    let permit = inbox.try_reserve().ok()?;
                    Some(move || permit.send(ufrag.to_owned()))
                };
                let (ours, theirs) = (credentials(ufrag), credentials("next"));
                match registry.restart(&id, &ours, &theirs, reserve) {
                    Ok(()) | Err(RestartError::Busy) => {}
                    other => panic!("{other:?}"),
                }
            }
        };
        let claimed = thread::scope(|scope| {
            scope.spawn(|| restarts(["aaa1", "aaa2", "aaa3"]));
            scope.spawn(|| restarts(["bbb1", "bbb2", "bbb3"]));
            start.wait();
            registry.claim("one1", SHARD)
        });
        let Claim::Claimed(session) = claimed else {
            panic!("it waits");
        };
        let mut of_shard: Vec<String> = session.ufrags().map(str::to_owned).collect();
        while let Ok(ufrag) = commands.try_recv() {
            of_shard.push(ufrag);
        }
        let of_shard = of_shard.split_off(of_shard.len().saturating_sub(MAX_FRAGMENTS));
        let sessions = registry.lock();
        let ufrags: Vec<String> = sessions.by_id[&id]
            .ufrags
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(ufrags, of_shard);
        assert_eq!(sessions.by_ufrag.len(), ufrags.len());
        assert!(
            ufrags
                .iter()
                .all(|ufrag| sessions.by_ufrag[ufrag.as_str()] == id)
        );
    }
}

#[test]
fn restarted_session_is_found_under_both_fragments_until_it_ends() {
    let inbox = Inbox::default();
    let (registry, id) = claimed();
    assert_eq!(restart(&registry, &id, "two2", Some(&inbox)), Ok(()));
    assert_eq!(*inbox.borrow(), [(3, "two2".to_owned())]);
    assert!(is_at(&registry, "one1", 3) && is_at(&registry, "two2", 3));
    let fragments = registry.fragments(&id).unwrap();
    assert_eq!((&*fragments.0, &*fragments.1), ("two2", "next"));
    assert!(matches!(
        registry.close(&id, origin()),
        Some(Closing::AtShard(3))
    ));
    registry.remove(&id);
    for ufrag in ["one1", "two2"] {
        assert!(matches!(registry.claim(ufrag, 0), Claim::Unknown));
    }
    let gone = restart(&registry, &id, "six6", Some(&inbox));
    assert_eq!(gone, Err(RestartError::Unknown));
}

#[test]
fn number_of_fragments_is_bounded_over_many_restarts() {
    let inbox = Inbox::default();
    let (registry, id) = claimed();
    for n in 0..100 {
        let restarted = restart(&registry, &id, &format!("gen{n}"), Some(&inbox));
        assert_eq!(restarted, Ok(()));
    }
    assert_eq!(registry.lock().by_ufrag.len(), MAX_FRAGMENTS);
    assert!(is_at(&registry, "gen99", 3) && is_at(&registry, "gen96", 3));
}

#[test]
fn expired_session_says_whether_its_viewer_had_come() {
    for comes in [true, false] {
        let registry = Registry::default();
        enter(&registry);
        if comes {
            registry.note_heard("one1");
        }
        let expired = registry.expire(origin() + CONNECT_TIMEOUT * 2);
        let heard: Vec<bool> = expired.iter().map(|session| session.was_heard).collect();
        assert_eq!(heard, [comes]);
    }
}

#[test]
fn session_that_a_shard_has_claimed_does_not_expire() {
    let (registry, id) = claimed();
    let late = origin() + CONNECT_TIMEOUT * 2;
    assert!(registry.expire(late).is_empty() && registry.contains(&id));
    assert!(registry.lock().newest.is_empty());
}

#[tokio::test]
async fn watch_returns_when_the_session_ends() {
    let registry = Registry::default();
    let id = SessionId::random();
    assert!(registry.watch(&id).is_none() && !registry.has_ended(&id));
    assert!(registry.insert(waiting(id, "one1")).is_ok());
    let mut session = registry.watch(&id).unwrap();
    assert_eq!(session.stream().as_str(), "live/test");
    let mut same = registry.watch(&id).unwrap();
    assert!(matches!(
        registry.close(&id, origin()),
        Some(Closing::Done(None))
    ));
    session.ended().await;
    same.ended().await;
    assert!(registry.has_ended(&id));
}

#[test]
fn check_with_credentials_that_a_restart_has_replaced_gets_no_session() {
    let registry = Registry::default();
    let id = enter(&registry);
    restart(&registry, &id, "two2", None).unwrap();
    let Found::Waiting(challenge) = registry.find("two2") else {
        panic!("it waits");
    };
    let (local, _) = challenge.restarted.unwrap();
    assert_eq!(local.ufrag(), "two2");
    // Another restart while the check is verified.
    restart(&registry, &id, "six6", None).unwrap();
    assert!(matches!(registry.claim("two2", 3), Claim::Unknown));
    assert!(matches!(registry.claim("six6", 3), Claim::Claimed(_)));
}

#[test]
fn session_goes_to_one_of_two_shards_that_verify_a_check_at_the_same_time() {
    let registry = Registry::default();
    enter(&registry);
    for _ in 0..2 {
        assert!(matches!(registry.find("one1"), Found::Waiting(_)));
    }
    assert!(matches!(registry.claim("one1", 3), Claim::Claimed(_)));
    assert!(is_at(&registry, "one1", 3));
    assert!(matches!(registry.find("one1"), Found::Elsewhere(3)));
}

#[test]
fn session_that_ends_late_or_with_a_report_has_failed() {
    let registry = Registry::default();
    let id = enter(&registry);
    let late = origin() + LEAST_WAIT;
    let Some(Closing::Done(Some(failed))) = registry.close(&id, late) else {
        panic!("it waited for long");
    };
    assert_eq!((failed.id, failed.was_heard), (id, false));
    assert_eq!(failed.report, None);

    let id = enter(&registry);
    assert!(matches!(
        registry.note_report(&id, "checking"),
        Reported::First(_)
    ));
    assert!(matches!(
        registry.note_report(&id, "failed"),
        Reported::Again
    ));
    let Some(Closing::Done(Some(failed))) = registry.close(&id, origin()) else {
        panic!("its player gave up");
    };
    assert_eq!(failed.report.as_deref(), Some("checking"));
    assert!(matches!(
        registry.note_report(&id, "failed"),
        Reported::Unknown
    ));
}

#[test]
fn session_connects_once() {
    let (registry, id) = claimed();
    assert!(registry.note_connected(&id) && !registry.note_connected(&id));
    assert!(registry.remove(&id).unwrap().was_connected);
    assert!(!registry.note_connected(&id));
}
