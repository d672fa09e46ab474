//! The claim of a stream's name, as a state machine.
//!
//! ```text
//! read the arbiter's entry ─► ask for the owner ─► listen for such questions ─► write the entry
//!          ▲                                                                         │
//!          └───────────────────────── somebody else has written it ──────────────────┘
//! ```
//!
//! The entry is written at the revision that was read *before* the question, so that of two nodes
//! that claim a name at once one fails. Whoever writes listens before it writes, so that the one
//! that fails finds the other one when it asks again. The revision of the written entry is the
//! *epoch*: a later owner has a higher one.

use crate::config::{Label, WithoutArbiter};
use crate::epoch::{is_earlier_claim, is_provisional};

/// Questions without an answer after which somebody who listens counts as dead.
pub(crate) const MAX_SILENT: u8 = 3;

/// The same for the owner in a live entry whose node has not left the cluster. At 250 ms each they
/// take two seconds: for longer than a node takes to notice that its NATS server stands still, and
/// to connect to another one.
const MAX_UNREACHED: u8 = 8;

/// Attempts to write the entry. Each one that fails means that another node has written.
const MAX_ATTEMPTS: u8 = 5;

/// The next step of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Read the entry.
    Read,
    /// Ask for the owner.
    Ask,
    /// Wait as long as for an answer, then ask for the owner.
    AskLater,
    /// Listen for such questions from now on, and answer them once the claim is decided.
    Listen,
    /// Write the entry at this revision, 0 if there must be none.
    Write(u64),
}

/// The outcome of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The entry was read.
    Read(EntryState),
    /// A node owns the stream.
    Held(Holder),
    /// Nobody listens for the question.
    Nobody,
    /// Somebody listens, and does not answer in time.
    Silent,
    /// The question was lost with the connection. Another server is connected by now, or was not in
    /// time.
    Away,
    /// Questions arrive from now on.
    Listening,
    /// Questions do not arrive: the connection is lost, or takes no subscription.
    NotListening,
    /// The entry was written, at this revision.
    Written(u64),
    /// The entry was not written, because it has another revision by now.
    Conflict,
    /// The arbiter does not answer.
    Unavailable,
}

/// The entry of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EntryState {
    /// Its revision; 0 if there is none.
    pub(crate) revision: u64,
    /// True if its owner has not removed it.
    pub(crate) is_live: bool,
    /// True if the node of its owner has left the cluster.
    pub(crate) has_left: bool,
}

/// The owner that has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) node: Label,
    pub(crate) epoch: u64,
    /// It lets this node have the name.
    pub(crate) gives_way: bool,
}

/// The outcome of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The name is owned, in this epoch.
    Owned(u64),
    /// The name may be used until the arbiter answers.
    Provisional,
    /// Another node owns it, or may own it.
    Elsewhere(Option<Label>),
    /// The arbiter does not answer.
    NoArbiter,
}

/// A claim in progress.
#[derive(Debug)]
pub(crate) struct Claim {
    /// Takes the name from another owner.
    replaces: bool,
    without: WithoutArbiter,
    /// The epoch in which the claimant uses the name provisionally, if it does.
    provisional: Option<u64>,
    /// The entry that was read; `None` if the arbiter does not answer.
    entry: Option<EntryState>,
    silent: u8,
    /// The claimant has asked for the owner for some time.
    stands_by: bool,
    /// Questions without an answer just before the claim.
    silent_before: u8,
    attempts: u8,
}

impl Claim {
    /// Returns a claim, and its first step. One that `replaces` takes the name from its owner.
    pub(crate) fn begin(replaces: bool, without: WithoutArbiter) -> (Self, Step) {
        let claim = Self {
            replaces,
            without,
            provisional: None,
            entry: None,
            silent: 0,
            stands_by: false,
            silent_before: 0,
            attempts: 0,
        };
        (claim, Step::Read)
    }

    /// Returns the claim of a node that has asked for the owner for some time, so that one for which
    /// nobody listens is gone.
    pub(crate) fn after_waiting(self) -> Self {
        Self {
            stands_by: true,
            ..self
        }
    }

    /// Counts a question just before the claim that had no answer.
    pub(crate) fn after_silence(self) -> Self {
        Self {
            silent_before: 1,
            ..self
        }
    }

    /// Returns the claim of a node that already uses the name provisionally, in this epoch.
    pub(crate) fn confirm(epoch: u64) -> (Self, Step) {
        let (claim, step) = Self::begin(false, WithoutArbiter::Allow);
        let claim = Self {
            provisional: Some(epoch),
            ..claim
        };
        (claim, step)
    }

    /// Handles what came of the last step. Returns the next one, or the outcome.
    pub(crate) fn handle(&mut self, event: Event) -> Result<Step, Verdict> {
        match event {
            Event::Read(entry) => {
                self.entry = Some(entry);
                self.silent = std::mem::take(&mut self.silent_before);
                Ok(Step::Ask)
            }
            Event::Held(holder) => self.found(holder),
            // The owner may be connecting to another server, or the news that it listens is still
            // on its way between the servers.
            Event::Nobody if self.must_find_owner() => self.retry(Step::AskLater),
            Event::Nobody => Ok(Step::Listen),
            Event::Silent => self.retry(Step::Ask),
            // This node alone may be cut off: it goes on waiting.
            Event::Away | Event::NotListening if self.stands_by => Err(Verdict::Elsewhere(None)),
            // The arbiter may have been away for the same reason.
            Event::Away if self.entry.is_none() => self.again(Step::Read),
            Event::Away => self.again(Step::Ask),
            Event::Listening => match self.entry {
                Some(entry) => Ok(Step::Write(entry.revision)),
                None => Err(self.unconfirmed()),
            },
            // Whoever claims a name has to answer for it.
            Event::NotListening => Err(self.unconfirmed()),
            Event::Written(epoch) => Err(Verdict::Owned(epoch)),
            Event::Conflict => {
                self.attempts += 1;
                if self.attempts < MAX_ATTEMPTS {
                    Ok(Step::Read)
                } else {
                    Err(Verdict::Elsewhere(None))
                }
            }
            // Somebody may own the name all the same.
            Event::Unavailable if self.entry.is_none() => Ok(Step::Ask),
            Event::Unavailable => Err(self.unconfirmed()),
        }
    }

    fn found(&self, holder: Holder) -> Result<Step, Verdict> {
        if holder.gives_way || self.replaces || !self.yields_to(&holder) {
            Ok(Step::Listen)
        } else {
            Err(Verdict::Elsewhere(Some(holder.node)))
        }
    }

    /// Returns whether the name is the holder's unless it gives way. Of two nodes that use a name
    /// provisionally, the arbiter chooses one; while it is away, the earlier claim counts.
    fn yields_to(&self, holder: &Holder) -> bool {
        match self.provisional {
            Some(own) if is_provisional(holder.epoch) => {
                self.entry.is_none() && is_earlier_claim(holder.epoch, own)
            }
            _ => true,
        }
    }

    /// Takes a step again after a question without an answer, unless there need not be one.
    fn retry(&mut self, step: Step) -> Result<Step, Verdict> {
        // A provisional claimant is among those that listen, and does not answer itself. A live
        // entry has another owner, whose answer may get lost.
        if self.provisional.is_some() && !self.has_live_entry() {
            Ok(Step::Listen)
        } else {
            self.again(step)
        }
    }

    /// Takes a step again after a question without an answer, unless there were too many.
    fn again(&mut self, step: Step) -> Result<Step, Verdict> {
        self.silent += 1;
        let most = if self.must_find_owner() {
            MAX_UNREACHED
        } else {
            MAX_SILENT
        };
        if self.silent >= most {
            Ok(Step::Listen)
        } else {
            Ok(step)
        }
    }

    /// Returns whether the entry has an owner that must not be replaced as long as it may be there.
    /// The one that has written it just now is there.
    fn must_find_owner(&self) -> bool {
        let may_be_gone = self.stands_by || self.entry.is_some_and(|entry| entry.has_left);
        let may_be_gone = may_be_gone && self.attempts == 0;
        self.has_live_entry() && !self.replaces && !may_be_gone
    }

    fn has_live_entry(&self) -> bool {
        self.entry.is_some_and(|entry| entry.is_live)
    }

    /// Returns the outcome without an arbiter.
    fn unconfirmed(&self) -> Verdict {
        match self.without {
            WithoutArbiter::Allow => Verdict::Provisional,
            WithoutArbiter::Refuse => Verdict::NoArbiter,
        }
    }
}

#[cfg(test)]
mod tests;
