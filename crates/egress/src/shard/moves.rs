//! Viewers that move between the renditions of their stream.

use std::time::{Duration, Instant};

use distributary_names::RenditionId;
use distributary_webrtc::quality::{Preference, Reason, Step};

use super::fan_out::FanOut;
use super::quality::{NextRendition, Quality, is_severe};
use crate::datagrams::Outlet;
use crate::session::SessionId;
use crate::state::EngineState;

/// Time that viewers wait for a rendition that is gone while its stream is live.
const GONE_TIMEOUT: Duration = Duration::from_secs(2);

impl<O: Outlet> FanOut<O> {
    /// Looks up the renditions of a stream, and lets its viewers move to those that are best for
    /// them. `tag` may be that of a rendition.
    pub(super) fn follow_renditions(&mut self, tag: u64, now: Instant) {
        let source = self.streams.get(tag).and_then(|stream| stream.source);
        let tag = source.unwrap_or(tag);
        let Some(stream) = self.streams.get_mut(tag) else {
            return;
        };
        let name = stream.subscription.stream().name().clone();
        stream.renditions.update(&name, &self.shared.hub, now);
        if !stream.renditions.has_choice() && stream.listeners.is_empty() {
            return;
        }
        let keys: Vec<usize> = stream.all_viewers().collect();
        for key in keys {
            self.choose_rendition(key, now);
        }
    }

    /// Looks up the renditions of a stream as [`Self::follow_renditions`] does, once for the stream
    /// and all its renditions: their bitrates change without an event.
    pub(super) fn keep_up_renditions(&mut self, tag: u64, now: Instant) {
        let stream = self.streams.get(tag);
        if stream.is_some_and(|stream| stream.source.is_none()) {
            self.follow_renditions(tag, now);
        }
    }

    /// Lets a newcomer choose among the renditions of its stream.
    pub(super) fn begin_choice(&mut self, key: usize, now: Instant) {
        let viewer = self.viewers.get(key);
        let Some(stream) = viewer.and_then(|viewer| self.streams.get_mut(viewer.stream)) else {
            return;
        };
        if stream.renditions.is_empty() {
            let name = stream.subscription.stream().name().clone();
            stream.renditions.update(&name, &self.shared.hub, now);
        }
        if stream.renditions.has_choice() {
            self.choose_rendition(key, now);
        }
    }

    /// Sets what a viewer asks for.
    pub(super) fn set_quality(
        &mut self,
        id: &SessionId,
        preference: Preference<RenditionId>,
        now: Instant,
    ) {
        let Some(key) = self.viewers.by_id(id) else {
            return;
        };
        if let Some(viewer) = self.viewers.get_mut(key) {
            viewer.quality(now).preference = preference;
            self.choose_rendition(key, now);
        }
    }

    /// Lets a viewer move to another rendition if its path has changed.
    pub(super) fn follow_path(&mut self, key: usize, now: Instant) {
        let viewer = self.viewers.get(key);
        let quality = viewer.and_then(|viewer| viewer.quality.as_ref());
        if quality.is_some_and(|quality| quality.is_due(now)) {
            self.choose_rendition(key, now);
        }
    }

    /// Lets a viewer take the next step to the rendition that is best for it.
    fn choose_rendition(&mut self, key: usize, now: Instant) {
        let Some(viewer) = self.viewers.get_mut(key) else {
            return;
        };
        let Some(video) = self.streams.get(viewer.video) else {
            return;
        };
        let present = video.subscription.stream().name().rendition_id();
        let is_gone = video.is_over(Some(GONE_TIMEOUT), now);
        let Some(source) = self.streams.get_mut(viewer.stream) else {
            return;
        };
        // If the publisher has just come back, so will the rendition.
        let is_left =
            is_gone && present != RenditionId::SOURCE && source.is_live_for(GONE_TIMEOUT, now);
        if is_left {
            source.renditions.note_missing(present, now);
        }
        let codec = viewer.peer.video_codec();
        let rungs = source.renditions.rungs(codec, viewer.b_frames);
        let mut probe = None;
        let step = if rungs.is_empty() {
            let reason = Reason::Gone;
            is_left.then_some((RenditionId::SOURCE, reason))
        } else {
            let quality = viewer
                .quality
                .get_or_insert_with(|| Box::new(Quality::new(Preference::default(), now)));
            match quality.poll(&mut viewer.peer, &rungs, present, now) {
                Some(Step::Move { to, reason }) => rungs.get(to).map(|rung| (rung.id, reason)),
                Some(Step::Probe { rate }) => {
                    probe = Some(rate);
                    None
                }
                Some(Step::Prepare { to }) => {
                    if let Some(rung) = rungs.get(to) {
                        let home = source.subscription.stream().name();
                        let name = home.rendition(&rung.id);
                        let hub = &self.shared.hub;
                        source.renditions.prepare(&name, present, hub, now);
                    }
                    None
                }
                None => None,
            }
        };
        let rate = rungs.iter().find(|rung| rung.id == present);
        let is_severe = rate.is_some_and(|rung| is_severe(&viewer.peer, rung.rate));
        match step {
            Some((id, reason)) => self.begin_move(key, id, (reason, is_severe), now),
            None => self.continue_move(key, now),
        }
        if let Some(rate) = probe {
            self.probe(key, rate, now);
        }
    }

    /// Takes the packets that all viewers got late for no property of their paths.
    pub(super) fn note_disturbance(&mut self, now: Instant) {
        tracing::debug!("nothing got through to any viewer for a while");
        for key in self.viewers.keys() {
            let viewer = self.viewers.get_mut(key);
            if let Some(quality) = viewer.and_then(|viewer| viewer.quality.as_deref_mut()) {
                quality.note_disturbance(now);
            }
        }
    }

    /// Sends a viewer a cluster of packets to probe the bandwidth of its path.
    fn probe(&mut self, key: usize, rate: u64, now: Instant) {
        let Some(viewer) = self.viewers.get_mut(key) else {
            return;
        };
        if viewer.peer.begin_probe(now, rate) {
            self.shared.switches.note_probe();
            self.schedule.note(key, viewer, now);
        }
    }

    /// Begins the move of a viewer to a rendition, or ends one that has begun.
    fn begin_move(
        &mut self,
        key: usize,
        id: RenditionId,
        (reason, is_severe): (Reason, bool),
        now: Instant,
    ) {
        let Some(viewer) = self.viewers.get_mut(key) else {
            return;
        };
        let video = self.streams.get(viewer.video);
        let present = video.map(|stream| stream.subscription.stream().name().rendition_id());
        let quality = viewer.quality(now);
        if let Some(next) = quality.next.as_mut().filter(|next| next.id == id) {
            next.reason = reason;
        } else {
            let next = NextRendition {
                id,
                reason,
                began: now,
                tag: None,
                since: None,
                has_asked: false,
                requested: None,
                is_severe: is_severe && reason == Reason::Congestion,
            };
            let before = quality.next.replace(next);
            if present == Some(id) {
                quality.next = None;
            }
            viewer.peer.keep_video();
            self.streams.release(before.and_then(|next| next.tag));
        }
        self.continue_move(key, now);
    }

    /// Lets a viewer go on with its move to another rendition: requests that, subscribes to it, and
    /// changes to it at a keyframe.
    pub(super) fn continue_move(&mut self, key: usize, now: Instant) {
        let Some(viewer) = self.viewers.get_mut(key) else {
            return;
        };
        let Some(next) = viewer.quality.as_ref().and_then(|quality| quality.next) else {
            return;
        };
        if next.tag.is_none() && !self.await_rendition(key, next.id, now) {
            self.drain(key, now);
            return;
        }
        let Some(viewer) = self.viewers.get_mut(key) else {
            return;
        };
        let Some(quality) = viewer.quality.as_deref_mut() else {
            return;
        };
        let Some((next, tag)) = quality.next.and_then(|next| Some((next, next.tag?))) else {
            return;
        };
        let (Some(from), Some(to)) = (self.streams.get(viewer.video), self.streams.get(tag)) else {
            return;
        };
        let change = next.change(now);
        if !viewer
            .peer
            .change_video(&from.video, &to.video, now, change)
        {
            if self.request_keyframe(key, now) {
                // From now on nothing is sent that would be newer than the keyframe.
                self.continue_move(key, now);
            }
            return;
        }
        let name = to.subscription.stream().name().clone();
        let before = from.subscription.stream().name().rendition_id();
        quality.note_moved(&viewer.peer, now);
        quality.former = Some(viewer.video);
        tracing::info!(
            parent: &viewer.context.span, from = %before, to = %next.id, reason = %next.reason,
            "the viewer moves to another rendition"
        );
        viewer.stats.set_stream(name);
        let left = std::mem::replace(&mut viewer.video, tag);
        let home = viewer.stream;
        self.streams.release(Some(tag));
        self.streams.change_video(key, home, left, tag);
        let is_better = self.streams.is_better(home, next.id, before);
        self.shared.switches.note(is_better, next.reason);
        self.send_media(key, now);
    }

    /// Lets the queue of a viewer's path drain while it waits for a rendition, if the path is much too
    /// slow for the present one.
    fn drain(&mut self, key: usize, now: Instant) {
        let Some(viewer) = self.viewers.get_mut(key) else {
            return;
        };
        let next = viewer.quality.as_ref().and_then(|quality| quality.next);
        if next.is_some_and(|next| next.is_draining(now)) {
            viewer.peer.halt_video();
        } else {
            viewer.peer.keep_video();
        }
    }

    /// Requests a keyframe of the rendition to which a viewer moves, once, if it is urgent. Returns
    /// whether it did.
    fn request_keyframe(&mut self, key: usize, now: Instant) -> bool {
        let Some(viewer) = self.viewers.get_mut(key) else {
            return false;
        };
        let Some(source) = self.streams.get(viewer.stream) else {
            return false;
        };
        let next = viewer.quality.as_deref_mut();
        let Some(next) = next.and_then(|quality| quality.next.as_mut()) else {
            return false;
        };
        let can_come = source.renditions.has_keyframes_on_request(next.id);
        if next.reason != Reason::Congestion || next.has_asked || !can_come {
            return false;
        }
        let Some(sent) = viewer.peer.sent_until() else {
            return false;
        };
        next.has_asked = true;
        let name = source.subscription.stream().name().rendition(&next.id);
        let is_requested = self.shared.hub.request_keyframe(&name, sent);
        if is_requested {
            next.requested = Some(now);
        }
        is_requested
    }

    /// Subscribes to a rendition for a viewer that moves to it, or requests it. Returns whether it
    /// is there.
    fn await_rendition(&mut self, key: usize, id: RenditionId, now: Instant) -> bool {
        let EngineState { hub, config, .. } = &*self.shared;
        let Some(viewer) = self.viewers.get_mut(key) else {
            return false;
        };
        let Some(source) = self.streams.get_mut(viewer.stream) else {
            return false;
        };
        let home = source.subscription.stream().name();
        let name = home.rendition(&id);
        if id != RenditionId::SOURCE && hub.live_rendition(home, &id).is_none() {
            if !source.renditions.request(&name, hub, now) {
                viewer.quality(now).next = None;
            }
            return false;
        }
        let Some(tag) = self.streams.open(&name, hub, &self.sink, config, now) else {
            return false;
        };
        self.streams.hold(tag, viewer.stream);
        if let Some(next) = &mut viewer.quality(now).next {
            next.tag = Some(tag);
            next.since = Some(now);
        }
        true
    }

    /// Lets the viewers go on that move from or to the stream under `tag`.
    pub(super) fn continue_moves(&mut self, tag: u64, now: Instant) {
        let Some(stream) = self.streams.get(tag) else {
            return;
        };
        let is_moving = |key: &usize| {
            let viewer = self.viewers.get(*key);
            viewer.is_some_and(super::viewers::Viewer::is_moving)
        };
        let mut movers: Vec<usize> = stream.viewers.iter().copied().filter(is_moving).collect();
        if stream.is_awaited()
            && let Some(home) = self.streams.get(stream.source.unwrap_or(tag))
        {
            movers.extend(home.all_viewers().filter(is_moving));
            movers.sort_unstable();
            movers.dedup();
        }
        for key in movers {
            self.continue_move(key, now);
        }
    }
}
