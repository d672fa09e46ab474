//! The renditions to make of the stream, and the encoder that is started when they change.

use std::sync::Arc;
use std::time::Duration;

use distributary_hub::{SourceVideo, Stream};
use distributary_names::RenditionId;
use tokio::time::Instant;

use super::Job;
use super::end::End;
use super::takeover::{Encoders, Successor};
use crate::ladder::Output;
use crate::worker::Worker;

/// Minimum time for which an encoder runs before another takes over only to change a limit.
const LIMIT_INTERVAL: Duration = Duration::from_secs(10);

impl Job {
    /// Starts a successor if what is needed is not what is made.
    pub(super) fn adapt(
        &mut self,
        encoders: &mut Encoders,
        stream: &Arc<Stream>,
    ) -> Result<(), End> {
        let coming = encoders.successor.as_ref();
        // Something of it is watched already: it has to take over first.
        if coming.is_some_and(|successor| successor.is_in_service)
            || Instant::now() < encoders.retry_at
        {
            return Ok(());
        }
        let newest = coming.map_or(&encoders.current, |successor| &successor.worker);
        let is_complete = self.wanted().all(|id| newest.makes(id));
        let is_minimal = newest.outputs().all(|output| self.is_wanted(output.id));
        let may_limit = coming.is_none() && newest.began().elapsed() >= LIMIT_INTERVAL;
        if is_complete && is_minimal && !may_limit {
            return Ok(());
        }
        let Some(source) = stream.source_video(Instant::now().into_std()) else {
            return Ok(());
        };
        let outputs = self.plan(&source);
        if outputs.is_empty() {
            return Err(End::NotOffered);
        }
        let is_made = |output: &Output| {
            let made = newest.outputs().find(|made| made.id == output.id);
            made.is_some_and(|made| !may_limit || is_near(made.limit, output.limit))
        };
        if newest.outputs().count() == outputs.len() && outputs.iter().all(is_made) {
            return Ok(());
        }
        self.abandon()?;
        let worker = Worker::start(&self.context, &self.name, &outputs);
        if encoders.current.frames() == 0 {
            // Nobody watches it yet.
            encoders.current = worker;
            encoders.successor = None;
        } else {
            encoders.successor = Some(Successor::new(worker));
        }
        Ok(())
    }

    /// Returns what has to be made of the source. Refuses what cannot be made of it.
    pub(super) fn plan(&mut self, source: &SourceVideo) -> Vec<Output> {
        let ladder = self.context.availability.ladder();
        let outputs: Vec<Output> = self
            .wanted()
            .filter_map(|id| ladder.output(id, source))
            .collect();
        let is_made = |id: RenditionId| outputs.iter().any(|output| output.id == id);
        let reason = End::NotOffered.to_string();
        self.requests.refuse(&reason, |id| !is_made(id));
        self.renditions.retain(|id, _| is_made(*id));
        outputs
    }

    pub(super) fn wanted(&self) -> impl Iterator<Item = RenditionId> {
        let live = self.renditions.keys().copied();
        let requested = self.requests.ids();
        live.chain(requested.filter(|id| !self.renditions.contains_key(id)))
    }

    pub(super) fn is_wanted(&self, id: RenditionId) -> bool {
        self.renditions.contains_key(&id) || self.requests.contains(id)
    }
}

/// Returns whether two limits of a bitrate are so close that no other encoder is started for the
/// difference.
fn is_near(made: Option<u64>, wanted: Option<u64>) -> bool {
    match (made, wanted) {
        (Some(made), Some(wanted)) => wanted * 10 <= made * 13 && made * 10 <= wanted * 15,
        (made, wanted) => made == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_follows_only_large_changes_of_the_source() {
        assert!(is_near(Some(1_000_000), Some(1_300_000)));
        assert!(!is_near(Some(1_000_000), Some(1_310_000)));
        assert!(is_near(Some(1_500_000), Some(1_000_000)));
        assert!(!is_near(Some(1_510_000), Some(1_000_000)));
        assert!(!is_near(None, Some(1)) && is_near(None, None));
    }
}
