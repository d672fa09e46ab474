//! The owner of one name that publishers of this node use.
//!
//! * `claiming`: claims the name. `waiting`: waits for a name that another node has.
//! * `feeds`: sends the stream to other nodes. `awaited`: their requests for renditions that are about to
//!   be made.

mod awaited;
mod claiming;
mod feeds;
mod waiting;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::Message;
use distributary_hub::{Admission, AdmissionError, PermitEnd, Stream, Tenure, WhenTaken};
use distributary_names::StreamName;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::answer::refuse_all;
use crate::backoff::Backoff;
use crate::claim::Claim;
use crate::claimant::{Check, compare, confirm};
use crate::clock::{now, reached, wall_clock};
use crate::config::Label;
use crate::content::EndReason;
use crate::context::Context;
use crate::control::{Announced, Ask, Control, Holds, Join, Kept, Waiting};
use crate::epoch::{is_provisional, provisional};
use crate::liveness::Liveness;
use crate::owned_name::OwnedName;
use crate::subject;
use crate::subscription::{Subscription, reply_to};
use crate::successors::Successors;
use feeds::Feeds;

/// Delay before the arbiter is asked again to confirm the name, or for an entry that could not be
/// read: the first, and the longest after many.
const CONFIRM: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(4));

/// A command for the owner of one name.
pub(crate) enum Command {
    Admit(Admission),
    Join(Box<Join>, String),
    Keep(Label, Box<Kept>),
    /// The connection is back: other nodes may have missed what was said before.
    Announce,
}

/// A name that this node has lost to another one.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) name: StreamName,
    /// The ownership that has ended, with the permits that were granted during it.
    pub(crate) tenure: Tenure,
}

/// The end of serving a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Served {
    /// The last publisher has ended, or the node ends.
    Released,
    /// Another node has the name.
    Lost,
}

/// The owner of one name, or those who wait for it.
pub(crate) struct Owner {
    context: Arc<Context>,
    /// Receives the name if this node loses it to another one.
    lost: mpsc::Sender<Lost>,
    name: StreamName,
    /// The key of the arbiter's entry.
    key: String,
    commands: mpsc::Receiver<Command>,
    /// The questions of other nodes, once they are listened for.
    questions: Option<Subscription>,
    /// The publishers that use the name, or stand by for it.
    permits: FuturesUnordered<PermitEnd>,
    /// The ownership during which they were granted.
    tenure: Tenure,
    feeds: Feeds,
    liveness: Liveness,
    /// Delays of the next comparison of the arbiter's entry.
    confirm: Backoff,
    /// Shared with the list of names.
    shared: Arc<OwnedName>,
    /// A publisher of this node stands by if another node has the name.
    stands_by: bool,
    /// The node that has the name while this one waits for it.
    holder: Arc<str>,
    /// The nodes that wait for the name.
    successors: Successors,
    epoch: u64,
}

type Checking = Pin<Box<dyn Future<Output = Check> + Send>>;

impl Owner {
    pub(crate) fn new(
        context: Arc<Context>,
        lost: mpsc::Sender<Lost>,
        name: StreamName,
        commands: mpsc::Receiver<Command>,
        shared: Arc<OwnedName>,
    ) -> Self {
        Self {
            key: subject::token(&name),
            liveness: Liveness::new(context.hub.clone(), name.clone()),
            feeds: Feeds::new(Arc::clone(&context), name.clone()),
            context,
            lost,
            name,
            commands,
            questions: None,
            permits: FuturesUnordered::new(),
            tenure: Tenure::default(),
            confirm: Backoff::new(CONFIRM.0, CONFIRM.1),
            shared,
            stands_by: false,
            holder: "of another claim".into(),
            successors: Successors::default(),
            epoch: 0,
        }
    }

    /// Claims the name for the first publisher, and owns it until the last one has ended, or the
    /// name is lost. Publishers that stand by wait for it again. Returns the publishers that came too
    /// late, for which it has to be claimed again.
    pub(crate) async fn run(mut self, first: Admission) -> Vec<Admission> {
        let replaces = first.when_taken() == WhenTaken::TakesOver;
        let (claim, step) = Claim::begin(replaces, self.context.without_arbiter);
        let mut admissions = vec![first];
        match self.claim(claim, step, &mut admissions).await {
            Ok(()) => {
                for admission in admissions {
                    self.grant(admission);
                }
                if self.own().await == Served::Released {
                    return self.release().await;
                }
            }
            Err(error) => {
                self.context.counters.claims_refused.note();
                self.tenure.suspend();
                for admission in admissions {
                    self.grant_waiting(admission, &error);
                }
            }
        }
        while self.wait().await {
            self.tenure.resume();
            if let Some(stream) = self.context.hub.stream(&self.name) {
                stream.await_standby(now());
            }
            if self.own().await == Served::Released {
                return self.release().await;
            }
        }
        self.close(EndReason::Moved).await
    }

    /// Owns the name until the last publisher has ended, or the name is lost.
    async fn own(&mut self) -> Served {
        self.announce().await;
        let served = self.serve().await;
        if served == Served::Lost {
            self.lost().await;
        }
        served
    }

    /// Lets a publisher use the name.
    fn grant(&mut self, admission: Admission) {
        self.stands_by |= admission.when_taken() == WhenTaken::StandsBy;
        self.permits.push(admission.grant(&self.tenure));
    }

    /// Lets a publisher stand by for a stream that this node cannot have, or refuses it.
    fn grant_waiting(&mut self, admission: Admission, error: &AdmissionError) {
        let is_elsewhere = matches!(error, AdmissionError::Elsewhere(_));
        if is_elsewhere && admission.when_taken() == WhenTaken::StandsBy {
            self.grant(admission);
        } else {
            admission.refuse(error.clone());
        }
    }

    fn is_provisional(&self) -> bool {
        is_provisional(self.epoch)
    }

    /// Serves other nodes until the last publisher has ended, or the name is lost.
    async fn serve(&mut self) -> Served {
        let shared = Arc::clone(&self.shared);
        if shared.is_released() || self.permits.is_empty() {
            return Served::Released;
        }
        let mut checking: Option<Checking> = None;
        let mut check_at = self.next_check();
        loop {
            let expiry = self.successors.next_expiry().map(Instant::from_std);
            let questions = self.questions.as_mut();
            tokio::select! {
                question = receive(questions) => self.answer(question).await,
                Some(command) = self.commands.recv() => match command {
                    Command::Admit(admission) => self.grant(admission),
                    Command::Join(join, reply) => self.feeds.join(*join, reply).await,
                    Command::Keep(node, kept) => self.feeds.keep(node, &kept),
                    Command::Announce => {
                        self.listen().await;
                        self.announce().await;
                        // The connection is new: what has failed before may succeed.
                        self.confirm.succeed();
                        check_at = self.next_check();
                    }
                },
                Some(awaited) = self.feeds.next_awaited() => {
                    self.feeds.answer_awaited(awaited).await;
                }
                // Also what has arrived during the claim.
                () = shared.changed() => {
                    if shared.is_released() {
                        return Served::Released;
                    }
                    if shared.takes_comparison(self.epoch) {
                        // Other nodes cause this as often as they like: the backoff goes on.
                        check_at = Some(Instant::now());
                    }
                }
                // Viewers of other nodes may wait for it.
                () = self.liveness.online() => self.announce().await,
                Some(_) = self.permits.next() => {
                    if self.permits.is_empty() {
                        return Served::Released;
                    }
                }
                () = reached(expiry) => {
                    if self.successors.expire(now()) {
                        self.tell_successors();
                    }
                }
                () = reached(check_at), if checking.is_none() => {
                    check_at = None;
                    self.listen().await;
                    checking = Some(self.check());
                }
                outcome = finished(&mut checking) => {
                    checking = None;
                    if !matches!(outcome, Check::Unknown) {
                        self.confirm.succeed();
                    }
                    match outcome {
                        Check::Same => {}
                        Check::Unknown => {
                            let delay = jittered(self.confirm.fail());
                            check_at = check_at.or(Some(Instant::now() + delay));
                        }
                        Check::Confirmed(epoch) => {
                            self.confirmed(epoch).await;
                            // Another node may have written by now.
                            if shared.takes_comparison(epoch) {
                                check_at = Some(Instant::now());
                            }
                        }
                        Check::Gone => {
                            // It is claimed again, as if it had never been confirmed.
                            self.change_epoch(provisional(wall_clock())).await;
                            check_at = Some(Instant::now());
                        }
                        Check::Lost => return Served::Lost,
                    }
                }
            }
        }
    }

    /// Returns when the entry is compared first without a reason: never if the arbiter has confirmed
    /// the name, since news of the entry arrive by themselves.
    fn next_check(&self) -> Option<Instant> {
        let is_due = self.is_provisional() || self.questions.is_none();
        is_due.then(|| Instant::now() + jittered(self.confirm.first()))
    }

    /// Compares the arbiter's entry, or asks the arbiter to confirm the name.
    fn check(&self) -> Checking {
        let context = Arc::clone(&self.context);
        let (name, key, epoch) = (self.name.clone(), self.key.clone(), self.epoch);
        if self.questions.is_none() {
            // Whoever claims a name has to answer for it.
            return Box::pin(std::future::ready(Check::Unknown));
        }
        let is_provisional = self.is_provisional();
        Box::pin(async move {
            // Never closed.
            let _slot = context.checks.acquire().await;
            if is_provisional {
                confirm(&context, &name, &key, epoch).await
            } else {
                compare(&context, &key, epoch).await
            }
        })
    }

    async fn confirmed(&mut self, epoch: u64) {
        self.context.counters.claims_confirmed.note();
        info!("the arbiter has confirmed the name");
        self.change_epoch(epoch).await;
        self.announce().await;
    }

    /// Uses another epoch from now on. Nodes that watch have to join again.
    async fn change_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.shared.grant(self.is_provisional());
        self.feeds.change_epoch(epoch).await;
    }

    /// Handles that another node has the name: publishers of this node stand by, or are dismissed.
    async fn lost(&mut self) {
        self.context.counters.fenced.note();
        warn!("another node has taken the stream over");
        if self.stands_by {
            self.tenure.suspend();
        } else {
            self.tenure.revoke();
            self.permits.clear();
        }
        self.shared.withdraw();
        self.questions = None;
        // They are no viewers of the stream.
        self.feeds.end().await;
        self.epoch = 0;
        self.forget_successors();
        self.pass_on().await;
    }

    /// Lets the viewers of this node follow the stream to another node.
    async fn pass_on(&self) {
        let lost = Lost {
            name: self.name.clone(),
            tenure: self.tenure.clone(),
        };
        // Received as long as the node runs.
        let _ = self.lost.send(lost).await;
    }

    async fn announce(&self) {
        let context = &self.context;
        let announced = Announced {
            node: context.node.clone(),
            stream: self.name.clone(),
            epoch: self.epoch,
        };
        let subject = context.subjects.owned(&context.node);
        context.link.publish(&subject, announced.to_json()).await;
    }

    /// Answers the question who owns the stream.
    async fn answer(&mut self, question: Message) {
        let Some(ask) = Ask::from_json(&question.payload) else {
            self.context.note_unreadable(&question.payload);
            return;
        };
        let is_own = ask.instance == self.context.instance;
        let (Some(reply), false) = (reply_to(&question), is_own) else {
            return;
        };
        let waiting = ask.waiting;
        let gives_way = waiting.is_some_and(|waiting| self.gives_way(ask.node, waiting));
        let context = &self.context;
        let holds = Holds {
            node: context.node.clone(),
            epoch: self.epoch,
            provisional: self.is_provisional(),
            draining: context.draining.load(Ordering::Relaxed),
            gives_way,
        };
        context.link.publish(reply, holds.to_json()).await;
    }

    /// Notes that a node waits for the name. Returns whether it may have it.
    fn gives_way(&mut self, node: Label, waiting: Waiting) -> bool {
        if self.successors.note(node, waiting, now()) {
            self.tell_successors();
        }
        let hub = &self.context.hub;
        let silence = self.stands_by.then(|| hub.config().standby_after);
        let stream = hub.stream(&self.name);
        let gives_way = |stream: Arc<Stream>| stream.gives_way(waiting.video, silence, now());
        // Each question shows that this node runs, also one of publishers that are not ready.
        stream.is_some_and(gives_way) && waiting.ready
    }

    fn tell_successors(&self) {
        if let Some(stream) = self.context.hub.stream(&self.name) {
            stream.set_successors(self.successors.list());
        }
    }

    fn forget_successors(&mut self) {
        self.successors = Successors::default();
        self.tell_successors();
    }

    /// Gives the name back. Returns the publishers that came too late.
    async fn release(mut self) -> Vec<Admission> {
        // From now on nobody answers for it, and the feeds say that they end.
        self.questions = None;
        self.feeds.end().await;
        let has_successor = !self.shared.is_released() && self.successors.are_ready();
        self.forget_successors();
        self.tenure.revoke();
        // What comes from now on is claimed anew.
        let late = self.close(EndReason::Lost).await;
        if !self.is_provisional() {
            self.context.arbiter.remove(&self.key, self.epoch).await;
        }
        if has_successor {
            self.pass_on().await;
        } else if self.permits.is_empty() {
            // It may wait for a node that waits no more.
            self.context.hub.end_tenure(&self.name, &self.tenure, now());
        }
        late
    }

    /// Accepts no more commands. Refuses the joins that wait, for this reason, and returns the
    /// publishers that wait.
    async fn close(&mut self, reason: EndReason) -> Vec<Admission> {
        self.commands.close();
        let (mut late, mut joins) = (Vec::new(), Vec::new());
        while let Some(command) = self.commands.recv().await {
            match command {
                Command::Admit(admission) => late.push(admission),
                Command::Join(_, reply) => joins.push(reply),
                Command::Keep(..) | Command::Announce => {}
            }
        }
        refuse_all(&self.context, joins, reason).await;
        late
    }
}

/// Returns a delay of between half of this one and all of it, so that the owners of many names do not
/// ask at once.
fn jittered(delay: Duration) -> Duration {
    delay.mul_f64(rand::random_range(0.5..=1.0))
}

/// Returns the next question; never if none is listened for.
async fn receive(questions: Option<&mut Subscription>) -> Message {
    if let Some(questions) = questions
        && let Some(question) = questions.next().await
    {
        return question;
    }
    std::future::pending().await
}

/// Returns the outcome of the check in progress; never if there is none.
async fn finished(checking: &mut Option<Checking>) -> Check {
    match checking {
        Some(checking) => checking.await,
        None => std::future::pending().await,
    }
}
