//! A stream that arrives from another gateway.

use std::sync::Arc;
use std::time::Instant;

use distributary_media::{AudioFrame, AudioTrack, Frame, MediaTime, TimedData, VideoTrack};

use super::{Publisher, State, Stream};
use crate::offer::RenditionOffer;
use crate::subscriber::{AudioForm, StreamEvent};

/// The frames and facts with which another gateway joins a stream.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The frames of the GOP cache.
    pub frames: Vec<Arc<Frame>>,
    /// The time that the stream has reached; `None` before its first frame.
    pub present: Option<MediaTime>,
    /// Decoding time of the first of them that is followed without a gap. The first of all, a
    /// keyframe, can be much older in a stream with intra refresh.
    pub since: Option<MediaTime>,
    /// The last `onMetaData` of the publisher.
    pub metadata: Option<Arc<TimedData>>,
}

/// The video and the audio track of a stream, as far as they are known. Both stay the same as long
/// as the tracks do not change.
pub type Tracks = (Option<Arc<VideoTrack>>, Option<Arc<AudioTrack>>);

impl Stream {
    /// Returns the frames and facts with which another gateway joins the stream at `now`.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let state = self.lock();
        Snapshot {
            frames: state.cache.frames().cloned().collect(),
            present: state.timeline.reached(now),
            since: state.cache.since(),
            metadata: state.contribution.metadata.clone(),
        }
    }

    /// Returns the time that the stream has reached at `now`; `None` before its first frame.
    pub fn reached(&self, now: Instant) -> Option<MediaTime> {
        self.lock().timeline.reached(now)
    }

    /// Returns the tracks.
    pub fn tracks(&self) -> Tracks {
        let state = self.lock();
        let own = &state.contribution;
        (own.video.clone(), own.audio.clone())
    }

    /// Returns the gateway from which the stream arrives; `None` if it is published here, or not
    /// live.
    pub fn node(&self) -> Option<Arc<str>> {
        self.lock().contribution.node.clone()
    }

    /// Returns the renditions that the gateway has from which the stream arrives; `None` if it does
    /// not arrive from another one.
    pub(crate) fn remote_offers(&self) -> Option<Arc<[RenditionOffer]>> {
        let state = self.lock();
        let own = &state.contribution;
        own.node.as_ref().map(|_| Arc::clone(&own.offers))
    }

    /// Returns whether a subscriber receives audio as published.
    pub fn has_published_listener(&self) -> bool {
        self.lock().has_subscriber(AudioForm::Published)
    }

    /// Delivers audio as published of a stream that arrives from another gateway, where its publisher
    /// pushes Opus that was made there. The time is that of this stream.
    pub fn push_as_published(&self, audio: AudioFrame) {
        let mut frame = Frame::Audio(audio);
        let mut state = self.lock();
        if state.contribution.node.is_some() && self.memory.hold(&mut frame) {
            state.deliver_audio(&Arc::new(frame), Some(AudioForm::Published));
        }
    }
}

impl Publisher {
    /// Declares that the stream arrives from the gateway `node`, and that its timestamps are on a
    /// timeline with its origin at `origin`. The publisher gives way to one of this gateway.
    #[must_use]
    pub fn from_node(self, node: Arc<str>, origin: Instant) -> Self {
        self.while_active(|state: &mut State| {
            state.contribution.node = Some(node);
            state.timeline.follow(origin);
        });
        self
    }

    /// Notes that the frames pushed so far are old, and others are missing after them: viewers that
    /// begin now do not get them before the next frame continues them, if it does.
    pub fn note_gap(&self) {
        self.while_active(|state: &mut State| {
            state.cache.suspend();
            state.deliver(&StreamEvent::Gap);
        });
    }

    /// Sets the renditions that the gateway has from which the stream arrives.
    pub fn set_offers(&self, offers: Vec<RenditionOffer>) {
        let mut has_changed = false;
        self.while_active(|state: &mut State| {
            has_changed = *state.contribution.offers != offers;
            state.contribution.offers = offers.into();
        });
        if has_changed {
            self.stream().tell_renditions();
        }
    }
}
