//! Claims a name, and listens for the questions of other nodes.

use std::sync::Arc;

use distributary_hub::{Admission, AdmissionError};
use tracing::warn;

use super::{Command, Owner};
use crate::answer::refuse_all;
use crate::claim::{Claim, Event, Step, Verdict};
use crate::claimant::take_step;
use crate::clock::wall_clock;
use crate::config::Label;
use crate::content::EndReason;
use crate::epoch::provisional;

impl Owner {
    /// Claims the name. Publishers that come in the meantime join the `admissions`.
    pub(super) async fn claim(
        &mut self,
        mut claim: Claim,
        step: Step,
        admissions: &mut Vec<Admission>,
    ) -> Result<(), AdmissionError> {
        let mut next = Ok(step);
        let verdict = loop {
            let step = match next {
                Ok(step) => step,
                Err(verdict) => break verdict,
            };
            let event = self.step(step).await;
            next = claim.handle(event);
            if next.is_ok() && self.shared.is_released() {
                // The node ends.
                next = Err(Verdict::NoArbiter);
            }
            let mut joins = Vec::new();
            while let Ok(command) = self.commands.try_recv() {
                match command {
                    Command::Admit(admission) => admissions.push(admission),
                    Command::Join(_, reply) => joins.push(reply),
                    // There is nothing to keep or to announce yet.
                    Command::Keep(..) | Command::Announce => {}
                }
            }
            refuse_all(&self.context, joins, EndReason::Moved).await;
        };
        let context = Arc::clone(&self.context);
        let counters = &context.counters;
        let error = match verdict {
            Verdict::Owned(epoch) => {
                counters.claims_owned.note();
                self.change_epoch(epoch).await;
                return Ok(());
            }
            Verdict::Provisional => {
                counters.claims_provisional.note();
                self.change_epoch(provisional(wall_clock())).await;
                warn!(
                    "the arbiter of stream names does not answer: the name is used provisionally"
                );
                return Ok(());
            }
            Verdict::Elsewhere(node) => {
                self.note_holder(node.as_ref());
                AdmissionError::Elsewhere(Arc::clone(&self.holder))
            }
            Verdict::NoArbiter => AdmissionError::NoArbiter,
        };
        self.questions = None;
        Err(error)
    }

    async fn step(&mut self, step: Step) -> Event {
        if step == Step::Listen {
            self.listen().await;
            return if self.questions.is_some() {
                Event::Listening
            } else {
                Event::NotListening
            };
        }
        let waits = !self.permits.is_empty();
        let waiting = waits.then(|| self.waiting()).flatten();
        take_step(&self.context, &self.name, &self.key, step, waiting).await
    }

    /// Listens for the questions of other nodes, if a server is connected.
    pub(super) async fn listen(&mut self) {
        if self.questions.is_none() {
            let subject = self.context.subjects.owner(&self.name);
            self.questions = self.context.link.listen(&subject).await;
        }
    }

    /// Notes which node has the name, if that is known.
    pub(super) fn note_holder(&mut self, node: Option<&Label>) {
        if let Some(node) = node
            && *self.holder != *node.as_str()
        {
            self.holder = node.as_str().into();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use distributary_cluster::test_util::NatsServer;
    use distributary_hub::{Hub, HubConfig};
    use distributary_names::StreamName;
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::*;
    use crate::cluster::Cluster;
    use crate::config::WithoutArbiter;
    use crate::content::Content;
    use crate::control::Join;
    use crate::message::Part;
    use crate::strand::Strand;

    #[tokio::test]
    async fn requests_to_join_that_come_during_a_claim_are_refused() {
        const LIMIT: Duration = Duration::from_secs(60);
        let nats = NatsServer::start();
        let hub = Hub::new(HubConfig::default());
        let (cluster, running) = Cluster::connected(nats.url(), hub).await;
        let context = Arc::clone(cluster.context());
        let mut inbox = context.link.listen("_INBOX.x.*").await.unwrap();
        let name = StreamName::parse("live/test").unwrap();
        let replies = ["_INBOX.x.1", "_INBOX.x.2"];
        let (commands, queue) = mpsc::channel(replies.len());
        for reply in replies {
            let join = Join {
                node: "x".parse().unwrap(),
                stream: name.clone(),
                epoch: 1,
                strand: Strand::Main,
            };
            let join = Command::Join(Box::new(join), reply.to_owned());
            assert!(commands.try_send(join).is_ok());
        }
        let (lost, _) = mpsc::channel(1);
        let mut owner = Owner::new(context, lost, name, queue, Arc::default());
        let (claim, step) = Claim::begin(false, WithoutArbiter::Allow);
        let claimed = owner.claim(claim, step, &mut Vec::new()).await;
        assert!(claimed.is_ok());
        for reply in replies {
            let refusal = timeout(LIMIT, inbox.next()).await.unwrap().unwrap();
            assert_eq!(refusal.subject.as_str(), reply);
            let part = Part::decode(&refusal.payload).unwrap();
            let content = Content::read(&part.header, part.body);
            assert_eq!(content, Ok(Content::End(EndReason::Moved)));
        }
        running.abort();
    }
}
