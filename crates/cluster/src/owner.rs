//! The names that publishers of this node use.
//!
//! ```text
//! hub: admission ──► Owners ──► one task per name: claim ─► answer questions, start feeds, compare
//!                                                             the arbiter's entry ─► release
//! ```

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Message, Subscriber};
use distributary_hub::{Admission, AdmissionError, PermitEnd};
use distributary_names::StreamName;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{Instrument, error_span, info, warn};

use crate::arbiter::Written;
use crate::claim::{Claim, Event, Holder, Step, Verdict};
use crate::config::Label;
use crate::context::Context;
use crate::control::{Announced, Ask, Control, Entry, Holds, Join, Keep, MAX_KEPT};
use crate::feed::{Feed, FeedCommand, refuse};
use crate::form::Form;
use crate::link::{Reply, reply_to};
use crate::reassembly::EndReason;
use crate::subject;

/// Timeout of a question for the owner of a stream.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_millis(250);

/// Interval at which an owner compares the arbiter's entry.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// The same while the arbiter has not confirmed the name.
const CONFIRM_INTERVAL: Duration = Duration::from_millis(250);

/// Commands in the queue of one name.
const MAX_COMMANDS: usize = 256;

/// Set in the epoch of a name that the arbiter has not confirmed.
const PROVISIONAL: u64 = 1 << 63;

/// A command for the owner of one name.
enum Command {
    Admit(Admission),
    Join(Join, String),
    Keep(Label, Form, u64, u8),
    /// Another node says that it owns the name.
    Check,
    /// The connection is back: other nodes may have missed what was said before.
    Announce,
}

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
    lost: mpsc::Sender<StreamName>,
}

impl Owners {
    pub(crate) fn new(context: Arc<Context>, lost: mpsc::Sender<StreamName>) -> Arc<Self> {
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
        let owner = Owner {
            key: subject::token(&name),
            context: Arc::clone(&self.context),
            owners: Arc::clone(self),
            name,
            commands,
            questions: None,
            permits: FuturesUnordered::new(),
            feeds: HashMap::new(),
            epoch: 0,
        };
        let owners = Arc::clone(self);
        let task = async move {
            let name = owner.name.clone();
            owner.run(admission).await;
            let mut names = owners.lock();
            // Another task may have the name by now.
            if names
                .get(&name)
                .is_some_and(|other| other.same_channel(&sender))
            {
                names.remove(&name);
            }
        };
        tokio::spawn(task.instrument(span));
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

/// The owner of one name.
struct Owner {
    context: Arc<Context>,
    owners: Arc<Owners>,
    name: StreamName,
    /// The key of the arbiter's entry.
    key: String,
    commands: mpsc::Receiver<Command>,
    /// The questions of other nodes, once they are listened for.
    questions: Option<Subscriber>,
    /// The publishers that use the name.
    permits: FuturesUnordered<PermitEnd>,
    feeds: HashMap<Form, mpsc::Sender<FeedCommand>>,
    epoch: u64,
}

/// The outcome of comparing the arbiter's entry.
enum Check {
    /// Nothing has changed, or it is not known.
    Same,
    /// The arbiter has confirmed the name, in this epoch.
    Confirmed(u64),
    /// Another node has the name.
    Lost,
    /// The entry is gone.
    Gone,
}

type Checking = Pin<Box<dyn Future<Output = Check> + Send>>;

impl Owner {
    async fn run(mut self, first: Admission) {
        let Some(waiting) = self.claim(first).await else {
            return;
        };
        for admission in waiting {
            self.permits.push(admission.grant());
        }
        self.announce().await;
        self.serve().await;
    }

    fn is_provisional(&self) -> bool {
        self.epoch & PROVISIONAL != 0
    }

    /// Claims the name. Returns the admissions to grant; `None` if they were refused.
    async fn claim(&mut self, first: Admission) -> Option<Vec<Admission>> {
        let (mut claim, step) = Claim::begin(first.replaces(), self.context.without_arbiter);
        let mut waiting = vec![first];
        let mut next = Ok(step);
        while let Ok(step) = next {
            let event = self.step(step).await;
            next = claim.handle(event);
            while let Ok(command) = self.commands.try_recv() {
                match command {
                    Command::Admit(admission) => waiting.push(admission),
                    Command::Join(_, reply) => {
                        refuse(&self.context, &reply, EndReason::Moved).await;
                    }
                    Command::Keep(..) | Command::Check | Command::Announce => {}
                }
            }
        }
        let counters = &self.context.counters;
        let error = match next {
            Ok(_) => return None,
            Err(Verdict::Owned(epoch)) => {
                counters.claims_owned.note();
                self.epoch = epoch;
                return Some(waiting);
            }
            Err(Verdict::Provisional) => {
                counters.claims_provisional.note();
                self.epoch = PROVISIONAL | rand::random::<u64>();
                warn!(
                    "the arbiter of stream names does not answer: the name is used provisionally"
                );
                return Some(waiting);
            }
            Err(Verdict::Elsewhere(node)) => {
                let node = node.map_or("of another claim".into(), |node| node.as_str().into());
                AdmissionError::Elsewhere(node)
            }
            Err(Verdict::NoArbiter) => AdmissionError::NoArbiter,
        };
        counters.claims_refused.note();
        self.questions = None;
        // What has come in the meantime is refused as well.
        self.commands.close();
        while let Some(command) = self.commands.recv().await {
            if let Command::Admit(admission) = command {
                waiting.push(admission);
            }
        }
        for admission in waiting {
            admission.refuse(error.clone());
        }
        None
    }

    async fn step(&mut self, step: Step) -> Event {
        if step == Step::Listen {
            self.listen().await;
            return Event::Listening;
        }
        take_step(&self.context, &self.name, &self.key, step).await
    }

    /// Listens for the questions of other nodes, if a server is connected.
    async fn listen(&mut self) {
        if self.questions.is_none() {
            let subject = self.context.subjects.owner(&self.name);
            self.questions = self.context.link.listen(&subject).await;
        }
    }

    /// Serves other nodes until the last publisher has ended, or the name is lost.
    async fn serve(mut self) {
        let mut checking: Option<Checking> = None;
        let mut check_at = Instant::now() + self.check_interval();
        loop {
            let questions = self.questions.as_mut();
            tokio::select! {
                question = receive(questions) => self.answer(question).await,
                Some(command) = self.commands.recv() => match command {
                    Command::Admit(admission) => self.permits.push(admission.grant()),
                    Command::Join(join, reply) => self.join(join, reply).await,
                    Command::Keep(node, form, epoch, loss) => self.keep(node, form, epoch, loss),
                    Command::Check => check_at = Instant::now(),
                    Command::Announce => {
                        self.listen().await;
                        self.announce().await;
                    }
                },
                Some(_) = self.permits.next() => {
                    if self.permits.is_empty() {
                        return self.release().await;
                    }
                }
                () = sleep_until(check_at), if checking.is_none() => {
                    self.listen().await;
                    checking = Some(self.check());
                }
                outcome = finished(&mut checking) => {
                    checking = None;
                    check_at = Instant::now() + self.check_interval();
                    match outcome {
                        Check::Same => {}
                        Check::Confirmed(epoch) => self.confirmed(epoch).await,
                        Check::Gone => {
                            // It is claimed again, as if it had never been confirmed.
                            self.change_epoch(PROVISIONAL | rand::random::<u64>());
                            check_at = Instant::now();
                        }
                        Check::Lost => return self.lost().await,
                    }
                }
            }
        }
    }

    fn check_interval(&self) -> Duration {
        if self.is_provisional() {
            CONFIRM_INTERVAL
        } else {
            CHECK_INTERVAL
        }
    }

    /// Compares the arbiter's entry, or asks the arbiter to confirm the name.
    fn check(&self) -> Checking {
        let context = Arc::clone(&self.context);
        let (name, key, epoch) = (self.name.clone(), self.key.clone(), self.epoch);
        if self.questions.is_none() {
            // Whoever claims a name has to answer for it.
            return Box::pin(std::future::ready(Check::Same));
        }
        if self.is_provisional() {
            return Box::pin(async move { confirm(&context, &name, &key).await });
        }
        Box::pin(async move {
            match context.arbiter.read(&key).await {
                None => Check::Same,
                Some(entry) if entry.revision == epoch => Check::Same,
                Some(entry) if entry.revision > epoch && entry.is_live => Check::Lost,
                Some(_) => Check::Gone,
            }
        })
    }

    async fn confirmed(&mut self, epoch: u64) {
        self.context.counters.claims_confirmed.note();
        info!("the arbiter has confirmed the name");
        self.change_epoch(epoch);
        self.announce().await;
    }

    /// Uses another epoch from now on. Nodes that watch have to join again.
    fn change_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.feeds.clear();
    }

    async fn lost(self) {
        self.context.counters.fenced.note();
        warn!("another node has taken the stream over");
        // Received as long as the node runs.
        let _ = self.owners.lost.send(self.name).await;
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
    async fn answer(&self, question: Message) {
        let context = &self.context;
        let Some(ask) = Ask::from_json(&question.payload) else {
            context.counters.malformed.note();
            return;
        };
        let (Some(reply), false) = (reply_to(&question), ask.instance == context.instance) else {
            return;
        };
        let holds = Holds {
            node: context.node.clone(),
            epoch: self.epoch,
            provisional: self.is_provisional(),
            draining: context.draining.load(Ordering::Relaxed),
        };
        context.link.publish(reply, holds.to_json()).await;
    }

    async fn join(&mut self, join: Join, reply: String) {
        if join.epoch != self.epoch {
            return refuse(&self.context, &reply, EndReason::Moved).await;
        }
        let command = FeedCommand::Join {
            node: join.node,
            reply: reply.clone(),
        };
        if !self.feed(join.form, command) {
            refuse(&self.context, &reply, EndReason::Lost).await;
        }
    }

    fn keep(&mut self, node: Label, form: Form, epoch: u64, loss: u8) {
        if epoch == self.epoch
            && let Some(feed) = self.feeds.get(&form)
        {
            // Fails if the feed is busy, or has just ended; the node renews it or joins again.
            let _ = feed.try_send(FeedCommand::Keep { node, loss });
        }
    }

    /// Gives a command to the feed of a form, which is started if there is none. Returns whether
    /// that was possible.
    fn feed(&mut self, form: Form, command: FeedCommand) -> bool {
        if self.feeds.get(&form).is_none_or(mpsc::Sender::is_closed) {
            let stream = self.context.hub.stream(&self.name);
            let live = stream.filter(|stream| stream.is_live());
            let feed =
                live.and_then(|stream| Feed::spawn(&self.context, &stream, self.epoch, form));
            let Some(feed) = feed else {
                return false;
            };
            self.feeds.insert(form, feed);
        }
        let feed = self.feeds.get(&form);
        feed.is_some_and(|feed| feed.try_send(command).is_ok())
    }

    /// Gives the name back.
    async fn release(mut self) {
        // From now on nobody answers for it, and the feeds say that they end.
        self.questions = None;
        self.feeds.clear();
        // What comes from now on is claimed anew.
        self.commands.close();
        let mut late = Vec::new();
        while let Some(command) = self.commands.recv().await {
            match command {
                Command::Admit(admission) => late.push(admission),
                Command::Join(_, reply) => refuse(&self.context, &reply, EndReason::Lost).await,
                Command::Keep(..) | Command::Check | Command::Announce => {}
            }
        }
        if !self.is_provisional() {
            self.context.arbiter.remove(&self.key, self.epoch).await;
        }
        for admission in late {
            self.owners.admit(admission);
        }
    }
}

/// Takes one step of a claim, except listening.
async fn take_step(context: &Context, name: &StreamName, key: &str, step: Step) -> Event {
    match step {
        Step::Read => match context.arbiter.read(key).await {
            Some(entry) => Event::Read(entry),
            None => Event::Unavailable,
        },
        Step::AskLater => {
            sleep(ANSWER_TIMEOUT).await;
            ask(context, name).await
        }
        Step::Ask => ask(context, name).await,
        Step::Listen => Event::Listening,
        Step::Write(revision) => {
            let entry = Entry {
                node: context.node.clone(),
                instance: context.instance,
            };
            match context.arbiter.write(key, entry.to_json(), revision).await {
                Written::Revision(revision) => Event::Written(revision),
                Written::Conflict => Event::Conflict,
                Written::Unavailable => Event::Unavailable,
            }
        }
    }
}

async fn ask(context: &Context, name: &StreamName) -> Event {
    match ask_owner(context, name).await {
        Asked::Held(holds) => Event::Held(Holder {
            node: holds.node,
            provisional: holds.provisional,
            draining: holds.draining,
        }),
        Asked::Nobody => Event::Nobody,
        Asked::Silent => Event::Silent,
    }
}

/// The answer to the question who owns a stream.
#[derive(Debug)]
pub(crate) enum Asked {
    Held(Holds),
    Nobody,
    Silent,
}

/// Asks once who owns a stream.
pub(crate) async fn ask_owner(context: &Context, name: &StreamName) -> Asked {
    let subject = context.subjects.owner(name);
    let ask = Ask {
        node: context.node.clone(),
        instance: context.instance,
    };
    match context
        .link
        .ask(&subject, ask.to_json(), ANSWER_TIMEOUT)
        .await
    {
        Reply::Answer(answer) => match Holds::from_json(&answer) {
            Some(holds) => Asked::Held(holds),
            None => {
                context.counters.malformed.note();
                Asked::Silent
            }
        },
        Reply::Nobody => Asked::Nobody,
        Reply::Silent => Asked::Silent,
    }
}

/// Asks the arbiter to confirm a name that is used provisionally.
async fn confirm(context: &Context, name: &StreamName, key: &str) -> Check {
    let (mut claim, step) = Claim::confirm();
    let mut next = Ok(step);
    loop {
        match next {
            Ok(step) => {
                let event = take_step(context, name, key, step).await;
                next = claim.handle(event);
            }
            Err(Verdict::Owned(epoch)) => return Check::Confirmed(epoch),
            Err(Verdict::Elsewhere(_)) => return Check::Lost,
            Err(Verdict::Provisional | Verdict::NoArbiter) => return Check::Same,
        }
    }
}

/// Returns the next question; never if none is listened for.
async fn receive(questions: Option<&mut Subscriber>) -> Message {
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
