//! The connection to the NATS servers.

use std::sync::Arc;
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::connection::State;
use async_nats::jetstream::{self, kv};
use async_nats::{Client, ConnectOptions, Event, Subscriber};
use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tracing::{debug, error, info, warn};

use crate::claim::EntryState;
use crate::config::ClusterConfig;
use crate::stats::Counters;
use crate::subject::Subjects;

/// Interval of pings. Three without an answer end the connection.
const PING_INTERVAL: Duration = Duration::from_millis(200);

/// Timeout of one attempt to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Maximum delay before another attempt to connect.
const MAX_RECONNECT_DELAY: Duration = Duration::from_millis(500);

/// Messages that wait for the connection. With parts of 64 KB that is 16 MB at most.
const CLIENT_CAPACITY: usize = 256;

/// Messages in the queue of one subscription.
const SUBSCRIPTION_CAPACITY: usize = 1024;

/// Timeout of the arbiter.
const ARBITER_TIMEOUT: Duration = Duration::from_millis(500);

/// Maximum time that a request waits for the first connection after the start.
const START_TIMEOUT: Duration = Duration::from_secs(1);

/// Time after which the marker of a removed entry is deleted, so that the bucket does not grow with
/// every name that was ever used.
const MARKER_LIFETIME: Duration = Duration::from_secs(60);

/// The oldest version of the server with all that is used: major and minor.
const MIN_SERVER: (i64, i64) = (2, 11);

/// Replicas of the arbiter's entries, if there are as many servers.
const REPLICAS: usize = 3;

/// The state of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// No server is connected.
    Away,
    /// A server is connected.
    Connected,
    /// The server is too old; this is its version.
    TooOld(String),
}

/// The connection to the NATS servers. A clone is a handle to the same connection.
#[derive(Clone)]
pub(crate) struct Link {
    client: Client,
    state: watch::Receiver<LinkState>,
    arbiter: watch::Receiver<Option<kv::Store>>,
    counters: Arc<Counters>,
}

/// The driver of the connection.
pub(crate) struct LinkDriver {
    client: Client,
    events: mpsc::Receiver<Event>,
    state: watch::Sender<LinkState>,
    arbiter: watch::Sender<Option<kv::Store>>,
    bucket: String,
    /// The hosts of the servers, for the log.
    servers: String,
    counters: Arc<Counters>,
}

/// The connection cannot be prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The settings are refused.
    #[error("[cluster]: NATS cannot be used: {0}")]
    Connect(#[from] async_nats::ConnectError),
}

/// The answer to a question.
#[derive(Debug)]
pub(crate) enum Reply {
    Answer(Bytes),
    /// Nobody listens for the question.
    Nobody,
    /// No answer came in time.
    Silent,
}

/// The outcome of writing an entry of the arbiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Revision(u64),
    Conflict,
    Unavailable,
}

impl Link {
    /// Prepares the connection, which is established in the background.
    pub(crate) async fn open(
        config: &ClusterConfig,
        node: &str,
        subjects: &Subjects,
        counters: Arc<Counters>,
    ) -> Result<(Self, LinkDriver), LinkError> {
        let (events_in, events) = mpsc::channel(64);
        let options = options(config, node).event_callback(move |event| {
            let events = events_in.clone();
            async move {
                let _ = events.send(event).await;
            }
        });
        let client = options.connect(&config.nats[..]).await?;
        let (state_in, state) = watch::channel(LinkState::Away);
        let (arbiter_in, arbiter) = watch::channel(None);
        let driver = LinkDriver {
            client: client.clone(),
            events,
            state: state_in,
            arbiter: arbiter_in,
            bucket: subjects.bucket(),
            servers: hosts(&config.nats),
            counters: Arc::clone(&counters),
        };
        let link = Self {
            client,
            state,
            arbiter,
            counters,
        };
        Ok((link, driver))
    }

    /// Returns whether a server is connected that can be used.
    pub(crate) fn is_up(&self) -> bool {
        *self.state.borrow() == LinkState::Connected
            && self.client.connection_state() == State::Connected
    }

    /// Follows the state of the connection.
    pub(crate) fn state(&self) -> watch::Receiver<LinkState> {
        self.state.clone()
    }

    /// Returns the name of the connected server.
    pub(crate) fn server(&self) -> Option<String> {
        let info = self.client.try_server_info()?;
        self.is_up().then_some(info.server_name)
    }

    /// Publishes a message. It waits while the connection takes no more; nothing is sent while no
    /// server is connected, since it would be too late afterwards. Returns whether it was sent.
    pub(crate) async fn publish(&self, subject: &str, message: Bytes) -> bool {
        if !self.is_up() {
            return false;
        }
        let sent = self.client.publish(subject.to_owned(), message).await;
        sent.is_ok()
    }

    /// Publishes a request whose answers arrive on the subject `reply`.
    pub(crate) async fn request(&self, subject: &str, reply: &str, message: Bytes) -> bool {
        if !self.is_up() {
            return false;
        }
        let (subject, reply) = (subject.to_owned(), reply.to_owned());
        let sent = self.client.publish_with_reply(subject, reply, message);
        sent.await.is_ok()
    }

    /// Waits for the first connection after the start, for a moment.
    async fn started(&self) {
        if self.counters.connections.get() == 0 {
            let mut state = self.state.clone();
            let connected = state.wait_for(|state| *state != LinkState::Away);
            let _ = timeout(START_TIMEOUT, connected).await;
        }
    }

    /// Asks a question.
    pub(crate) async fn ask(&self, subject: &str, question: Bytes, limit: Duration) -> Reply {
        self.started().await;
        if !self.is_up() {
            return Reply::Nobody;
        }
        let asked = self.client.request(subject.to_owned(), question);
        match timeout(limit, asked).await {
            Ok(Ok(answer)) => Reply::Answer(answer.payload),
            Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => Reply::Nobody,
            Ok(Err(_)) | Err(_) => Reply::Silent,
        }
    }

    /// Subscribes to a subject. What is published on this connection from now on comes after it.
    pub(crate) async fn subscribe(&self, subject: &str) -> Option<Subscriber> {
        self.client.subscribe(subject.to_owned()).await.ok()
    }

    /// Subscribes to a subject, and waits until the server knows it.
    pub(crate) async fn listen(&self, subject: &str) -> Option<Subscriber> {
        let subscriber = self.subscribe(subject).await?;
        if self.is_up() {
            // While it fails, the subscription is repeated when the connection is back.
            let _ = timeout(ARBITER_TIMEOUT, self.client.flush()).await;
        }
        Some(subscriber)
    }

    /// Returns a subject for answers that nobody else has.
    pub(crate) fn inbox(&self) -> String {
        self.client.new_inbox()
    }

    /// Reads an entry of the arbiter; `None` if it does not answer.
    pub(crate) async fn read_entry(&self, key: &str) -> Option<EntryState> {
        let arbiter = self.arbiter().await?;
        let entry = timeout(ARBITER_TIMEOUT, arbiter.entry(key)).await;
        match entry {
            Ok(Ok(Some(entry))) => Some(EntryState {
                revision: entry.revision,
                is_live: entry.operation == kv::Operation::Put,
            }),
            Ok(Ok(None)) => Some(EntryState::default()),
            Ok(Err(error)) => {
                debug!(key, %error, "the arbiter's entry cannot be read");
                None
            }
            Err(_) => None,
        }
    }

    /// Writes an entry of the arbiter, if it has this revision.
    pub(crate) async fn write_entry(&self, key: &str, value: Bytes, revision: u64) -> Written {
        let Some(arbiter) = self.arbiter().await else {
            return Written::Unavailable;
        };
        match timeout(ARBITER_TIMEOUT, arbiter.update(key, value, revision)).await {
            Ok(Ok(revision)) => Written::Revision(revision),
            Ok(Err(error)) if error.kind() == kv::UpdateErrorKind::WrongLastRevision => {
                Written::Conflict
            }
            Ok(Err(error)) => {
                debug!(key, %error, "the arbiter's entry cannot be written");
                Written::Unavailable
            }
            Err(_) => Written::Unavailable,
        }
    }

    /// Removes an entry of the arbiter, if it has this revision.
    pub(crate) async fn remove_entry(&self, key: &str, revision: u64) {
        let Some(arbiter) = self.arbiter().await else {
            return;
        };
        let removed = arbiter.purge_expect_revision_with_ttl(key, revision, MARKER_LIFETIME);
        match timeout(ARBITER_TIMEOUT, removed).await {
            Ok(Ok(())) => {}
            // The next claim finds that nobody answers for the entry.
            Ok(Err(error)) => debug!(key, %error, "the arbiter's entry is not removed"),
            Err(_) => debug!(key, "the arbiter's entry is not removed in time"),
        }
    }

    async fn arbiter(&self) -> Option<kv::Store> {
        self.started().await;
        if !self.is_up() {
            return None;
        }
        // It is looked for after the first connection.
        let mut arbiter = self.arbiter.clone();
        let found = timeout(ARBITER_TIMEOUT, arbiter.wait_for(Option::is_some)).await;
        found.ok()?.ok()?.clone()
    }
}

/// Returns the hosts of URLs, without the credentials that they may have.
fn hosts(urls: &[String]) -> String {
    let hosts = urls.iter().map(|url| url.rsplit(['@', '/']).next());
    hosts.flatten().collect::<Vec<_>>().join(" ")
}

/// Returns the options of the connection.
fn options(config: &ClusterConfig, node: &str) -> ConnectOptions {
    // The TLS library cannot choose between the providers of cryptography that are linked. Fails if
    // one is chosen already.
    let _ = async_nats::rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut options = ConnectOptions::new()
        .name(format!("distributary {node}"))
        .ping_interval(PING_INTERVAL)
        .connection_timeout(CONNECT_TIMEOUT)
        .client_capacity(CLIENT_CAPACITY)
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .retry_on_initial_connect()
        .reconnect_delay_callback(|attempts| {
            let millis = u64::try_from(attempts)
                .unwrap_or(u64::MAX)
                .saturating_mul(25);
            Duration::from_millis(millis).min(MAX_RECONNECT_DELAY)
        });
    if !config.token.is_empty() {
        options = options.token(config.token.clone());
    }
    if !config.user.is_empty() {
        options = options.user_and_password(config.user.clone(), config.password.clone());
    }
    if !config.ca.as_os_str().is_empty() {
        options = options
            .require_tls(true)
            .add_root_certificates(config.ca.clone());
    }
    if !config.certificate.as_os_str().is_empty() {
        options = options
            .require_tls(true)
            .add_client_certificate(config.certificate.clone(), config.key.clone());
    }
    options
}

impl LinkDriver {
    /// Follows the connection until the client is dropped.
    pub(crate) async fn run(mut self) {
        let mut was_connected = false;
        // Set once the reason was logged why no server can be connected.
        let mut was_explained = false;
        while let Some(event) = self.events.recv().await {
            match event {
                Event::Connected => {
                    self.counters.connections.note();
                    self.connected().await;
                    was_connected = true;
                    was_explained = false;
                }
                Event::Disconnected => {
                    if was_connected {
                        warn!("the connection to the NATS server is lost: connecting again");
                    }
                    was_connected = false;
                    self.state.send_replace(LinkState::Away);
                }
                Event::SlowConsumer(_) => {
                    debug!(
                        "messages of the cluster were dropped: they arrive faster than they are handled"
                    );
                }
                Event::ClientError(error) if !was_explained => {
                    was_explained = true;
                    warn!(
                        servers = self.servers, %error,
                        "no NATS server can be connected: trying again; check that one runs there, its \
                         certificate, and user and password"
                    );
                }
                Event::ClientError(error) => debug!(%error, "no NATS server can be connected"),
                Event::ServerError(error) => warn!(%error, "the NATS server reports an error"),
                Event::LameDuckMode | Event::Draining | Event::Closed => {}
            }
        }
    }

    /// Uses the server that has just been connected, if it can be used.
    async fn connected(&mut self) {
        let info = self.client.server_info();
        let (server, version) = (info.server_name, info.version);
        let (major, minor) = MIN_SERVER;
        if !self.client.is_server_compatible(major, minor, 0) {
            error!(
                server,
                version,
                "the NATS server is too old: the cluster needs {major}.{minor} or newer, and does without it"
            );
            self.state.send_replace(LinkState::TooOld(version));
            return;
        }
        info!(server, version, "connected to NATS");
        self.state.send_replace(LinkState::Connected);
        if self.arbiter.borrow().is_none() {
            tokio::spawn(find_arbiter(
                self.client.clone(),
                self.bucket.clone(),
                self.arbiter.clone(),
            ));
        }
    }
}

/// Finds the bucket of the arbiter, or creates it. Repeats that until it succeeds.
async fn find_arbiter(client: Client, bucket: String, to: watch::Sender<Option<kv::Store>>) {
    const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
    let mut context = jetstream::new(client.clone());
    context.set_timeout(Duration::from_secs(5));
    let (mut delay, longest) = RETRY;
    let mut was_logged = false;
    loop {
        // A single server refuses replicas. So does a cluster that starts, until its servers know each
        // other: it is asked again, because one copy would not survive the loss of its server.
        let is_cluster = client.server_info().cluster.is_some();
        let replicas = if is_cluster { REPLICAS } else { 1 };
        match bucket_of(&context, &bucket, replicas).await {
            Ok(store) => {
                to.send_if_modified(|current| {
                    let is_new = current.is_none();
                    if is_new {
                        *current = Some(store);
                    }
                    is_new
                });
                return;
            }
            Err(error) if !was_logged => {
                was_logged = true;
                warn!(
                    bucket, %error,
                    "the arbiter of stream names is not available: enable JetStream at the NATS servers, and \
                     allow it for this user"
                );
            }
            Err(_) => {}
        }
        if to.is_closed() || to.borrow().is_some() {
            return;
        }
        tokio::time::sleep(delay).await;
        delay = (2 * delay).min(longest);
    }
}

async fn bucket_of(
    context: &jetstream::Context,
    bucket: &str,
    replicas: usize,
) -> Result<kv::Store, async_nats::Error> {
    let config = kv::Config {
        bucket: bucket.to_owned(),
        description: "Owners of streams".to_owned(),
        history: 1,
        max_value_size: 1 << 10,
        num_replicas: replicas,
        limit_markers: Some(MARKER_LIFETIME),
        ..kv::Config::default()
    };
    if let Ok(store) = context.get_key_value(bucket).await {
        // There was one server when it was created. It serves as it is, too.
        if store.stream.cached_info().config.num_replicas < replicas
            && let Err(error) = context.update_key_value(config).await
        {
            debug!(bucket, %error, "the arbiter has fewer copies than the cluster has servers");
        }
        return Ok(store);
    }
    match context.create_key_value(config).await {
        Ok(store) => Ok(store),
        // Another node may have created it in the meantime.
        Err(error) => match context.get_key_value(bucket).await {
            Ok(store) => Ok(store),
            Err(_) => Err(error.into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_urls_are_not_logged() {
        let urls = [
            "nats://10.0.0.1:4222",
            "tls://user:secret@nats2:4222",
            "nats3",
        ];
        let urls = urls.map(str::to_owned);
        assert_eq!(hosts(&urls), "10.0.0.1:4222 nats2:4222 nats3");
    }
}
