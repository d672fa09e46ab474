//! Sessions by name: where a viewer that was answered over HTTP waits for its first packet.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use dashmap::{DashMap, Entry};
use distributary_hub::StreamName;

use crate::peer::PeerConfig;

/// How long an answered session waits for the viewer's first valid check.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// The name of a session in its URL: 128 random bits, so that only who opened it can close it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(u128);

impl SessionId {
    /// A new name from the system's random generator.
    pub fn random() -> Self {
        Self(rand::random())
    }
}

impl SessionId {
    /// The first digits of the name, for logs: enough to tell sessions apart, and not enough to end
    /// one, for which the whole name is needed.
    pub fn short(&self) -> ShortId {
        ShortId((self.0 >> 96) as u32)
    }
}

/// The first eight digits of a [`SessionId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortId(u32);

impl fmt::Display for ShortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The text is not the name of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session is named by 32 hexadecimal digits")]
pub struct InvalidSessionId;

impl FromStr for SessionId {
    type Err = InvalidSessionId;

    fn from_str(text: &str) -> Result<Self, InvalidSessionId> {
        if text.len() != 32 || !text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(InvalidSessionId);
        }
        u128::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| InvalidSessionId)
    }
}

/// A session that has been answered and not yet been heard of.
pub(crate) struct PendingSession {
    pub(crate) id: SessionId,
    pub(crate) stream: StreamName,
    pub(crate) peer: PeerConfig,
    pub(crate) created: Instant,
}

/// Whose a session is.
enum Owner {
    /// Nobody's yet.
    Waiting(Box<PendingSession>),
    /// The shard's of this number.
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

/// All sessions of the gateway, by the user name fragment of our side and by id.
///
/// It is asked once per session and for datagrams of unknown origin, never while media flows.
pub(crate) struct Registry {
    by_ufrag: DashMap<Box<str>, Owner>,
    by_id: DashMap<SessionId, Box<str>>,
    max_sessions: usize,
}

impl Registry {
    pub(crate) fn new(max_sessions: usize) -> Self {
        Self {
            by_ufrag: DashMap::new(),
            by_id: DashMap::new(),
            max_sessions,
        }
    }

    /// Sessions in it, waiting ones included.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Enters a session under `ufrag`. `false` when the gateway is full, or the name is taken.
    pub(crate) fn insert(&self, ufrag: &str, session: PendingSession) -> bool {
        if self.len() >= self.max_sessions {
            return false;
        }
        let id = session.id;
        match self.by_ufrag.entry(ufrag.into()) {
            Entry::Occupied(_) => false,
            Entry::Vacant(entry) => {
                entry.insert(Owner::Waiting(Box::new(session)));
                self.by_id.insert(id, ufrag.into());
                true
            }
        }
    }

    /// Takes a waiting session for `shard` if `is_valid` says that the caller has heard of it, or
    /// says where it is.
    pub(crate) fn claim(
        &self,
        ufrag: &str,
        shard: usize,
        is_valid: impl FnOnce(&PendingSession) -> bool,
    ) -> Claim {
        let Some(mut owner) = self.by_ufrag.get_mut(ufrag) else {
            return Claim::Unknown;
        };
        match &*owner {
            Owner::Shard(other) => return Claim::Elsewhere(*other),
            Owner::Waiting(session) if !is_valid(session) => return Claim::Unknown,
            Owner::Waiting(_) => {}
        }
        match std::mem::replace(&mut *owner, Owner::Shard(shard)) {
            Owner::Waiting(session) => Claim::Claimed(session),
            Owner::Shard(_) => Claim::Unknown,
        }
    }

    /// Removes a session that has ended.
    pub(crate) fn remove(&self, id: &SessionId) {
        if let Some((_, ufrag)) = self.by_id.remove(id) {
            self.by_ufrag.remove(&ufrag);
        }
    }

    /// Whether there is such a session.
    pub(crate) fn contains(&self, id: &SessionId) -> bool {
        self.by_id.contains_key(id)
    }

    /// Removes a session that waits; for one that a shard has, returns the shard, which must close
    /// it. `None`: there is no such session.
    pub(crate) fn close(&self, id: &SessionId) -> Option<Option<usize>> {
        let ufrag = self.by_id.get(id)?.clone();
        let waiting = self
            .by_ufrag
            .remove_if(&ufrag, |_, owner| matches!(owner, Owner::Waiting(_)));
        if waiting.is_some() {
            self.by_id.remove(id);
            return Some(None);
        }
        match *self.by_ufrag.get(&ufrag)? {
            Owner::Shard(shard) => Some(Some(shard)),
            Owner::Waiting(_) => None,
        }
    }

    /// Removes the sessions whose viewer never came, and returns them.
    pub(crate) fn expire(&self, now: Instant) -> Vec<(SessionId, StreamName)> {
        let mut expired = Vec::new();
        self.by_ufrag.retain(|_, owner| match owner {
            Owner::Waiting(session) if now.duration_since(session.created) > CONNECT_TIMEOUT => {
                expired.push((session.id, session.stream.clone()));
                false
            }
            _ => true,
        });
        for (id, _) in &expired {
            self.by_id.remove(id);
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_reads_back_from_its_text() {
        let id = SessionId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().starts_with(&id.short().to_string()));
        assert_eq!("".parse::<SessionId>(), Err(InvalidSessionId));
        assert_eq!("+".repeat(32).parse::<SessionId>(), Err(InvalidSessionId));
        assert_eq!("AB".repeat(16).parse::<SessionId>(), Err(InvalidSessionId));
    }
}
