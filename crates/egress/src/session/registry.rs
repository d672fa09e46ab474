//! All sessions by name.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use dashmap::{DashMap, Entry};
use distributary_hub::StreamName;
use tokio::sync::watch;
use tracing::Span;

use super::ended::Ended;
use super::id::SessionId;
use super::pending::{CONNECT_TIMEOUT, PendingSession};
use super::watch::SessionWatch;
use distributary_webrtc::ice::Credentials;

/// A session that has waited for too long.
pub(crate) struct Expired {
    /// Says whose it was.
    pub(crate) span: Span,
    /// Its viewer came, and its handshake could not begin.
    pub(crate) was_heard: bool,
}

/// Whose a session is.
enum Owner {
    /// Nobody's yet.
    Waiting(Box<PendingSession>),
    /// Nobody's yet; the session is under this other fragment.
    WaitingAs(Box<str>),
    /// The shard's of this number.
    Shard(usize),
}

/// Where a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nowhere yet.
    Waiting,
    /// With the shard of this number.
    Shard(usize),
}

/// What a shard finds under a user name fragment.
pub(crate) enum Claim {
    /// The session, now the caller's.
    Claimed(Box<PendingSession>),
    /// The session is another shard's, to which the datagram must go.
    Elsewhere(usize),
    /// No such session.
    Unknown,
}

/// Fragments of our side under which a session is found: one for each ICE generation that the viewer
/// may still check with (RFC 8445 section 9), and some for restarts that it has begun and not finished.
pub(crate) const MAX_FRAGMENTS: usize = 4;

/// Why a session cannot be entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InsertError {
    /// Another session has its fragment.
    Taken,
}

/// What is known of a session, whoever has it.
struct Known {
    stream: StreamName,
    /// The fragments of our side, the newest last; never empty.
    ufrags: Vec<Box<str>>,
    /// The newest fragment of the viewer.
    remote_ufrag: Box<str>,
    /// The handshake is done.
    is_connected: bool,
    /// Dropped at the end, of which those learn who listen.
    end: Option<watch::Sender<()>>,
}

impl Known {
    fn newest(&self) -> &str {
        self.ufrags.last().map_or("", |ufrag| ufrag)
    }
}

/// Why a session is not given new ICE credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RestartError {
    /// There is no such session, or the fragment is taken.
    Unknown,
    /// It is not where it was thought to be.
    Elsewhere,
}

/// All sessions of the gateway, by the user name fragments of our side and by id.
///
/// It is asked once per session and for datagrams of unknown origin, never while media flows.
#[derive(Default)]
pub(crate) struct Registry {
    by_ufrag: DashMap<Box<str>, Owner>,
    by_id: DashMap<SessionId, Known>,
    /// Most sessions that there were at a time.
    most: AtomicUsize,
    ended: Ended,
}

impl Registry {
    /// Sessions in it, waiting ones included.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Enters a session under `ufrag`.
    pub(crate) fn insert(&self, ufrag: &str, session: PendingSession) -> Result<(), InsertError> {
        let id = session.id;
        // Who watches a rendition watches the stream.
        let stream = session.stream.published();
        let known = Known {
            stream: stream.clone(),
            ufrags: vec![ufrag.into()],
            remote_ufrag: session.peer.remote.ufrag().into(),
            is_connected: false,
            end: None,
        };
        match self.by_ufrag.entry(ufrag.into()) {
            Entry::Occupied(_) => Err(InsertError::Taken),
            Entry::Vacant(entry) => {
                entry.insert(Owner::Waiting(Box::new(session)));
                self.by_id.insert(id, known);
                self.most.fetch_max(self.len(), Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// Forgets what is known of a session.
    fn forget(&self, id: &SessionId) -> Option<Known> {
        let (_, known) = self.by_id.remove(id)?;
        self.ended.insert(*id, self.most.load(Ordering::Relaxed));
        Some(known)
    }

    /// Where the session of a user name fragment is, if there is one.
    pub(crate) fn place(&self, ufrag: &str) -> Option<Place> {
        Some(match *self.by_ufrag.get(ufrag)? {
            Owner::Waiting(_) | Owner::WaitingAs(_) => Place::Waiting,
            Owner::Shard(shard) => Place::Shard(shard),
        })
    }

    /// Where a session is, if there is one of this name.
    pub(crate) fn place_of(&self, id: &SessionId) -> Option<Place> {
        let newest: Box<str> = self.by_id.get(id)?.newest().into();
        self.place(&newest)
    }

    /// Takes a waiting session for `shard` if `is_valid` says that the caller has heard of it, or
    /// says where it is.
    pub(crate) fn claim(
        &self,
        ufrag: &str,
        shard: usize,
        is_valid: impl FnOnce(&mut PendingSession) -> bool,
    ) -> Claim {
        let first = match self.by_ufrag.get(ufrag).as_deref() {
            Some(Owner::WaitingAs(first)) => first.clone(),
            _ => ufrag.into(),
        };
        let session = {
            let Some(mut owner) = self.by_ufrag.get_mut(&first) else {
                return Claim::Unknown;
            };
            let is_valid = match &mut *owner {
                Owner::Shard(other) => return Claim::Elsewhere(*other),
                Owner::Waiting(session) => is_valid(session),
                Owner::WaitingAs(_) => false,
            };
            if !is_valid {
                return Claim::Unknown;
            }
            match std::mem::replace(&mut *owner, Owner::Shard(shard)) {
                Owner::Waiting(session) => session,
                Owner::Shard(_) | Owner::WaitingAs(_) => return Claim::Unknown,
            }
        };
        for other in session.ufrags().skip(1) {
            self.by_ufrag.insert(other.into(), Owner::Shard(shard));
        }
        Claim::Claimed(session)
    }

    /// Removes a session that has ended.
    pub(crate) fn remove(&self, id: &SessionId) {
        let Some(known) = self.forget(id) else {
            return;
        };
        for ufrag in &known.ufrags {
            self.by_ufrag.remove(ufrag);
        }
    }

    /// Our newest fragment and that of the viewer, in a session that there is.
    pub(crate) fn fragments(&self, id: &SessionId) -> Option<(Box<str>, Box<str>)> {
        let known = self.by_id.get(id)?;
        Some((known.newest().into(), known.remote_ufrag.clone()))
    }

    /// Notes that the handshake of a session is done.
    pub(crate) fn note_connected(&self, id: &SessionId) {
        if let Some(mut known) = self.by_id.get_mut(id) {
            known.is_connected = true;
        }
    }

    /// Whether the handshake of a session is done.
    pub(crate) fn is_connected(&self, id: &SessionId) -> bool {
        self.by_id.get(id).is_some_and(|known| known.is_connected)
    }

    /// Gives a session that is at `place` new ICE credentials, beside those it has. A shard that has it
    /// must be told.
    pub(crate) fn restart(
        &self,
        id: &SessionId,
        (local, remote): (&Credentials, &Credentials),
        place: Place,
    ) -> Result<(), RestartError> {
        let mut known = self.by_id.get_mut(id).ok_or(RestartError::Unknown)?;
        if self.by_ufrag.contains_key(local.ufrag()) {
            return Err(RestartError::Unknown);
        }
        match place {
            Place::Waiting => self.restart_waiting(&mut known, local, remote)?,
            Place::Shard(shard) => {
                if self.place(known.newest()) != Some(place) {
                    return Err(RestartError::Elsewhere);
                }
                let owner = Owner::Shard(shard);
                self.by_ufrag.insert(local.ufrag().into(), owner);
            }
        }
        known.ufrags.push(local.ufrag().into());
        known.remote_ufrag = remote.ufrag().into();
        if known.ufrags.len() > MAX_FRAGMENTS {
            let oldest = known.ufrags.remove(0);
            self.by_ufrag.remove(&oldest);
        }
        Ok(())
    }

    /// Of several restarts before the viewer has come the last counts.
    fn restart_waiting(
        &self,
        known: &mut Known,
        local: &Credentials,
        remote: &Credentials,
    ) -> Result<(), RestartError> {
        let first = known.ufrags.first().ok_or(RestartError::Unknown)?.clone();
        let before = match self.by_ufrag.get_mut(&first).as_deref_mut() {
            Some(Owner::Waiting(session)) => {
                let restarted = (local.clone(), remote.clone());
                session.restarted.replace(restarted)
            }
            Some(Owner::Shard(_)) => return Err(RestartError::Elsewhere),
            Some(Owner::WaitingAs(_)) | None => return Err(RestartError::Unknown),
        };
        if let Some((before, _)) = before {
            self.by_ufrag.remove(before.ufrag());
            known.ufrags.truncate(1);
        }
        let alias = Owner::WaitingAs(first);
        self.by_ufrag.insert(local.ufrag().into(), alias);
        Ok(())
    }

    /// A session that there is, to wait for its end.
    pub(crate) fn watch(&self, id: &SessionId) -> Option<SessionWatch> {
        let mut known = self.by_id.get_mut(id)?;
        Some(SessionWatch {
            stream: known.stream.clone(),
            end: known.end.get_or_insert_default().subscribe(),
        })
    }

    /// Whether there is such a session.
    pub(crate) fn contains(&self, id: &SessionId) -> bool {
        self.by_id.contains_key(id)
    }

    /// Whether a session was there and is one of the last that have ended.
    pub(crate) fn has_ended(&self, id: &SessionId) -> bool {
        self.ended.contains(id)
    }

    /// Removes a session that waits; for one that a shard has, returns the shard, which must close
    /// it. `None`: there is no such session.
    pub(crate) fn close(&self, id: &SessionId) -> Option<Option<usize>> {
        let ufrags = self.by_id.get(id)?.ufrags.clone();
        let first = ufrags.first()?;
        let waiting = self
            .by_ufrag
            .remove_if(first, |_, owner| matches!(owner, Owner::Waiting(_)));
        if let Some((_, owner)) = waiting {
            self.remove(id);
            if let Owner::Waiting(session) = owner {
                tracing::info!(parent: &session.visit.span, "left before its first packet");
            }
            return Some(None);
        }
        match self.place(first)? {
            Place::Shard(shard) => Some(Some(shard)),
            Place::Waiting => None,
        }
    }

    /// Removes and returns the sessions that no shard has taken in time.
    pub(crate) fn expire(&self, now: Instant) -> Vec<Expired> {
        let mut expired = Vec::new();
        self.by_ufrag.retain(|_, owner| match owner {
            Owner::Waiting(session) if now.duration_since(session.created) > CONNECT_TIMEOUT => {
                let was_heard = session.was_heard;
                let span = session.visit.span.clone();
                expired.push((session.id, Expired { span, was_heard }));
                false
            }
            _ => true,
        });
        let forgotten = expired.into_iter().map(|(id, session)| {
            self.remove(&id);
            session
        });
        forgotten.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    use crate::visit::Visit;
    use distributary_hub::{BFrameChoice, Hub, HubConfig};
    use distributary_webrtc::certificate::{Certificate, Fingerprint, HashAlgorithm};
    use distributary_webrtc::dtls::{DtlsContext, DtlsRole};
    use distributary_webrtc::peer::PeerConfig;

    const PASSWORD: &str = "0123456789012345678901";

    fn waiting(id: SessionId, ufrag: &str) -> PendingSession {
        let name = StreamName::parse("live/test").unwrap();
        let hub = Hub::new(HubConfig::default());
        let place = hub.viewers().admit(&name, None).unwrap();
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
                pace_pictures: true,
            },
            restarted: None,
            b_frames: BFrameChoice::default(),
            dtls: DtlsContext::new(&Certificate::generate(SystemTime::UNIX_EPOCH).unwrap())
                .unwrap(),
            created: origin(),
            was_heard: false,
            visit: Visit::new(&id, &name, None, (None, place)),
            stream: name,
        }
    }

    #[allow(clippy::disallowed_methods, reason = "an origin for driven time")]
    fn origin() -> Instant {
        Instant::now()
    }

    fn credentials(ufrag: &str) -> Credentials {
        Credentials::new(ufrag, PASSWORD).unwrap()
    }

    fn is_at(registry: &Registry, ufrag: &str, shard: usize) -> bool {
        matches!(registry.claim(ufrag, 9, |_| true), Claim::Elsewhere(found) if found == shard)
    }

    fn restart(
        registry: &Registry,
        id: &SessionId,
        ufrag: &str,
        place: Place,
    ) -> Result<(), RestartError> {
        registry.restart(id, (&credentials(ufrag), &credentials("next")), place)
    }

    #[test]
    fn restart_before_the_viewer_came_leaves_its_first_credentials_good() {
        for named in ["one1", "six6"] {
            let registry = Registry::default();
            let id = SessionId::random();
            registry.insert("one1", waiting(id, "one1")).unwrap();
            // Of several the last counts.
            for ufrag in ["two2", "six6"] {
                let restarted = restart(&registry, &id, ufrag, Place::Waiting);
                assert_eq!(restarted, Ok(()));
            }
            assert_eq!(registry.place("two2"), None);
            let Claim::Claimed(session) = registry.claim(named, 3, |_| true) else {
                panic!("not under {named}");
            };
            let ufrags: Vec<&str> = session.ufrags().collect();
            assert_eq!(ufrags, ["one1", "six6"]);
            assert!(is_at(&registry, "one1", 3) && is_at(&registry, "six6", 3));
            registry.remove(&id);
            assert!(registry.by_ufrag.is_empty() && registry.by_id.is_empty());
        }
    }

    #[test]
    fn restarted_session_whose_viewer_never_comes_leaves_nothing_behind() {
        for expires in [true, false] {
            let registry = Registry::default();
            let id = SessionId::random();
            registry.insert("one1", waiting(id, "one1")).unwrap();
            restart(&registry, &id, "two2", Place::Waiting).unwrap();
            if expires {
                registry.expire(origin() + CONNECT_TIMEOUT * 2);
            } else {
                assert_eq!(registry.close(&id), Some(None));
            }
            assert!(registry.by_ufrag.is_empty() && registry.by_id.is_empty());
        }
    }

    #[test]
    fn session_that_has_moved_to_a_shard_is_not_restarted_as_if_it_waited() {
        let registry = Registry::default();
        let id = SessionId::random();
        registry.insert("one1", waiting(id, "one1")).unwrap();
        let early = restart(&registry, &id, "two2", Place::Shard(3));
        assert_eq!(early, Err(RestartError::Elsewhere));
        assert!(matches!(
            registry.claim("one1", 3, |_| true),
            Claim::Claimed(_)
        ));
        let late = restart(&registry, &id, "two2", Place::Waiting);
        assert_eq!(late, Err(RestartError::Elsewhere));
        assert_eq!(registry.place("two2"), None);
        assert_eq!(&*registry.fragments(&id).unwrap().0, "one1");
    }

    #[test]
    fn a_restart_of_a_shards_session_is_found_under_both_fragments_and_ends_under_both() {
        let registry = Registry::default();
        let id = SessionId::random();
        registry.insert("one1", waiting(id, "one1")).unwrap();
        assert!(matches!(
            registry.claim("one1", 3, |_| true),
            Claim::Claimed(_)
        ));
        assert_eq!(restart(&registry, &id, "two2", Place::Shard(3)), Ok(()));
        assert!(is_at(&registry, "one1", 3) && is_at(&registry, "two2", 3));
        let fragments = registry.fragments(&id).unwrap();
        assert_eq!((&*fragments.0, &*fragments.1), ("two2", "next"));
        assert_eq!(registry.close(&id), Some(Some(3)));
        registry.remove(&id);
        for ufrag in ["one1", "two2"] {
            assert!(matches!(registry.claim(ufrag, 0, |_| true), Claim::Unknown));
        }
        let gone = restart(&registry, &id, "six6", Place::Shard(3));
        assert_eq!(gone, Err(RestartError::Unknown));
    }

    #[test]
    fn restarts_without_end_leave_few_fragments_behind() {
        let registry = Registry::default();
        let id = SessionId::random();
        registry.insert("one1", waiting(id, "one1")).unwrap();
        assert!(matches!(
            registry.claim("one1", 3, |_| true),
            Claim::Claimed(_)
        ));
        for n in 0..100 {
            let restarted = restart(&registry, &id, &format!("gen{n}"), Place::Shard(3));
            assert_eq!(restarted, Ok(()));
        }
        assert_eq!(registry.by_ufrag.len(), MAX_FRAGMENTS);
        assert!(is_at(&registry, "gen99", 3) && is_at(&registry, "gen96", 3));
    }

    #[test]
    fn expired_session_says_whether_its_viewer_had_come() {
        for comes in [true, false] {
            let registry = Registry::default();
            let id = SessionId::random();
            registry.insert("one1", waiting(id, "one1")).unwrap();
            if comes {
                let claim = registry.claim("one1", 3, |session| {
                    session.was_heard = true;
                    false
                });
                assert!(matches!(claim, Claim::Unknown));
            }
            let expired = registry.expire(origin() + CONNECT_TIMEOUT * 2);
            let heard: Vec<bool> = expired.iter().map(|session| session.was_heard).collect();
            assert_eq!(heard, [comes]);
        }
    }

    #[tokio::test]
    async fn the_end_of_a_session_can_be_waited_for() {
        let registry = Registry::default();
        let id = SessionId::random();
        assert!(registry.watch(&id).is_none() && !registry.has_ended(&id));
        registry.insert("one1", waiting(id, "one1")).unwrap();
        let mut session = registry.watch(&id).unwrap();
        assert_eq!(session.stream().as_str(), "live/test");
        let mut same = registry.watch(&id).unwrap();
        assert_eq!(registry.close(&id), Some(None));
        session.ended().await;
        same.ended().await;
        assert!(registry.has_ended(&id));
    }
}
