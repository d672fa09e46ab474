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

use distributary_hub::{Demand, DemandError, Dismissal, Tenure};
use distributary_names::StreamName;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tracing::{debug, info};

use crate::ask::{ANSWER_TIMEOUT, Asked, ask_owner};
use crate::backoff::Backoff;
use crate::branches::Branches;
use crate::claim::MAX_SILENT;
use crate::clock::now;
use crate::config::Label;
use crate::content::EndReason;
use crate::context::Context;
use crate::control::Holds;
use crate::epoch::LatestOwner;
use crate::follow::Answered;
use crate::keeps::Keeps;
use crate::passage::Passage;
use crate::reception::{Received, Reception, ReceptionEnd, Source};
use crate::strand::Strand;

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
    /// The renditions, and the audio as published.
    branches: Branches,
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

impl From<ReceptionEnd> for End {
    fn from(end: ReceptionEnd) -> Self {
        match end {
            ReceptionEnd::Away | ReceptionEnd::Silent => Self::Again,
            ReceptionEnd::NoAnswer => Self::Failed,
            ReceptionEnd::Shutdown => Self::Shutdown,
        }
    }
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
            branches: Branches::new(Arc::clone(&context), Arc::clone(&keeps), name.clone()),
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
                Some(Command::Demand(demand)) if demand.name().is_rendition() => {
                    self.branches.demand(demand);
                }
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
        let Holds { node, epoch, .. } = holds;
        self.following = Some((node.clone(), *epoch));
        let mut is_joining = true;
        let end = self.receive(node, *epoch, lost, &mut is_joining).await;
        if is_joining {
            self.context.counters.joins_failed.note();
        }
        self.following = None;
        self.branches.set_trunk(None);
        match end {
            End::Over(_) | End::Moved => self.latest.forget(),
            _ => self.latest.renew(node, *epoch, self.passage.heard()),
        }
        end
    }

    /// Joins the stream, and passes on what comes from its owner. `is_joining` tells whether an answer
    /// to a request to join is missing.
    async fn receive(
        &mut self,
        node: &Label,
        epoch: u64,
        lost: &mut Option<Instant>,
        is_joining: &mut bool,
    ) -> End {
        let context = Arc::clone(&self.context);
        self.passage.prepare(node, epoch);
        self.passage.resubscribe();
        let source = Source {
            name: self.name.clone(),
            strand: Strand::Main,
            owner: node.clone(),
            epoch,
        };
        let mut reception = match Reception::open(&context, &self.keeps, source).await {
            Ok(reception) => reception,
            Err(end) => return end.into(),
        };
        let mut has_joined = false;
        loop {
            if has_joined {
                *lost = None;
            }
            let silent_at = self.passage.heard() + context.silence;
            let received = tokio::select! {
                received = reception.next(silent_at) => received,
                end = self.attend() => return end,
            };
            match received {
                Ok(Received::Answer(part)) => match self.passage.handle_answer(&part) {
                    Ok(()) => {}
                    Err(Answered::Complete) => {
                        reception.joined();
                        if self.passage.is_displaced() {
                            return End::Dismissed(Dismissal::Replaced);
                        }
                        if has_joined {
                            context.counters.rejoins.note();
                        } else {
                            context.counters.joins.note();
                        }
                        (has_joined, *is_joining) = (true, false);
                        self.note_join(node, epoch);
                    }
                    // Another epoch of this owner, or another owner, is there by now.
                    Err(Answered::Refused(EndReason::Moved)) => return End::Moved,
                    Err(Answered::Refused(_) | Answered::Broken) => return End::Failed,
                },
                Ok(Received::Live(message)) => {
                    match self.passage.handle(&message) {
                        Some(EndReason::Moved) => return End::Moved,
                        Some(reason) => return End::Over(reason),
                        None => {}
                    }
                    if self.passage.rejoin_if_due() {
                        self.passage.prepare(node, epoch);
                        *is_joining = true;
                        if let Err(end) = reception.join().await {
                            return end.into();
                        }
                    }
                }
                Err(end) => {
                    debug!(owner = %node, ?end, "nothing comes from the owner");
                    return end.into();
                }
            }
            if has_joined && self.passage.take_news() {
                self.branches.set_trunk(self.passage.trunk(epoch));
            }
        }
    }

    /// Notes that the answer to a request to join is complete.
    fn note_join(&mut self, node: &Label, epoch: u64) {
        if self.last_owner.as_ref() != Some(node) {
            info!(owner = %node, epoch, "watched from another node");
            self.last_owner = Some(node.clone());
        }
        self.retry.succeed();
        self.latest.note(node, epoch, now());
        self.has_joined = true;
        self.answer_demands();
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
