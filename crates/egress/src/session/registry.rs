//! All sessions of the gateway.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::mem;
use std::net::IpAddr;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use distributary_names::{RenditionId, StreamName};
use distributary_net::sync::{Mutex, MutexGuard};
use tokio::sync::watch;
use tracing::Span;

use super::ended::EndedIds;
use super::id::SessionId;
use super::pending::{CONNECT_TIMEOUT, PendingSession};
use super::watch::SessionWatch;
use distributary_webrtc::ice::Credentials;
use distributary_webrtc::quality::Preference;

/// Maximum number of our ICE user name fragments per session: one for each ICE generation that the
/// viewer may still check with (RFC 8445 section 9), and some for unfinished restarts.
pub(crate) const MAX_FRAGMENTS: usize = 4;

/// Time after which the checks of an answered viewer would have arrived. A player that ends its
/// session sooner was closed by its user; later, it has given up.
const LEAST_WAIT: Duration = Duration::from_secs(3);

/// All sessions of the gateway, by id and by the ICE user name fragments of our side.
///
/// One lock keeps the maps consistent. It is taken when a session starts, changes or ends and for
/// checks of unknown origin, never while media flows and for no cryptography.
#[derive(Default)]
pub(crate) struct Registry(Mutex<Sessions>);

#[derive(Default)]
struct Sessions {
    by_id: HashMap<SessionId, Session>,
    by_ufrag: HashMap<Box<str>, SessionId>,
    /// The sessions of the last [`CONNECT_TIMEOUT`], the oldest first, waiting or not.
    newest: VecDeque<(Instant, SessionId)>,
    /// The highest number of sessions at a time.
    most: usize,
    ended: EndedIds,
    /// Credentials of probes, see [`Registry::add_probe`].
    probes: HashMap<Box<str>, Credentials>,
}

/// A session.
struct Session {
    stream: StreamName,
    owner: Owner,
    /// The fragments of our side, the newest last; never empty.
    ufrags: Vec<Box<str>>,
    /// The newest fragment of the viewer.
    remote_ufrag: Box<str>,
    /// The handshake is done.
    is_connected: bool,
    /// The address of the viewer's HTTP request.
    address: Option<IpAddr>,
    /// The player's report of a failed connection; not verified.
    report: Option<Box<str>>,
    /// Names its viewer in the log.
    span: Span,
    /// Dropped at the end, which wakes its [`SessionWatch`]es.
    end: Option<watch::Sender<()>>,
}

/// The owner of a session.
enum Owner {
    /// None yet: the session waits for the first check of its viewer.
    Waiting(Box<PendingSession>),
    /// The shard of this number.
    Shard(usize),
}

/// The owner of a session, as others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// None yet.
    Waiting,
    /// The shard of this number.
    Shard(usize),
}

/// The session with a user name fragment, for a shard that has received a check for it.
pub(crate) enum Found {
    /// A session that waits, and its credentials for the verification of the check.
    Waiting(Box<Challenge>),
    /// Another shard owns the session; the datagram must go there.
    Elsewhere(usize),
    /// No such session.
    Unknown,
}

/// Copies of a waiting session's data that its viewer's first check must match.
#[derive(Clone, Debug)]
pub(crate) struct Challenge {
    pub(crate) local: Credentials,
    pub(crate) remote: Credentials,
    /// The credentials after an ICE restart.
    pub(crate) restarted: Option<(Credentials, Credentials)>,
    /// The address that the viewer counts against.
    pub(crate) counts_as: Option<IpAddr>,
}

/// The result of a claim.
pub(crate) enum Claim {
    /// The session, now the caller's.
    Claimed(Box<PendingSession>),
    /// Another shard owns the session; the datagram must go there.
    Elsewhere(usize),
    /// No such session.
    Unknown,
}

/// The remaining step to end a session.
#[derive(Debug)]
pub(crate) enum Closing {
    /// Nothing: it waited, and is gone. It is given back if it had waited for so long that its
    /// viewer's checks would have arrived.
    Done(Option<Ended>),
    /// The shard of this number owns it and must close it.
    AtShard(usize),
}

/// A session that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) id: SessionId,
    pub(crate) stream: StreamName,
    /// The address of its viewer's HTTP request.
    pub(crate) address: Option<IpAddr>,
    /// The player's report of a failed connection; not verified.
    pub(crate) report: Option<Box<str>>,
    /// The handshake was done.
    pub(crate) was_connected: bool,
    /// Names its viewer in the log.
    pub(crate) span: Span,
    /// Its viewer came, and its handshake could not begin.
    pub(crate) was_heard: bool,
}

/// The effect of a player's report.
#[derive(Debug)]
pub(crate) enum Reported {
    /// It is recorded. The span names the viewer in the log.
    First(Span),
    /// None: there was one before.
    Again,
    /// None: there is no such session.
    Unknown,
}

/// The reason why a session gets no new ICE credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RestartError {
    /// There is no such session.
    Unknown,
    /// Another session has the same user name fragment.
    Taken,
    /// The inbox of the session's shard is full.
    Busy,
}

impl Registry {
    /// Returns the number of sessions, waiting ones included.
    pub(crate) fn len(&self) -> usize {
        self.lock().by_id.len()
    }

    /// Enters a session, to wait for its viewer. Returns it if another one has the same id or the same
    /// user name fragment.
    pub(crate) fn insert(&self, session: PendingSession) -> Result<(), Box<PendingSession>> {
        let id = session.id;
        let ufrag: Box<str> = session.peer.local.ufrag().into();
        let mut sessions = self.lock();
        if sessions.by_id.contains_key(&id) || sessions.by_ufrag.contains_key(&ufrag) {
            return Err(Box::new(session));
        }
        sessions.newest.push_back((session.created, id));
        sessions.by_ufrag.insert(ufrag.clone(), id);
        let known = Session {
            // A rendition's viewers are viewers of the stream.
            stream: session.stream.published(),
            ufrags: vec![ufrag],
            remote_ufrag: session.peer.remote.ufrag().into(),
            is_connected: false,
            address: session.context.address,
            report: None,
            span: session.context.span.clone(),
            end: None,
            owner: Owner::Waiting(Box::new(session)),
        };
        sessions.by_id.insert(id, known);
        sessions.most = sessions.most.max(sessions.by_id.len());
        Ok(())
    }

    /// Returns the owner of the session with this user name fragment, if there is one.
    pub(crate) fn locate(&self, ufrag: &str) -> Option<Location> {
        let sessions = self.lock();
        let id = sessions.by_ufrag.get(ufrag)?;
        Some(match sessions.by_id.get(id)?.owner {
            Owner::Waiting(_) => Location::Waiting,
            Owner::Shard(shard) => Location::Shard(shard),
        })
    }

    /// Finds the session with a user name fragment, to verify a check before
    /// [`claim`](Self::claim). The caller verifies it without the lock, because that takes several
    /// HMACs.
    pub(crate) fn find(&self, ufrag: &str) -> Found {
        let mut sessions = self.lock();
        if let Some(probe) = sessions.probes.get(ufrag) {
            return Found::Waiting(Box::new(Challenge {
                local: probe.clone(),
                remote: probe.clone(),
                restarted: None,
                counts_as: None,
            }));
        }
        match sessions.by_ufrag(ufrag).map(|session| &session.owner) {
            Some(Owner::Waiting(pending)) => Found::Waiting(Box::new(Challenge {
                local: pending.peer.local.clone(),
                remote: pending.peer.remote.clone(),
                restarted: pending.restarted.clone(),
                counts_as: pending.context.counts_as,
            })),
            Some(Owner::Shard(shard)) => Found::Elsewhere(*shard),
            None => Found::Unknown,
        }
    }

    /// Records that a valid check of a waiting session's viewer has arrived.
    pub(crate) fn note_heard(&self, ufrag: &str) {
        let mut sessions = self.lock();
        if let Some(Owner::Waiting(pending)) =
            sessions.by_ufrag(ufrag).map(|session| &mut session.owner)
        {
            pending.was_heard = true;
        }
    }

    /// Gives a waiting session to `shard`, which has verified a check with this user name fragment,
    /// or returns its owner.
    pub(crate) fn claim(&self, ufrag: &str, shard: usize) -> Claim {
        let mut sessions = self.lock();
        let Some(session) = sessions.by_ufrag(ufrag) else {
            return Claim::Unknown;
        };
        if let Owner::Shard(other) = session.owner {
            return Claim::Elsewhere(other);
        }
        #[cfg(all(test, feature = "shuttle"))]
        if RELEASES_BEFORE_CLAIM.get() {
            drop(sessions);
            sessions = self.lock();
        }
        #[cfg(all(test, feature = "shuttle"))]
        let Some(session) = sessions.by_ufrag(ufrag) else {
            return Claim::Unknown;
        };
        match mem::replace(&mut session.owner, Owner::Shard(shard)) {
            Owner::Waiting(pending) => Claim::Claimed(pending),
            Owner::Shard(other) => Claim::Elsewhere(other),
        }
    }

    /// Sets what the viewer of a session asks for, if the session waits for it. Returns the owner
    /// of the session.
    pub(crate) fn set_quality(
        &self,
        id: &SessionId,
        preference: Preference<RenditionId>,
    ) -> Option<Location> {
        let mut sessions = self.lock();
        Some(match &mut sessions.by_id.get_mut(id)?.owner {
            Owner::Waiting(pending) => {
                pending.preference = preference;
                Location::Waiting
            }
            Owner::Shard(shard) => Location::Shard(*shard),
        })
    }

    /// Removes a session that has ended.
    pub(crate) fn remove(&self, id: &SessionId) -> Option<Ended> {
        // Dropping its owner takes time, so it happens after the lock.
        let removed = self.lock().remove(id);
        removed.map(|session| session.ended(*id))
    }

    /// Makes checks with these credentials' fragment be answered like those of a waiting session.
    /// As no session has them, a check that is not valid is refused, and a valid one gets no
    /// answer.
    pub(crate) fn add_probe(&self, probe: Credentials) {
        self.lock().probes.insert(probe.ufrag().into(), probe);
    }

    /// Removes a probe.
    pub(crate) fn remove_probe(&self, ufrag: &str) {
        self.lock().probes.remove(ufrag);
    }

    /// Records what the player of a session reports of a failed connection. The first report
    /// counts.
    pub(crate) fn note_report(&self, id: &SessionId, report: &str) -> Reported {
        let mut sessions = self.lock();
        let Some(session) = sessions.by_id.get_mut(id) else {
            return Reported::Unknown;
        };
        if session.report.is_some() {
            return Reported::Again;
        }
        session.report = Some(report.into());
        Reported::First(session.span.clone())
    }

    /// Returns our newest fragment and that of the viewer.
    pub(crate) fn fragments(&self, id: &SessionId) -> Option<(Box<str>, Box<str>)> {
        let sessions = self.lock();
        let session = sessions.by_id.get(id)?;
        Some((session.ufrags.last()?.clone(), session.remote_ufrag.clone()))
    }

    /// Records that the handshake of a session is done. Returns `false` if it was before, or there
    /// is no such session.
    pub(crate) fn note_connected(&self, id: &SessionId) -> bool {
        let mut sessions = self.lock();
        let session = sessions.by_id.get_mut(id);
        session.is_some_and(|session| !mem::replace(&mut session.is_connected, true))
    }

    /// Returns whether the handshake of a session is done.
    pub(crate) fn is_connected(&self, id: &SessionId) -> bool {
        let sessions = self.lock();
        let session = sessions.by_id.get(id);
        session.is_some_and(|session| session.is_connected)
    }

    /// Gives a session new ICE credentials beside those it has.
    ///
    /// The shard that owns the session must learn of it. `reserve` reserves a slot in the inbox of
    /// that shard, and returns the function that sends the command. The order under the lock is:
    /// slot, registry, command. So a failure changes nothing, and the shard receives all changes in
    /// order.
    pub(crate) fn restart<Send: FnOnce()>(
        &self,
        id: &SessionId,
        ours: &Credentials,
        theirs: &Credentials,
        reserve: impl FnOnce(usize) -> Option<Send>,
    ) -> Result<(), RestartError> {
        let mut sessions = self.lock();
        let Sessions {
            by_id, by_ufrag, ..
        } = &mut *sessions;
        let session = by_id.get_mut(id).ok_or(RestartError::Unknown)?;
        if by_ufrag.contains_key(ours.ufrag()) {
            return Err(RestartError::Taken);
        }
        let send = match &mut session.owner {
            Owner::Waiting(pending) => {
                // Of several restarts before the viewer's first check, the last one counts.
                let restarted = (ours.clone(), theirs.clone());
                if let Some((before, _)) = pending.restarted.replace(restarted) {
                    by_ufrag.remove(before.ufrag());
                    session.ufrags.truncate(1);
                }
                None
            }
            Owner::Shard(shard) => Some(reserve(*shard).ok_or(RestartError::Busy)?),
        };
        by_ufrag.insert(ours.ufrag().into(), *id);
        session.ufrags.push(ours.ufrag().into());
        session.remote_ufrag = theirs.ufrag().into();
        if session.ufrags.len() > MAX_FRAGMENTS {
            let oldest = session.ufrags.remove(0);
            by_ufrag.remove(&oldest);
        }
        if let Some(send) = send {
            send();
        }
        Ok(())
    }

    /// Returns a view of a session, to wait for its end.
    pub(crate) fn watch(&self, id: &SessionId) -> Option<SessionWatch> {
        let mut sessions = self.lock();
        let session = sessions.by_id.get_mut(id)?;
        Some(SessionWatch {
            stream: session.stream.clone(),
            end: session.end.get_or_insert_default().subscribe(),
        })
    }

    /// Returns the sessions that such an address asked for, waiting ones included.
    pub(crate) fn asked_from(&self, is_wanted: &dyn Fn(IpAddr) -> bool) -> HashSet<SessionId> {
        let sessions = self.lock();
        let wanted = sessions.by_id.iter();
        wanted
            .filter(|(_, session)| session.address.is_some_and(is_wanted))
            .map(|(id, _)| *id)
            .collect()
    }

    /// Returns whether there is such a session.
    pub(crate) fn contains(&self, id: &SessionId) -> bool {
        self.lock().by_id.contains_key(id)
    }

    /// Returns whether a session was there and is one of the last that have ended.
    pub(crate) fn has_ended(&self, id: &SessionId) -> bool {
        self.lock().ended.contains(id)
    }

    /// Removes a session that waits, or returns the shard that must close it. `None` if there is no
    /// such session.
    pub(crate) fn close(&self, id: &SessionId, now: Instant) -> Option<Closing> {
        let mut sessions = self.lock();
        if let Owner::Shard(shard) = sessions.by_id.get(id)?.owner {
            return Some(Closing::AtShard(shard));
        }
        let removed = sessions.remove(id);
        drop(sessions);
        let session = removed?;
        tracing::info!(parent: &session.span, "ended before its first packet");
        let is_late = match &session.owner {
            Owner::Waiting(pending) => {
                now.saturating_duration_since(pending.created) >= LEAST_WAIT
                    || session.report.is_some()
            }
            Owner::Shard(_) => false,
        };
        Some(Closing::Done(is_late.then(|| session.ended(*id))))
    }

    /// Removes and returns the sessions that no shard has claimed in time.
    pub(crate) fn expire(&self, now: Instant) -> Vec<Ended> {
        let mut removed = Vec::new();
        let mut sessions = self.lock();
        while let Some((created, id)) = sessions.newest.front().copied()
            && now.saturating_duration_since(created) > CONNECT_TIMEOUT
        {
            sessions.newest.pop_front();
            if sessions.is_waiting(&id) {
                removed.extend(sessions.remove(&id).map(|session| (id, session)));
            }
        }
        drop(sessions);
        let ended = removed.into_iter();
        ended.map(|(id, session)| session.ended(id)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn ended(self, id: SessionId) -> Ended {
        let was_heard = match &self.owner {
            Owner::Waiting(pending) => pending.was_heard,
            Owner::Shard(_) => true,
        };
        Ended {
            id,
            stream: self.stream,
            address: self.address,
            report: self.report,
            was_connected: self.is_connected,
            span: self.span,
            was_heard,
        }
    }
}

impl Sessions {
    fn by_ufrag(&mut self, ufrag: &str) -> Option<&mut Session> {
        self.by_id.get_mut(self.by_ufrag.get(ufrag)?)
    }

    /// Removes a session with its fragments, and remembers that it was there.
    fn remove(&mut self, id: &SessionId) -> Option<Session> {
        let session = self.by_id.remove(id)?;
        for ufrag in &session.ufrags {
            self.by_ufrag.remove(ufrag);
        }
        self.ended.insert(*id, self.most);
        Some(session)
    }

    fn is_waiting(&self, id: &SessionId) -> bool {
        let session = self.by_id.get(id);
        session.is_some_and(|session| matches!(session.owner, Owner::Waiting(_)))
    }
}

#[cfg(all(test, feature = "shuttle"))]
thread_local! {
    /// Plants a defect that the tests must find: between the look at the owner of a session and its
    /// claim others may claim it.
    pub(crate) static RELEASES_BEFORE_CLAIM: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}
