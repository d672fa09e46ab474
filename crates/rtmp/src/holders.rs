//! Who publishes each name now, so that a publisher that comes back is told from a stranger.
//!
//! After a change of networks an encoder connects anew while its dead connection still holds the name:
//! nothing says that the connection is dead but its silence.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use distributary_hub::StreamName;
use tokio::time::{Instant, sleep_until};

use crate::name::Query;

/// How long a connection has to be silent until its publisher may take the name over from another one.
/// Encoders send audio many times a second.
const SILENCE: Duration = Duration::from_secs(2);

/// Who a publisher is, as far as that can be told.
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

/// When a connection was heard of last.
#[derive(Clone, Debug)]
pub(crate) struct LastHeard {
    origin: Instant,
    millis: Arc<AtomicU64>,
}

impl LastHeard {
    /// A connection that is heard of now.
    pub(crate) fn new() -> Self {
        Self {
            origin: Instant::now(),
            millis: Arc::default(),
        }
    }

    /// Notes that something has come.
    pub(crate) fn note(&self) {
        let millis = self.origin.elapsed().as_millis() as u64;
        self.millis.store(millis, Ordering::Relaxed);
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

#[derive(Clone, Debug)]
struct Holder {
    identity: Identity,
    heard: LastHeard,
}

/// An entry of a publisher, taken out when it is dropped.
#[derive(Debug)]
pub(crate) struct HolderEntry {
    holders: Arc<Holders>,
    name: StreamName,
    heard: LastHeard,
}

impl Holders {
    /// Notes that this publisher has the name now.
    pub(crate) fn enter(
        self: &Arc<Self>,
        name: StreamName,
        identity: Identity,
        heard: LastHeard,
    ) -> HolderEntry {
        let holder = Holder {
            identity,
            heard: heard.clone(),
        };
        self.lock().insert(name.clone(), holder);
        HolderEntry {
            holders: Arc::clone(self),
            name,
            heard,
        }
    }

    /// Whether whoever has the name is the publisher that wants it now, over another connection than the one
    /// that asks, which has fallen silent. Where only the silence is too short so far, it is awaited.
    pub(crate) async fn is_left_by(
        &self,
        name: &StreamName,
        identity: &Identity,
        asking: &LastHeard,
    ) -> bool {
        let Some(holder) = self.lock().get(name).cloned() else {
            return false;
        };
        // A connection that asks is not dead.
        !holder.is(asking)
            && holder.identity.is_same(identity)
            && holder.heard.falls_silent().await
            && self
                .lock()
                .get(name)
                .is_some_and(|now| now.is(&holder.heard))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<StreamName, Holder>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holder {
    fn is(&self, heard: &LastHeard) -> bool {
        Arc::ptr_eq(&self.heard.millis, &heard.millis)
    }
}

impl Drop for HolderEntry {
    fn drop(&mut self) {
        let mut holders = self.holders.lock();
        // Another may have taken the name over.
        if holders
            .get(&self.name)
            .is_some_and(|holder| holder.is(&self.heard))
        {
            holders.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Target;

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
    async fn a_silent_connection_is_left_to_the_same_publisher_only() {
        let holders = Arc::new(Holders::default());
        let heard = LastHeard::new();
        let entry = holders.enter(name(), identity("192.0.2.1", "key=a"), heard.clone());
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
    async fn a_connection_that_is_heard_of_keeps_its_name() {
        let holders = Arc::new(Holders::default());
        let heard = LastHeard::new();
        let _entry = holders.enter(name(), identity("192.0.2.1", ""), heard.clone());
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
    fn publishers_without_a_key_are_not_the_same_for_that() {
        let (one, other) = (identity("192.0.2.1", ""), identity("192.0.2.2", ""));
        assert!(!one.is_same(&other));
    }
}
