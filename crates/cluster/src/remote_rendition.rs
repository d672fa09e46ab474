//! A rendition that the owner of a stream has, in the hub of this node.

use std::time::Duration;

use distributary_hub::{Audience, Demand, DemandError, Hub, Publisher, RenditionOrigin};
use distributary_media::{Frame, VideoFrame, VideoTrack};
use distributary_names::{RenditionId, StreamName};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info};

use crate::branch::{Branch, BranchEvent};
use crate::clock::now;
use crate::keyframe_requests::KeyframeRequests;
use crate::trunk::Trunk;

/// Time for which a rendition without viewers is received. Its owner keeps it for longer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// Time after which a rendition that does not come is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Maximum viewers that wait.
const MAX_WAITING: usize = 1024;

/// A rendition that the owner of a stream has, in the hub of this node, while viewers need it.
pub(crate) struct RemoteRendition {
    hub: Hub,
    name: StreamName,
    id: RenditionId,
    branch: Branch,
    demands: mpsc::Receiver<Demand>,
    waiting: Vec<Demand>,
    keyframes: KeyframeRequests,
    track: Option<VideoTrack>,
    publisher: Option<Publisher>,
    audience: Option<Audience>,
    /// Time at which it is given up.
    given_up_at: Instant,
    /// Time of arrival of the last frame at its owner.
    last: std::time::Instant,
}

/// The end of a rendition.
#[derive(Debug)]
enum End {
    /// Nobody watches it any more.
    Unwatched,
    /// Its owner does not have it.
    Missing,
    /// The stream has ended here, or another publisher has it.
    Over,
}

impl RemoteRendition {
    pub(crate) fn new(
        hub: Hub,
        name: StreamName,
        id: RenditionId,
        branch: Branch,
        demands: mpsc::Receiver<Demand>,
    ) -> Self {
        Self {
            hub,
            name,
            id,
            branch,
            demands,
            waiting: Vec::new(),
            keyframes: KeyframeRequests::new(),
            track: None,
            publisher: None,
            audience: None,
            given_up_at: Instant::now() + PATIENCE,
            last: now(),
        }
    }

    /// Publishes the rendition until nobody needs it, or it does not come.
    pub(crate) async fn run(mut self) {
        let end = loop {
            tokio::select! {
                // A viewer that has come keeps it.
                biased;
                Some(demand) = self.demands.recv() => self.answer(demand),
                () = gone(self.audience.as_mut()), if self.waiting.is_empty() => {
                    break End::Unwatched;
                }
                () = sleep_until(self.given_up_at), if self.publisher.is_none() => {
                    break End::Missing;
                }
                () = self.keyframes.due(), if self.branch.can_request_keyframe() => {
                    self.request_keyframe();
                }
                event = self.branch.next() => if let Err(end) = self.handle(event) {
                    break end;
                },
            }
        };
        debug!(rendition = %self.id, ?end, "no longer watched from another node");
        self.demands.close();
        let reason = "the node of the stream does not have this rendition now";
        self.waiting
            .extend(std::iter::from_fn(|| self.demands.try_recv().ok()));
        for demand in self.waiting {
            demand.answer(Err(DemandError::Failed(reason.into())));
        }
    }

    /// Lets a viewer wait until the rendition is live, or passes on that one needs a keyframe.
    fn answer(&mut self, demand: Demand) {
        if let Some(after) = demand.keyframe_after() {
            self.keyframes.add(after);
        }
        let Some(audience) = self.audience.as_mut().filter(|_| self.publisher.is_some()) else {
            self.waiting.retain(|demand| !demand.is_abandoned());
            if self.waiting.len() < MAX_WAITING {
                self.waiting.push(demand);
            }
            return;
        };
        audience.expect();
        demand.answer(Ok(()));
    }

    /// Passes on that viewers need a keyframe; later if the connection takes nothing now.
    fn request_keyframe(&mut self) {
        if let Some(after) = self.keyframes.take()
            && !self.branch.request_keyframe(after)
        {
            self.keyframes.add(after);
        }
    }

    fn handle(&mut self, event: BranchEvent) -> Result<(), End> {
        match event {
            BranchEvent::Tracks(tracks) => {
                if let Some(track) = tracks.video() {
                    if let Some(publisher) = &self.publisher {
                        publisher.set_video_track(track.clone());
                    }
                    self.track = Some(track);
                }
                Ok(())
            }
            BranchEvent::Frame(Frame::Video(frame), arrived, trunk) => {
                self.push(frame, arrived, &trunk)
            }
            BranchEvent::Frame(Frame::Audio(_), ..) => Ok(()),
            // A keyframe can be requested from now on.
            BranchEvent::Joined => Ok(()),
            BranchEvent::Gap => {
                if let Some(publisher) = &self.publisher {
                    publisher.note_gap();
                }
                Ok(())
            }
            BranchEvent::Refused if self.audience.is_none() => Err(End::Missing),
            BranchEvent::Refused | BranchEvent::Offline => {
                if self.publisher.take().is_some() {
                    self.given_up_at = Instant::now() + PATIENCE;
                }
                Ok(())
            }
            BranchEvent::Over => Err(End::Over),
        }
    }

    /// Publishes a frame, with which the rendition goes live.
    fn push(
        &mut self,
        mut frame: VideoFrame,
        arrived: std::time::Instant,
        trunk: &Trunk,
    ) -> Result<(), End> {
        let (dts, pts) = (trunk.time_here(frame.dts), trunk.time_here(frame.pts));
        (frame.dts, frame.pts) = (dts, pts);
        if frame.keyframe {
            self.keyframes.note_keyframe(pts);
            if self.publisher.is_none() {
                self.go_live(trunk)?;
            }
        }
        if let Some(publisher) = &self.publisher {
            if !publisher.is_active() {
                return Err(End::Over);
            }
            self.last = arrived.min(now()).max(self.last);
            // A frame that the policy of this node refuses is dropped: the owner accepts it.
            let _ = publisher.push(Frame::Video(frame), self.last);
        }
        Ok(())
    }

    fn go_live(&mut self, trunk: &Trunk) -> Result<(), End> {
        let offers = self.hub.rendition_offers(&self.name, now());
        let offer = offers.iter().find(|offer| offer.id == self.id);
        let origin = offer.map_or(RenditionOrigin::Transcoded, |offer| offer.origin);
        let publisher = self
            .hub
            .publish_rendition(&trunk.stream, &self.id, origin, now());
        let publisher = publisher.map_err(|_| End::Over)?;
        if let Some(track) = &self.track {
            publisher.set_video_track(track.clone());
        }
        info!(rendition = %self.id, owner = %trunk.owner, "a rendition is watched from another node");
        // If all viewers left while it was offline, this is another stream of the hub.
        self.audience = Some(Audience::new(publisher.stream(), IDLE_TIMEOUT));
        self.publisher = Some(publisher);
        for demand in self.waiting.drain(..) {
            demand.answer(Ok(()));
        }
        Ok(())
    }
}

/// Completes when a rendition has no viewers any more; never before it was live.
async fn gone(audience: Option<&mut Audience>) {
    match audience {
        Some(audience) => audience.gone().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
