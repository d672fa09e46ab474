//! The stream of another node in the hub of this one, on one timeline of its owner.

use std::sync::Arc;
use std::time::{Duration, Instant};

use distributary_hub::{Audience, Dismissal, Publisher};
use distributary_media::{Frame, MediaTime, TimedData};
use distributary_names::StreamName;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::anchor::Anchor;
use crate::config::Label;
use crate::context::Context;
use crate::strand::Further;
use crate::tracks::TrackSet;
use crate::trunk::Trunk;

/// Time for which a stream without viewers is watched.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// The stream of another node in the hub of this one, on one timeline of its owner.
pub(crate) struct Relay {
    publisher: Publisher,
    audience: Audience,
    /// Completes when the publisher is dismissed.
    dismissed: BoxFuture<'static, Dismissal>,
    node: Label,
    timeline: u64,
    /// The time on the owner's timeline that is the origin of the one that the hub follows.
    origin: Anchor,
    /// Time of arrival of the last frame at its owner.
    last: Instant,
}

/// The owner and the timeline of a relay.
pub(crate) struct OwnerTimeline<'a> {
    pub(crate) node: &'a Label,
    pub(crate) timeline: u64,
}

impl Relay {
    /// Publishes the stream in the hub, on a timeline that begins at `origin`. `None` if a publisher
    /// of this node has the stream.
    pub(crate) fn begin(
        context: &Context,
        name: &StreamName,
        owner: &OwnerTimeline<'_>,
        origin: Anchor,
        now: Instant,
    ) -> Option<Self> {
        let hub = &context.hub;
        let publisher = hub.publish_remote(name, origin.at, now)?;
        let publisher = publisher.from_node(owner.node.as_str().into(), origin.at);
        Some(Self {
            audience: Audience::new(publisher.stream(), IDLE_TIMEOUT),
            dismissed: publisher.dismissed().boxed(),
            publisher,
            node: owner.node.clone(),
            timeline: owner.timeline,
            origin,
            last: origin.at,
        })
    }

    /// Returns whether it is that of this owner and timeline.
    pub(crate) fn is_of(&self, node: &Label, timeline: u64) -> bool {
        self.node == *node && self.timeline == timeline
    }

    /// Sets the tracks and the description of the publisher.
    pub(crate) fn set_tracks(&self, tracks: &TrackSet) {
        if let Some(video) = tracks.video() {
            self.publisher.set_video_track(video);
        }
        if let Some(audio) = tracks.audio() {
            self.publisher.set_audio_track(audio);
        }
        self.publisher.set_info(tracks.info());
        self.publisher.set_offers(tracks.renditions().to_vec());
    }

    /// Returns it as further strands see it.
    pub(crate) fn trunk(&self, epoch: u64, further: Further) -> Trunk {
        let stream = Arc::clone(self.publisher.stream());
        let (owner, origin) = (self.node.clone(), self.origin);
        Trunk::new(stream, owner, epoch, self.timeline, origin, further)
    }

    /// Passes a frame on that arrived at its owner at `arrived`.
    pub(crate) fn push(&mut self, mut frame: Frame, arrived: Instant, now: Instant) {
        match &mut frame {
            Frame::Video(video) => {
                let composition = video.pts.as_nanos().saturating_sub(video.dts.as_nanos());
                // A keyframe that is much older counts as the first frame.
                video.dts = self.rebased(video.dts).max(MediaTime::ZERO);
                video.pts = video.dts.shifted(composition);
            }
            Frame::Audio(audio) => audio.pts = self.rebased(audio.pts),
        }
        self.last = arrived.min(now).max(self.last);
        // A frame that the policy of this node refuses is dropped: the owner accepts it.
        let _ = self.publisher.push(frame, self.last);
    }

    /// Lets viewers that begin now wait for the next frame: those passed on are old.
    pub(crate) fn note_gap(&self) {
        self.publisher.note_gap();
    }

    /// Passes timed data on.
    pub(crate) fn push_data(&self, mut data: TimedData, now: Instant) {
        data.time = self.rebased(data.time);
        self.publisher.push_data(data, now);
    }

    /// Notes that a viewer is about to subscribe.
    pub(crate) fn expect(&mut self) {
        self.audience.expect();
    }

    /// Notes that the publisher itself has ended the stream.
    pub(crate) fn finish(&mut self) {
        self.publisher.finish();
    }

    /// Completes when the stream is taken over or removed, with the reason, or has had no viewers for
    /// some time. It may be dropped and called again until then.
    pub(crate) async fn ended(&mut self) -> Option<Dismissal> {
        tokio::select! {
            dismissal = &mut self.dismissed => Some(dismissal),
            () = self.audience.gone() => None,
        }
    }

    fn rebased(&self, time: MediaTime) -> MediaTime {
        let nanos = time.as_nanos().saturating_sub(self.origin.time.as_nanos());
        MediaTime::from_nanos(nanos)
    }
}
