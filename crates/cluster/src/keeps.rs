//! The streams of other nodes that this node watches, and the messages that say so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use distributary_names::StreamName;
use tokio::time::{MissedTickBehavior, interval};

use crate::config::Label;
use crate::context::Context;
use crate::control::{Control, Keep, Kept, MAX_KEPT};
use crate::strand::Strand;

/// Interval at which interest is renewed.
const INTERVAL: Duration = Duration::from_secs(2);

/// The streams of other nodes that this node watches, with their strands.
#[derive(Debug, Default)]
pub(crate) struct Keeps(Mutex<HashMap<Key, Watched>>);

type Key = (StreamName, Strand);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Watched {
    owner: Label,
    epoch: u64,
}

/// Keeps the interest in one strand of a stream until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    keeps: Arc<Keeps>,
    key: Key,
    watched: Watched,
}

impl Keeps {
    /// Renews the interest in a strand of a stream until the returned value is dropped.
    pub(crate) fn keep(
        self: &Arc<Self>,
        name: &StreamName,
        strand: Strand,
        owner: &Label,
        epoch: u64,
    ) -> Watch {
        let key = (name.clone(), strand);
        let watched = Watched {
            owner: owner.clone(),
            epoch,
        };
        self.lock().insert(key.clone(), watched.clone());
        Watch {
            keeps: Arc::clone(self),
            key,
            watched,
        }
    }

    /// Returns the number of streams.
    pub(crate) fn count(&self) -> usize {
        let watched = self.lock();
        let names = watched.keys().filter(|(_, strand)| *strand == Strand::Main);
        names.count()
    }

    /// Returns whether nothing is watched.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
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
        for ((name, strand), watched) in &*self.lock() {
            // The others have no Opus.
            let stream = (*strand == Strand::Main).then(|| context.hub.stream(name));
            let kept = Kept {
                stream: name.clone(),
                epoch: watched.epoch,
                strand: *strand,
                loss: stream.flatten().map_or(0, |stream| stream.audio_loss()),
                keyframe_after: None,
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

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut keeps = self.keeps.lock();
        // Another owner may be watched by now.
        if keeps.get(&self.key) == Some(&self.watched) {
            keeps.remove(&self.key);
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
        let first = keeps.keep(&name, Strand::Main, &a, 1);
        let second = keeps.keep(&name, Strand::Main, &b, 2);
        let _audio = keeps.keep(&name, Strand::PublishedAudio, &b, 2);
        drop(first);
        assert_eq!(keeps.count(), 1);
        drop(second);
        assert_eq!(keeps.count(), 0);
    }
}
