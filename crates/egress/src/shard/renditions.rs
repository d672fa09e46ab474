//! Viewers go over to what is made of their stream when that is there, and back when it is gone.
//!
//! Who asks for a stream with B-frames is given its rendition at once. But a session may be older than
//! that knowledge: the viewer came with the first pictures, waited for the publisher, or stayed while the
//! publisher came back with other settings; or there were as many encoders as there may be. A rendition
//! has the clock of its stream, so a viewer can change from one to the other in its session.

use std::time::{Duration, Instant};

use distributary_hub::{BFrameChoice, StreamName};
use distributary_media::VideoCodec;

use super::Shard;

/// How often a rendition is asked for that does not come.
const REQUEST_INTERVAL: Duration = Duration::from_secs(30);

/// How long viewers wait for a rendition that is gone while its stream is there.
const PATIENCE: Duration = Duration::from_secs(2);

impl Shard {
    /// Sees to it that viewers watch the form of their stream that they can be shown best.
    pub(super) fn follow_renditions(&mut self, now: Instant) {
        let streams: Vec<(u64, StreamName)> = self
            .streams
            .tags()
            .map(|(tag, stream)| (tag, stream.subscription.stream().name().clone()))
            .collect();
        for (tag, name) in streams {
            match name.is_rendition() {
                true => self.leave_dead_rendition(tag, &name, now),
                false => self.join_rendition(tag, &name, now),
            }
        }
    }

    /// Lets the viewers of a stream have its rendition, where that is called for.
    fn join_rendition(&mut self, tag: u64, name: &StreamName, now: Instant) {
        let Some(stream) = self.streams.get_mut(tag) else {
            return;
        };
        let source = stream.subscription.stream();
        if !source.is_live() || !source.is_to_be_transcoded() {
            return;
        }
        let viewers = &self.viewers;
        let may_change = |key: &usize| {
            viewers.get(*key).is_some_and(|viewer| {
                viewer.b_frames == BFrameChoice::Policy
                    // Renditions are in H264.
                    && viewer.peer.video_codec() == Some(VideoCodec::H264)
            })
        };
        let keys: Vec<usize> = stream.viewers.iter().copied().filter(may_change).collect();
        if keys.is_empty() {
            return;
        }
        let hub = &self.shared.hub;
        if hub.live_rendition(name).is_some() {
            self.change_stream(&keys, &name.rendition(), now);
        } else if stream.is_request_due(REQUEST_INTERVAL, now) {
            hub.request_rendition(name);
        }
    }

    /// Lets the viewers of a rendition that is gone have the stream again, if that is there.
    fn leave_dead_rendition(&mut self, tag: u64, name: &StreamName, now: Instant) {
        let published = name.published();
        let Some(stream) = self.streams.get_mut(tag) else {
            return;
        };
        // Where the publisher has just come back, so will the rendition.
        let is_there = |name: &StreamName| {
            let since = self.shared.hub.stream(name)?.stats().live_since?;
            Some(now.saturating_duration_since(since) > PATIENCE)
        };
        let is_gone = !stream.viewers.is_empty() && stream.is_over(Some(PATIENCE), now);
        if is_gone && is_there(&published) == Some(true) {
            let keys = stream.viewers.clone();
            self.change_stream(&keys, &published, now);
        }
    }

    /// Lets viewers watch another form of their stream.
    fn change_stream(&mut self, keys: &[usize], name: &StreamName, now: Instant) {
        let shared = std::sync::Arc::clone(&self.shared);
        let opened = self
            .streams
            .open(name, &shared.hub, &self.sink, &shared.config, now);
        let Some(tag) = opened else { return };
        for key in keys {
            let Some(viewer) = self.viewers.get_mut(*key) else {
                continue;
            };
            let before = std::mem::replace(&mut viewer.stream, tag);
            viewer.figures.set_stream(name.clone());
            viewer.peer.change_logs();
            tracing::info!(
                parent: &viewer.visit.span, transcoded = name.is_rendition(),
                "the viewer goes over to another form of its stream"
            );
            if let Some(before) = self.streams.get_mut(before) {
                before.viewers.retain(|other| other != key);
            }
            if let Some(stream) = self.streams.get_mut(tag) {
                stream.viewers.push(*key);
            }
            self.send_media(*key, now);
        }
    }
}
