//! One strand of a stream beside the main one, from the owner whose main strand is followed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use distributary_media::{Frame, MediaTime};
use distributary_names::StreamName;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout_at};

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
    /// Set while the strand does not come, until viewers are told.
    trouble: Option<Trouble>,
    /// Frames were lost: the owner has to be asked again.
    must_join: bool,
    /// Viewers have seen it since it came last.
    is_watched: bool,
    retry: Backoff,
    retry_at: Instant,
}

/// The owner of a trunk does not send the strand. Viewers see its last frame.
struct Trouble {
    trunk: Trunk,
    /// The time at which viewers are told.
    offline_at: Instant,
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
            trouble: None,
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
        (self.reception, self.trouble) = (None, None);
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
                (self.reception, self.trouble) = (None, None);
                match self.trunk.changed().await {
                    Ok(()) => continue,
                    Err(_) => return BranchEvent::Over,
                }
            };
            let is_of_another = |trouble: &mut Trouble| !trouble.trunk.has_owner_of(&trunk);
            self.trouble.take_if(is_of_another);
            if let Some((_, current)) = &mut self.reception
                && current.has_owner_of(&trunk)
            {
                *current = trunk;
            } else {
                self.reception = None;
                if let Some(event) = self.delay().await {
                    return event;
                }
                if let Some(event) = self.open().await {
                    return event;
                }
            }
            if let Some(event) = self.receive().await {
                return event;
            }
        }
    }

    /// Waits until the owner may be asked again; while viewers have not been told, at most until there is
    /// another owner or none. Returns the event if they are to be told now.
    async fn delay(&mut self) -> Option<BranchEvent> {
        let Some(Trouble { trunk, offline_at }) = &self.trouble else {
            sleep_until(self.retry_at.into()).await;
            return None;
        };
        let is_other = |other: &Option<Trunk>| {
            let other = other.as_ref();
            other.is_none_or(|other| !other.has_owner_of(trunk))
        };
        let until = self.retry_at.min(*offline_at);
        let other = timeout_at(until.into(), self.trunk.wait_for(is_other)).await;
        match other.map(|other| other.is_ok()) {
            Ok(true) => {
                self.trouble = None;
                None
            }
            Ok(false) => Some(BranchEvent::Over),
            Err(_) if until == *offline_at => Some(self.offline()),
            Err(_) => None,
        }
    }

    /// Begins to receive, if the trunk is there. Returns the event if viewers are to be told that the owner
    /// does not have the strand.
    async fn open(&mut self) -> Option<BranchEvent> {
        // It may be another one after the delay.
        let trunk = self.trunk.borrow_and_update().clone()?;
        if !trunk.further.has(self.strand) {
            return self.refused(trunk);
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
            }
            Err(_) => self.retry(trunk),
        }
        None
    }

    /// Lets the owner be asked again after a delay. Viewers are told only if the strand does not come back
    /// soon: the main strand has the same trouble, and may go on at another owner.
    fn retry(&mut self, trunk: Trunk) {
        self.reception = None;
        self.retry_at = now() + self.retry.fail();
        let offline_at = now() + self.patience();
        self.trouble.get_or_insert(Trouble { trunk, offline_at });
    }

    /// Handles a refusal: the owner does not have the strand. Returns the event if viewers are to be told now.
    /// An owner that has just taken the stream over may not know its video yet, and refuses for a moment.
    fn refused(&mut self, trunk: Trunk) -> Option<BranchEvent> {
        if self.is_watched {
            self.retry(trunk);
            return None;
        }
        self.fail();
        Some(BranchEvent::Refused)
    }

    /// Gives up until the next request. Returns the event for viewers.
    fn offline(&mut self) -> BranchEvent {
        self.fail();
        BranchEvent::Offline
    }

    fn fail(&mut self) {
        self.leave();
        self.retry_at = now() + self.retry.fail();
    }

    /// Returns the time without the strand after which viewers are told. The main strand notices the silence
    /// of the owner before that.
    fn patience(&self) -> Duration {
        2 * self.context.silence
    }

    /// Returns the next event that comes, or `None` if there is none: the trunk may have changed.
    async fn receive(&mut self) -> Option<BranchEvent> {
        let silent_at = self.following.heard() + self.patience();
        let offline_at = self.trouble.as_ref().map(|trouble| trouble.offline_at);
        let (reception, trunk) = self.reception.as_mut()?;
        if self.must_join {
            if reception.join().await.is_err() {
                let trunk = trunk.clone();
                self.retry(trunk);
                return None;
            }
            self.must_join = false;
        }
        let received = tokio::select! {
            received = reception.next(silent_at) => received,
            _ = self.trunk.changed() => return None,
            () = reached(offline_at.map(Into::into)) => return Some(self.offline()),
        };
        let event = match received {
            Ok(Received::Answer(part)) => match self.following.handle_answer(&part) {
                Ok(event) => event,
                Err(Answered::Complete) => {
                    reception.joined();
                    self.retry.succeed();
                    self.trouble = None;
                    self.is_watched |= !self.following.awaits_keyframe();
                    return Some(BranchEvent::Joined);
                }
                Err(Answered::Refused(EndReason::Lost)) => {
                    let trunk = trunk.clone();
                    return self.refused(trunk);
                }
                Err(Answered::Refused(_) | Answered::Broken) => {
                    let trunk = trunk.clone();
                    self.retry(trunk);
                    return None;
                }
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
            Err(ReceptionEnd::Silent) => return Some(self.offline()),
            Err(ReceptionEnd::Away | ReceptionEnd::NoAnswer | ReceptionEnd::Shutdown) => {
                let trunk = trunk.clone();
                self.retry(trunk);
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
                Some(BranchEvent::Frame(frame, arrived, trunk))
            }
            Some(Event::Tracks(tracks)) => Some(BranchEvent::Tracks(tracks)),
            Some(Event::End(EndReason::Finished | EndReason::Lost)) => Some(self.offline()),
            Some(Event::End(EndReason::Moved | EndReason::Busy)) => {
                let trunk = trunk.clone();
                self.retry(trunk);
                None
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

        /// The owner does not send the strand any longer.
        fn fail_now(&mut self) {
            let trunk = self.branch.trunk().expect("it is there");
            self.branch.retry(trunk);
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
    async fn another_owner_is_asked_at_once() {
        let mut scene = Scene::new().await;
        scene.fail_now();
        let began = now();
        let delay = scene.branch.retry_at - began;
        assert!(timeout(delay / 2, scene.branch.delay()).await.is_err());
        scene.take_over();
        assert!(scene.branch.delay().await.is_none());
        assert_eq!(now() - began, delay / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn viewers_are_told_if_the_strand_does_not_come_back() {
        let mut scene = Scene::new().await;
        let began = now();
        // Its renditions are news, but the owner is the same.
        let same = trunk(&scene.publisher, "old", true);
        scene.trunk.send_replace(Some(same));
        let mut attempts = 0;
        loop {
            scene.fail_now();
            match scene.branch.delay().await {
                None => attempts += 1,
                Some(BranchEvent::Offline) => break,
                Some(event) => panic!("{event:?}"),
            }
        }
        assert!(attempts >= 2, "the owner is asked meanwhile");
        assert_eq!(now() - began, 2 * scene.branch.context.silence);
        assert!(scene.branch.trouble.is_none(), "they know");
    }
}
