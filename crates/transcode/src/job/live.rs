//! The renditions of a job that are live, and their publishers.

use std::sync::Arc;

use distributary_hub::{Audience, Publisher, RenditionOrigin, Stream};
use distributary_media::{Frame, VideoFrame};
use distributary_names::RenditionId;
use tokio::time::Instant;
use tracing::info;

use super::Job;
use super::end::End;
use crate::splice::Splice;
use crate::worker::Worker;

/// A rendition from its first frame on.
pub(super) struct LiveRendition {
    /// Unset while the publisher of the stream is gone.
    pub(super) publisher: Option<Publisher>,
    pub(super) audience: Audience,
    pub(super) splice: Splice,
}

impl Job {
    /// Returns a rendition that an encoder makes, which goes live with its first frame; `None` if
    /// nobody wants it.
    pub(super) fn live(
        &mut self,
        id: RenditionId,
        worker: &Worker,
        stream: &Arc<Stream>,
    ) -> Result<Option<&mut LiveRendition>, End> {
        if !self.is_wanted(id) {
            return Ok(None);
        }
        if self.publisher(id).is_none() {
            self.go_live(id, worker, stream)?;
        }
        Ok(self.renditions.get_mut(&id))
    }

    pub(super) fn go_live(
        &mut self,
        id: RenditionId,
        worker: &Worker,
        stream: &Arc<Stream>,
    ) -> Result<(), End> {
        let now = Instant::now().into_std();
        let origin = RenditionOrigin::Transcoded;
        let hub = &self.context.hub;
        let publisher = hub.publish_rendition(stream, &id, origin, now)?;
        if let Some(track) = worker.track(id) {
            publisher.set_video_track(track.clone());
        }
        let idle_timeout = self.context.config.idle_timeout;
        let audience = Audience::new(publisher.stream(), idle_timeout);
        self.renditions.insert(
            id,
            LiveRendition {
                publisher: Some(publisher),
                audience,
                splice: Splice::default(),
            },
        );
        self.requests.answer(id);
        info!(rendition = %id, "the transcode is live");
        Ok(())
    }

    pub(super) fn publisher(&self, id: RenditionId) -> Option<&Publisher> {
        self.renditions.get(&id)?.publisher.as_ref()
    }

    pub(super) fn publish(
        &self,
        id: RenditionId,
        frames: impl IntoIterator<Item = VideoFrame>,
    ) -> Result<(), End> {
        let now = Instant::now().into_std();
        if let Some(publisher) = self.publisher(id) {
            for frame in frames {
                publisher.push(Frame::Video(frame), now)?;
            }
        }
        Ok(())
    }
}
