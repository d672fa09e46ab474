//! A run of an encoder in a task of its own, as its job sees it.

use std::collections::BTreeMap;
use std::sync::Arc;

use distributary_media::{MediaTime, VideoTrack};
use distributary_names::{RenditionId, StreamName};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::Instrument;

use crate::attempt::{self, Event};
use crate::context::TranscodeContext;
use crate::keyframes::KeyframeRequests;
use crate::ladder::Output;

/// Maximum events that wait for the job.
const MAX_EVENTS: usize = 64;

/// A run of an encoder. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    events: mpsc::Receiver<Event>,
    task: AbortHandle,
    /// Its outputs, by rendition.
    outputs: BTreeMap<RenditionId, Output>,
    began: Instant,
    keyframes: KeyframeRequests,
    /// The track of each output, once it is known.
    tracks: BTreeMap<RenditionId, VideoTrack>,
    /// The presentation time of each output's last frame.
    last: BTreeMap<RenditionId, MediaTime>,
    /// Number of frames returned.
    frames: u64,
}

impl Worker {
    /// Starts an encoder of a stream.
    pub(crate) fn start(
        context: &Arc<TranscodeContext>,
        name: &StreamName,
        outputs: &[Output],
    ) -> Self {
        let (sender, events) = mpsc::channel(MAX_EVENTS);
        let keyframes = KeyframeRequests::default();
        let run = attempt::run(
            Arc::clone(context),
            name.clone(),
            outputs.to_vec(),
            keyframes.clone(),
            sender,
        );
        let task = tokio::spawn(run.in_current_span());
        Self {
            events,
            task: task.abort_handle(),
            outputs: outputs.iter().map(|output| (output.id, *output)).collect(),
            began: Instant::now(),
            keyframes,
            tracks: BTreeMap::new(),
            last: BTreeMap::new(),
            frames: 0,
        }
    }

    /// Returns the next event; `None` after the last. It may be dropped and called again.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// Returns what it makes.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = &Output> {
        self.outputs.values()
    }

    pub(crate) fn makes(&self, id: RenditionId) -> bool {
        self.outputs.contains_key(&id)
    }

    /// Requests a keyframe of all outputs that is later than `after`, as soon as possible.
    pub(crate) fn request_keyframe(&self, after: MediaTime) {
        self.keyframes.request(after);
    }

    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }

    pub(crate) fn set_track(&mut self, id: RenditionId, track: VideoTrack) {
        self.tracks.insert(id, track);
    }

    pub(crate) fn track(&self, id: RenditionId) -> Option<&VideoTrack> {
        self.tracks.get(&id)
    }

    pub(crate) fn note_frame(&mut self, id: RenditionId, pts: MediaTime) {
        self.frames += 1;
        self.last.insert(id, pts);
    }

    /// Returns the presentation time of an output's last frame.
    pub(crate) fn last(&self, id: RenditionId) -> Option<MediaTime> {
        self.last.get(&id).copied()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.task.abort();
    }
}
