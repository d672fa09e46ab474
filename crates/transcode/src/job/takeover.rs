//! The takeover of the renditions of one encoder by another.
//!
//! A successor takes over at a keyframe that goes to it before either encoder returns that frame
//! ([`Splice`]): one of the source, or if the source has none for long, one that the successor is
//! asked for. Viewers then see every frame once. If the successor does not get there, the first
//! encoder ends all the same, and viewers see nothing until a keyframe that is later than what they
//! have: a pause, and never an old frame.

use std::time::Duration;

use distributary_media::{MediaTime, VideoFrame};
use distributary_names::RenditionId;
use tokio::time::Instant;
use tracing::{info, warn};

use super::Job;
use super::end::End;
use crate::attempt::Event;
use crate::splice::Splice;
use crate::worker::Worker;

/// A successor takes over when it is at most this far behind.
const MAX_BEHIND: Duration = Duration::from_millis(150);

/// Time after which a successor is asked for a keyframe of its own, and takes over although it is
/// further behind: viewers wait for as long.
const MAX_GOP_WAIT: Duration = Duration::from_secs(6);

/// Longest such wait.
const MAX_PAUSE: Duration = Duration::from_millis(1500);

/// Time after which the first encoder ends in any case: two of them cost too much for the machine.
const MAX_TAKEOVER: Duration = Duration::from_secs(12);

/// The encoders of a stream.
pub(super) struct Encoders {
    pub(super) current: Worker,
    pub(super) successor: Option<Successor>,
    /// No successor is started before.
    pub(super) retry_at: Instant,
}

/// An encoder that is to take over.
pub(super) struct Successor {
    pub(super) worker: Worker,
    /// True once the keyframe is decided at which it takes over.
    has_cut: bool,
    /// True after something that only it makes went live.
    pub(super) is_in_service: bool,
}

impl Encoders {
    /// Requests a keyframe of a rendition that is later than `after`. While one encoder takes over
    /// from the other, either may be the one that returns it.
    pub(super) fn request_keyframe(&self, id: RenditionId, after: MediaTime) {
        let successor = self.successor.as_ref().map(|successor| &successor.worker);
        let all = [Some(&self.current), successor].into_iter().flatten();
        for worker in all.filter(|worker| worker.makes(id)) {
            worker.request_keyframe(after);
        }
    }
}

impl Successor {
    pub(super) fn new(worker: Worker) -> Self {
        Self {
            worker,
            has_cut: false,
            is_in_service: false,
        }
    }
}

impl Job {
    /// Decides that the successor takes over at a keyframe that goes to it, if it can.
    pub(super) fn decide_cut(&mut self, encoders: &mut Encoders, at: MediaTime) {
        let current = &encoders.current;
        let Some(successor) = &mut encoders.successor else {
            return;
        };
        let worker = &successor.worker;
        let behind = max_behind(worker.began().elapsed());
        let can_cut = self.shared_renditions(current, worker).all(|(id, splice)| {
            let last = worker.last(id).zip(splice.last());
            last.is_some_and(|(own, last)| {
                // The last frames of an encoder that is late are not lost.
                let is_near = own.saturating_since(last) <= MAX_PAUSE;
                let is_near = is_near && last.saturating_since(own) <= behind;
                is_near && splice.can_cut(at, own)
            })
        });
        if successor.has_cut || !can_cut {
            return;
        }
        successor.has_cut = true;
        for (id, rendition) in &mut self.renditions {
            if current.makes(*id) && worker.makes(*id) {
                rendition.splice.cut(at);
            }
        }
    }

    /// Requests a keyframe at which the successor can take over, if it has waited for one of the
    /// source for long enough.
    pub(super) fn request_cut(&self, encoders: &Encoders) {
        let Some(successor) = &encoders.successor else {
            return;
        };
        let worker = &successor.worker;
        if successor.has_cut || worker.began().elapsed() < MAX_GOP_WAIT {
            return;
        }
        let shared = self.shared_renditions(&encoders.current, worker);
        if let Some(last) = shared.filter_map(|(_, splice)| splice.last()).max() {
            worker.request_keyframe(last);
        }
    }

    /// Requests the keyframe without which a rendition cannot go on, if there is one.
    pub(super) fn request_awaited(&self, id: RenditionId, encoders: &Encoders) {
        let rendition = self.renditions.get(&id);
        if let Some(after) = rendition.and_then(|rendition| rendition.splice.awaited()) {
            encoders.current.request_keyframe(after);
        }
    }

    /// Returns the renditions that both encoders make.
    fn shared_renditions<'a>(
        &'a self,
        current: &'a Worker,
        successor: &'a Worker,
    ) -> impl Iterator<Item = (RenditionId, &'a Splice)> {
        self.renditions
            .iter()
            .filter(|(id, _)| current.makes(**id) && successor.makes(**id))
            .map(|(id, rendition)| (*id, &rendition.splice))
    }

    /// Lets the successor take over once it has all that is needed.
    pub(super) fn try_take_over(&mut self, encoders: &mut Encoders) -> Result<(), End> {
        let Some(successor) = &mut encoders.successor else {
            return Ok(());
        };
        let (current, worker) = (&encoders.current, &successor.worker);
        let mut both = self.shared_renditions(current, worker).peekable();
        // With nothing in common it takes over with its first frame.
        let has_nothing = both.peek().is_none();
        let (mut is_ready, mut is_failed) = (worker.frames() > 0, false);
        for (_, splice) in both {
            is_ready &= splice.is_ready();
            is_failed |= splice.is_failed();
        }
        if is_failed {
            successor.has_cut = false;
            return self.abandon();
        }
        if !is_ready || (!successor.has_cut && !has_nothing) {
            return Ok(());
        }
        info!("another encoder has taken over");
        self.take_over(encoders)
    }

    /// Lets the successor take over although it is not ready, if that has lasted for too long.
    pub(super) fn end_takeover(&mut self, encoders: &mut Encoders) -> Result<(), End> {
        let successor = encoders.successor.as_ref();
        let is_over = successor.is_some_and(|successor| {
            successor.worker.frames() > 0 && successor.worker.began().elapsed() > MAX_TAKEOVER
        });
        if !is_over {
            return Ok(());
        }
        warn!(
            "another encoder takes over late: it is slower than the stream, and viewers see no \
             frame until its next keyframe; see encode under [transcode]"
        );
        self.take_over(encoders)
    }

    /// Ends the first encoder, and passes on what the successor has.
    fn take_over(&mut self, encoders: &mut Encoders) -> Result<(), End> {
        let Some(successor) = encoders.successor.take() else {
            return Ok(());
        };
        let before = std::mem::replace(&mut encoders.current, successor.worker);
        let current = &encoders.current;
        let ids: Vec<_> = self.renditions.keys().copied().collect();
        // What only the successor makes goes on.
        for id in ids.into_iter().filter(|id| before.makes(*id)) {
            let Some(rendition) = self.renditions.get_mut(&id) else {
                continue;
            };
            let frames = rendition.splice.take_over();
            if let (Some(publisher), Some(track)) = (&rendition.publisher, current.track(id)) {
                publisher.set_video_track(track.clone());
            }
            self.publish(id, frames)?;
            self.request_awaited(id, encoders);
        }
        Ok(())
    }

    /// Leaves all renditions to the current encoder.
    pub(super) fn abandon(&mut self) -> Result<(), End> {
        let ids: Vec<_> = self.renditions.keys().copied().collect();
        for id in ids {
            if let Some(rendition) = self.renditions.get_mut(&id) {
                let frames: Vec<VideoFrame> = rendition.splice.abandon();
                self.publish(id, frames)?;
            }
        }
        Ok(())
    }
}

/// Returns how far behind a successor may be to take over, after it has run for a time.
fn max_behind(time: Duration) -> Duration {
    if time < MAX_GOP_WAIT {
        MAX_BEHIND
    } else {
        MAX_PAUSE
    }
}

/// Returns the next event of a successor; never if there is none.
pub(super) async fn next_of(successor: Option<&mut Successor>) -> Option<Event> {
    match successor {
        Some(successor) => successor.worker.next().await,
        None => std::future::pending().await,
    }
}
