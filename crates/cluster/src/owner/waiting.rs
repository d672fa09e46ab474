//! Waits for a name that another node has, for publishers of this node that stand by.
//!
//! ```text
//! ask the owner, five times a second ─► it gives way, or is gone or silent, and a standby is ready
//!    ▲                                                 │
//!    └── another node has been faster ◄── claim ◄──────┘
//!                                           └─► own the name: the standby takes over with its next
//!                                               keyframe
//! ```
//!
//! The owner knows by the questions which nodes wait.

use std::sync::Arc;
use std::time::Duration;

use distributary_hub::AdmissionError;
use futures_util::StreamExt;
use tokio::time::{Instant, sleep_until};
use tracing::info;

use super::{Command, Owner};
use crate::answer::refuse;
use crate::ask::{Asked, ask_owner};
use crate::claim::Claim;
use crate::clock::now;
use crate::content::EndReason;
use crate::control::Waiting;

/// Interval of questions for the owner.
const INTERVAL: Duration = Duration::from_millis(200);

/// Questions in a row for which nobody listens after which the owner is gone. One may just have lost
/// its NATS server: it connects to another one within 0.1 s.
const MAX_NOBODY: u8 = 2;

/// The reason for a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chance {
    /// The owner lets this node have the name, or is gone.
    Free,
    /// The owner does not answer.
    Silent,
    /// An operator has requested that a publisher of this node takes over.
    Requested,
}

impl Owner {
    /// Waits until this node has the name. Returns `false` if no publisher waits for it any more, or
    /// the node ends.
    pub(super) async fn wait(&mut self) -> bool {
        let mut nobody = 0;
        let mut ask_at = Instant::now();
        let shared = Arc::clone(&self.shared);
        while !self.permits.is_empty() && !shared.is_released() {
            tokio::select! {
                Some(command) = self.commands.recv() => match command {
                    Command::Admit(admission) => self.grant_waiting(admission, &self.elsewhere()),
                    Command::Join(_, reply) => {
                        refuse(&self.context, &reply, EndReason::Moved).await;
                    }
                    Command::Announce => ask_at = Instant::now(),
                    Command::Keep(..) => {}
                },
                () = shared.changed() => ask_at = Instant::now(),
                Some(_) = self.permits.next() => {}
                () = sleep_until(ask_at) => {
                    if let Some(chance) = self.ask(&mut nobody).await
                        && self.seize(chance).await
                    {
                        return true;
                    }
                    ask_at = Instant::now() + INTERVAL;
                }
            }
        }
        false
    }

    /// Returns what the publishers that wait for the name could do now.
    pub(super) fn waiting(&self) -> Option<Waiting> {
        let stream = self.context.hub.stream(&self.name)?;
        let readiness = stream.readiness(now());
        let standbys = u8::try_from(stream.standby_count()).unwrap_or(u8::MAX);
        (standbys > 0).then_some(Waiting {
            standbys,
            ready: readiness.is_some(),
            video: readiness.is_some_and(|readiness| readiness.has_video),
        })
    }

    /// Asks the owner. Returns whether there is a reason to claim the name.
    async fn ask(&mut self, nobody: &mut u8) -> Option<Chance> {
        let context = &self.context;
        let stream = context.hub.stream(&self.name)?;
        let asked = ask_owner(context, &self.name, self.waiting()).await;
        count_nobody(nobody, &asked);
        if let Asked::Held(holds) = &asked {
            self.note_holder(Some(&holds.node));
        }
        let readiness = stream.readiness(now())?;
        match asked {
            // The owner may be there all the same.
            Asked::Away => None,
            _ if readiness.is_requested => Some(Chance::Requested),
            Asked::Held(holds) => (holds.gives_way || holds.draining).then_some(Chance::Free),
            Asked::Nobody => (*nobody >= MAX_NOBODY).then_some(Chance::Free),
            Asked::Silent => Some(Chance::Silent),
        }
    }

    /// Claims the name. Returns whether this node has it.
    async fn seize(&mut self, chance: Chance) -> bool {
        let replaces = chance == Chance::Requested;
        let (mut claim, step) = Claim::begin(replaces, self.context.without_arbiter);
        claim = claim.after_waiting();
        if chance == Chance::Silent {
            claim = claim.after_silence();
        }
        let mut late = Vec::new();
        let outcome = self.claim(claim, step, &mut late).await;
        let is_won = outcome.is_ok();
        if is_won {
            info!("this node has the name now: a standby takes over with its next keyframe");
        }
        for admission in late {
            self.grant_waiting(admission, &self.elsewhere());
        }
        is_won
    }

    /// Returns why publishers that do not stand by are refused.
    fn elsewhere(&self) -> AdmissionError {
        AdmissionError::Elsewhere(Arc::clone(&self.holder))
    }
}

/// Counts the questions in a row for which nobody listens.
fn count_nobody(nobody: &mut u8, asked: &Asked) {
    *nobody = match asked {
        Asked::Nobody => nobody.saturating_add(1),
        Asked::Held(_) | Asked::Silent | Asked::Away => 0,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_connection_is_no_sign_that_the_owner_is_gone() {
        let mut nobody = 0;
        for asked in [Asked::Nobody, Asked::Away, Asked::Nobody] {
            count_nobody(&mut nobody, &asked);
        }
        assert!(nobody < MAX_NOBODY);
        count_nobody(&mut nobody, &Asked::Nobody);
        assert_eq!(nobody, MAX_NOBODY);
    }
}
