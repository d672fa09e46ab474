//! Streams pulled from other RTMP servers while they have viewers.
//!
//! ```text
//! hub: demand ──► Puller ──► one task per stream: play ──► ingest ──► hub
//!                                ▲    │ the server is gone and there are viewers: back off
//!                                └────┘
//! ```
//!
//! Every viewer can request any name that a rule matches. So pulls are limited, a failed pull is
//! not repeated at once, and an attempt ends when nobody waits for it anymore.

mod failures;
pub(super) mod limits;
pub(super) mod rule;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use distributary_hub::{
    AdmissionError, Audience, Demand, DemandError, DemandQueue, Dismissal, PublishError, Refusal,
    Stream, WhenTaken, provide_each,
};
use distributary_names::StreamName;
use distributary_net::reached;
use distributary_tls::TlsClient;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, error_span, info, warn};

use crate::client::{self, ClientError, ClientPlayer, Peers, StreamUrl};
use crate::server::context::ServerContext;
use crate::server::ingest::Ingest;
use failures::Failures;
use limits::{PullPermit, PullQuota};
use rule::LoadedRule;

/// Timeout from the connection to the first frame.
const FIRST_FRAME_TIMEOUT: Duration = Duration::from_secs(10);

/// Time after the first frame during which the first viewers wait for the second track.
const SECOND_TRACK_TIMEOUT: Duration = Duration::from_millis(500);

/// Backoff between two attempts while there are viewers: initial and maximum.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Pulls the streams that are requested from the hub.
#[derive(Debug)]
pub(crate) struct Puller {
    context: Arc<ServerContext>,
    rules: Vec<LoadedRule>,
    demands: mpsc::Receiver<Demand>,
    quota: PullQuota,
    failures: Arc<Failures>,
}

impl Puller {
    /// Registers as the hub's provider of the streams that the rules match.
    pub(crate) fn new(context: Arc<ServerContext>, rules: Vec<LoadedRule>) -> Self {
        let registered = rules.clone();
        let accepts =
            move |name: &StreamName| registered.iter().any(|rule| rule.source(name).is_some());
        Self {
            demands: context.hub.provide(accepts),
            quota: PullQuota::new(context.config.pulls),
            failures: Arc::default(),
            rules,
            context,
        }
    }

    /// Pulls until `shutdown` completes. All pulled streams end with it.
    pub(crate) async fn run(self, shutdown: impl Future<Output = ()>) {
        let begin = |demand: &Demand, waiting| {
            let name = demand.name().clone();
            if let Some(reason) = self.failures.reason(&name) {
                return Err(DemandError::Failed(reason));
            }
            let mut rules = self.rules.iter();
            let (url, rule) = rules
                .find_map(|rule| Some((rule.source(&name)?, rule)))
                .ok_or(DemandError::NoProvider)?;
            let (host, port) = url.authority();
            let permit = self.quota.take(&format!("{host}:{port}"), demand.asker());
            let permit = permit.map_err(|full| DemandError::Failed(full.to_string().into()))?;
            let span = error_span!("pull", stream = name.as_str(), from = %url);
            let pull = Pull {
                context: Arc::clone(&self.context),
                name,
                url,
                tls: rule.tls.clone(),
                idle_timeout: rule.rule.idle_timeout,
                waiting,
                permit,
                failures: Arc::clone(&self.failures),
            };
            Ok(pull.run().instrument(span))
        };
        provide_each(self.demands, begin, shutdown).await;
    }
}

/// The pull of one stream.
struct Pull {
    context: Arc<ServerContext>,
    name: StreamName,
    url: StreamUrl,
    tls: Option<TlsClient>,
    idle_timeout: Duration,
    /// The demands that wait until the stream is live.
    waiting: DemandQueue,
    permit: PullPermit,
    failures: Arc<Failures>,
}

/// The reason why a pull ends or restarts.
#[derive(Debug, thiserror::Error)]
enum PullEnd {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("no frame arrived within {FIRST_FRAME_TIMEOUT:?}")]
    NoFrame,
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Unfit(#[from] Refusal),
    #[error("another publisher has taken the stream over")]
    Replaced,
    #[error("removed through the API")]
    Removed,
    #[error("no viewers")]
    Unwatched,
    #[error("nobody waits for it anymore")]
    Abandoned,
}

impl From<Dismissal> for PullEnd {
    fn from(dismissal: Dismissal) -> Self {
        match dismissal {
            Dismissal::Replaced | Dismissal::Evicted => Self::Replaced,
            Dismissal::Removed => Self::Removed,
        }
    }
}

impl Pull {
    /// Pulls as long as there are viewers.
    async fn run(mut self) {
        let (initial, longest) = BACKOFF;
        let mut backoff = initial;
        // Set once the stream was live.
        let mut stream: Option<Arc<Stream>> = None;
        loop {
            let begun = if stream.is_some() {
                Self::begin(&self.context, &self.name, &self.url, self.tls.as_ref()).await
            } else {
                tokio::select! {
                    begun = Self::begin(&self.context, &self.name, &self.url, self.tls.as_ref()) => begun,
                    () = self.waiting.abandoned() => Err(PullEnd::Abandoned),
                }
            };
            let end = match begun {
                Ok((player, ingest)) => {
                    backoff = initial;
                    self.permit.asker = None;
                    self.failures.forget(&self.name);
                    stream = Some(Arc::clone(ingest.stream()));
                    self.relay(player, ingest).await
                }
                Err(PullEnd::Abandoned) => {
                    info!(reason = %PullEnd::Abandoned, "pulling ended");
                    return;
                }
                Err(PullEnd::Admission(elsewhere @ AdmissionError::Elsewhere(_))) => {
                    info!(reason = %elsewhere, "not pulled by this node");
                    let elsewhere = DemandError::Elsewhere;
                    return self.waiting.refuse(elsewhere, Duration::ZERO).await;
                }
                Err(end) => {
                    warn!(reason = %end, "the stream cannot be pulled");
                    end
                }
            };
            match end {
                PullEnd::Unwatched | PullEnd::Replaced | PullEnd::Removed => return,
                end => {
                    let reason = end.to_string();
                    let refusal = DemandError::Failed(reason.as_str().into());
                    let is_watched = |stream: &Arc<Stream>| *stream.subscribers().borrow() > 0;
                    if !stream.as_ref().is_some_and(is_watched) {
                        self.failures.note(&self.name, &reason);
                        return self.waiting.refuse(refusal, Duration::ZERO).await;
                    }
                    self.waiting.refuse(refusal, backoff).await;
                }
            }
            backoff = (backoff * 2).min(longest);
        }
    }

    /// Plays the stream and feeds it to the hub until its tracks are known.
    async fn begin(
        context: &ServerContext,
        name: &StreamName,
        url: &StreamUrl,
        tls: Option<&TlsClient>,
    ) -> Result<(ClientPlayer, Ingest), PullEnd> {
        // Where gateways share their streams, one of them pulls for all.
        let permit = context.hub.admit(name, WhenTaken::Refused).await?;
        info!("pulling");
        let deadline = Instant::now() + FIRST_FRAME_TIMEOUT;
        let peers = Peers {
            programs: Some(context.programs.clone()),
            tls: tls.cloned(),
        };
        let mut player = timeout_at(deadline, client::play_with(url, peers))
            .await
            .map_err(|_| ClientError::Timeout)??;
        let first = async {
            let message = player.next().await?;
            let now = Instant::now().into_std();
            let publisher = context.hub.publish(name, now)?.with_permit(permit);
            let mut ingest = Ingest::new(context.hub.clone(), publisher, None, now);
            ingest.handle(message, now)?;
            while !ingest.has_frames() {
                Self::feed(&mut player, &mut ingest).await?;
            }
            Ok::<_, PullEnd>(ingest)
        };
        let mut ingest = timeout_at(deadline, first)
            .await
            .map_err(|_| PullEnd::NoFrame)??;
        // If there are two tracks, one begins after the other.
        let deadline = Instant::now() + SECOND_TRACK_TIMEOUT;
        while !ingest.has_both_tracks() {
            match timeout_at(deadline, Self::feed(&mut player, &mut ingest)).await {
                Ok(fed) => fed?,
                Err(_) => break,
            }
        }
        Ok((player, ingest))
    }

    /// Feeds the hub with the next message, or with an access unit that was held for too long. The
    /// future may be dropped and the function called again.
    async fn feed(player: &mut ClientPlayer, ingest: &mut Ingest) -> Result<(), PullEnd> {
        let deadline = ingest.deadline().map(Instant::from_std);
        tokio::select! {
            message = player.next() => ingest.handle(message?, Instant::now().into_std())?,
            () = reached(deadline) => ingest.handle_deadline(Instant::now().into_std())?,
        }
        Ok(())
    }

    /// Feeds the hub until the server ends the stream or it has no viewers.
    async fn relay(&mut self, mut player: ClientPlayer, mut ingest: Ingest) -> PullEnd {
        let mut audience = Audience::new(ingest.stream(), self.idle_timeout);
        let dismissed = ingest.dismissed();
        tokio::pin!(dismissed);
        let end = loop {
            tokio::select! {
                fed = Self::feed(&mut player, &mut ingest) => {
                    if let Err(end) = fed {
                        break end;
                    }
                }
                Some(demand) = self.waiting.next() => {
                    demand.answer(Ok(()));
                    audience.expect();
                }
                () = audience.gone() => break PullEnd::Unwatched,
                dismissal = &mut dismissed => break dismissal.into(),
            }
        };
        ingest.end(&end);
        // Fails if the connection is lost, and then there is nobody to notify.
        let _ = player.close().await;
        end
    }
}
