//! One strand of a stream beside the main one, from the owner whose main strand is followed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use distributary_media::{Frame, MediaTime};
use distributary_names::StreamName;
use tokio::sync::watch;
use tokio::time::sleep_until;

use crate::backoff::Backoff;
use crate::clock::{now, reached};
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

/// Time without the strand after which viewers are told, in units of the silence after which its owner
/// counts as gone: the main strand notices that before.
const PATIENCE: u32 = 2;

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
    /// The trunk that is followed.
    current: Option<Trunk>,
    /// The reception of the branch from the owner of this trunk.
    reception: Option<Reception>,
    /// Frames were lost: the owner has to be asked again.
    must_join: bool,
    /// Viewers have seen a frame since they were told last that nothing comes.
    is_shown: bool,
    /// The same, and they need only what follows what they have seen.
    is_watched: bool,
    /// Time at which viewers are told, while they see the last frame.
    offline_at: Option<Instant>,
    /// The delays between the requests to this owner.
    retry: Backoff,
    /// Time before which this owner is not asked again.
    retry_at: Option<Instant>,
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
            current: None,
            reception: None,
            must_join: false,
            is_shown: false,
            is_watched: false,
            offline_at: None,
            retry: Backoff::new(first, longest),
            retry_at: None,
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
        self.forget();
    }

    /// Forgets what viewers have seen: they see another rendition, or the stream itself. Those that come
    /// begin with the whole answer, also with frames that others have seen.
    fn forget(&mut self) {
        (self.is_shown, self.is_watched, self.offline_at) = (false, false, None);
        self.following.forget();
    }

    /// Returns whether the owner can be asked for a keyframe: it has answered, so it sends the strand.
    pub(crate) fn can_request_keyframe(&self) -> bool {
        self.reception.as_ref().is_some_and(Reception::has_joined)
    }

    /// Requests a keyframe that is later than `after`, in the time of the stream. Returns whether the
    /// connection has taken the request.
    pub(crate) fn request_keyframe(&self, after: MediaTime) -> bool {
        let (Some(reception), Some(trunk)) = (&self.reception, &self.current) else {
            return false;
        };
        reception.has_joined() && reception.request_keyframe(trunk.time_there(after))
    }

    /// Returns the next event. It may be dropped and called again.
    pub(crate) async fn next(&mut self) -> BranchEvent {
        loop {
            let trunk = self.trunk.borrow_and_update().clone();
            self.follow(trunk);
            self.limit_patience();
            let event = if self.current.is_none() {
                over(&self.trunk.changed().await)
            } else if self.reception.is_some() {
                self.receive().await
            } else if let Some(retry_at) = self.retry_at {
                self.delay(retry_at).await
            } else {
                self.open().await
            };
            if let Some(event) = event {
                return event;
            }
        }
    }

    /// Follows the owner of a trunk, or nobody. What the owner before has not done does not count.
    fn follow(&mut self, trunk: Option<Trunk>) {
        let strand = self.strand;
        match (&self.current, &trunk) {
            (Some(current), Some(trunk)) if current.has_owner_of(trunk) => {
                if trunk.further.has(strand) && !current.further.has(strand) {
                    self.retry_at = None;
                }
            }
            _ => {
                self.reception = None;
                (self.offline_at, self.retry_at) = (None, None);
                self.retry.succeed();
            }
        }
        self.current = trunk;
    }

    /// Sets the time at which viewers are told, if they see the last frame while the stream itself goes on.
    fn limit_patience(&mut self) {
        let comes = self.can_request_keyframe() && !self.must_join;
        if self.is_shown && self.current.is_some() && !comes {
            let patience = PATIENCE * self.context.silence;
            self.offline_at.get_or_insert_with(|| now() + patience);
        }
    }

    /// Waits until the owner may be asked again, or the trunk changes.
    async fn delay(&mut self, retry_at: Instant) -> Option<BranchEvent> {
        tokio::select! {
            biased;
            changed = self.trunk.changed() => over(&changed),
            () = sleep_until(retry_at.into()) => {
                self.retry_at = None;
                None
            }
            () = reached(self.offline_at.map(Into::into)) => Some(self.offline()),
        }
    }

    /// Begins to receive. Returns the event if viewers are to be told that the owner does not have the
    /// strand.
    async fn open(&mut self) -> Option<BranchEvent> {
        let trunk = self.current.as_ref()?;
        if !trunk.further.has(self.strand) {
            return self.refused();
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
        self.must_join = false;
        match Reception::open(&self.context, &self.keeps, source).await {
            Ok(reception) => self.reception = Some(reception),
            Err(_) => self.retry(),
        }
        None
    }

    /// Lets the owner be asked again after a delay. Viewers are told only if the strand does not come back
    /// soon: the main strand may have the same trouble, and go on at another owner.
    fn retry(&mut self) {
        self.reception = None;
        self.retry_at = Some(now() + self.retry.fail());
    }

    /// Handles a refusal: the owner does not have the strand. Returns the event if viewers are to be told now.
    /// An owner that has just taken the stream over may not know its video yet, and refuses for a moment.
    fn refused(&mut self) -> Option<BranchEvent> {
        self.retry();
        if self.is_watched {
            return None;
        }
        self.forget();
        Some(BranchEvent::Refused)
    }

    /// Handles that nothing comes. Returns the event for viewers. A request that waits for its answer goes
    /// on: the owner may be about to make the rendition.
    fn offline(&mut self) -> BranchEvent {
        self.forget();
        if let Some(trunk) = &self.current
            && self
                .reception
                .as_ref()
                .is_some_and(Reception::is_unanswered)
        {
            self.following.prepare(&trunk.owner, trunk.epoch, false);
        } else if self.retry_at.is_none() {
            self.retry();
        }
        BranchEvent::Offline
    }

    /// Returns the next event that comes, or `None` if there is none: the trunk may have changed.
    async fn receive(&mut self) -> Option<BranchEvent> {
        let silent_at = self.following.heard() + self.context.silence;
        let (reception, trunk) = (self.reception.as_mut()?, self.current.as_ref()?);
        if self.must_join {
            if reception.join().await.is_err() {
                self.retry();
                return None;
            }
            self.must_join = false;
        }
        let received = tokio::select! {
            biased;
            changed = self.trunk.changed() => return over(&changed),
            received = reception.next(silent_at) => received,
            () = reached(self.offline_at.map(Into::into)) => {
                // The next part of an answer comes soon, or never.
                let due = reception.part_due().filter(|due| *due > now());
                if due.is_none() {
                    return Some(self.offline());
                }
                self.offline_at = due;
                return None;
            }
        };
        let event = match received {
            Ok(Received::Answer(part)) => match self.following.handle_answer(&part) {
                Ok(event) => event,
                Err(Answered::Complete) => {
                    reception.joined();
                    // The first live message is due within that time.
                    let live_at = now() + self.context.silence;
                    self.offline_at = self.offline_at.map(|at| at.max(live_at));
                    self.is_watched |= self.is_shown && !self.following.awaits_keyframe();
                    return Some(BranchEvent::Joined);
                }
                Err(Answered::Refused(EndReason::Lost)) => return self.refused(),
                Err(Answered::Refused(_) | Answered::Broken) => {
                    self.retry();
                    return None;
                }
            },
            Ok(Received::Live(message)) => {
                let heard = self.following.heard();
                let event = self.following.handle(&message);
                if self.following.heard() != heard {
                    self.retry.succeed();
                    self.offline_at = None;
                }
                if self.following.rejoin_if_due() {
                    self.following
                        .prepare(&trunk.owner, trunk.epoch, self.is_watched);
                    self.must_join = true;
                }
                event
            }
            Err(end) => {
                if end == ReceptionEnd::Silent {
                    // Part of the patience is used up.
                    let at = now() + (PATIENCE - 1) * self.context.silence;
                    let at = self.offline_at.map_or(at, |before| before.min(at));
                    self.offline_at = self.is_shown.then_some(at);
                }
                self.retry();
                return None;
            }
        };
        match event {
            Some(Event::Frame(frame, arrived)) => {
                self.context.counters.frames_in.note();
                let owner = self.following.owner();
                let is_on_trunk = owner.is_some_and(|(_, timeline)| timeline == trunk.timeline);
                let trunk = is_on_trunk.then(|| trunk.clone())?;
                // If this answer breaks off, the next one brings the frame again.
                self.is_watched |= reception.has_joined();
                (self.is_shown, self.offline_at) = (true, None);
                Some(BranchEvent::Frame(frame, arrived, trunk))
            }
            Some(Event::Tracks(tracks)) => Some(BranchEvent::Tracks(tracks)),
            Some(Event::End(EndReason::Finished | EndReason::Lost)) => Some(self.offline()),
            Some(Event::End(EndReason::Moved | EndReason::Busy)) => {
                self.retry();
                None
            }
            Some(Event::Data(_)) | None => self.following.take_gap().then_some(BranchEvent::Gap),
        }
    }
}

/// Returns the event if the stream has ended here: its trunk does not change any more.
fn over(changed: &Result<(), watch::error::RecvError>) -> Option<BranchEvent> {
    changed.is_err().then_some(BranchEvent::Over)
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

    /// A rendition of a stream, at a node without a connection: each request to an owner fails.
    struct Scene {
        branch: Branch,
        trunk: watch::Sender<Option<Trunk>>,
        publisher: Publisher,
        _driver: ClusterDriver,
    }

    impl Scene {
        /// Viewers have seen the rendition. The owner "old" does not send it any longer.
        async fn new() -> Self {
            let hub = Hub::new(HubConfig::default());
            let (cluster, driver) = Cluster::unconnected(hub.clone()).await;
            let name = StreamName::parse("live/test").unwrap();
            let publisher = hub.publish(&name, now()).unwrap();
            let (trunk, follows) = watch::channel(Some(trunk(&publisher, "old", true)));
            let context = Arc::clone(cluster.context());
            let strand = Strand::Rendition(RenditionId::H264);
            let mut branch = Branch::new(context, Arc::default(), name, strand, follows);
            (branch.is_shown, branch.is_watched) = (true, true);
            Self {
                branch,
                trunk,
                publisher,
                _driver: driver,
            }
        }

        fn set_owner(&self, owner: &str, renditions: bool) {
            let trunk = trunk(&self.publisher, owner, renditions);
            self.trunk.send_replace(Some(trunk));
        }

        /// Lets the branch do what is due now.
        async fn turn(&mut self) -> Option<BranchEvent> {
            let turn = timeout(Duration::from_millis(1), self.branch.next()).await;
            turn.ok()
        }

        /// Returns the delay until the owner is asked again.
        fn delay(&self) -> Duration {
            let retry_at = self.branch.retry_at.expect("a request has failed");
            retry_at - now()
        }

        /// Lets requests fail until the delay is the longest.
        async fn ask_in_vain(&mut self) {
            self.branch.offline_at = Some(now() + Duration::from_secs(60));
            while self.delay() < RETRY.1 / 2 {
                assert!(self.turn().await.is_none());
            }
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
    async fn another_owner_is_asked_at_once_and_gets_the_whole_patience() {
        for pauses in [false, true] {
            let mut scene = Scene::new().await;
            assert!(scene.turn().await.is_none());
            scene.ask_in_vain().await;
            if pauses {
                scene.trunk.send_replace(None);
                assert!(scene.turn().await.is_none());
                assert!(
                    scene.branch.offline_at.is_none(),
                    "the stream itself pauses"
                );
            }
            scene.set_owner("new", true);
            assert!(scene.turn().await.is_none());
            assert!(scene.delay() <= RETRY.0, "{:?}", scene.delay());
            let patience = scene.branch.offline_at.unwrap() - now();
            assert!(patience > scene.branch.context.silence);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn owner_is_asked_at_once_when_it_has_renditions_at_last() {
        let mut scene = Scene::new().await;
        scene.set_owner("old", false);
        assert!(scene.turn().await.is_none());
        scene.ask_in_vain().await;
        let (delay, offline_at) = (scene.delay(), scene.branch.offline_at);
        scene.set_owner("old", true);
        assert!(scene.turn().await.is_none());
        assert!(scene.delay() > delay, "it was asked, in vain");
        assert_eq!(scene.branch.offline_at, offline_at);
        // No news.
        let retry_at = scene.branch.retry_at;
        scene.set_owner("old", true);
        assert!(scene.turn().await.is_none());
        assert_eq!(scene.branch.retry_at, retry_at);
    }

    #[tokio::test(start_paused = true)]
    async fn viewers_are_told_once_if_the_strand_does_not_come_back() {
        let mut scene = Scene::new().await;
        let began = now();
        let event = scene.branch.next().await;
        assert!(matches!(event, BranchEvent::Offline), "{event:?}");
        assert_eq!(now() - began, PATIENCE * scene.branch.context.silence);
        assert!(
            scene.branch.retry.failures() > 2,
            "the owner was asked meanwhile"
        );
        let again = timeout(Duration::from_secs(60), scene.branch.next()).await;
        assert!(again.is_err(), "they know: {again:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn end_of_the_stream_ends_the_branch_whatever_it_waits_for() {
        for owner in [None, Some("old")] {
            let mut scene = Scene::new().await;
            if owner.is_none() {
                scene.trunk.send_replace(None);
            }
            assert!(scene.turn().await.is_none());
            drop(scene.trunk);
            let event = scene.branch.next().await;
            assert!(matches!(event, BranchEvent::Over), "{event:?}");
        }
    }
}
