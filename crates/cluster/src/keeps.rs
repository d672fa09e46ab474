//! The streams of other nodes that this node watches, and the messages that say so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use distributary_names::StreamName;
use tokio::time::{MissedTickBehavior, interval};

use crate::config::Label;
use crate::context::Context;
use crate::control::{Control, Keep, Kept, MAX_KEPT};
use crate::form::Form;

/// Interval at which interest is renewed.
const INTERVAL: Duration = Duration::from_secs(2);

/// The streams of other nodes that this node watches.
#[derive(Debug, Default)]
pub(crate) struct Keeps(Mutex<HashMap<StreamName, Watched>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Watched {
    owner: Label,
    epoch: u64,
    form: Form,
}

/// Keeps the interest in one stream until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    keeps: Arc<Keeps>,
    name: StreamName,
    watched: Watched,
}

impl Keeps {
    /// Renews the interest in a stream until the returned value is dropped.
    pub(crate) fn keep(
        self: &Arc<Self>,
        name: &StreamName,
        owner: &Label,
        epoch: u64,
        form: Form,
    ) -> Watch {
        let watched = Watched {
            owner: owner.clone(),
            epoch,
            form,
        };
        self.lock().insert(name.clone(), watched.clone());
        Watch {
            keeps: Arc::clone(self),
            name: name.clone(),
            watched,
        }
    }

    /// Returns the number of streams.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Sends the messages until it is dropped.
    pub(crate) async fn run(&self, context: &Context) {
        let mut interval = interval(INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            for (owner, keep) in self.messages(context) {
                let subject = context.subjects.keep(&owner);
                context.link.publish(&subject, keep.to_json()).await;
            }
        }
    }

    /// Returns the messages, with the node that each is for.
    fn messages(&self, context: &Context) -> Vec<(Label, Keep)> {
        let mut by_owner: HashMap<Label, Vec<Kept>> = HashMap::new();
        for (name, watched) in &*self.lock() {
            let stream = context.hub.stream(name);
            let kept = Kept {
                stream: name.clone(),
                epoch: watched.epoch,
                form: watched.form,
                loss: stream.map_or(0, |stream| stream.audio_loss()),
            };
            by_owner
                .entry(watched.owner.clone())
                .or_default()
                .push(kept);
        }
        let messages = by_owner.into_iter().flat_map(|(owner, mut streams)| {
            let mut messages = Vec::new();
            while !streams.is_empty() {
                let rest = streams.split_off(streams.len().min(MAX_KEPT));
                let node = context.node.clone();
                messages.push((owner.clone(), Keep { node, streams }));
                streams = rest;
            }
            messages
        });
        messages.collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<StreamName, Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut keeps = self.keeps.lock();
        // Another owner may be watched by now.
        if keeps.get(&self.name) == Some(&self.watched) {
            keeps.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_of_watching_one_owner_keeps_the_interest_in_the_next() {
        let keeps = Arc::<Keeps>::default();
        let name = StreamName::parse("live/test").unwrap();
        let (a, b): (Label, Label) = ("a".parse().unwrap(), "b".parse().unwrap());
        let first = keeps.keep(&name, &a, 1, Form::Opus);
        let second = keeps.keep(&name, &b, 2, Form::Opus);
        drop(first);
        assert_eq!(keeps.count(), 1);
        drop(second);
        assert_eq!(keeps.count(), 0);
    }
}
