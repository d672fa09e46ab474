//! The names that publishers of this node use.
//!
//! ```text
//! hub: admission ──► Owners ──► one task per name: claim ─► answer questions, start feeds, compare
//!                                                             the arbiter's entry ─► release
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use distributary_hub::{Admission, AdmissionError};
use distributary_names::StreamName;
use tokio::sync::mpsc;
use tracing::{Instrument, error_span};

use crate::content::EndReason;
use crate::context::Context;
use crate::control::{Join, Keep, MAX_KEPT};
use crate::feed::refuse;
use crate::owner::{Command, Lost, Owner};

/// Commands in the queue of one name.
const MAX_COMMANDS: usize = 256;

/// A command that was not sent.
enum Unsent {
    /// This node does not have the name.
    NoOwner(Command),
    /// The owner has too many commands.
    Busy(Command),
}

/// The names that publishers of this node use.
pub(crate) struct Owners {
    context: Arc<Context>,
    names: Mutex<HashMap<StreamName, mpsc::Sender<Command>>>,
    /// Receives the names that this node has lost to another one.
    lost: mpsc::Sender<Lost>,
}

impl Owners {
    pub(crate) fn new(context: Arc<Context>, lost: mpsc::Sender<Lost>) -> Arc<Self> {
        Arc::new(Self {
            context,
            names: Mutex::default(),
            lost,
        })
    }

    /// Returns the number of names.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Returns whether this node owns a name, or claims it.
    pub(crate) fn has(&self, name: &StreamName) -> bool {
        self.lock().contains_key(name)
    }

    /// Answers a request to publish a name, after claiming it unless this node has it.
    pub(crate) fn admit(self: &Arc<Self>, admission: Admission) {
        let name = admission.name().clone();
        match self.send(&name, Command::Admit(admission)) {
            Err(Unsent::NoOwner(Command::Admit(admission))) => self.start(name, admission),
            Err(Unsent::Busy(Command::Admit(admission))) => {
                admission.refuse(AdmissionError::NoArbiter);
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// Starts the owner of a name, which claims it.
    fn start(self: &Arc<Self>, name: StreamName, admission: Admission) {
        let (sender, commands) = mpsc::channel(MAX_COMMANDS);
        self.lock().insert(name.clone(), sender.clone());
        let span = error_span!("cluster", stream = %name);
        let owner = Owner::new(
            Arc::clone(&self.context),
            self.lost.clone(),
            name.clone(),
            commands,
        );
        let owners = Arc::clone(self);
        let task = async move {
            let late = owner.run(admission).await;
            owners.forget(&name, &sender);
            for admission in late {
                owners.admit(admission);
            }
        };
        tokio::spawn(task.instrument(span));
    }

    /// Removes the owner of a name that has ended. Another one may have the name by now.
    fn forget(&self, name: &StreamName, ended: &mpsc::Sender<Command>) {
        let mut names = self.lock();
        if names.get(name).is_some_and(|one| one.same_channel(ended)) {
            names.remove(name);
        }
    }

    /// Answers the request of another node to join a stream.
    pub(crate) async fn join(&self, join: Join, reply: String) {
        let name = join.stream.clone();
        let (reply, reason) = match self.send(&name, Command::Join(join, reply)) {
            Err(Unsent::NoOwner(Command::Join(_, reply))) => (reply, EndReason::Moved),
            Err(Unsent::Busy(Command::Join(_, reply))) => (reply, EndReason::Busy),
            Ok(()) | Err(_) => return,
        };
        refuse(&self.context, &reply, reason).await;
    }

    /// Notes which streams another node watches.
    pub(crate) fn keep(&self, keep: Keep) {
        for kept in keep.streams.into_iter().take(MAX_KEPT) {
            let command = Command::Keep(keep.node.clone(), kept.form, kept.epoch, kept.loss);
            // Fails if the stream has just ended.
            let _ = self.send(&kept.stream, command);
        }
    }

    /// Compares the arbiter's entry now: another node says that it owns the name.
    pub(crate) fn check(&self, name: &StreamName) {
        // Fails if this node does not have the name, or has many commands: it is compared soon
        // anyway.
        let _ = self.send(name, Command::Check);
    }

    /// Announces all names again, after the connection was lost.
    pub(crate) fn announce_all(&self) {
        let names = self.lock().values().cloned().collect::<Vec<_>>();
        for name in names {
            // Viewers that wait look for the owner again anyway.
            let _ = name.try_send(Command::Announce);
        }
    }

    /// Sends a command to the owner of a name.
    fn send(&self, name: &StreamName, command: Command) -> Result<(), Unsent> {
        let sender = self.lock().get(name).cloned();
        let Some(sender) = sender else {
            return Err(Unsent::NoOwner(command));
        };
        sender.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(command) => Unsent::Busy(command),
            mpsc::error::TrySendError::Closed(command) => Unsent::NoOwner(command),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<StreamName, mpsc::Sender<Command>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
