//! The renditions that are published for a stream.
//!
//! A rendition has only video of its own. Audio and timed data are those of the source, which
//! delivers them to the subscribers of its renditions too. Where both are locked, the source is
//! first.

use std::sync::Arc;
use std::time::Instant;

use super::Stream;
use crate::offer::{JoinAlignment, RenditionOrigin, SourceVideo};
use crate::subscriber::StreamEvent;

impl Stream {
    /// Returns the renditions that are published for this stream.
    pub(crate) fn renditions(&self) -> Vec<(Arc<Self>, RenditionOrigin)> {
        self.lock().renditions.clone()
    }

    /// Returns its video while it has a publisher whose track is known.
    pub fn source_video(&self, now: Instant) -> Option<SourceVideo> {
        let policy = self.b_frame_policy();
        let mut state = self.lock();
        state.live_since?;
        Some(SourceVideo {
            stream: self.name.clone(),
            track: state.contribution.video.clone()?,
            bitrate: state.contribution.meter.load(now),
            needs_transcoding: policy.transcodes(state.b_frames.verdict.kind),
        })
    }

    /// Returns how its frames are put on the clock of the stream that it is joined to.
    pub(crate) fn alignment(&self) -> Option<JoinAlignment> {
        self.lock().contribution.alignment
    }

    /// Adds a rendition that is published for this stream.
    pub(super) fn add_rendition(&self, rendition: Arc<Self>, origin: RenditionOrigin) {
        let mut state = self.lock();
        let metadata = state.contribution.metadata.clone();
        rendition.lock().contribution.metadata = metadata;
        // Another publisher may have taken it over.
        state
            .renditions
            .retain(|(other, _)| other.name != rendition.name);
        state.renditions.push((rendition, origin));
        drop(state);
        self.tell_renditions();
    }

    /// Removes a rendition that is no longer published.
    pub(super) fn remove_rendition(&self, rendition: &Self) {
        let name = &rendition.name;
        self.lock()
            .renditions
            .retain(|(stream, _)| stream.name != *name);
        self.tell_renditions();
        // Its subscribers are told as well, although it is not in the list anymore.
        rendition.deliver(&StreamEvent::Renditions);
    }

    /// Ends the renditions that are further tracks of an earlier publisher.
    pub(super) fn end_tracks(&self) {
        let is_track =
            |(_, origin): &mut (Arc<Self>, RenditionOrigin)| *origin == RenditionOrigin::Track;
        let ended: Vec<_> = self.lock().renditions.extract_if(.., is_track).collect();
        for (rendition, _) in ended {
            rendition.displace();
            rendition.deliver(&StreamEvent::Renditions);
        }
    }

    /// Tells the subscribers of this stream and of its renditions that the list has changed.
    pub(crate) fn tell_renditions(&self) {
        self.deliver(&StreamEvent::Renditions);
        self.tell_other_forms();
    }

    /// As [`Self::tell_renditions`], for a publisher that has come or gone: the subscribers of the
    /// stream itself have an event for that.
    pub(crate) fn tell_other_forms(&self) {
        // Without the lock: a rendition's subscribers have one of their own.
        for (rendition, _) in self.renditions() {
            rendition.deliver(&StreamEvent::Renditions);
        }
    }

    fn deliver(&self, event: &StreamEvent) {
        self.lock().deliver(event);
    }
}
