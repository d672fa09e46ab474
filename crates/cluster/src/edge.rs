//! One stream of another node that viewers of this node watch.

use std::sync::Arc;
use std::time::Duration;

use distributary_hub::{Demand, DemandError, Dismissal};
use distributary_media::MediaTime;
use distributary_names::StreamName;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::{debug, info};

use crate::ask::{Asked, ask_owner};
use crate::config::Label;
use crate::content::EndReason;
use crate::context::{Context, now};
use crate::control::{Control, Holds, Join};
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

/// Interval of questions for the owner during this time.
const ASK_INTERVAL: Duration = Duration::from_millis(100);

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

/// Ends the publisher of this node that has lost its name: its encoder connects again, and the name
/// is claimed anew.
pub(crate) fn dismiss(context: &Context, name: &StreamName) {
    if context
        .hub
        .stream(name)
        .is_some_and(|stream| stream.is_live())
    {
        drop(context.hub.publish_remote(name, true, now(), now()));
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
    /// It takes the stream from a publisher of this node, which has lost the name.
    replaces: bool,
    follower: Option<(Label, u64, Follower)>,
    /// The stream in the hub, once it is live.
    turn: Option<Turn>,
    /// The tracks of the owner that is followed, as far as they are known.
    tracks: Option<TrackSet>,
    /// A publisher of this node has the stream.
    is_displaced: bool,
    last_owner: Option<Label>,
}

/// The end of following one owner.
#[derive(Debug)]
enum End {
    /// The owner has to be looked for again.
    Again,
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
    /// Returns the task of a stream for the viewers that wait for it. One that `replaces` takes the
    /// stream from a publisher of this node, which has lost the name.
    pub(crate) fn new(
        context: Arc<Context>,
        keeps: Arc<Keeps>,
        name: StreamName,
        commands: mpsc::Receiver<Command>,
        demands: Vec<Demand>,
        replaces: bool,
    ) -> Self {
        Self {
            context,
            keeps,
            name,
            commands,
            demands,
            replaces,
            follower: None,
            turn: None,
            tracks: None,
            is_displaced: false,
            last_owner: None,
        }
    }

    pub(crate) async fn run(mut self) {
        let end = self.follow_owners().await;
        let nobody: Result<(), DemandError> = Err(DemandError::NoProvider);
        match end {
            None if self.turn.is_none() && !self.replaces => {}
            None => info!("no node has the stream any more"),
            Some(End::Over(reason)) => {
                info!(?reason, "the stream has ended");
                if let (Some(turn), EndReason::Finished) = (&mut self.turn, reason) {
                    turn.finish();
                }
            }
            Some(End::Dismissed(reason)) => debug!(?reason, "no longer watched from another node"),
            Some(End::Unwatched) => info!("no viewers: no longer watched from another node"),
            Some(End::Shutdown | End::Again) => {}
        }
        if self.replaces {
            dismiss(&self.context, &self.name);
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
    }

    /// Follows one owner after the other. `None` if there is no further one.
    async fn follow_owners(&mut self) -> Option<End> {
        let mut lost: Option<Instant> = None;
        loop {
            if let Some(holds) = self.find().await {
                match self.follow(&holds, &mut lost).await {
                    End::Again => {}
                    end => return Some(end),
                }
            } else if self.turn.is_none() && !self.replaces {
                return None;
            }
            if let Some(dismissal) = self.turn.as_ref().and_then(Turn::dismissal) {
                return Some(End::Dismissed(dismissal));
            }
            let since = *lost.get_or_insert_with(Instant::now);
            if since.elapsed() >= PATIENCE {
                return None;
            }
            // An announcement ends the pause.
            let pause = sleep(ASK_INTERVAL);
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    command = self.commands.recv() => match command {
                        Some(Command::Demand(demand)) => self.wait(demand),
                        Some(Command::Announced(..)) => break,
                        None => return Some(End::Shutdown),
                    }
                }
            }
        }
    }

    /// Asks who owns the stream, until an answer comes or it is clear that nobody does.
    async fn find(&self) -> Option<Holds> {
        for _ in 0..MAX_SILENT {
            match ask_owner(&self.context, &self.name).await {
                Asked::Held(holds) => return Some(holds),
                Asked::Nobody => return None,
                Asked::Silent => {}
            }
        }
        None
    }

    /// Joins the stream at its owner, and passes on what comes.
    async fn follow(&mut self, holds: &Holds, lost: &mut Option<Instant>) -> End {
        let (context, form) = (Arc::clone(&self.context), Form::Opus);
        let Holds { node, epoch, .. } = holds;
        let subject = context.subjects.media(node, *epoch, &self.name, form);
        let Some(mut live) = context.link.subscribe(&subject).await else {
            return End::Again;
        };
        let _watch = self.keeps.keep(&self.name, node, *epoch, form);
        self.prepare(node, *epoch);
        if let Some((_, _, follower)) = &mut self.follower {
            follower.resubscribe(now());
        }
        if let Err(end) = self.join(node, *epoch, form).await {
            context.counters.joins_failed.note();
            return end;
        }
        if self.last_owner.as_ref() != Some(node) {
            info!(owner = %node, epoch, "watched from another node");
            self.last_owner = Some(node.clone());
        }
        loop {
            self.answer_demands();
            *lost = None;
            let heard = self.heard();
            let Some(turn) = &mut self.turn else {
                return End::Again;
            };
            let (gone, dismissed) = turn.ends();
            tokio::select! {
                message = live.next() => {
                    let Some(message) = message else {
                        return End::Shutdown;
                    };
                    match self.handle(&message.payload) {
                        Some(Event::End(EndReason::Moved)) => return End::Again,
                        Some(Event::End(reason)) => return End::Over(reason),
                        Some(Event::Rejoin) => {
                            context.counters.rejoins.note();
                            self.prepare(node, *epoch);
                            if let Err(end) = self.join(node, *epoch, form).await {
                                return end;
                            }
                        }
                        _ => {}
                    }
                }
                command = self.commands.recv() => match command {
                    Some(Command::Demand(demand)) => self.wait(demand),
                    Some(Command::Announced(other, later)) => {
                        if other != *node || later != *epoch {
                            return End::Again;
                        }
                    }
                    None => return End::Shutdown,
                },
                () = gone => return End::Unwatched,
                dismissal = dismissed => return End::Dismissed(dismissal),
                () = sleep_until((heard + context.silence).into()) => {
                    debug!(owner = %node, "the owner is silent");
                    return End::Again;
                }
            }
        }
    }

    /// Prepares the follower for a request to join.
    fn prepare(&mut self, node: &Label, epoch: u64) {
        match &mut self.follower {
            Some((known, same, follower)) if known == node && *same == epoch => {
                follower.rejoin(now());
            }
            _ => {
                self.follower = Some((node.clone(), epoch, Follower::new(epoch, now())));
                self.tracks = None;
            }
        }
    }

    fn heard(&self) -> std::time::Instant {
        let follower = self.follower.as_ref();
        follower.map_or_else(now, |(_, _, follower)| follower.heard())
    }

    /// Joins the stream: passes on the answer of the owner.
    async fn join(&mut self, node: &Label, epoch: u64, form: Form) -> Result<(), End> {
        let context = Arc::clone(&self.context);
        let inbox = context.link.inbox();
        let Some(mut answer) = context.link.subscribe(&inbox).await else {
            return Err(End::Again);
        };
        let join = Join {
            node: context.node.clone(),
            stream: self.name.clone(),
            epoch,
            form,
        };
        let subject = context.subjects.join(node);
        context.link.request(&subject, &inbox, join.to_json()).await;
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        let mut received = 0;
        loop {
            let silent = deadline.min(Instant::now() + JOIN_TIMEOUT);
            let message = match timeout_at(silent, answer.next()).await {
                Ok(Some(message)) => message,
                Ok(None) => return Err(End::Shutdown),
                Err(_) => return Err(End::Again),
            };
            received += message.payload.len();
            if received > MAX_ANSWER {
                return Err(End::Again);
            }
            let Some(Ok(part)) =
                (!message.payload.is_empty()).then(|| Part::decode(&message.payload))
            else {
                // Nobody listens at that node, or the answer makes no sense.
                return Err(End::Again);
            };
            let joined_at = part.header.dts;
            let Some((_, _, follower)) = &mut self.follower else {
                return Err(End::Again);
            };
            match follower.handle_answer(&part, now()) {
                Ok(event) => self.pass(event),
                Err(Answered::Complete) => {
                    self.begin(joined_at, now());
                    if self.is_displaced {
                        return Err(End::Dismissed(Dismissal::Replaced));
                    }
                    context.counters.joins.note();
                    return Ok(());
                }
                Err(Answered::Refused(_) | Answered::Broken) => return Err(End::Again),
            }
        }
    }

    /// Handles a live message. Returns what ends or repeats the join.
    fn handle(&mut self, message: &bytes::Bytes) -> Option<Event> {
        let counters = &self.context.counters;
        counters.bytes_in.add(message.len() as u64);
        let Ok(part) = Part::decode(message) else {
            counters.malformed.note();
            return None;
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
                self.begin(frame.dts(), arrived);
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
        follower.is_some_and(|(node, epoch, _)| turn.is_of(node, *epoch))
    }

    /// Makes the stream live, or lets it continue with the owner that is followed now, unless that
    /// has happened. Its frame of the time `base` arrived at its owner at `arrived`.
    fn begin(&mut self, base: MediaTime, arrived: std::time::Instant) {
        if self.turn.as_ref().is_some_and(|turn| self.is_current(turn)) {
            return;
        }
        let Some((node, epoch, _)) = &self.follower else {
            return;
        };
        let whose = Whose {
            node,
            epoch: *epoch,
            replaces: self.replaces,
        };
        let turn = Turn::begin(&self.context, &self.name, &whose, base, arrived, now());
        self.is_displaced = turn.is_none();
        if let Some(turn) = turn {
            if let Some(tracks) = &self.tracks {
                turn.set_tracks(tracks);
            }
            self.replaces = false;
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

    /// Tells the viewers that wait that the stream is live.
    fn answer_demands(&mut self) {
        let Some(turn) = &mut self.turn else {
            return;
        };
        for demand in self.demands.drain(..) {
            demand.answer(Ok(()));
            turn.expect();
        }
    }
}
