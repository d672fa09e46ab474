//! The names that publishers of this node use.
//!
//! ```text
//! hub: admission ──► Owners ──► one task per name: claim ─► answer questions, start feeds, compare
//!                                                             the arbiter's entry ─► release
//! ```

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use distributary_hub::{Admission, AdmissionError};
use distributary_names::StreamName;
use tokio::sync::{Notify, mpsc};
use tracing::{Instrument, error_span};

use crate::answer::refuse;
use crate::ask::{Asked, ask_owner};
use crate::content::EndReason;
use crate::context::Context;
use crate::control::{Join, Keep, MAX_KEPT};
use crate::entries::News;
use crate::owned_name::OwnedName;
use crate::owner::{Command, Lost, Owner};
use crate::subject;

/// Commands in the queue of one name.
const MAX_COMMANDS: usize = 256;

/// Entries of former processes that wait to be removed. Further ones stay until their names are
/// claimed.
const MAX_FORMER: usize = 4096;

/// A command that was not sent.
enum Unsent {
    /// This node does not have the name.
    NoOwner(Command),
    /// The owner has too many commands.
    Busy(Command),
}

/// The owner of one name, as the list of names has it.
struct Name {
    commands: mpsc::Sender<Command>,
    shared: Arc<OwnedName>,
}

/// The entry of a former process with the name of this node.
struct FormerEntry {
    name: StreamName,
    key: String,
    revision: u64,
}

/// The names that publishers of this node use.
pub(crate) struct Owners {
    context: Arc<Context>,
    names: Mutex<HashMap<StreamName, Name>>,
    /// True once the node ends: it claims no more names.
    is_closed: AtomicBool,
    /// Notified when an owner has ended.
    ended: Notify,
    /// Receives the names that this node has lost to another one.
    lost: mpsc::Sender<Lost>,
    /// Receives the entries that former processes have left.
    former: mpsc::Sender<FormerEntry>,
}

impl Owners {
    pub(crate) fn new(context: Arc<Context>, lost: mpsc::Sender<Lost>) -> Arc<Self> {
        let (former, left) = mpsc::channel(MAX_FORMER);
        // Ends with the list of names.
        tokio::spawn(sweep(Arc::clone(&context), left));
        Arc::new(Self {
            context,
            former,
            names: Mutex::default(),
            is_closed: AtomicBool::new(false),
            ended: Notify::new(),
            lost,
        })
    }

    /// Returns the number of names.
    pub(crate) fn count(&self) -> usize {
        let names = self.lock();
        names
            .values()
            .filter(|name| name.shared.is_granted())
            .count()
    }

    /// Returns the number of names that the arbiter has not confirmed.
    pub(crate) fn unconfirmed(&self) -> usize {
        let names = self.lock();
        let unconfirmed = names.values().filter(|name| name.shared.is_unconfirmed());
        unconfirmed.count()
    }

    /// Returns whether this node owns a name. A name that it only claims may have another owner.
    pub(crate) fn has(&self, name: &StreamName) -> bool {
        let names = self.lock();
        names.get(name).is_some_and(|name| name.shared.is_granted())
    }

    /// Answers a request to publish a name, after claiming it unless this node has it.
    pub(crate) fn admit(self: &Arc<Self>, admission: Admission) {
        if self.is_closed.load(Ordering::Acquire) {
            return admission.refuse(AdmissionError::NoArbiter);
        }
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
        let shared = Arc::<OwnedName>::default();
        let entry = Name {
            commands: sender.clone(),
            shared: Arc::clone(&shared),
        };
        self.lock().insert(name.clone(), entry);
        let span = error_span!("cluster", stream = %name);
        let owner = Owner::new(
            Arc::clone(&self.context),
            self.lost.clone(),
            name.clone(),
            commands,
            shared,
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
        let is_same = |one: &Name| one.commands.same_channel(ended);
        if names.get(name).is_some_and(is_same) {
            names.remove(name);
        }
        drop(names);
        self.ended.notify_waiters();
    }

    /// Answers the request of another node to join a stream.
    pub(crate) async fn join(&self, join: Join, reply: String) {
        let name = join.stream.clone();
        let (reply, reason) = match self.send(&name, Command::Join(Box::new(join), reply)) {
            Err(Unsent::NoOwner(Command::Join(_, reply))) => (reply, EndReason::Moved),
            Err(Unsent::Busy(Command::Join(_, reply))) => (reply, EndReason::Busy),
            Ok(()) | Err(_) => return,
        };
        refuse(&self.context, &reply, reason).await;
    }

    /// Notes which streams another node watches.
    pub(crate) fn keep(&self, keep: Keep) {
        for kept in keep.streams.into_iter().take(MAX_KEPT) {
            let name = kept.stream.clone();
            // Fails if the stream has just ended.
            let _ = self.send(&name, Command::Keep(keep.node.clone(), Box::new(kept)));
        }
    }

    /// Compares the arbiter's entry now: another node says that it owns the name.
    pub(crate) fn check(&self, name: &StreamName) {
        if let Some(name) = self.lock().get(name) {
            name.shared.request_comparison();
        }
    }

    /// Looks for other owners of the names that the arbiter has not confirmed. Called when a node
    /// joins: the two may have claimed the same names while they were apart.
    pub(crate) fn check_unconfirmed(&self) {
        let names = self.lock();
        let names = names.values().map(|name| &name.shared);
        for name in names.filter(|name| name.is_unconfirmed()) {
            name.request_comparison();
        }
    }

    /// Announces all names again, after the connection was lost.
    pub(crate) fn announce_all(&self) {
        for name in self.lock().values() {
            // Viewers that wait look for the owner again anyway.
            let _ = name.commands.try_send(Command::Announce);
        }
    }

    /// Handles what has changed in the arbiter's bucket.
    pub(crate) fn handle(&self, news: News) {
        match news {
            News::Anew => {
                for name in self.lock().values() {
                    name.shared.request_comparison();
                }
            }
            News::Entry {
                key,
                revision,
                is_former,
            } => {
                let Some(name) = subject::stream(&key) else {
                    return;
                };
                if let Some(owned) = self.lock().get(&name) {
                    owned.shared.note_revision(revision);
                } else if is_former {
                    let entry = FormerEntry {
                        name,
                        key,
                        revision,
                    };
                    // Fails if there are too many.
                    let _ = self.former.try_send(entry);
                }
            }
        }
    }

    /// Gives all names back, and waits until that is done.
    pub(crate) async fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        for name in self.lock().values() {
            name.shared.release();
        }
        loop {
            let ended = self.ended.notified();
            if self.lock().is_empty() {
                return;
            }
            ended.await;
        }
    }

    /// Sends a command to the owner of a name.
    fn send(&self, name: &StreamName, command: Command) -> Result<(), Unsent> {
        let sender = self.lock().get(name).map(|name| name.commands.clone());
        let Some(sender) = sender else {
            return Err(Unsent::NoOwner(command));
        };
        sender.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(command) => Unsent::Busy(command),
            mpsc::error::TrySendError::Closed(command) => Unsent::NoOwner(command),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<StreamName, Name>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the entries of former processes with the name of this node, one after the other, unless
/// somebody answers for them.
async fn sweep(context: Arc<Context>, mut former: mpsc::Receiver<FormerEntry>) {
    while let Some(entry) = former.recv().await {
        if let Asked::Nobody = ask_owner(&context, &entry.name, None).await {
            context.arbiter.remove(&entry.key, entry.revision).await;
        }
    }
}
