//! The further video tracks of a multitrack publisher, as renditions of its stream.

use std::collections::BTreeMap;
use std::time::Instant;

use distributary_hub::{Hub, Publisher, Refusal};
use distributary_media::flv::{FlvEvent, FurtherVideo, TagKind};
use distributary_media::{Frame, VideoFrame, VideoTrack};
use tracing::{info, warn};

use super::complaints::{Complaint, Complaints};
use super::track_change::TrackChange;

/// The further video tracks of a publisher.
#[derive(Debug)]
pub(super) struct FurtherTracks {
    hub: Hub,
    by_number: BTreeMap<u8, FurtherTrack>,
}

#[derive(Debug, Default)]
struct FurtherTrack {
    change: TrackChange<VideoTrack>,
    /// The configuration in force, unless it does not fit to that of track 0.
    track: Option<VideoTrack>,
    /// Set while it is a rendition: not while the publisher stands by.
    publisher: Option<Publisher>,
    /// Set when a frame was dropped.
    awaits_keyframe: bool,
}

impl FurtherTracks {
    /// Returns no tracks, of a publisher of `hub`.
    pub(super) fn new(hub: Hub) -> Self {
        Self {
            hub,
            by_number: BTreeMap::new(),
        }
    }

    /// Handles what a tag has for these tracks.
    pub(super) fn handle(
        &mut self,
        further: Vec<FurtherVideo>,
        main: &Publisher,
        complaints: &mut Complaints,
        now: Instant,
    ) -> Result<(), Refusal> {
        for (number, events) in further {
            let track = self.by_number.entry(number).or_default();
            let events = match events {
                Ok(events) => events,
                Err(error) => {
                    complaints.note(Complaint::Unusable(error), now);
                    continue;
                }
            };
            for event in events {
                match event {
                    FlvEvent::VideoTrack(new) => track.declare(new, number, main, &self.hub, now),
                    FlvEvent::Frame(Frame::Video(frame)) => {
                        if !track.change(number, main, &self.hub, now) {
                            let complaint = Complaint::ChangesTooOften(TagKind::Video);
                            complaints.note(complaint, now);
                            track.awaits_keyframe = true;
                        } else if !track.push(frame, number, main, &self.hub, now)? {
                            complaints.count();
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

impl FurtherTrack {
    /// Declares a configuration, which takes effect at once if it is the first.
    fn declare(
        &mut self,
        track: VideoTrack,
        number: u8,
        main: &Publisher,
        hub: &Hub,
        now: Instant,
    ) {
        if self.change.declare(track) {
            self.change(number, main, hub, now);
        }
    }

    /// Puts a declared configuration into force, if the limits admit it. Returns whether no
    /// configuration is pending.
    fn change(&mut self, number: u8, main: &Publisher, hub: &Hub, now: Instant) -> bool {
        let Some(change) = self.change.take(now) else {
            return !self.change.is_pending();
        };
        let track = change.track;
        let source = main.video_track();
        let fits = source.is_none_or(|source| track.has_aspect_of(&source));
        if change.is_new {
            let size = format_args!("{}x{}", track.width, track.height);
            if fits {
                info!(track = number, codec = %track.codec, %size, "another rendition of the video");
            } else {
                warn!(
                    track = number, codec = %track.codec, %size,
                    "another video track is not used: it has another aspect ratio than track 0, so it is not a \
                     rendition of it"
                );
            }
        }
        self.track = fits.then_some(track);
        match (&self.track, &self.publisher) {
            (Some(track), Some(publisher)) => publisher.set_video_track(track.clone()),
            (Some(_), None) => self.publish(number, main, hub, now),
            (None, _) => self.publisher = None,
        }
        true
    }

    /// Publishes the rendition, unless the publisher stands by.
    fn publish(&mut self, number: u8, main: &Publisher, hub: &Hub, now: Instant) {
        if let Some(track) = &self.track
            && let Some(publisher) = hub.publish_track(main, number, now)
        {
            publisher.set_video_track(track.clone());
            self.publisher = Some(publisher);
        }
    }

    /// Pushes a frame. Returns `false` if it is dropped.
    fn push(
        &mut self,
        mut frame: VideoFrame,
        number: u8,
        main: &Publisher,
        hub: &Hub,
        now: Instant,
    ) -> Result<bool, Refusal> {
        // The rendition ends with the turn of its publisher, and begins with the next one.
        self.publisher.take_if(|publisher| !publisher.is_active());
        if self.publisher.is_none() && frame.keyframe {
            self.publish(number, main, hub, now);
        }
        let Some(publisher) = &self.publisher else {
            return Ok(true);
        };
        self.awaits_keyframe &= !frame.keyframe;
        if self.awaits_keyframe || !main.place_track(&mut frame) {
            self.awaits_keyframe = true;
            return Ok(false);
        }
        publisher.push(Frame::Video(frame), now)?;
        Ok(true)
    }
}
