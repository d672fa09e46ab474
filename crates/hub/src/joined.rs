//! Streams that were published separately, as renditions of one of them.
//!
//! An encoder or a script that publishes several qualities under names of their own is joined by
//! the configuration: the *members* stay streams that can be watched by themselves, and their video
//! is published again as renditions of the stream. Audio and timed data come from the stream.
//!
//! * `rule`: the section `[[rendition]]` of the configuration.
//! * `circle`: entries of it that make a stream a rendition of itself.
//! * `member`: passes the video of one member on.
//! * `alignment`: puts it on the clock of the stream.

mod alignment;
mod circle;
mod member;
mod rule;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use distributary_names::{RenditionId, StreamName};
use tokio::task::{AbortHandle, JoinError, JoinSet};

use crate::hub::Hub;
use crate::stream::Stream;

pub use circle::RenditionCircle;
pub use rule::{MemberName, MemberNameError, RenditionRule};

/// Joins streams as the configuration says until `shutdown` completes.
pub async fn join_renditions(hub: Hub, shutdown: impl Future<Output = ()>) {
    let mut changes = hub.changes();
    let mut joins = Joins::default();
    tokio::pin!(shutdown);
    loop {
        changes.borrow_and_update();
        joins.update(&hub);
        tokio::select! {
            () = &mut shutdown => return,
            _ = changes.changed() => {}
            Some(ended) = joins.tasks.join_next_with_id() => {
                let id = ended.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
                joins.running.retain(|_, (_, task)| task.id() != id);
            }
        }
    }
}

/// The members that are joined now.
#[derive(Default)]
struct Joins {
    tasks: JoinSet<()>,
    /// The member and its task, by the stream and the rendition that it is.
    running: HashMap<(StreamName, RenditionId), (StreamName, AbortHandle)>,
}

impl Joins {
    /// Starts and ends tasks as the configuration and the published streams require.
    fn update(&mut self, hub: &Hub) {
        let config = hub.config();
        let mut wanted = HashMap::new();
        // Without rules no stream is looked at.
        let streams = if config.renditions.is_empty() {
            Vec::new()
        } else {
            hub.streams()
        };
        // The renditions of a stream from another gateway are those that it has there.
        let is_own = |stream: &&Arc<Stream>| stream.is_live() && stream.node().is_none();
        for stream in streams.iter().filter(is_own) {
            let name = stream.name();
            for (id, member) in config.members(name) {
                let live = hub.stream(&member).filter(|member| member.is_live());
                if let Some(member) = live {
                    wanted.insert((name.clone(), id), (stream, member));
                }
            }
        }
        self.running.retain(|key, (member, task)| {
            let is_kept = wanted
                .get(key)
                .is_some_and(|(_, wanted)| wanted.name() == member);
            if !is_kept {
                task.abort();
            }
            is_kept
        });
        for (key, (stream, member)) in wanted {
            let (_, id) = key;
            let tasks = &mut self.tasks;
            self.running.entry(key).or_insert_with(|| {
                let name = member.name().clone();
                let task = member::join(hub.clone(), stream.clone(), member, id);
                (name, tasks.spawn(task))
            });
        }
    }
}
