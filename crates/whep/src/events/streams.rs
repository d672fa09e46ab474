//! The event streams that players have created, by session.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::{DashMap, Entry};
use distributary_egress::session::SessionId;
use distributary_net::{Full, Permit, Quota};
use tokio::sync::watch;

use super::kind::EventSet;

/// Maximum number of event streams of one session.
const MAX_PER_SESSION: usize = 4;

/// All event streams. Those of a session are removed when it ends.
#[derive(Clone, Debug)]
pub(crate) struct EventStreams {
    by_session: Arc<DashMap<SessionId, Vec<Arc<EventStream>>>>,
    /// Permits for listening players.
    permits: Arc<Quota>,
    next_number: Arc<AtomicU32>,
}

/// The choice of events of a player, whether it listens now or not.
#[derive(Debug)]
pub(super) struct EventStream {
    pub(super) number: u32,
    pub(super) wanted: EventSet,
    /// The player knows the stream as live.
    pub(super) is_active: AtomicBool,
    /// Replaced when somebody begins to listen, and dropped with the event stream.
    listener: Mutex<Option<watch::Sender<()>>>,
}

impl EventStreams {
    /// Creates an empty table. The limits are for players that listen at the same time.
    pub(crate) fn new(max_listeners: usize, max_listeners_per_ip: usize) -> Self {
        Self {
            by_session: Arc::default(),
            permits: Arc::new(Quota::new(max_listeners, max_listeners_per_ip)),
            next_number: Arc::default(),
        }
    }

    /// Creates an event stream of a session. The second value is `true` for the session's first,
    /// whose end the caller has to wait for. `None` if the session has reached its maximum.
    pub(super) fn create(
        &self,
        session: SessionId,
        wanted: EventSet,
        is_active: bool,
    ) -> Option<(u32, bool)> {
        let entry = self.by_session.entry(session);
        // A session without event streams stays in the table: a task waits for its end.
        let is_first = matches!(entry, Entry::Vacant(_));
        let mut streams = entry.or_default();
        if streams.len() >= MAX_PER_SESSION {
            return None;
        }
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        streams.push(Arc::new(EventStream {
            number,
            wanted,
            is_active: AtomicBool::new(is_active),
            listener: Mutex::default(),
        }));
        Some((number, is_first))
    }

    pub(super) fn get(&self, session: &SessionId, number: u32) -> Option<Arc<EventStream>> {
        let streams = self.by_session.get(session)?;
        let stream = streams.iter().find(|stream| stream.number == number)?;
        Some(Arc::clone(stream))
    }

    /// Ends an event stream. Returns `false` if there is none of this number.
    pub(super) fn remove(&self, session: &SessionId, number: u32) -> bool {
        let Some(mut streams) = self.by_session.get_mut(session) else {
            return false;
        };
        let before = streams.len();
        streams.retain(|stream| {
            let is_it = stream.number == number;
            if is_it {
                stream.hang_up();
            }
            !is_it
        });
        streams.len() < before
    }

    /// Ends all event streams of a session that has ended.
    pub(super) fn forget(&self, session: &SessionId) {
        self.by_session.remove(session);
    }

    /// Takes a permit to listen, counted for the address if limits apply to it.
    pub(super) fn permit(&self, ip: Option<IpAddr>) -> Result<Permit, Full> {
        self.permits.take(ip)
    }

    /// Returns the number of sessions that have event streams.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_session.len()
    }
}

impl EventStream {
    /// Begins to listen, and replaces the former listener: a player whose connection broke comes
    /// back before the gateway notices the break. The returned channel closes when another listener
    /// replaces this one.
    pub(super) fn listen(&self) -> watch::Receiver<()> {
        let (sender, receiver) = watch::channel(());
        *self.listener() = Some(sender);
        receiver
    }

    /// Ends the listening.
    fn hang_up(&self) {
        *self.listener() = None;
    }

    fn listener(&self) -> MutexGuard<'_, Option<watch::Sender<()>>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn event_streams_are_limited_and_end_with_their_session() {
        let streams = EventStreams::new(1, 1);
        let session = SessionId::random();
        let create = || streams.create(session, EventSet::all(), true);
        let (first, is_first) = create().unwrap();
        assert!(is_first);
        for _ in 1..MAX_PER_SESSION {
            assert!(matches!(create(), Some((_, false))));
        }
        assert_eq!(create(), None);

        let stream = streams.get(&session, first).unwrap();
        let mut listening = stream.listen();
        let mut again = stream.listen();
        assert!(
            listening.changed().await.is_err(),
            "another listener replaced it"
        );
        assert!(streams.remove(&session, first) && !streams.remove(&session, first));
        assert!(again.changed().await.is_err(), "it has ended");
        assert!(streams.get(&session, first).is_none());
        assert!(create().is_some());

        streams.forget(&session);
        assert_eq!(streams.len(), 0);
        assert!(!streams.remove(&session, first));
    }

    #[test]
    fn only_the_first_event_stream_of_a_session_waits_for_its_end() {
        let streams = EventStreams::new(1, 1);
        let session = SessionId::random();
        for round in 0..100 {
            let (number, is_first) = streams.create(session, EventSet::all(), true).unwrap();
            assert_eq!(is_first, round == 0);
            assert!(streams.remove(&session, number));
        }
        assert_eq!(streams.len(), 1);
        streams.forget(&session);
        assert_eq!(streams.len(), 0);
    }

    #[test]
    fn listeners_are_limited_in_total_and_per_address() {
        let streams = EventStreams::new(3, 1);
        let ip = |n: u8| Some(IpAddr::from([192, 0, 2, n]));
        let permit = streams.permit(ip(1)).unwrap();
        assert_eq!(streams.permit(ip(1)).unwrap_err(), Full::Address(1));
        let _others = [ip(2), None].map(|ip| streams.permit(ip).unwrap());
        assert_eq!(streams.permit(ip(3)).unwrap_err(), Full::Total(3));
        drop(permit);
        assert!(streams.permit(ip(1)).is_ok());
    }
}
