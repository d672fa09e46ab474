//! The arbiter of stream names: one entry per name in a bucket of JetStream.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::LastRawMessageErrorKind;
use async_nats::jetstream::{self, kv};
use bytes::Bytes;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use crate::backoff::Backoff;
use crate::bucket::{MARKER_LIFETIME, REPLICAS, TIMEOUT, bucket_of, has_no_bucket, is_unheard};
use crate::clock::now;
use crate::config::Label;
use crate::control::{Control, Entry};
use crate::entries::{self, News, Process, Unfollowed};
use crate::link::{Link, LinkState};

/// Timeout of finding the bucket, or creating it.
const FIND_TIMEOUT: Duration = Duration::from_secs(5);

/// The shortest and the longest delay before the bucket is looked for again.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Headers of which a message of the bucket has one if it removes an entry.
const REMOVAL_HEADERS: [&str; 2] = ["KV-Operation", "Nats-Marker-Reason"];

/// The arbiter of stream names. A clone is a handle to the same one.
#[derive(Clone)]
pub(crate) struct Arbiter {
    link: Link,
    store: watch::Receiver<Option<kv::Store>>,
    /// Notified when the bucket has disappeared.
    missing: Arc<Notify>,
    reach: watch::Receiver<Reach>,
}

/// The state of the connection to the arbiter, and the time of its last change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    pub(crate) is_reachable: bool,
    pub(crate) since: Instant,
}

/// Finds the bucket of the arbiter, or creates it, after each connection, and follows its entries.
pub(crate) struct ArbiterDriver {
    link: Link,
    bucket: String,
    store: watch::Sender<Option<kv::Store>>,
    missing: Arc<Notify>,
    reach: watch::Sender<Reach>,
    process: Process,
    news: mpsc::Sender<News>,
}

/// An entry as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StoredEntry {
    /// Its revision; 0 if there is none.
    pub(crate) revision: u64,
    /// True if its owner has not removed it.
    pub(crate) is_live: bool,
    /// The node of its owner, if it can be read.
    pub(crate) node: Option<Label>,
}

/// The outcome of writing an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Revision(u64),
    Conflict,
    Unavailable,
}

impl Arbiter {
    /// Returns the arbiter for this process. `news` receives what changes in its bucket.
    pub(crate) fn new(
        link: &Link,
        bucket: String,
        process: Process,
        news: mpsc::Sender<News>,
    ) -> (Self, ArbiterDriver) {
        let (found, store) = watch::channel(None);
        let (reach_in, reach) = watch::channel(Reach {
            is_reachable: false,
            since: now(),
        });
        let missing = Arc::<Notify>::default();
        let driver = ArbiterDriver {
            link: link.clone(),
            bucket,
            store: found,
            missing: Arc::clone(&missing),
            reach: reach_in,
            process,
            news,
        };
        let arbiter = Self {
            link: link.clone(),
            store,
            missing,
            reach,
        };
        (arbiter, driver)
    }

    /// Returns whether it answers, and since when.
    pub(crate) fn reach(&self) -> Reach {
        *self.reach.borrow()
    }

    /// Reads an entry from the leader of the bucket, since a replica may not have the latest one;
    /// `None` if the leader does not answer.
    pub(crate) async fn read(&self, key: &str) -> Option<StoredEntry> {
        let store = self.store().await?;
        let subject = format!("{}{key}", store.prefix);
        let message = store.stream.get_last_raw_message_by_subject(&subject);
        match timeout(TIMEOUT, message).await.ok()? {
            Ok(message) => {
                let mut removals = REMOVAL_HEADERS.iter();
                let is_removed = removals.any(|name| message.headers.get(*name).is_some());
                Some(StoredEntry {
                    revision: message.sequence,
                    is_live: !is_removed,
                    node: Entry::from_json(&message.payload).map(|entry| entry.node),
                })
            }
            Err(error) => match error.kind() {
                LastRawMessageErrorKind::NoMessageFound => Some(StoredEntry::default()),
                kind => {
                    debug!(key, %error, "the arbiter's entry cannot be read");
                    if has_no_bucket(&kind) {
                        self.missing.notify_one();
                    }
                    None
                }
            },
        }
    }

    /// Writes an entry, if it has this revision.
    pub(crate) async fn write(&self, key: &str, value: Bytes, revision: u64) -> Written {
        let Some(store) = self.store().await else {
            return Written::Unavailable;
        };
        match timeout(TIMEOUT, store.update(key, value, revision)).await {
            Ok(Ok(revision)) => Written::Revision(revision),
            Ok(Err(error)) if error.kind() == kv::UpdateErrorKind::WrongLastRevision => {
                Written::Conflict
            }
            Ok(Err(error)) => {
                debug!(key, %error, "the arbiter's entry cannot be written");
                let source = std::error::Error::source(&error);
                let source = source.and_then(|source| source.downcast_ref());
                if source.is_some_and(is_unheard) {
                    self.missing.notify_one();
                }
                Written::Unavailable
            }
            Err(_) => Written::Unavailable,
        }
    }

    /// Removes an entry, if it has this revision.
    pub(crate) async fn remove(&self, key: &str, revision: u64) {
        let Some(store) = self.store().await else {
            return;
        };
        let removed = store.purge_expect_revision_with_ttl(key, revision, MARKER_LIFETIME);
        match timeout(TIMEOUT, removed).await {
            Ok(Ok(())) => {}
            // The next claim finds that nobody answers for the entry.
            Ok(Err(error)) => debug!(key, %error, "the arbiter's entry is not removed"),
            Err(_) => debug!(key, "the arbiter's entry is not removed in time"),
        }
    }

    async fn store(&self) -> Option<kv::Store> {
        self.link.started().await;
        if !self.link.is_up() {
            return None;
        }
        // It is looked for after each connection.
        let mut store = self.store.clone();
        let found = timeout(TIMEOUT, store.wait_for(Option::is_some)).await;
        found.ok()?.ok()?.clone()
    }
}

impl ArbiterDriver {
    /// Finds the bucket after each connection, and when it has disappeared.
    ///
    /// While it is looked for, the entries of the one that is known are followed.
    pub(crate) async fn run(self) {
        let mut link = self.link.state();
        loop {
            let connected = link.wait_for(|state| *state == LinkState::Connected);
            if connected.await.is_err() {
                return;
            }
            link.mark_unchanged();
            let find = async {
                self.find().await;
                std::future::pending::<()>().await;
            };
            let is_missing = tokio::select! {
                () = find => false,
                changed = link.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.note(false);
                    false
                }
                () = self.missing.notified() => true,
                () = self.follow() => true,
            };
            if is_missing {
                warn!(
                    bucket = self.bucket,
                    "the bucket with the owners of streams has disappeared: it is created again"
                );
                self.store.send_replace(None);
            }
        }
    }

    /// Follows the entries until the bucket has disappeared.
    async fn follow(&self) {
        let (first, longest) = RETRY;
        let mut retry = Backoff::new(first, longest);
        let mut found = self.store.subscribe();
        loop {
            let store = match found.wait_for(Option::is_some).await {
                Ok(store) => store.clone(),
                Err(_) => None,
            };
            let Some(store) = store else {
                return std::future::pending().await;
            };
            let mut was_followed = false;
            let note = |is_reachable| {
                was_followed |= is_reachable;
                self.note(is_reachable);
            };
            match entries::follow(&store, &self.process, &self.news, note).await {
                Unfollowed::Bucket => return,
                Unfollowed::Watch => {}
            }
            if was_followed {
                retry.succeed();
            }
            sleep(retry.fail()).await;
        }
    }

    /// Notes whether the arbiter answers.
    fn note(&self, is_reachable: bool) {
        let is_news = self.reach.send_if_modified(|reach| {
            let is_news = reach.is_reachable != is_reachable;
            if is_news {
                *reach = Reach {
                    is_reachable,
                    since: now(),
                };
            }
            is_news
        });
        if is_news && is_reachable {
            info!("the arbiter of stream names answers");
        } else if is_news && self.link.is_up() {
            warn!("the arbiter of stream names does not answer");
        }
    }

    /// Finds the bucket, or creates it, unless the connection is lost.
    async fn find(&self) {
        let mut context = jetstream::new(self.link.client().clone());
        context.set_timeout(FIND_TIMEOUT);
        let (mut delay, longest) = RETRY;
        let mut was_logged = false;
        let link = self.link.state();
        while *link.borrow() == LinkState::Connected {
            // A single server refuses replicas. So does a cluster that starts, until its servers know
            // each other: it is asked again, because one copy would not survive the loss of its server.
            let is_cluster = self.link.client().server_info().cluster.is_some();
            let replicas = if is_cluster { REPLICAS } else { 1 };
            match bucket_of(&context, &self.bucket, replicas).await {
                Ok(store) => {
                    self.store.send_replace(Some(store));
                    return;
                }
                Err(error) if !was_logged => {
                    was_logged = true;
                    warn!(
                        bucket = self.bucket, %error,
                        "the arbiter of stream names is not available: enable JetStream at the NATS servers, and \
                         allow it for this user"
                    );
                }
                Err(_) => {}
            }
            sleep(delay).await;
            delay = (2 * delay).min(longest);
        }
    }
}
