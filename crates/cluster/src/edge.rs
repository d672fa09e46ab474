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

use async_nats::Subscriber;
use distributary_hub::{Demand, DemandError, Dismissal, Tenure};
use distributary_names::StreamName;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::{debug, info};

use crate::anchor::Anchor;
use crate::ask::{Asked, ask_owner};
use crate::backoff::Backoff;
use crate::config::Label;
use crate::content::EndReason;
use crate::context::{Context, now};
use crate::control::{Control, Holds, Join};
use crate::epoch::LatestOwner;
use crate::feed;
use crate::follow::{Answered, Event, Follower};
use crate::form::Form;
use crate::keeps::Keeps;
use crate::message::Part;
use crate::tracks::TrackSet;
use crate::turn::{Turn, Whose};

/// Maximum silence within the answer to a request to join.
const JOIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Timeout of the whole answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum bytes of the answer. An owner sends less.
const MAX_ANSWER: usize = 2 * feed::MAX_ANSWER;

/// Time for which viewers of a stream without an owner keep it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Delay before an owner is looked for again: the first, and the longest after joins that failed.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Questions without an answer after which an owner counts as dead.
const MAX_SILENT: usize = 3;

/// Commands in the queue of one stream, and viewers that wait for it.
pub(crate) const MAX_COMMANDS: usize = 1024;

/// A command for the task of one stream.
#[derive(Debug)]
pub(crate) enum Command {
    Demand(Demand),
    /// This node owns the stream in this epoch from now on.
    Announced(Label, u64),
}

/// Ends the publishers of this node that have lost the name: their encoders connect again, and the
/// name is claimed anew.
pub(crate) fn dismiss(context: &Context, name: &StreamName, tenure: &Tenure) {
    if let Some(stream) = context.hub.stream(name) {
        stream.dismiss_tenure(tenure);
    }
}

/// The task of one stream.
pub(crate) struct Edge {
    context: Arc<Context>,
    keeps: Arc<Keeps>,
    name: StreamName,
    commands: mpsc::Receiver<Command>,
    /// The viewers that wait until the stream is live.
    demands: Vec<Demand>,
    /// The ownership of this node that has ended, if it takes the stream from publishers of it.
    replaces: Option<Tenure>,
    /// The owner and the epoch that are followed at this moment.
    following: Option<(Label, u64)>,
    follower: Option<(Label, u64, Follower)>,
    latest: LatestOwner,
    /// The stream in the hub, once it is live.
    turn: Option<Turn>,
    /// True once the answer to a request to join was complete: viewers can begin.
    has_joined: bool,
    /// The tracks of the owner that is followed, as far as they are known.
    tracks: Option<TrackSet>,
    /// A publisher of this node has the stream.
    is_displaced: bool,
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
            context,
            keeps,
            name,
            commands,
            demands,
            replaces,
            following: None,
            follower: None,
            latest: LatestOwner::default(),
            turn: None,
            has_joined: false,
            tracks: None,
            is_displaced: false,
            last_owner: None,
            retry: Backoff::new(first, longest),
        }
    }

    /// Watches the stream until it ends. Returns whether it was live.
    pub(crate) async fn run(mut self) -> bool {
        let end = self.follow_owners().await;
        let nobody: Result<(), DemandError> = Err(DemandError::NoProvider);
        match end {
            None if self.turn.is_none() && self.replaces.is_none() => {}
            None => info!("no node has the stream any more"),
            Some(End::Over(reason)) => {
                info!(?reason, "the stream has ended");
                if let (Some(turn), EndReason::Finished) = (&mut self.turn, reason) {
                    turn.finish();
                }
            }
            Some(End::Dismissed(reason)) => debug!(?reason, "no longer watched from another node"),
            Some(End::Unwatched) => info!("no viewers: no longer watched from another node"),
            Some(End::Shutdown | End::Again | End::Failed | End::Moved) => {}
        }
        if let Some(tenure) = &self.replaces {
            dismiss(&self.context, &self.name, tenure);
        }
        self.turn = None;
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
                Ok(None) if self.turn.is_none() && self.replaces.is_none() => return None,
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
                match ask_owner(&context, &name).await {
                    Asked::Held(holds) => return Some(holds),
                    Asked::Nobody => return None,
                    Asked::Silent => {}
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
            let Self { turn, commands, .. } = self;
            let ends = async {
                let Some(turn) = turn else {
                    return std::future::pending().await;
                };
                let (gone, dismissed) = turn.ends();
                tokio::select! {
                    dismissal = dismissed => End::Dismissed(dismissal),
                    () = gone => End::Unwatched,
                }
            };
            let command = tokio::select! {
                end = ends => return end,
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
            _ => self.latest.renew(node, *epoch, self.heard()),
        }
        end
    }

    /// Joins the stream, and passes on what comes from its owner.
    async fn receive(
        &mut self,
        node: &Label,
        epoch: u64,
        mut live: Subscriber,
        lost: &mut Option<Instant>,
    ) -> End {
        let context = Arc::clone(&self.context);
        self.prepare(node, epoch);
        if let Some((_, _, follower)) = &mut self.follower {
            follower.resubscribe(now());
        }
        if let Err(end) = self.join(node, epoch).await {
            context.counters.joins_failed.note();
            return end;
        }
        self.retry.succeed();
        self.latest.note(node, epoch, now());
        if self.last_owner.as_ref() != Some(node) {
            info!(owner = %node, epoch, "watched from another node");
            self.last_owner = Some(node.clone());
        }
        loop {
            *lost = None;
            let heard = self.heard();
            let message = tokio::select! {
                message = live.next() => message,
                end = self.attend() => return end,
                () = sleep_until((heard + context.silence).into()) => {
                    debug!(owner = %node, "the owner is silent");
                    return End::Again;
                }
            };
            let Some(message) = message else {
                return End::Shutdown;
            };
            match self.handle(&message.payload) {
                Some(Event::End(EndReason::Moved)) => {
                    return End::Moved;
                }
                Some(Event::End(reason)) => return End::Over(reason),
                Some(Event::Rejoin) => {
                    context.counters.rejoins.note();
                    self.prepare(node, epoch);
                    if let Err(end) = self.join(node, epoch).await {
                        return end;
                    }
                }
                _ => {}
            }
        }
    }

    /// Prepares the follower for a request to join.
    fn prepare(&mut self, node: &Label, epoch: u64) {
        let is_watched = self.turn.is_some() || self.replaces.is_some();
        match &mut self.follower {
            Some((known, current, follower)) if known == node => {
                if *current == epoch {
                    follower.rejoin(now());
                } else {
                    *current = epoch;
                    follower.change_epoch(epoch, is_watched, now());
                }
            }
            _ => {
                let follower = Follower::new(epoch, is_watched, now());
                self.follower = Some((node.clone(), epoch, follower));
                self.tracks = None;
            }
        }
    }

    fn heard(&self) -> std::time::Instant {
        let follower = self.follower.as_ref();
        follower.map_or_else(now, |(_, _, follower)| follower.heard())
    }

    /// Joins the stream: passes on the answer of the owner.
    async fn join(&mut self, node: &Label, epoch: u64) -> Result<(), End> {
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
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        let mut received = 0;
        loop {
            let silent = deadline.min(Instant::now() + JOIN_TIMEOUT);
            let message = tokio::select! {
                message = timeout_at(silent, answer.next()) => message,
                end = self.attend() => return Err(end),
            };
            let message = match message {
                Ok(Some(message)) => message,
                Ok(None) => return Err(End::Shutdown),
                Err(_) => return Err(End::Failed),
            };
            received += message.payload.len();
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
            let joined_at = part.header.dts;
            let Some((_, _, follower)) = &mut self.follower else {
                return Err(End::Failed);
            };
            match follower.handle_answer(&part, now()) {
                Ok(event) => self.pass(event),
                Err(Answered::Complete) => {
                    let at = now();
                    self.begin(Anchor {
                        time: joined_at,
                        at,
                    });
                    if self.is_displaced {
                        return Err(End::Dismissed(Dismissal::Replaced));
                    }
                    context.counters.joins.note();
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

    /// Handles a live message. Returns what ends or repeats the join.
    fn handle(&mut self, message: &bytes::Bytes) -> Option<Event> {
        let counters = &self.context.counters;
        counters.bytes_in.add(message.len() as u64);
        let part = match Part::decode(message) {
            Ok(part) => part,
            Err(fault) => {
                self.context.note_fault(fault);
                return None;
            }
        };
        let (_, _, follower) = self.follower.as_mut()?;
        let event = follower.handle(&part, now());
        let faults = follower.take_faults();
        counters.gaps.add(faults.gaps);
        counters.dropped_late.add(faults.late);
        counters.malformed.add(faults.malformed);
        match event {
            event @ Some(Event::End(_) | Event::Rejoin) => event,
            event => {
                self.pass(event);
                None
            }
        }
    }

    /// Passes an event on to the hub.
    fn pass(&mut self, event: Option<Event>) {
        match event {
            Some(Event::Frame(frame, arrived)) => {
                self.context.counters.frames_in.note();
                let anchor = self.follower.as_ref().and_then(|(_, _, one)| one.anchor());
                let frame_anchor = Anchor {
                    time: frame.dts(),
                    at: arrived,
                };
                let origin = anchor.map_or(frame_anchor, |anchor| anchor.at_frame(frame.dts()));
                self.begin(origin);
                if let Some(turn) = &mut self.turn {
                    turn.push(frame, arrived, now());
                }
            }
            Some(Event::Data(data)) => {
                if let Some(turn) = &mut self.turn {
                    turn.push_data(data, now());
                }
            }
            Some(Event::Tracks(tracks)) => {
                if let Some(turn) = self.turn.as_ref().filter(|turn| self.is_current(turn)) {
                    turn.set_tracks(&tracks);
                }
                self.tracks = Some(tracks);
            }
            Some(Event::End(_) | Event::Rejoin) | None => {}
        }
    }

    fn is_current(&self, turn: &Turn) -> bool {
        let follower = self.follower.as_ref();
        follower.is_some_and(|(node, _, follower)| turn.is_of(node, follower.timeline()))
    }

    /// Makes the stream live, or lets it continue with the owner that is followed now, unless that
    /// has happened. Its timeline begins at `origin`.
    fn begin(&mut self, origin: Anchor) {
        if self.turn.as_ref().is_some_and(|turn| self.is_current(turn)) {
            return;
        }
        let Some((node, _, follower)) = &self.follower else {
            return;
        };
        let whose = Whose {
            node,
            timeline: follower.timeline(),
            replaces: self.replaces.as_ref(),
        };
        let turn = Turn::begin(&self.context, &self.name, &whose, origin, now());
        self.is_displaced = turn.is_none();
        if let Some(turn) = turn {
            if let Some(tracks) = &self.tracks {
                turn.set_tracks(tracks);
            }
            self.replaces = None;
            self.turn = Some(turn);
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
        let Some(turn) = self.turn.as_mut().filter(|_| self.has_joined) else {
            return;
        };
        for demand in self.demands.drain(..) {
            demand.answer(Ok(()));
            turn.expect();
        }
    }
}
