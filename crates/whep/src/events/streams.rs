//! The event streams that players have made, by session.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::{DashMap, Entry};
use distributary_egress::session::SessionId;
use distributary_net::{Full, Permit, Quota};
use tokio::sync::watch;

use super::kind::EventSet;

/// Most event streams of one session.
const MAX_PER_SESSION: usize = 4;

/// All event streams. Those of a session are forgotten when it ends.
#[derive(Clone, Debug)]
pub(crate) struct EventStreams {
    by_session: Arc<DashMap<SessionId, Vec<Arc<EventStream>>>>,
    /// Places for those that are listened to.
    places: Arc<Quota>,
    next_number: Arc<AtomicU32>,
}

/// What a player has asked to be told, whether it listens now or not.
#[derive(Debug)]
pub(super) struct EventStream {
    pub(super) number: u32,
    pub(super) wanted: EventSet,
    /// Whether the player takes the stream for active.
    pub(super) is_active: AtomicBool,
    /// Changes when somebody begins to listen, and is dropped with the event stream.
    listener: Mutex<Option<watch::Sender<()>>>,
}

impl EventStreams {
    /// None yet, and room for so many that are listened to at a time, in all and from one address.
    pub(crate) fn new(max_listeners: usize, max_listeners_per_ip: usize) -> Self {
        Self {
            by_session: Arc::default(),
            places: Arc::new(Quota::new(max_listeners, max_listeners_per_ip)),
            next_number: Arc::default(),
        }
    }

    /// Makes an event stream of a session. The second value is whether the session never had one before, so
    /// that its end has yet to be waited for; `None`: it has as many as it may have.
    pub(super) fn create(
        &self,
        session: SessionId,
        wanted: EventSet,
        is_active: bool,
    ) -> Option<(u32, bool)> {
        let entry = self.by_session.entry(session);
        // A session stays in here without event streams, too: something waits for its end already.
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

    /// Ends an event stream. `false`: there is none of this number.
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

    /// Takes a place to listen, for an address if it counts.
    pub(super) fn place(&self, ip: Option<IpAddr>) -> Result<Permit, Full> {
        self.places.take(ip)
    }

    /// Sessions that have event streams.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_session.len()
    }
}

impl EventStream {
    /// Begins to listen, in the place of whoever did so far: a player whose connection broke comes again
    /// before the old one is noticed to be gone. What is returned closes when it is another's turn.
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
    async fn event_streams_are_few_and_end_with_their_session() {
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
        assert!(listening.changed().await.is_err(), "it is another's turn");
        assert!(streams.remove(&session, first) && !streams.remove(&session, first));
        assert!(again.changed().await.is_err(), "it has ended");
        assert!(streams.get(&session, first).is_none());
        assert!(create().is_some());

        streams.forget(&session);
        assert_eq!(streams.len(), 0);
        assert!(!streams.remove(&session, first));
    }

    #[test]
    fn the_end_of_a_session_is_waited_for_once_however_often_event_streams_come_and_go() {
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
    fn there_are_so_many_places_to_listen_in_all_and_for_each_address() {
        let streams = EventStreams::new(3, 1);
        let ip = |n: u8| Some(IpAddr::from([192, 0, 2, n]));
        let place = streams.place(ip(1)).unwrap();
        assert_eq!(streams.place(ip(1)).unwrap_err(), Full::Address(1));
        let _others = [ip(2), None].map(|ip| streams.place(ip).unwrap());
        assert_eq!(streams.place(ip(3)).unwrap_err(), Full::Total(3));
        drop(place);
        assert!(streams.place(ip(1)).is_ok());
    }
}
