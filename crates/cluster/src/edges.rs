//! The streams of other nodes that viewers of this node watch.
//!
//! ```text
//! hub: demand ──► Edges ──► one task per stream: find the owner ─► join ─► publish in the hub
//!                                     ▲                                        │
//!                                     └── the owner ends, moves or is silent ──┘
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use distributary_hub::{Demand, DemandError, Tenure};
use distributary_names::StreamName;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tracing::{Instrument, error_span};

use crate::backoff::Backoff;
use crate::clock::now;
use crate::context::Context;
use crate::control::Announced;
use crate::edge::{Command, Edge, MAX_COMMANDS};
use crate::keeps::Keeps;
use crate::owner::Lost;
use crate::owners::Owners;

/// The streams of other nodes that viewers of this node watch.
pub(crate) struct Edges {
    context: Arc<Context>,
    owners: Arc<Owners>,
    keeps: Arc<Keeps>,
    running: HashMap<StreamName, (Id, mpsc::Sender<Command>)>,
    tasks: JoinSet<bool>,
    /// The streams that viewers wait for, and that could not be watched, with the time of the next
    /// search.
    missed: HashMap<StreamName, (Backoff, Instant)>,
}

/// Delay before the next search for a stream that could not be watched, and the longest after many.
const SEARCH: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(16));

impl Edges {
    pub(crate) fn new(context: Arc<Context>, owners: Arc<Owners>, keeps: Arc<Keeps>) -> Self {
        Self {
            context,
            owners,
            keeps,
            running: HashMap::new(),
            tasks: JoinSet::new(),
            missed: HashMap::new(),
        }
    }

    /// Completes when the task of a stream has ended and was removed; never if none runs.
    pub(crate) async fn tidy(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(ended) => {
                let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
                let was_live = ended.is_ok_and(|(_, was_live)| was_live);
                let mut names = self.running.extract_if(|_, (running, _)| *running == id);
                let Some((name, _)) = names.next() else {
                    return;
                };
                drop(names);
                if was_live {
                    self.missed.remove(&name);
                } else if self.is_missed(&name) {
                    let (first, longest) = SEARCH;
                    let backoff = || (Backoff::new(first, longest), now());
                    let (backoff, next) = self.missed.entry(name).or_insert_with(backoff);
                    *next = now() + backoff.fail();
                }
            }
            None => std::future::pending().await,
        }
    }

    /// Finds a stream that viewers request, and joins it.
    pub(crate) fn demand(&mut self, demand: Demand) {
        let name = demand.name().published();
        if demand.name().is_rendition() {
            // That of a stream that arrives from another node.
            if let Err(Command::Demand(demand)) = self.send(&name, Command::Demand(demand)) {
                demand.answer(Err(DemandError::Failed("the stream has just ended".into())));
            }
            return;
        }
        if self.owners.has(&name) {
            // A publisher of this node is about to begin, or another provider of it.
            demand.answer(Err(DemandError::NoProvider));
            return;
        }
        if let Err(Command::Demand(demand)) = self.send(&name, Command::Demand(demand)) {
            self.start(&name, vec![demand], None);
        }
    }

    /// Handles the announcement of a node that it owns a stream from now on: viewers may wait for
    /// it here.
    pub(crate) fn announced(&mut self, announced: Announced) {
        let Announced {
            node,
            stream: name,
            epoch,
        } = announced;
        if node == self.context.node {
            return;
        }
        if self.send(&name, Command::Announced(node, epoch)).is_err() {
            self.revive(&name);
        }
    }

    /// Joins a stream that publishers of this node have lost to another node.
    pub(crate) fn take_over(&mut self, lost: Lost) {
        let Lost { name, tenure } = lost;
        let stream = self.context.hub.stream(&name);
        let is_watched = stream.is_some_and(|stream| *stream.subscribers().borrow() > 0);
        // One that runs finds the other node itself, once the publishers of this one are gone.
        if is_watched && !self.running.contains_key(&name) {
            self.start(&name, Vec::new(), Some(tenure));
        } else {
            self.context.hub.end_tenure(&name, &tenure, now());
        }
    }

    /// Looks for owners of all streams that viewers wait for.
    pub(crate) fn revive_all(&mut self) {
        for stream in self.context.hub.streams() {
            self.revive(stream.name());
        }
    }

    /// The same for those whose last search, at `now`, is long enough ago.
    pub(crate) fn search(&mut self, now: Instant) {
        let streams = self.context.hub.streams();
        let mut missed = std::mem::take(&mut self.missed);
        missed.retain(|name, _| self.is_missed(name));
        self.missed = missed;
        for stream in streams {
            let next = self.missed.get(stream.name()).map(|(_, next)| *next);
            if next.is_none_or(|next| next <= now) {
                self.revive(stream.name());
            }
        }
    }

    fn revive(&mut self, name: &StreamName) {
        if self.is_missed(name) && !self.running.contains_key(name) {
            self.start(name, Vec::new(), None);
        }
    }

    /// Returns whether viewers wait for a stream of another node.
    fn is_missed(&self, name: &StreamName) -> bool {
        if self.owners.has(name) {
            return false;
        }
        let stream = self.context.hub.stream(name);
        stream.is_some_and(|stream| !stream.is_live() && *stream.subscribers().borrow() > 0)
    }

    fn start(&mut self, name: &StreamName, demands: Vec<Demand>, replaces: Option<Tenure>) {
        let (sender, commands) = mpsc::channel(MAX_COMMANDS);
        let edge = Edge::new(
            Arc::clone(&self.context),
            Arc::clone(&self.keeps),
            name.clone(),
            commands,
            demands,
            replaces,
        );
        let span = error_span!("cluster", stream = %name);
        let id = self.tasks.spawn(edge.run().instrument(span)).id();
        self.running.insert(name.clone(), (id, sender));
    }

    /// Sends a command to the task of a stream. Returns it if there is none.
    fn send(&self, name: &StreamName, command: Command) -> Result<(), Command> {
        let Some((_, sender)) = self.running.get(name) else {
            return Err(command);
        };
        match sender.try_send(command) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(command)) => Err(command),
            Err(mpsc::error::TrySendError::Full(command)) => {
                if let Command::Demand(demand) = command {
                    demand.answer(Err(DemandError::Busy));
                }
                Ok(())
            }
        }
    }
}
