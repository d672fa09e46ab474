//! Who publishes each name now, so that a publisher that comes back is told from a stranger.
//!
//! After a change of networks an encoder reconnects while its dead connection still holds the name:
//! nothing says that the connection is dead but its silence.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use distributary_names::StreamName;
use distributary_net::Permit;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use crate::proto::name::Query;

/// Time for which a connection has to be silent until its publisher may take the name over from
/// another one. Encoders send audio many times a second.
const SILENCE: Duration = Duration::from_secs(2);

/// The identity of a publisher, as far as it is known.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) ip: IpAddr,
    /// The query string with its key.
    pub(crate) query: Query,
}

impl Identity {
    fn is_same(&self, other: &Self) -> bool {
        self.ip == other.ip || (!self.query.is_empty() && self.query == other.query)
    }
}

/// Time of the last data of a connection, or of a publisher's last frame.
#[derive(Clone, Debug)]
pub(crate) struct LastHeard {
    origin: Instant,
    millis: Arc<AtomicU64>,
}

impl LastHeard {
    /// Returns a connection that is heard of now.
    pub(crate) fn new() -> Self {
        Self {
            origin: Instant::now(),
            millis: Arc::default(),
        }
    }

    /// Notes that something has come.
    pub(crate) fn note(&self) {
        self.note_at(Instant::now().into_std());
    }

    /// Notes that something came at `now`.
    pub(crate) fn note_at(&self, now: std::time::Instant) {
        let since = now.saturating_duration_since(self.origin.into_std());
        self.millis
            .store(since.as_millis() as u64, Ordering::Relaxed);
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.millis, &other.millis)
    }

    fn get(&self) -> Instant {
        self.origin + Duration::from_millis(self.millis.load(Ordering::Relaxed))
    }

    /// Waits until the connection has been silent for long enough, unless it is heard of meanwhile.
    /// Returns whether it has.
    async fn falls_silent(&self) -> bool {
        let before = self.get();
        sleep_until(before + SILENCE).await;
        self.get() == before
    }
}

/// The publishers of all names.
#[derive(Debug, Default)]
pub(crate) struct Holders(Mutex<HashMap<StreamName, Holder>>);

#[derive(Debug)]
struct Holder {
    identity: Identity,
    heard: LastHeard,
    /// Time of its last frame, or of its start. No two holders share one.
    frames: LastHeard,
    give_way: oneshot::Sender<()>,
    _permit: Permit,
}

/// An entry of a publisher, taken out when it is dropped.
#[derive(Debug)]
pub(crate) struct HolderEntry {
    holders: Arc<Holders>,
    name: StreamName,
    frames: LastHeard,
}

impl HolderEntry {
    /// Returns where the publisher's frames are noted.
    pub(crate) fn frames(&self) -> &LastHeard {
        &self.frames
    }
}

impl Holders {
    /// Notes that this publisher has the name and the permit now. Also returns a future that
    /// completes when it has to give way: its permit then belongs to another.
    pub(crate) fn enter(
        self: &Arc<Self>,
        name: StreamName,
        identity: Identity,
        heard: LastHeard,
        permit: Permit,
    ) -> (HolderEntry, oneshot::Receiver<()>) {
        let frames = LastHeard::new();
        let (give_way, gives_way) = oneshot::channel();
        let holder = Holder {
            identity,
            heard,
            frames: frames.clone(),
            give_way,
            _permit: permit,
        };
        self.lock().insert(name.clone(), holder);
        let entry = HolderEntry {
            holders: Arc::clone(self),
            name,
            frames,
        };
        (entry, gives_way)
    }

    /// Returns whether whoever has the name has sent no frame for so long.
    pub(crate) fn is_without_frame(&self, name: &StreamName, limit: Duration) -> bool {
        let holders = self.lock();
        let holder = holders.get(name);
        holder.is_some_and(|holder| holder.frames.get().elapsed() >= limit)
    }

    /// Frees the permit of the publisher that has been without a frame for longest, if that is at
    /// least `limit`. Returns whether there was one.
    pub(crate) fn give_way(&self, limit: Duration) -> bool {
        let mut holders = self.lock();
        let since = |holder: &Holder| holder.frames.get();
        let longest = holders.iter().min_by_key(|(_, holder)| since(holder));
        let Some(name) = longest
            .filter(|(_, holder)| since(holder).elapsed() >= limit)
            .map(|(name, _)| name.clone())
        else {
            return false;
        };
        let holder = holders.remove(&name);
        drop(holders);
        if let Some(holder) = holder {
            // One that ends just now has freed its permit anyway.
            let _ = holder.give_way.send(());
        }
        true
    }

    /// Returns whether whoever has the name is the publisher that wants it now, over another
    /// connection than the one that asks, which has fallen silent. Where only the silence is too
    /// short so far, it is awaited.
    pub(crate) async fn is_left_by(
        &self,
        name: &StreamName,
        identity: &Identity,
        asking: &LastHeard,
    ) -> bool {
        let may_be_left = |holder: &&Holder| {
            // A connection that asks is not dead.
            !holder.heard.is(asking) && holder.identity.is_same(identity)
        };
        let heard = self.lock().get(name).filter(may_be_left).map(Holder::heard);
        let Some(heard) = heard else {
            return false;
        };
        heard.falls_silent().await
            && self
                .lock()
                .get(name)
                .is_some_and(|now| now.heard.is(&heard))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<StreamName, Holder>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holder {
    fn heard(&self) -> LastHeard {
        self.heard.clone()
    }
}

impl Drop for HolderEntry {
    fn drop(&mut self) {
        let mut holders = self.holders.lock();
        // Another may have taken the name over.
        if holders
            .get(&self.name)
            .is_some_and(|holder| holder.frames.is(&self.frames))
        {
            holders.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::name::Target;
    use distributary_net::Quota;

    fn permit() -> Permit {
        Quota::new(1, 1).take(None).unwrap()
    }

    fn name() -> StreamName {
        StreamName::parse("live/a").unwrap()
    }

    fn identity(ip: &str, query: &str) -> Identity {
        let target = Target::resolve("live", &format!("a?{query}")).unwrap();
        Identity {
            ip: ip.parse().unwrap(),
            query: target.query,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silent_connection_is_left_to_the_same_publisher_only() {
        let holders = Arc::new(Holders::default());
        let heard = LastHeard::new();
        let key = identity("192.0.2.1", "key=a");
        let entry = holders.enter(name(), key, heard.clone(), permit());
        tokio::time::advance(Duration::from_millis(500)).await;
        heard.note();
        let began = Instant::now();
        for (ip, query, expected) in [
            ("192.0.2.1", "", true),
            ("192.0.2.1", "key=b", true),
            ("198.51.100.1", "key=a", true),
            ("198.51.100.1", "key=b", false),
            ("198.51.100.1", "", false),
        ] {
            let left = holders
                .is_left_by(&name(), &identity(ip, query), &LastHeard::new())
                .await;
            assert_eq!(left, expected, "{ip} {query}");
        }
        assert_eq!(began.elapsed(), SILENCE, "the silence is awaited once");
        let same = identity("192.0.2.1", "");
        let asks_itself = holders.is_left_by(&name(), &same, &heard).await;
        assert!(!asks_itself);
        drop(entry);
        let other = LastHeard::new();
        assert!(!holders.is_left_by(&name(), &same, &other).await);
    }

    #[tokio::test(start_paused = true)]
    async fn active_connection_keeps_its_name() {
        let holders = Arc::new(Holders::default());
        let heard = LastHeard::new();
        let nobody = identity("192.0.2.1", "");
        let _entry = holders.enter(name(), nobody, heard.clone(), permit());
        let publishing = async {
            loop {
                tokio::time::sleep(Duration::from_millis(23)).await;
                heard.note();
            }
        };
        let (name, same, other) = (name(), identity("192.0.2.1", ""), LastHeard::new());
        tokio::select! {
            () = publishing => {}
            left = holders.is_left_by(&name, &same, &other) => assert!(!left),
        }
    }

    #[test]
    fn publishers_without_a_key_are_not_the_same() {
        let (one, other) = (identity("192.0.2.1", ""), identity("192.0.2.2", ""));
        assert!(!one.is_same(&other));
    }
}
