//! The connection to the NATS servers.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::connection::State;
use async_nats::{Client, ClientError, ConnectOptions, Event, ReconnectToServer, Subject};
use bytes::Bytes;
use distributary_hub::EventLimit;
use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, error, info, warn};

use crate::clock::now;
use crate::config::ClusterConfig;
use crate::next_server::NextServer;
use crate::stats::Counters;
use crate::subscription::{INBOX, Subscription};

/// Silence after which the server is pinged, and the interval of further pings. The connection ends
/// at the third interval in silence: a server that stands still is noticed after 0.9 s. Less would
/// end connections to servers that answer late because their machine is busy.
const PING_INTERVAL: Duration = Duration::from_millis(300);

/// Timeout of one attempt to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Maximum delay before another attempt to connect.
const MAX_RECONNECT_DELAY: Duration = Duration::from_millis(500);

/// Messages that wait for the connection, and go out late when it is back. With parts of 64 KB that
/// is 4 MB at most.
const CLIENT_CAPACITY: usize = 64;

/// Messages in the queue of one subscription.
const SUBSCRIPTION_CAPACITY: usize = 1024;

/// Maximum time for which a command waits until the connection takes it. It takes none while it is
/// being established, and few while a server stands still.
pub(crate) const COMMAND_TIMEOUT: Duration = Duration::from_millis(500);

/// Interval at which the state of the connection is compared with what its events say, since
/// events are dropped when there are many.
const RECONCILE_INTERVAL: Duration = Duration::from_millis(100);

/// Maximum time that a request waits for the first connection after the start.
const START_TIMEOUT: Duration = Duration::from_secs(1);

/// Limit of log lines about what the server refuses. With rights that do not suit the node, that may be
/// each message.
const REFUSALS: EventLimit = EventLimit::new(4, Duration::from_secs(60));

/// The oldest version of the server with all that is used: major and minor.
const MIN_SERVER: (i64, i64) = (2, 11);

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
    counters: Arc<Counters>,
}

/// The driver of the connection.
pub(crate) struct LinkDriver {
    client: Client,
    events: mpsc::Receiver<Event>,
    state: watch::Sender<LinkState>,
    /// The hosts of the servers, for the log.
    servers: String,
    next: Arc<NextServer>,
    /// Attempts to connect that have failed since the last connection.
    failures: usize,
    refusals: EventLimit,
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
    /// No server is connected, or the connection was lost before the answer came.
    Away,
}

impl Link {
    /// Prepares the connection, which is established in the background.
    pub(crate) async fn open(
        config: &ClusterConfig,
        node: &str,
        counters: Arc<Counters>,
    ) -> Result<(Self, LinkDriver), LinkError> {
        let (events_in, events) = mpsc::channel(64);
        let next = Arc::<NextServer>::default();
        let options = options(config, node, Arc::clone(&next)).event_callback(move |event| {
            let events = events_in.clone();
            async move {
                let _ = events.send(event).await;
            }
        });
        let client = options.connect(&config.nats[..]).await?;
        let (state_in, state) = watch::channel(LinkState::Away);
        let driver = LinkDriver {
            client: client.clone(),
            events,
            state: state_in,
            servers: hosts(&config.nats),
            next,
            failures: 0,
            refusals: REFUSALS,
            counters: Arc::clone(&counters),
        };
        let link = Self {
            client,
            state,
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

    /// Returns the client.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Publishes a message. It waits a moment while the connection takes no more; nothing is sent
    /// while no server is connected, since it would be too late afterwards. Returns whether it was
    /// sent.
    pub(crate) async fn publish(&self, subject: &str, message: Bytes) -> bool {
        self.publish_on(subject.into(), message).await
    }

    /// The same on a subject that is used many times.
    pub(crate) async fn publish_on(&self, subject: Subject, message: Bytes) -> bool {
        let sent = self.command(self.client.publish(subject, message)).await;
        sent.is_some_and(|sent| sent.is_ok())
    }

    /// Publishes a message if the connection takes it at once. Returns whether it was sent.
    pub(crate) fn try_publish(&self, subject: &str, message: Bytes) -> bool {
        let sent = self.client.publish(subject.to_owned(), message);
        self.is_up() && matches!(sent.now_or_never(), Some(Ok(())))
    }

    /// Publishes a request whose answers arrive on the subject `reply`.
    pub(crate) async fn request(&self, subject: &str, reply: &str, message: Bytes) -> bool {
        let (subject, reply) = (subject.to_owned(), reply.to_owned());
        let sent = self.client.publish_with_reply(subject, reply, message);
        self.command(sent).await.is_some_and(|sent| sent.is_ok())
    }

    /// Waits until the connection has taken a command. `None` if no server is connected, or the
    /// connection takes nothing for some time.
    async fn command<T>(&self, command: impl Future<Output = T>) -> Option<T> {
        if !self.is_up() {
            return None;
        }
        let mut command = pin!(command);
        // Normally it is taken at once.
        if let Some(done) = command.as_mut().now_or_never() {
            return Some(done);
        }
        let mut state = self.state.clone();
        tokio::select! {
            biased;
            done = command => Some(done),
            _ = state.wait_for(|state| *state != LinkState::Connected) => None,
            () = sleep(COMMAND_TIMEOUT) => None,
        }
    }

    /// Waits for the first connection after the start, for a moment.
    pub(crate) async fn started(&self) {
        if self.counters.connections.get() == 0 {
            let mut state = self.state.clone();
            let connected = state.wait_for(|state| *state != LinkState::Away);
            let _ = timeout(START_TIMEOUT, connected).await;
        }
    }

    /// Waits until a server is connected, for at most `limit`. Returns whether one is.
    pub(crate) async fn up(&self, limit: Duration) -> bool {
        let mut state = self.state.clone();
        let connected = async {
            // The state may say so for a moment after the connection is lost.
            while !self.is_up() && state.changed().await.is_ok() {}
        };
        let _ = timeout(limit, connected).await;
        self.is_up()
    }

    /// Asks a question.
    pub(crate) async fn ask(&self, subject: &str, question: Bytes, limit: Duration) -> Reply {
        self.started().await;
        if !self.is_up() {
            return Reply::Away;
        }
        let asked = self.client.request(subject.to_owned(), question);
        let mut state = self.state.clone();
        let answered = tokio::select! {
            answered = timeout(limit, asked) => answered,
            _ = state.wait_for(|state| *state != LinkState::Connected) => return Reply::Away,
        };
        match answered {
            Ok(Ok(answer)) => Reply::Answer(answer.payload),
            Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => Reply::Nobody,
            Ok(Err(_)) | Err(_) => Reply::Silent,
        }
    }

    /// Subscribes to a subject at the start of the node, also while no server is connected yet.
    pub(crate) async fn subscribe_at_start(&self, subject: &str) -> Option<Subscription> {
        let subscribed = self.client.subscribe(subject.to_owned());
        // Nothing else waits for the connection before the first one.
        let subscriber = timeout(COMMAND_TIMEOUT, subscribed).await.ok()?.ok()?;
        Some(Subscription::new(subscriber))
    }

    /// Subscribes to a subject. What is published on this connection from now on comes after it.
    /// `None` while no server is connected.
    pub(crate) async fn subscribe(&self, subject: &str) -> Option<Subscription> {
        let subscribed = self.client.subscribe(subject.to_owned());
        let subscriber = self.command(subscribed).await?.ok()?;
        Some(Subscription::new(subscriber))
    }

    /// Subscribes to a subject, and sends it to the server. `None` while no server is
    /// connected.
    pub(crate) async fn listen(&self, subject: &str) -> Option<Subscription> {
        let subscriber = self.subscribe(subject).await?;
        // If it fails, the subscription is repeated when the connection is back.
        let _ = self.command(self.client.flush()).await;
        Some(subscriber)
    }

    /// Returns a subject for answers that nobody else has.
    pub(crate) fn inbox(&self) -> String {
        self.client.new_inbox()
    }
}

/// Returns the hosts of URLs, without the credentials that they may have.
fn hosts(urls: &[String]) -> String {
    let hosts = urls.iter().map(|url| url.rsplit(['@', '/']).next());
    hosts.flatten().collect::<Vec<_>>().join(" ")
}

/// Returns the options of the connection.
fn options(config: &ClusterConfig, node: &str, next: Arc<NextServer>) -> ConnectOptions {
    // The TLS library cannot choose between the providers of cryptography that are linked. Fails if
    // one is chosen already.
    let _ = async_nats::rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut options = ConnectOptions::new()
        .name(format!("distributary {node}"))
        .custom_inbox_prefix(format!("{INBOX}{node}"))
        .ping_interval(PING_INTERVAL)
        .connection_timeout(CONNECT_TIMEOUT)
        .client_capacity(CLIENT_CAPACITY)
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .retry_on_initial_connect()
        .reconnect_to_server_callback(move |servers, _| {
            let addr = next.choose(&servers, &mut rand::rng());
            std::future::ready(addr.map(|addr| ReconnectToServer { addr, delay: None }))
        })
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
        let mut reconcile = interval(RECONCILE_INTERVAL);
        reconcile.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.handle(event),
                    None => return,
                },
                _ = reconcile.tick() => {}
            }
            self.reconcile().await;
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            // The connection may be there again by now.
            Event::Disconnected => self.disconnected(),
            Event::SlowConsumer(_) => {
                debug!(
                    "messages of the cluster were dropped: they arrive faster than they are handled"
                );
            }
            Event::ClientError(error) => self.failed(&error),
            Event::ServerError(error) => {
                if let Some(held_back) = self.refusals.admit(now()) {
                    warn!(
                        %error, held_back,
                        "the NATS server refuses something: if it is a permission, compare the name of \
                         this node with its certificate and its rights at the server"
                    );
                }
            }
            Event::Connected | Event::LameDuckMode | Event::Draining | Event::Closed => {}
        }
    }

    /// Notes that a server cannot be connected. Logs it once, when none of them can.
    fn failed(&mut self, error: &ClientError) {
        debug!(%error, "a NATS server cannot be connected");
        self.failures = self.failures.saturating_add(1);
        if self.failures == self.next.count() {
            warn!(
                servers = self.servers, %error,
                "no NATS server can be connected: trying again; check that one runs there, its \
                 certificate, and user and password"
            );
        }
    }

    /// Notes whether a server is connected.
    async fn reconcile(&mut self) {
        let is_connected = self.client.connection_state() == State::Connected;
        let was_connected = *self.state.borrow() != LinkState::Away;
        match (was_connected, is_connected) {
            (false, true) => self.connected().await,
            (true, false) => self.disconnected(),
            (false, false) | (true, true) => {}
        }
    }

    fn disconnected(&self) {
        if self.state.send_replace(LinkState::Away) != LinkState::Away {
            warn!("the connection to the NATS server is lost: connecting again");
        }
    }

    /// Uses the server that has just been connected, if it can be used.
    async fn connected(&mut self) {
        // What the server says of itself is known once the connection is in use.
        let used = timeout(COMMAND_TIMEOUT, self.client.flush()).await;
        if !matches!(used, Ok(Ok(()))) {
            return;
        }
        self.counters.connections.note();
        self.failures = 0;
        self.next.connected();
        let info = self.client.server_info();
        let (server, version) = (info.server_name, info.version);
        let (major, minor) = MIN_SERVER;
        if self.client.is_server_compatible(major, minor, 0) {
            info!(server, version, "connected to NATS");
            self.state.send_replace(LinkState::Connected);
            return;
        }
        error!(
            server,
            version,
            "the NATS server is too old: the cluster needs {major}.{minor} or newer, and does without it"
        );
        self.state.send_replace(LinkState::TooOld(version));
    }
}

#[cfg(test)]
mod tests {
    use distributary_cluster::test_util::NatsServer;

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

    #[tokio::test]
    async fn question_ends_with_the_connection() {
        const LIMIT: Duration = Duration::from_secs(60);
        let mut server = NatsServer::start();
        let config = ClusterConfig {
            nats: vec![server.url()],
            ..ClusterConfig::default()
        };
        let (link, driver) = Link::open(&config, "a", Arc::default()).await.unwrap();
        let running = tokio::spawn(driver.run());
        assert!(link.up(LIMIT).await);
        let mut mute = link.listen("mute").await.expect("it is connected");
        let asked = link.ask("mute", Bytes::new(), 10 * LIMIT);
        let lost = async {
            mute.next().await.expect("the question arrives");
            server.kill();
        };
        let both = timeout(LIMIT, async { tokio::join!(asked, lost).0 }).await;
        assert!(matches!(both, Ok(Reply::Away)), "{both:?}");
        let later = link.ask("mute", Bytes::new(), LIMIT).await;
        assert!(matches!(later, Reply::Away), "{later:?}");
        running.abort();
    }
}
