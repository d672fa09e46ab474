//! A stream for tests, whose publishers push frames in simulated time.

#![allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]

use std::time::{Duration, Instant};

use distributary_media::test_util::{h264_track, opus_frame, video_frame};
use distributary_media::{Frame, VideoTrack};
use distributary_names::StreamName;
use tokio::sync::mpsc;

use super::takeover::TakeoverReason;
use crate::{Delivery, Hub, HubConfig, Permit, Publisher, Sink, StreamEvent, Subscription};

/// A stream with a subscriber, whose publishers push frames in simulated time.
pub(super) struct Scene {
    pub(super) hub: Hub,
    pub(super) name: StreamName,
    pub(super) start: Instant,
    queue: mpsc::Receiver<Delivery>,
    _subscription: Subscription,
}

impl Scene {
    /// Returns a stream that a publisher has just begun to publish.
    pub(super) fn new() -> (Self, Publisher) {
        Self::of(HubConfig::default())
    }

    pub(super) fn of(config: HubConfig) -> (Self, Publisher) {
        let (hub, start) = (Hub::new(config), Instant::now());
        let name = StreamName::parse("live/test").unwrap();
        let first = hub.stand_by(&name, Permit::default(), start).unwrap();
        let (sink, queue) = Sink::channel(500);
        let (subscription, _) = hub.subscribe(&name, sink, 0).unwrap();
        let scene = Self {
            hub,
            name,
            start,
            queue,
            _subscription: subscription,
        };
        (scene, first)
    }

    pub(super) fn at(&self, millis: u64) -> Instant {
        self.start + Duration::from_millis(millis)
    }

    pub(super) fn stand_by(&self, millis: u64) -> Publisher {
        self.hub
            .stand_by(&self.name, Permit::default(), self.at(millis))
            .unwrap()
    }

    /// Pushes a video frame of `len` bytes at this time of the scene, with its timestamp on the
    /// clock of a publisher that has begun at `clock`.
    pub(super) fn video(
        &self,
        publisher: &Publisher,
        clock: i64,
        millis: u64,
        is_keyframe: bool,
        len: usize,
    ) {
        let frame = video_frame(millis as i64 - clock, is_keyframe, len);
        let pushed = publisher.push(Frame::Video(frame), self.at(millis));
        pushed.unwrap();
    }

    pub(super) fn keyframe(&self, publisher: &Publisher, millis: u64) {
        self.video(publisher, 0, millis, true, 10);
    }

    /// Pushes video frames that are no keyframes, one every 100 ms from `begin` up to before `end`.
    pub(super) fn go_on(&self, publisher: &Publisher, begin: u64, end: u64) {
        for millis in (begin..end).step_by(100) {
            self.video(publisher, 0, millis, false, 10);
        }
    }

    /// Returns what the subscriber got: the times of video and audio frames, and other events.
    pub(super) fn received(&mut self) -> Vec<String> {
        let events = std::iter::from_fn(|| self.queue.try_recv().ok());
        let text = |delivery: Delivery| match delivery.event {
            StreamEvent::Frame(frame) => {
                let kind = match *frame {
                    Frame::Video(_) => "video",
                    Frame::Audio(_) => "audio",
                };
                format!("{kind} {}", frame.dts().as_millis())
            }
            StreamEvent::Data(data) => format!("{} {}", data.name, data.time.as_millis()),
            StreamEvent::Renditions | StreamEvent::Gap => String::new(),
            other => format!("{other:?}"),
        };
        events.map(text).filter(|event| !event.is_empty()).collect()
    }

    pub(super) fn takeovers(&self) -> [u64; 3] {
        TakeoverReason::ALL.map(|reason| self.hub.takeovers().count(reason))
    }
}

pub(super) fn audio(publisher: &Publisher, pts: i64, now: Instant) {
    let frame = Frame::Audio(opus_frame(pts, &[0xfc]));
    publisher.push(frame, now).unwrap();
}

pub(super) fn track(height: u32) -> VideoTrack {
    VideoTrack {
        height,
        ..h264_track()
    }
}
