//! The publishers of all names, which tell a publisher that reconnects from another one.
//!
//! An encoder that changes networks reconnects while its dead connection still holds the name. Only
//! its silence shows that this connection is dead.

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

/// Time without data after which a publisher may take over the name from its own earlier
/// connection. Encoders send audio many times a second.
const SILENCE: Duration = Duration::from_secs(2);

/// The known identity of a publisher.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) ip: IpAddr,
    /// The query string with its key.
    pub(crate) query: Query,
}

impl Identity {
    /// Returns whether two connections may belong to one publisher: they have the same address, or
    /// the same key in the query string.
    fn is_same(&self, other: &Self) -> bool {
        self.ip == other.ip || (!self.query.is_empty() && self.query == other.query)
    }
}

/// Time of the last data of a connection, or of a publisher's last frame. A clone is a handle to
/// the same time.
#[derive(Clone, Debug)]
pub(crate) struct LastActivity {
    origin: Instant,
    millis: Arc<AtomicU64>,
}

impl LastActivity {
    /// Returns an activity at the present.
    pub(crate) fn new() -> Self {
        Self {
            origin: Instant::now(),
            millis: Arc::default(),
        }
    }

    /// Notes an activity at the present.
    pub(crate) fn note(&self) {
        self.note_at(Instant::now().into_std());
    }

    /// Notes an activity at `now`.
    pub(crate) fn note_at(&self, now: std::time::Instant) {
        let since = now.saturating_duration_since(self.origin.into_std());
        self.millis
            .store(since.as_millis() as u64, Ordering::Relaxed);
    }

    /// Returns whether both are handles to the same time.
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.millis, &other.millis)
    }

    fn get(&self) -> Instant {
        self.origin + Duration::from_millis(self.millis.load(Ordering::Relaxed))
    }

    /// Waits until [`SILENCE`] has passed since the last activity. Returns whether there was no
    /// other meanwhile.
    async fn falls_silent(&self) -> bool {
        let before = self.get();
        sleep_until(before + SILENCE).await;
        self.get() == before
    }
}

/// The publishers of all names: of each, the active one and those that stand by.
#[derive(Debug, Default)]
pub(crate) struct Holders(Mutex<HashMap<StreamName, Vec<Holder>>>);

#[derive(Debug)]
struct Holder {
    identity: Identity,
    last_received: LastActivity,
    /// Time of its last frame, or of its start. It identifies the holder.
    last_frame: LastActivity,
    give_way: oneshot::Sender<()>,
    _permit: Permit,
}

/// Keeps a publisher's entry until it is dropped.
#[derive(Debug)]
pub(crate) struct HolderEntry {
    holders: Arc<Holders>,
    name: StreamName,
    last_frame: LastActivity,
}

impl HolderEntry {
    /// Returns the time of the publisher's last frame, to update it.
    pub(crate) fn last_frame(&self) -> &LastActivity {
        &self.last_frame
    }
}

impl Holders {
    /// Enters a publisher that has the name and the permit. It has the name alone, so that others
    /// lose their permits, if `is_alone`. The returned receiver completes when the publisher has to
    /// give way: its permit is free then.
    pub(crate) fn enter(
        self: &Arc<Self>,
        name: StreamName,
        is_alone: bool,
        identity: Identity,
        last_received: LastActivity,
        permit: Permit,
    ) -> (HolderEntry, oneshot::Receiver<()>) {
        let last_frame = LastActivity::new();
        let (give_way, gives_way) = oneshot::channel();
        let holder = Holder {
            identity,
            last_received,
            last_frame: last_frame.clone(),
            give_way,
            _permit: permit,
        };
        let mut holders = self.lock();
        let of_name = holders.entry(name.clone()).or_default();
        if is_alone {
            of_name.clear();
        }
        of_name.push(holder);
        drop(holders);
        let entry = HolderEntry {
            holders: Arc::clone(self),
            name,
            last_frame,
        };
        (entry, gives_way)
    }

    /// Returns whether a name has publishers, and none of them has sent a frame for at least
    /// `limit`.
    pub(crate) fn is_without_frame(&self, name: &StreamName, limit: Duration) -> bool {
        let holders = self.lock();
        let is_without = |holder: &Holder| holder.last_frame.get().elapsed() >= limit;
        let of_name = holders.get(name);
        of_name.is_some_and(|of_name| of_name.iter().all(is_without))
    }

    /// Frees the permit of the publisher that has been without a frame for longest, if it has been
    /// for at least `limit`. Returns whether there is one.
    pub(crate) fn give_way(&self, limit: Duration) -> bool {
        let mut holders = self.lock();
        let all = holders
            .iter()
            .flat_map(|(name, of_name)| of_name.iter().map(move |holder| (name, holder)));
        let longest = all.min_by_key(|(_, holder)| holder.last_frame.get());
        let Some((name, last_frame)) = longest
            .map(|(name, holder)| (name.clone(), holder.last_frame.clone()))
            .filter(|(_, last_frame)| last_frame.get().elapsed() >= limit)
        else {
            return false;
        };
        let holder = remove(&mut holders, &name, &last_frame);
        drop(holders);
        if let Some(holder) = holder {
            // Fails if its connection has just ended.
            let _ = holder.give_way.send(());
        }
        true
    }

    /// Returns whether the name is held by an earlier connection of the publisher `identity` that
    /// has fallen silent. Waits for [`SILENCE`] to pass if everything else applies. `asking` is the
    /// connection that asks for the name.
    pub(crate) async fn is_left_by(
        &self,
        name: &StreamName,
        identity: &Identity,
        asking: &LastActivity,
    ) -> bool {
        let may_be_left = |holder: &&Holder| {
            // The connection that asks is alive.
            !holder.last_received.is(asking) && holder.identity.is_same(identity)
        };
        let left = |of_name: &Vec<Holder>| {
            let mut left = of_name.iter().filter(may_be_left);
            left.next().map(|holder| holder.last_received.clone())
        };
        let last_received = self.lock().get(name).and_then(left);
        let Some(last_received) = last_received else {
            return false;
        };
        last_received.falls_silent().await
            && self
                .lock()
                .get(name)
                .is_some_and(|now| now.iter().any(|now| now.last_received.is(&last_received)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<StreamName, Vec<Holder>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the holder of a name that has this time of its last frame, which identifies it.
fn remove(
    holders: &mut HashMap<StreamName, Vec<Holder>>,
    name: &StreamName,
    last_frame: &LastActivity,
) -> Option<Holder> {
    let of_name = holders.get_mut(name)?;
    let at = of_name
        .iter()
        .position(|holder| holder.last_frame.is(last_frame))?;
    let holder = of_name.remove(at);
    if of_name.is_empty() {
        holders.remove(name);
    }
    Some(holder)
}

impl Drop for HolderEntry {
    fn drop(&mut self) {
        // It may have been replaced, or have given way.
        remove(&mut self.holders.lock(), &self.name, &self.last_frame);
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
        let last_received = LastActivity::new();
        let key = identity("192.0.2.1", "key=a");
        let entry = holders.enter(name(), true, key, last_received.clone(), permit());
        tokio::time::advance(Duration::from_millis(500)).await;
        last_received.note();
        let began = Instant::now();
        for (ip, query, expected) in [
            ("192.0.2.1", "", true),
            ("192.0.2.1", "key=b", true),
            ("198.51.100.1", "key=a", true),
            ("198.51.100.1", "key=b", false),
            ("198.51.100.1", "", false),
        ] {
            let left = holders
                .is_left_by(&name(), &identity(ip, query), &LastActivity::new())
                .await;
            assert_eq!(left, expected, "{ip} {query}");
        }
        assert_eq!(began.elapsed(), SILENCE, "the silence is awaited once");
        let same = identity("192.0.2.1", "");
        let asks_itself = holders.is_left_by(&name(), &same, &last_received).await;
        assert!(!asks_itself);
        drop(entry);
        let other = LastActivity::new();
        assert!(!holders.is_left_by(&name(), &same, &other).await);
    }

    #[tokio::test(start_paused = true)]
    async fn active_connection_keeps_its_name() {
        let holders = Arc::new(Holders::default());
        let last_received = LastActivity::new();
        let nobody = identity("192.0.2.1", "");
        let _entry = holders.enter(name(), true, nobody, last_received.clone(), permit());
        let publishing = async {
            loop {
                tokio::time::sleep(Duration::from_millis(23)).await;
                last_received.note();
            }
        };
        let (name, same, other) = (name(), identity("192.0.2.1", ""), LastActivity::new());
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

    #[tokio::test(start_paused = true)]
    async fn standby_gives_way_alone_and_a_lone_publisher_frees_all_permits() {
        let holders = Arc::new(Holders::default());
        let quota = Quota::new(2, 2);
        let nobody = || identity("192.0.2.1", "");
        let enter = |is_alone| {
            let permit = quota.take(None).unwrap();
            holders.enter(name(), is_alone, nobody(), LastActivity::new(), permit)
        };
        let (first, mut first_gives_way) = enter(true);
        tokio::time::advance(Duration::from_millis(10)).await;
        let (second, mut second_gives_way) = enter(false);
        assert!(quota.take(None).is_err());
        let limit = Duration::from_secs(5);
        tokio::time::advance(limit).await;
        first.last_frame().note();
        assert!(!holders.is_without_frame(&name(), limit));
        assert!(holders.give_way(limit));
        assert!(second_gives_way.try_recv().is_ok() && first_gives_way.try_recv().is_err());
        drop(second);
        let (_third, _) = enter(false);
        tokio::time::advance(limit).await;
        assert!(holders.is_without_frame(&name(), limit));
        drop(first);
        let _fourth = enter(true);
        assert!(quota.take(None).is_ok(), "that of the third is free");
    }
}
