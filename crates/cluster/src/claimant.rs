//! Takes the steps of a claim: asks the arbiter and the other nodes.

use distributary_names::StreamName;
use tokio::time::sleep;

use crate::arbiter::Written;
use crate::ask::{ANSWER_TIMEOUT, Asked, ask_owner};
use crate::claim::{Claim, EntryState, Event, Holder, Step, Verdict};
use crate::context::Context;
use crate::control::{Control, Entry, Waiting};

/// The outcome of comparing the arbiter's entry.
pub(crate) enum Check {
    /// Nothing has changed.
    Same,
    /// The arbiter does not answer.
    Unknown,
    /// The arbiter has confirmed the name, in this epoch.
    Confirmed(u64),
    /// Another node has the name.
    Lost,
    /// The entry is gone.
    Gone,
}

/// Takes one step of a claim, except listening. `waiting` are the publishers that wait for the name.
pub(crate) async fn take_step(
    context: &Context,
    name: &StreamName,
    key: &str,
    step: Step,
    waiting: Option<Waiting>,
) -> Event {
    match step {
        Step::Read => match context.arbiter.read(key).await {
            Some(entry) => Event::Read(EntryState {
                revision: entry.revision,
                is_live: entry.is_live,
                has_left: entry.node.is_some_and(|node| context.has_left(&node)),
            }),
            None => Event::Unavailable,
        },
        Step::AskLater => {
            sleep(ANSWER_TIMEOUT).await;
            ask(context, name, waiting).await
        }
        Step::Ask => ask(context, name, waiting).await,
        Step::Listen => Event::Listening,
        Step::Write(revision) => {
            let entry = Entry {
                node: context.node.clone(),
                instance: context.instance,
            };
            match context.arbiter.write(key, entry.to_json(), revision).await {
                Written::Revision(revision) => Event::Written(revision),
                Written::Conflict => Event::Conflict,
                Written::Unavailable if context.link.is_up() => Event::Unavailable,
                Written::Unavailable => Event::NotListening,
            }
        }
    }
}

async fn ask(context: &Context, name: &StreamName, waiting: Option<Waiting>) -> Event {
    match ask_owner(context, name, waiting).await {
        Asked::Held(holds) => Event::Held(Holder {
            node: holds.node,
            epoch: holds.epoch,
            gives_way: holds.draining || holds.gives_way,
        }),
        Asked::Nobody => Event::Nobody,
        Asked::Silent => Event::Silent,
        Asked::Away => {
            context.link.up(ANSWER_TIMEOUT).await;
            Event::Away
        }
    }
}

/// Asks the arbiter to confirm a name that is used provisionally in the epoch `epoch`. Another owner
/// is found also while the arbiter is away.
pub(crate) async fn confirm(context: &Context, name: &StreamName, key: &str, epoch: u64) -> Check {
    let (mut claim, step) = Claim::confirm(epoch);
    let mut next = Ok(step);
    loop {
        match next {
            Ok(step) => {
                // Once it answers again, all names are compared anew.
                let is_away = step == Step::Read && !context.arbiter.reach().is_reachable;
                let event = if is_away {
                    Event::Unavailable
                } else {
                    take_step(context, name, key, step, None).await
                };
                next = claim.handle(event);
            }
            Err(Verdict::Owned(epoch)) => return Check::Confirmed(epoch),
            Err(Verdict::Elsewhere(_)) => return Check::Lost,
            Err(Verdict::Provisional | Verdict::NoArbiter) => return Check::Unknown,
        }
    }
}

/// Compares the arbiter's entry of a name that this node owns in the epoch `epoch`.
pub(crate) async fn compare(context: &Context, key: &str, epoch: u64) -> Check {
    match context.arbiter.read(key).await {
        None => Check::Unknown,
        Some(entry) if entry.revision == epoch => Check::Same,
        Some(entry) if entry.revision > epoch && entry.is_live => Check::Lost,
        Some(_) => Check::Gone,
    }
}
