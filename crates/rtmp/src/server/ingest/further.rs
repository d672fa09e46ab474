//! The further video tracks of a multitrack publisher, as renditions of its stream.

use std::collections::BTreeMap;
use std::time::Instant;

use distributary_hub::{Hub, Publisher, Refusal};
use distributary_media::flv::{FlvEvent, FurtherVideo, TagKind};
use distributary_media::{Frame, VideoFrame, VideoTrack};
use tracing::{info, warn};

use super::complaints::{Complaint, Complaints};
use super::track_change::TrackChange;

/// Part of a frame's aspect by which two tracks of one picture may differ, as a divisor: sizes are
/// rounded to whole macroblocks.
const ASPECT_TOLERANCE: u64 = 40;

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
        let fits = source.is_none_or(|source| have_one_aspect(&source, &track));
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
            && main.is_active()
        {
            let publisher = hub.publish_track(main, number, now);
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

/// Returns whether two tracks can show the same picture. A track of unknown size can.
fn have_one_aspect(a: &VideoTrack, b: &VideoTrack) -> bool {
    let across = u64::from(a.width) * u64::from(b.height);
    let down = u64::from(b.width) * u64::from(a.height);
    across == 0 || down == 0 || across.abs_diff(down) * ASPECT_TOLERANCE <= across.max(down)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracks_of_one_picture_have_one_aspect() {
        let track = |width, height| VideoTrack {
            codec: distributary_media::VideoCodec::H264,
            width,
            height,
            profile_level_id: [0; 3],
            config: bytes::Bytes::new(),
        };
        let main = track(1920, 1080);
        for (width, height) in [(1280, 720), (854, 480), (852, 480), (640, 368), (0, 0)] {
            assert!(
                have_one_aspect(&main, &track(width, height)),
                "{width}x{height}"
            );
        }
        for (width, height) in [(1080, 1920), (640, 480), (1920, 800)] {
            assert!(
                !have_one_aspect(&main, &track(width, height)),
                "{width}x{height}"
            );
        }
    }
}
