//! One strand of a stream beside the main one, from the owner whose main strand is followed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use distributary_media::{Frame, MediaTime};
use distributary_names::StreamName;
use tokio::sync::watch;
use tokio::time::sleep_until;

use crate::backoff::Backoff;
use crate::clock::now;
use crate::content::EndReason;
use crate::context::Context;
use crate::follow::{Answered, Event};
use crate::following::Following;
use crate::keeps::Keeps;
use crate::reception::{Received, Reception, Source};
use crate::strand::Strand;
use crate::tracks::TrackSet;
use crate::trunk::Trunk;

/// Delay before another attempt to join: the first, and the longest after many.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// The next event of a branch.
#[derive(Debug)]
pub(crate) enum BranchEvent {
    /// A frame on the owner's timeline, which is that of this trunk, and the time at which it arrived
    /// at the owner.
    Frame(Frame, Instant, Trunk),
    /// The tracks.
    Tracks(TrackSet),
    /// The answer is complete: the owner sends the strand.
    Joined,
    /// The video so far is old, and frames after it are missing.
    Gap,
    /// The owner does not have it.
    Refused,
    /// Nothing comes from the owner now.
    Offline,
    /// The stream has ended here.
    Over,
}

/// One strand of a stream beside the main one, from the owner whose main strand is followed.
pub(crate) struct Branch {
    context: Arc<Context>,
    keeps: Arc<Keeps>,
    name: StreamName,
    strand: Strand,
    trunk: watch::Receiver<Option<Trunk>>,
    following: Following,
    /// The reception of the branch, and its trunk.
    reception: Option<(Reception, Trunk)>,
    /// Frames were lost: the owner has to be asked again.
    must_join: bool,
    /// Viewers have seen it since it came last.
    is_watched: bool,
    retry: Backoff,
    retry_at: Instant,
}

impl Branch {
    pub(crate) fn new(
        context: Arc<Context>,
        keeps: Arc<Keeps>,
        name: StreamName,
        strand: Strand,
        trunk: watch::Receiver<Option<Trunk>>,
    ) -> Self {
        let (first, longest) = RETRY;
        Self {
            following: Following::new(Arc::clone(&context)),
            context,
            keeps,
            name,
            strand,
            trunk,
            reception: None,
            must_join: false,
            is_watched: false,
            retry: Backoff::new(first, longest),
            retry_at: now(),
        }
    }

    /// Returns the trunk, if it is there.
    pub(crate) fn trunk(&self) -> Option<Trunk> {
        self.trunk.borrow().clone()
    }

    /// Completes when the trunk has changed. `Err` if the stream has ended here.
    pub(crate) async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        self.trunk.changed().await
    }

    /// Receives nothing until the next event is asked for. Its owner notices.
    pub(crate) fn leave(&mut self) {
        self.reception = None;
        // Viewers see another rendition, or the stream itself. Those that come begin with the whole
        // answer, also with frames that others have seen.
        self.is_watched = false;
        self.following.forget();
    }

    /// Returns whether the owner can be asked for a keyframe: it has answered, so it sends the strand.
    pub(crate) fn can_request_keyframe(&self) -> bool {
        let reception = self.reception.as_ref();
        reception.is_some_and(|(reception, _)| reception.has_joined())
    }

    /// Requests a keyframe that is later than `after`, in the time of the stream. Returns whether the
    /// connection has taken the request.
    pub(crate) fn request_keyframe(&self, after: MediaTime) -> bool {
        let reception = self.reception.as_ref();
        reception.is_some_and(|(reception, trunk)| {
            reception.has_joined() && reception.request_keyframe(trunk.time_there(after))
        })
    }

    /// Returns the next event. It may be dropped and called again.
    pub(crate) async fn next(&mut self) -> BranchEvent {
        loop {
            let Some(trunk) = self.trunk.borrow_and_update().clone() else {
                self.reception = None;
                match self.trunk.changed().await {
                    Ok(()) => continue,
                    Err(_) => return BranchEvent::Over,
                }
            };
            let is_current = |one: &Trunk| one.owner == trunk.owner && one.epoch == trunk.epoch;
            if let Some((_, current)) = &mut self.reception
                && is_current(current)
            {
                *current = trunk;
            } else {
                self.reception = None;
                if let Err(event) = self.open().await {
                    return event;
                }
            }
            if let Some(event) = self.receive().await {
                return event;
            }
        }
    }

    /// Begins to receive, if the trunk is there. Returns the event if that is not possible now.
    async fn open(&mut self) -> Result<(), BranchEvent> {
        sleep_until(self.retry_at.into()).await;
        // It may be another one after that time.
        let Some(trunk) = self.trunk.borrow_and_update().clone() else {
            return Ok(());
        };
        if !trunk.further.has(self.strand) {
            self.fail();
            return Err(BranchEvent::Refused);
        }
        let source = Source {
            name: self.name.clone(),
            strand: self.strand,
            owner: trunk.owner.clone(),
            epoch: trunk.epoch,
        };
        self.following
            .prepare(&trunk.owner, trunk.epoch, self.is_watched);
        self.following.resubscribe();
        match Reception::open(&self.context, &self.keeps, source).await {
            Ok(reception) => {
                self.reception = Some((reception, trunk));
                self.must_join = false;
                Ok(())
            }
            Err(_) => {
                self.fail();
                Err(BranchEvent::Offline)
            }
        }
    }

    fn fail(&mut self) {
        self.leave();
        self.retry_at = now() + self.retry.fail();
    }

    /// Returns the next event that comes, or `None` if there is none: the trunk may have changed.
    async fn receive(&mut self) -> Option<BranchEvent> {
        let (reception, trunk) = self.reception.as_mut()?;
        if self.must_join {
            if reception.join().await.is_err() {
                self.fail();
                return Some(BranchEvent::Offline);
            }
            self.must_join = false;
        }
        let silent_at = self.following.heard() + self.context.silence;
        let received = tokio::select! {
            received = reception.next(silent_at) => received,
            _ = self.trunk.changed() => return None,
        };
        let event = match received {
            Ok(Received::Answer(part)) => match self.following.handle_answer(&part) {
                Ok(event) => event,
                Err(Answered::Complete) => {
                    reception.joined();
                    self.retry.succeed();
                    self.is_watched |= !self.following.awaits_keyframe();
                    return Some(BranchEvent::Joined);
                }
                Err(Answered::Refused(EndReason::Lost)) => {
                    self.fail();
                    return Some(BranchEvent::Refused);
                }
                Err(Answered::Refused(_) | Answered::Broken) => Some(Event::End(EndReason::Lost)),
            },
            Ok(Received::Live(message)) => {
                let event = self.following.handle(&message);
                if self.following.rejoin_if_due() {
                    self.following
                        .prepare(&trunk.owner, trunk.epoch, self.is_watched);
                    self.must_join = true;
                }
                event
            }
            Err(_) => Some(Event::End(EndReason::Lost)),
        };
        match event {
            Some(Event::Frame(frame, arrived)) => {
                self.context.counters.frames_in.note();
                let owner = self.following.owner();
                let is_on_trunk = owner.is_some_and(|(_, timeline)| timeline == trunk.timeline);
                let trunk = is_on_trunk.then(|| trunk.clone())?;
                // If this answer breaks off, the next one brings the frame again.
                self.is_watched |= reception.has_joined();
                Some(BranchEvent::Frame(frame, arrived, trunk))
            }
            Some(Event::Tracks(tracks)) => Some(BranchEvent::Tracks(tracks)),
            Some(Event::End(_)) => {
                self.fail();
                Some(BranchEvent::Offline)
            }
            Some(Event::Data(_)) | None => self.following.take_gap().then_some(BranchEvent::Gap),
        }
    }
}

#[cfg(test)]
mod tests {
    use distributary_hub::{Hub, HubConfig};
    use distributary_names::RenditionId;

    use super::*;
    use crate::anchor::Anchor;
    use crate::cluster::Cluster;
    use crate::strand::Further;

    #[tokio::test(start_paused = true)]
    async fn owner_that_comes_during_the_delay_is_asked() {
        let hub = Hub::new(HubConfig::default());
        let (cluster, _driver) = Cluster::unconnected(hub.clone()).await;
        let name = StreamName::parse("live/test").unwrap();
        let publisher = hub.publish(&name, now()).unwrap();
        let trunk = |owner: &str, renditions| {
            let (at, time) = (now(), MediaTime::ZERO);
            let further = Further {
                published_audio: false,
                renditions,
            };
            let stream = Arc::clone(publisher.stream());
            let owner = owner.parse().unwrap();
            Some(Trunk::new(
                stream,
                owner,
                1,
                1,
                Anchor { at, time },
                further,
            ))
        };
        let (trunk_in, trunk_out) = watch::channel(trunk("old", false));
        let context = Arc::clone(cluster.context());
        let strand = Strand::Rendition(RenditionId::H264);
        let mut branch = Branch::new(context, Arc::default(), name, strand, trunk_out);
        branch.retry_at = now() + Duration::from_secs(2);
        let taken_over = async { trunk_in.send(trunk("new", true)) };
        let (event, sent) = tokio::join!(branch.next(), taken_over);
        sent.unwrap();
        // No server is connected.
        assert!(matches!(event, BranchEvent::Offline), "{event:?}");
    }
}
