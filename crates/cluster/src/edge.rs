//! One stream of another node that viewers of this node watch.
//!
//! ```text
//! find the owner ─► join ─► live
//!    ▲                       │
//!    └── it ends, moves, is silent, or a later owner announces itself
//! ```
//!
//! Whatever it waits for, it reacts to commands, and ends when the hub dismisses the stream or nobody
//! watches it any more.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use distributary_hub::{Demand, DemandError, Dismissal, Tenure};
use distributary_names::StreamName;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info};

use crate::ask::{ANSWER_TIMEOUT, Asked, ask_owner};
use crate::backoff::Backoff;
use crate::claim::MAX_SILENT;
use crate::clock::now;
use crate::config::Label;
use crate::content::EndReason;
use crate::context::Context;
use crate::control::{Control, Holds, Join};
use crate::epoch::LatestOwner;
use crate::feed;
use crate::follow::{Answered, Event};
use crate::form::Form;
use crate::held::Held;
use crate::keeps::Keeps;
use crate::message::Part;
use crate::passage::Passage;
use crate::subscription::Subscription;

/// Maximum silence within the answer to a request to join.
const JOIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Timeout of the whole answer.
const WHOLE_JOIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum bytes of the answer. An owner sends less.
const MAX_ANSWER: usize = 2 * feed::MAX_ANSWER;

/// Time for which viewers of a stream without an owner keep it: for longer than another node takes
/// to claim the name of one that has died.
const PATIENCE: Duration = Duration::from_secs(3);

/// Delay before an owner is looked for again: the first, and the longest after joins that failed.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Commands in the queue of one stream, and viewers that wait for it.
pub(crate) const MAX_COMMANDS: usize = 1024;

/// A command for the task of one stream.
#[derive(Debug)]
pub(crate) enum Command {
    Demand(Demand),
    /// This node owns the stream in this epoch from now on.
    Announced(Label, u64),
}

/// The task of one stream.
pub(crate) struct Edge {
    context: Arc<Context>,
    keeps: Arc<Keeps>,
    name: StreamName,
    commands: mpsc::Receiver<Command>,
    /// The viewers that wait until the stream is live.
    demands: Vec<Demand>,
    /// The owner and the epoch that are followed at this moment.
    following: Option<(Label, u64)>,
    latest: LatestOwner,
    passage: Passage,
    /// True once the answer to a request to join was complete: viewers can begin.
    has_joined: bool,
    last_owner: Option<Label>,
    retry: Backoff,
}

/// The end of following one owner.
#[derive(Debug)]
enum End {
    /// The owner has to be looked for again.
    Again,
    /// The same, after a request to join that failed.
    Failed,
    /// The same, after its owner has said that it has lost the name, or has it in another epoch.
    Moved,
    /// The publisher has ended.
    Over(EndReason),
    /// Nobody watches anymore.
    Unwatched,
    /// A publisher of this node has taken the stream over, or an operator has removed it.
    Dismissed(Dismissal),
    /// The node shuts down.
    Shutdown,
}

impl Edge {
    /// Returns the task of a stream for the viewers that wait for it. With `replaces` it takes the
    /// stream from the publishers of this node that were admitted during this ownership.
    pub(crate) fn new(
        context: Arc<Context>,
        keeps: Arc<Keeps>,
        name: StreamName,
        commands: mpsc::Receiver<Command>,
        demands: Vec<Demand>,
        replaces: Option<Tenure>,
    ) -> Self {
        let (first, longest) = RETRY;
        Self {
            passage: Passage::new(Arc::clone(&context), name.clone(), replaces),
            context,
            keeps,
            name,
            commands,
            demands,
            following: None,
            latest: LatestOwner::default(),
            has_joined: false,
            last_owner: None,
            retry: Backoff::new(first, longest),
        }
    }

    /// Watches the stream until it ends. Returns whether it was live.
    pub(crate) async fn run(mut self) -> bool {
        let end = self.follow_owners().await;
        let nobody: Result<(), DemandError> = Err(DemandError::NoProvider);
        match end {
            None if !self.passage.is_watched() => {}
            None => info!("no node has the stream any more"),
            Some(End::Over(reason)) => {
                info!(?reason, "the stream has ended");
                if reason == EndReason::Finished {
                    self.passage.finish();
                }
            }
            Some(End::Dismissed(reason)) => debug!(?reason, "no longer watched from another node"),
            Some(End::Unwatched) => info!("no viewers: no longer watched from another node"),
            Some(End::Shutdown | End::Again | End::Failed | End::Moved) => {}
        }
        self.passage.end();
        self.commands.close();
        while let Some(command) = self.commands.recv().await {
            if let Command::Demand(demand) = command {
                self.demands.push(demand);
            }
        }
        for demand in self.demands.drain(..) {
            demand.answer(nobody.clone());
        }
        self.has_joined
    }

    /// Follows one owner after the other. `None` if there is no further one.
    async fn follow_owners(&mut self) -> Option<End> {
        let mut lost: Option<Instant> = None;
        loop {
            let mut delay = self.retry.first();
            match self.find().await {
                Ok(Some(holds)) => match self.follow(&holds, &mut lost).await {
                    End::Again | End::Moved => {}
                    End::Failed => delay = self.retry.fail(),
                    end => return Some(end),
                },
                Ok(None) if !self.passage.is_watched() => return None,
                Ok(None) | Err(End::Again) => {}
                Err(end) => return Some(end),
            }
            let since = *lost.get_or_insert_with(Instant::now);
            if since.elapsed() >= PATIENCE {
                return None;
            }
            tokio::select! {
                () = sleep(delay) => {}
                end = self.attend() => match end {
                    // A later owner has announced itself.
                    End::Again => {}
                    end => return Some(end),
                }
            }
        }
    }

    /// Asks who owns the stream, until an answer comes or it is clear that nobody does.
    async fn find(&mut self) -> Result<Option<Holds>, End> {
        let (context, name) = (Arc::clone(&self.context), self.name.clone());
        let asked = async move {
            for _ in 0..MAX_SILENT {
                match ask_owner(&context, &name, None).await {
                    Asked::Held(holds) => return Some(holds),
                    Asked::Nobody => return None,
                    Asked::Silent => {}
                    // The owner may be there all the same.
                    Asked::Away => {
                        if !context.link.up(ANSWER_TIMEOUT).await {
                            return None;
                        }
                    }
                }
            }
            None
        };
        let found = tokio::select! {
            found = asked => found,
            end = self.attend() => return Err(end),
        };
        match found {
            Some(holds) if !self.latest.allows(&holds.node, holds.epoch, now()) => {
                debug!(owner = %holds.node, epoch = holds.epoch, "an earlier owner is not followed");
                Err(End::Again)
            }
            found => Ok(found),
        }
    }

    /// Handles commands until one of them, or the hub, ends what it waits for.
    async fn attend(&mut self) -> End {
        loop {
            let Self {
                passage, commands, ..
            } = self;
            let command = tokio::select! {
                dismissal = passage.ended() => return match dismissal {
                    Some(dismissal) => End::Dismissed(dismissal),
                    None => End::Unwatched,
                },
                command = commands.recv() => command,
            };
            match command {
                Some(Command::Demand(demand)) => {
                    self.wait(demand);
                    self.answer_demands();
                }
                Some(Command::Announced(node, epoch)) => {
                    let is_followed = self
                        .following
                        .as_ref()
                        .is_some_and(|(known, current)| *known == node && *current == epoch);
                    if !is_followed && self.latest.allows(&node, epoch, now()) {
                        self.latest.note(&node, epoch, now());
                        return End::Again;
                    }
                }
                None => return End::Shutdown,
            }
        }
    }

    /// Joins the stream at its owner, and passes on what comes.
    async fn follow(&mut self, holds: &Holds, lost: &mut Option<Instant>) -> End {
        let (context, form) = (Arc::clone(&self.context), Form::Opus);
        let Holds { node, epoch, .. } = holds;
        let subject = context.subjects.media(node, *epoch, &self.name, form);
        let Some(live) = context.link.subscribe(&subject).await else {
            return End::Again;
        };
        let _watch = self.keeps.keep(&self.name, node, *epoch, form);
        self.following = Some((node.clone(), *epoch));
        let end = self.receive(node, *epoch, live, lost).await;
        self.following = None;
        match end {
            End::Over(_) | End::Moved => self.latest.forget(),
            _ => self.latest.renew(node, *epoch, self.passage.heard()),
        }
        end
    }

    /// Joins the stream, and passes on what comes from its owner.
    async fn receive(
        &mut self,
        node: &Label,
        epoch: u64,
        mut live: Subscription,
        lost: &mut Option<Instant>,
    ) -> End {
        let context = Arc::clone(&self.context);
        self.passage.prepare(node, epoch);
        self.passage.resubscribe();
        let mut held = Held::default();
        if let Err(end) = self.join(node, epoch, &mut live, &mut held).await {
            context.counters.joins_failed.note();
            return end;
        }
        context.counters.joins.note();
        self.retry.succeed();
        self.latest.note(node, epoch, now());
        if self.last_owner.as_ref() != Some(node) {
            info!(owner = %node, epoch, "watched from another node");
            self.last_owner = Some(node.clone());
        }
        loop {
            *lost = None;
            let message = match held.pop() {
                Some(message) => message,
                None => match self.next_live(node, &mut live).await {
                    Ok(message) => message,
                    Err(end) => return end,
                },
            };
            match self.passage.handle(&message) {
                Some(Event::End(EndReason::Moved)) => {
                    return End::Moved;
                }
                Some(Event::End(reason)) => return End::Over(reason),
                Some(Event::Rejoin) => {
                    self.passage.prepare(node, epoch);
                    if let Err(end) = self.join(node, epoch, &mut live, &mut held).await {
                        context.counters.joins_failed.note();
                        return end;
                    }
                    context.counters.rejoins.note();
                }
                _ => {}
            }
        }
    }

    /// Returns the next live message, or why no more comes.
    async fn next_live(&mut self, node: &Label, live: &mut Subscription) -> Result<Bytes, End> {
        let silent_at = self.passage.heard() + self.context.silence;
        tokio::select! {
            message = live.next() => message.map(|message| message.payload).ok_or(End::Shutdown),
            end = self.attend() => Err(end),
            () = sleep_until(silent_at.into()) => {
                debug!(owner = %node, "the owner is silent");
                Err(End::Again)
            }
        }
    }

    /// Joins the stream: passes on the answer of the owner. The live messages that arrive meanwhile
    /// are held.
    async fn join(
        &mut self,
        node: &Label,
        epoch: u64,
        live: &mut Subscription,
        held: &mut Held,
    ) -> Result<(), End> {
        let context = Arc::clone(&self.context);
        let inbox = context.link.inbox();
        let Some(mut answer) = context.link.subscribe(&inbox).await else {
            return Err(End::Again);
        };
        let join = Join {
            node: context.node.clone(),
            stream: self.name.clone(),
            epoch,
            form: Form::Opus,
        };
        let subject = context.subjects.join(node);
        context.link.request(&subject, &inbox, join.to_json()).await;
        let deadline = Instant::now() + WHOLE_JOIN_TIMEOUT;
        let mut received = 0;
        loop {
            let silent = deadline.min(Instant::now() + JOIN_TIMEOUT);
            let message = loop {
                tokio::select! {
                    message = answer.next() => break message,
                    message = live.next() => match message {
                        Some(message) => held.push(message.payload),
                        None => return Err(End::Shutdown),
                    },
                    end = self.attend() => return Err(end),
                    () = sleep_until(silent) => return Err(End::Failed),
                }
            };
            let Some(message) = message else {
                return Err(End::Shutdown);
            };
            received += message.payload.len();
            context.counters.bytes_in.add(message.payload.len() as u64);
            if received > MAX_ANSWER {
                return Err(End::Failed);
            }
            if message.payload.is_empty() {
                // Nobody listens at that node.
                return Err(End::Failed);
            }
            let part = match Part::decode(&message.payload) {
                Ok(part) => part,
                Err(fault) => {
                    context.note_fault(fault);
                    return Err(End::Failed);
                }
            };
            match self.passage.handle_answer(&part) {
                Ok(()) => {}
                Err(Answered::Complete) => {
                    if self.passage.is_displaced() {
                        return Err(End::Dismissed(Dismissal::Replaced));
                    }
                    self.has_joined = true;
                    self.answer_demands();
                    return Ok(());
                }
                // Another epoch of this owner, or another owner, is there by now.
                Err(Answered::Refused(EndReason::Moved)) => return Err(End::Moved),
                Err(Answered::Refused(_) | Answered::Broken) => return Err(End::Failed),
            }
        }
    }

    /// Lets a viewer wait until the stream is live.
    fn wait(&mut self, demand: Demand) {
        self.demands.retain(|demand| !demand.is_abandoned());
        if self.demands.len() < MAX_COMMANDS {
            self.demands.push(demand);
        } else {
            demand.answer(Err(DemandError::Busy));
        }
    }

    /// Tells the viewers that wait that the stream is live, if it is.
    fn answer_demands(&mut self) {
        if self.has_joined && self.passage.is_live() {
            for demand in self.demands.drain(..) {
                demand.answer(Ok(()));
                self.passage.expect();
            }
        }
    }
}
