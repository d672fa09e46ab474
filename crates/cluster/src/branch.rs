//! One strand of a stream beside the main one, from the owner whose main strand is followed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use distributary_media::{Frame, MediaTime};
use distributary_names::StreamName;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout_at};

use crate::backoff::Backoff;
use crate::clock::now;
use crate::content::EndReason;
use crate::context::Context;
use crate::follow::{Answered, Event};
use crate::following::Following;
use crate::keeps::Keeps;
use crate::reception::{Received, Reception, ReceptionEnd, Source};
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
    /// The trunk whose owner sends no more, and the time until which another one is waited for.
    stalled: Option<(Trunk, Instant)>,
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
            stalled: None,
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
        (self.reception, self.stalled) = (None, None);
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
            if let Some(event) = self.await_trunk().await {
                return event;
            }
            let Some(trunk) = self.trunk.borrow_and_update().clone() else {
                self.reception = None;
                match self.trunk.changed().await {
                    Ok(()) => continue,
                    Err(_) => return BranchEvent::Over,
                }
            };
            if let Some((_, current)) = &mut self.reception
                && current.has_owner_of(&trunk)
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

    /// Waits until the trunk has another owner if this one sends no more: viewers do not notice then.
    /// Returns the event if it stays the same.
    async fn await_trunk(&mut self) -> Option<BranchEvent> {
        let (stalled, until) = self.stalled.as_ref()?;
        let is_other = |trunk: &Option<Trunk>| {
            let trunk = trunk.as_ref();
            trunk.is_none_or(|trunk| !trunk.has_owner_of(stalled))
        };
        let other = timeout_at((*until).into(), self.trunk.wait_for(is_other)).await;
        match other.map(|other| other.is_ok()) {
            Ok(true) => {
                self.stalled = None;
                None
            }
            Ok(false) => Some(BranchEvent::Over),
            Err(_) => {
                self.fail();
                Some(BranchEvent::Offline)
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

    /// Waits for another trunk: the main strand, which says so at the same time, goes on elsewhere.
    fn stall(&mut self) {
        let stalled = self.reception.take();
        self.stalled = stalled.map(|(_, trunk)| (trunk, now() + self.context.silence));
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
                Err(Answered::Refused(reason)) => Some(Event::End(reason)),
                Err(Answered::Broken) => Some(Event::End(EndReason::Lost)),
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
            Err(ReceptionEnd::Silent) => Some(Event::End(EndReason::Moved)),
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
            Some(Event::End(EndReason::Moved)) => {
                self.stall();
                None
            }
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
    use distributary_hub::{Hub, HubConfig, Publisher};
    use distributary_names::RenditionId;
    use tokio::time::timeout;

    use super::*;
    use crate::anchor::Anchor;
    use crate::cluster::{Cluster, ClusterDriver};
    use crate::strand::Further;

    /// A rendition of a stream, at a node without a connection.
    struct Scene {
        branch: Branch,
        trunk: watch::Sender<Option<Trunk>>,
        publisher: Publisher,
        _driver: ClusterDriver,
    }

    impl Scene {
        /// The owner "old" has no renditions.
        async fn new() -> Self {
            let hub = Hub::new(HubConfig::default());
            let (cluster, driver) = Cluster::unconnected(hub.clone()).await;
            let name = StreamName::parse("live/test").unwrap();
            let publisher = hub.publish(&name, now()).unwrap();
            let (trunk, follows) = watch::channel(Some(trunk(&publisher, "old", false)));
            let context = Arc::clone(cluster.context());
            let strand = Strand::Rendition(RenditionId::H264);
            let branch = Branch::new(context, Arc::default(), name, strand, follows);
            Self {
                branch,
                trunk,
                publisher,
                _driver: driver,
            }
        }

        /// The owner "new" has renditions.
        fn take_over(&self) {
            let new = trunk(&self.publisher, "new", true);
            self.trunk.send_replace(Some(new));
        }

        /// The owner has sent no more since this moment.
        fn stall(&mut self) {
            let trunk = self.branch.trunk().expect("it is there");
            let until = now() + self.branch.context.silence;
            self.branch.stalled = Some((trunk, until));
        }
    }

    fn trunk(publisher: &Publisher, owner: &str, renditions: bool) -> Trunk {
        let further = Further {
            published_audio: false,
            renditions,
        };
        let (at, time) = (now(), MediaTime::ZERO);
        let (stream, owner) = (Arc::clone(publisher.stream()), owner.parse().unwrap());
        Trunk::new(stream, owner, 1, 1, Anchor { at, time }, further)
    }

    #[tokio::test(start_paused = true)]
    async fn owner_that_comes_during_the_delay_is_asked() {
        let mut scene = Scene::new().await;
        scene.branch.retry_at = now() + Duration::from_secs(2);
        let Scene {
            branch,
            trunk,
            publisher,
            ..
        } = &mut scene;
        let taken_over = async {
            trunk.send_replace(Some(self::trunk(publisher, "new", true)));
        };
        let (event, ()) = tokio::join!(branch.next(), taken_over);
        // No server is connected.
        assert!(matches!(event, BranchEvent::Offline), "{event:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn stalled_strand_goes_on_with_another_trunk() {
        let mut scene = Scene::new().await;
        scene.stall();
        let began = now();
        let limit = scene.branch.context.silence;
        assert!(
            timeout(limit / 2, scene.branch.await_trunk())
                .await
                .is_err()
        );
        scene.take_over();
        assert!(scene.branch.await_trunk().await.is_none());
        assert_eq!(now() - began, limit / 2);
        assert!(scene.branch.stalled.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn stalled_strand_is_offline_if_its_trunk_stays() {
        let mut scene = Scene::new().await;
        scene.stall();
        let began = now();
        // The renditions are news, the owner is not.
        let same = trunk(&scene.publisher, "old", true);
        scene.trunk.send_replace(Some(same));
        let event = scene.branch.await_trunk().await;
        assert!(matches!(event, Some(BranchEvent::Offline)), "{event:?}");
        assert_eq!(now() - began, scene.branch.context.silence);
        assert!(scene.branch.await_trunk().await.is_none());
    }
}
