//! The streams of other nodes that viewers of this node watch.
//!
//! ```text
//! hub: demand ──► Edges ──► one task per stream: find the owner ─► join ─► publish in the hub
//!                                     ▲                                        │
//!                                     └── the owner ends, moves or is silent ──┘
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use distributary_hub::{Demand, DemandError};
use distributary_names::StreamName;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tracing::{Instrument, error_span};

use crate::context::Context;
use crate::control::Announced;
use crate::edge::{Command, Edge, MAX_COMMANDS, dismiss};
use crate::keeps::Keeps;
use crate::owners::Owners;

/// The streams of other nodes that viewers of this node watch.
pub(crate) struct Edges {
    context: Arc<Context>,
    owners: Arc<Owners>,
    keeps: Arc<Keeps>,
    running: HashMap<StreamName, (Id, mpsc::Sender<Command>)>,
    tasks: JoinSet<()>,
}

impl Edges {
    pub(crate) fn new(context: Arc<Context>, owners: Arc<Owners>, keeps: Arc<Keeps>) -> Self {
        Self {
            context,
            owners,
            keeps,
            running: HashMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Completes when the task of a stream has ended and was removed; never if none runs.
    pub(crate) async fn tidy(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(ended) => {
                let id = ended.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
                self.running.retain(|_, (running, _)| *running != id);
            }
            None => std::future::pending().await,
        }
    }

    /// Finds a stream that viewers request, and joins it.
    pub(crate) fn demand(&mut self, demand: Demand) {
        let name = demand.name().clone();
        if self.owners.has(&name) {
            // A publisher of this node is about to begin, or another provider of it.
            demand.answer(Err(DemandError::NoProvider));
            return;
        }
        if let Err(Command::Demand(demand)) = self.send(&name, Command::Demand(demand)) {
            self.start(&name, vec![demand], false);
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

    /// Joins a stream that a publisher of this node has lost to another node.
    pub(crate) fn take_over(&mut self, name: &StreamName) {
        let stream = self.context.hub.stream(name);
        let is_watched = stream.is_some_and(|stream| *stream.subscribers().borrow() > 0);
        if is_watched {
            self.start(name, Vec::new(), true);
        } else {
            dismiss(&self.context, name);
        }
    }

    /// Looks for owners of all streams that viewers wait for.
    pub(crate) fn revive_all(&mut self) {
        for stream in self.context.hub.streams() {
            self.revive(stream.name());
        }
    }

    fn revive(&mut self, name: &StreamName) {
        let stream = self.context.hub.stream(name);
        let is_missed =
            stream.is_some_and(|stream| !stream.is_live() && *stream.subscribers().borrow() > 0);
        if is_missed && !self.running.contains_key(name) {
            self.start(name, Vec::new(), false);
        }
    }

    fn start(&mut self, name: &StreamName, demands: Vec<Demand>, replaces: bool) {
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
