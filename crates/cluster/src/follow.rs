//! One stream of another node, from its messages to frames for the hub.

use std::time::{Duration, Instant};

use distributary_media::{Frame, MediaTime, TimedData};

use crate::anchor::{Anchor, Place};
use crate::backoff::Backoff;
use crate::content::{Content, EndReason};
use crate::message::Part;
use crate::reassembly::{Reassembly, Whole};
use crate::tracks::TrackSet;
use crate::transit::Transit;

/// Age beyond which a live frame is dropped: it waited in a buffer while this node, or its
/// connection, stood still.
const MAX_LATE: Duration = Duration::from_secs(1);

/// Minimum time between two requests to join again: the first, and the longest after many.
const REJOIN_INTERVAL: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(16));

/// Time without such a request after which the next one counts as the first.
const CALM: Duration = Duration::from_secs(60);

/// Maximum media time that viewers who watch the stream already get at once: when it goes on at
/// another owner, and when this node, or its connection, stood still. Otherwise their video goes on at
/// the next keyframe, as after a takeover on one machine: they would see old frames in fast motion.
/// Viewers that have waited for a keyframe for that time get them all the same, and so do those that
/// would wait for longer than what they have missed, or in vain until the stream is joined again.
const MAX_CATCH_UP: Duration = Duration::from_secs(1);

/// The outcome of a message.
#[derive(Debug, PartialEq)]
pub(crate) enum Event {
    /// A frame, and the time at which it arrived at its owner, by the clock of this node.
    Frame(Frame, Instant),
    /// Timed data.
    Data(TimedData),
    /// The tracks.
    Tracks(TrackSet),
    /// The owner sends no more.
    End(EndReason),
}

/// Faults since the last time they were asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) gaps: u64,
    pub(crate) late: u64,
    pub(crate) malformed: u64,
}

/// One stream of another node, in one epoch after the other.
///
/// First the answer to the request to join is handled, by [`handle_answer`](Self::handle_answer),
/// then the live messages that arrived meanwhile and from then on. A frame that the answer has is
/// not repeated. After a gap the stream is joined again, which brings what is missing as long as
/// the GOP has it; until then nothing is passed on that could not be decoded.
#[derive(Debug)]
pub(crate) struct Follower {
    epoch: u64,
    /// The number of the owner's timeline, once it is known.
    timeline: Option<u64>,
    /// The place of this timeline on the clock of this node.
    anchor: Option<Anchor>,
    /// Viewers have seen the stream when it is joined.
    is_watched: bool,
    /// The place of the answer, until its first missing video frame shows whether viewers get its
    /// video.
    undecided: Option<Place>,
    /// The video of the answer is not passed on: viewers wait for the next keyframe.
    skips_video: bool,
    answer: Reassembly,
    live: Reassembly,
    transit: Transit,
    /// Decoding time of the last video frame that was passed on.
    last_video: Option<MediaTime>,
    /// Decoding time of the last audio frame that was passed on.
    last_audio: Option<MediaTime>,
    /// Decoding time of the newest keyframe.
    last_keyframe: Option<MediaTime>,
    /// The last time from one keyframe to the next between which nothing was lost.
    keyframe_interval: Option<Duration>,
    awaiting_keyframe: bool,
    /// A part had a number that is far from the expected one since the last request to join.
    is_astray: bool,
    /// Time since which video frames are not passed on, after the last keyframe or request to join.
    withheld_since: Option<Instant>,
    /// Viewers that begin now would see video that is old, with a gap after it.
    is_stale: bool,
    /// The same when it was asked for last.
    was_stale: bool,
    /// Viewers had waited for a keyframe when the stream was requested again, until an answer comes.
    has_waited: bool,
    /// The value of `awaiting_keyframe` after the answer to the request to join, unless the answer
    /// has video.
    awaited: bool,
    /// The answer has video that is not skipped.
    has_video: bool,
    last_join: Instant,
    rejoins: Backoff,
    /// Minimum time from the last request to join to the next.
    rejoin_after: Duration,
    heard: Instant,
    faults: Faults,
}

impl Follower {
    /// Returns the follower of a stream that is about to be joined. `is_watched`: viewers have seen
    /// it, from another owner.
    pub(crate) fn new(epoch: u64, is_watched: bool, now: Instant) -> Self {
        let (first, longest) = REJOIN_INTERVAL;
        let mut rejoins = Backoff::new(first, longest);
        Self {
            epoch,
            timeline: None,
            anchor: None,
            is_watched,
            undecided: None,
            skips_video: false,
            answer: Reassembly::starting_at(0),
            live: Reassembly::default(),
            transit: Transit::new(now),
            last_video: None,
            last_audio: None,
            last_keyframe: None,
            keyframe_interval: None,
            awaiting_keyframe: false,
            is_astray: false,
            withheld_since: None,
            is_stale: false,
            was_stale: false,
            has_waited: false,
            awaited: true,
            has_video: false,
            last_join: now,
            rejoin_after: rejoins.fail(),
            rejoins,
            heard: now,
            faults: Faults::default(),
        }
    }

    /// Prepares for the answer to a request to join in another epoch of the same node. What was
    /// passed on is not repeated if its timeline is still the same.
    pub(crate) fn change_epoch(&mut self, epoch: u64, is_watched: bool, now: Instant) {
        self.rejoin(is_watched, now);
        self.epoch = epoch;
        self.live = Reassembly::default();
    }

    /// Prepares for the answer to another request to join. `is_watched`: viewers have seen the stream.
    pub(crate) fn rejoin(&mut self, is_watched: bool, now: Instant) {
        self.answer = Reassembly::starting_at(0);
        self.is_watched = is_watched;
        self.undecided = None;
        self.skips_video = false;
        // The answer begins with a keyframe, or has no video.
        self.awaited |= std::mem::take(&mut self.awaiting_keyframe);
        self.has_video = false;
        let withheld_since = self.withheld_since.take();
        self.has_waited |= withheld_since
            .is_some_and(|since| now.saturating_duration_since(since) >= MAX_CATCH_UP);
        self.is_astray = false;
        self.last_join = now;
        self.heard = now;
    }

    /// Prepares for another subscription to the live messages, which may take another way.
    pub(crate) fn resubscribe(&mut self, now: Instant) {
        self.transit = Transit::new(now);
    }

    /// Returns the number of the timeline of the frames, which is the same as long as they are on
    /// one.
    pub(crate) fn timeline(&self) -> u64 {
        self.timeline.unwrap_or(self.epoch)
    }

    /// Returns the place of this timeline on the clock of this node, if its owner describes it.
    pub(crate) fn anchor(&self) -> Option<Anchor> {
        self.anchor
    }

    /// Returns the time of the last message.
    pub(crate) fn heard(&self) -> Instant {
        self.heard
    }

    /// Returns whether the video goes on at the next keyframe.
    pub(crate) fn awaits_keyframe(&self) -> bool {
        self.awaiting_keyframe
    }

    /// Returns whether the video that was passed on has become so old that nobody should begin with it,
    /// with a gap after it, since the last call.
    pub(crate) fn take_gap(&mut self) -> bool {
        let was_stale = std::mem::replace(&mut self.was_stale, self.is_stale);
        self.is_stale && !was_stale
    }

    /// Returns the faults since the last call.
    pub(crate) fn take_faults(&mut self) -> Faults {
        std::mem::take(&mut self.faults)
    }

    /// Handles a message of the answer to a request to join. `Err` if the answer is complete, or
    /// cannot be used.
    pub(crate) fn handle_answer(
        &mut self,
        part: &Part,
        now: Instant,
    ) -> Result<Option<Event>, Answered> {
        self.heard = now;
        let outcome = self.answer.handle(part);
        if outcome.has_gap || outcome.is_astray {
            self.awaiting_keyframe = true;
            return Err(Answered::Broken);
        }
        let Some(whole) = outcome.whole else {
            return Ok(None);
        };
        let age = Duration::from_micros(whole.header.age.into());
        match self.content(whole) {
            Some(Content::Joined { next }) => {
                // Messages that were lost, and that the answer does not bring.
                let has_gap = !self.has_video && !self.live.expects(next);
                // Live messages from here on follow without a gap.
                self.live = Reassembly::starting_at(next);
                self.awaiting_keyframe = std::mem::take(&mut self.awaited) || has_gap;
                if std::mem::take(&mut self.skips_video) {
                    self.is_stale = true;
                    // Without a keyframe until then, another answer is passed on.
                    self.withheld_since = Some(self.last_join);
                    self.rejoin_after = REJOIN_INTERVAL.0;
                }
                (self.is_watched, self.has_waited) = (false, false);
                Err(Answered::Complete)
            }
            Some(Content::End(reason)) => Err(Answered::Refused(reason)),
            Some(Content::Frame(frame)) => {
                if let Frame::Video(video) = &frame {
                    if video.keyframe {
                        self.last_keyframe = Some(video.dts);
                    }
                    self.decide(video.dts);
                    // Nobody needs a frame of the past for decoding that no other refers to.
                    if self.skips_video || self.is_watched && video.info.disposable {
                        return Ok(None);
                    }
                    self.awaited = false;
                    self.has_video = true;
                }
                let arrived = match self.anchor {
                    Some(anchor) => anchor.arrival(frame.dts()),
                    None => now.checked_sub(age).unwrap_or(now),
                };
                Ok(self.pass(frame, arrived, now))
            }
            Some(Content::Data(data)) => Ok(Some(Event::Data(data))),
            Some(Content::Tracks(tracks)) => {
                if let Some(place) = tracks.place() {
                    self.enter(&place, now);
                }
                Ok(Some(Event::Tracks(tracks)))
            }
            Some(Content::Tick) | None => Ok(None),
        }
    }

    /// Takes up the timeline at the place that the answer describes.
    fn enter(&mut self, place: &Place, now: Instant) {
        self.anchor = Some(Anchor {
            time: MediaTime::from_nanos(place.present),
            at: now,
        });
        let has_passed = self.last_video.is_some() || self.last_audio.is_some();
        let continues = has_passed && self.timeline == Some(place.timeline);
        if !continues {
            self.timeline = Some(place.timeline);
            (self.last_video, self.last_audio) = (None, None);
            (self.last_keyframe, self.keyframe_interval) = (None, None);
        }
        let is_seen = self.is_watched && (!continues || self.last_video.is_some());
        self.undecided = (is_seen && !self.has_waited).then_some(*place);
        self.is_watched &= !continues;
        self.awaited |= !continues;
    }

    /// Decides whether the video of the answer is passed on, at the first frame that viewers miss.
    fn decide(&mut self, frame: MediaTime) {
        if self.last_video.is_some_and(|last| frame <= last) {
            return;
        }
        if let Some(place) = self.undecided.take() {
            let behind = place.behind(frame);
            // If no interval is known, a keyframe may come at any time.
            let wait = self.next_keyframe_in(&place).unwrap_or(Duration::ZERO);
            self.skips_video = behind > MAX_CATCH_UP && wait <= behind.min(REJOIN_INTERVAL.0);
            self.awaited |= self.skips_video;
        }
    }

    /// Returns the time until the next keyframe if the last interval repeats itself: zero when it is
    /// overdue, `None` if none is known.
    fn next_keyframe_in(&self, place: &Place) -> Option<Duration> {
        let next = self.last_keyframe? + self.keyframe_interval?;
        Some(next.saturating_since(MediaTime::from_nanos(place.present)))
    }

    /// Handles a live message. After it, [`Self::rejoin_if_due`] is to be asked.
    pub(crate) fn handle(&mut self, part: &Part, now: Instant) -> Option<Event> {
        if part.header.epoch != self.epoch {
            return None;
        }
        let outcome = self.live.handle(part);
        if outcome.is_astray {
            // The owner and this node do not agree on what comes next. Another answer tells.
            self.is_astray = true;
            return None;
        }
        self.heard = now;
        let late = self.transit.observe(part.clock, now);
        if outcome.has_gap {
            self.faults.gaps += 1;
            self.awaiting_keyframe = true;
            if self.last_video.is_some() {
                // It may have been the last video frame for some time.
                self.withheld_since.get_or_insert(now);
            }
        }
        let whole = outcome.whole?;
        self.live_event(whole, late, now)
    }

    /// Returns whether the stream has to be joined again now, because frames were lost.
    pub(crate) fn rejoin_if_due(&mut self, now: Instant) -> bool {
        if !self.is_rejoin_due(now) {
            return false;
        }
        if now.saturating_duration_since(self.last_join) >= CALM {
            self.rejoins.succeed();
        }
        self.rejoin_after = self.rejoins.fail();
        self.last_join = now;
        true
    }

    fn live_event(&mut self, whole: Whole, late: Duration, now: Instant) -> Option<Event> {
        let age = Duration::from_micros(whole.header.age.into());
        match self.content(whole)? {
            // It has waited here, or at its owner.
            Content::Frame(frame) if late + age > MAX_LATE => {
                self.faults.late += 1;
                if matches!(frame, Frame::Video(_)) {
                    self.awaiting_keyframe = true;
                    self.withheld_since.get_or_insert(now);
                }
                None
            }
            Content::Frame(frame) => {
                if frame.is_keyframe() {
                    self.note_keyframe(frame.dts());
                }
                let arrived = now.checked_sub(age + late).unwrap_or(now);
                self.pass(frame, arrived, now)
            }
            Content::Data(data) => Some(Event::Data(data)),
            Content::Tracks(tracks) => Some(Event::Tracks(tracks)),
            Content::End(reason) => Some(Event::End(reason)),
            Content::Tick | Content::Joined { .. } => None,
        }
    }

    /// Notes a live keyframe.
    fn note_keyframe(&mut self, time: MediaTime) {
        let last = self.last_keyframe.replace(time);
        if let Some(last) = last.filter(|last| *last < time && !self.awaiting_keyframe) {
            self.keyframe_interval = Some(time.saturating_since(last));
        }
    }

    /// Passes a frame on, unless that was done before, or it cannot be decoded.
    fn pass(&mut self, frame: Frame, arrived: Instant, now: Instant) -> Option<Event> {
        let last = match &frame {
            Frame::Video(video) => {
                if self.awaiting_keyframe && !video.keyframe {
                    let since = *self.withheld_since.get_or_insert(now);
                    self.is_stale |= now.saturating_duration_since(since) >= MAX_CATCH_UP;
                    return None;
                }
                &mut self.last_video
            }
            Frame::Audio(_) => &mut self.last_audio,
        };
        if last.is_some_and(|last| frame.dts() <= last) {
            return None;
        }
        *last = Some(frame.dts());
        if matches!(frame, Frame::Video(_)) {
            self.is_stale = false;
        }
        if frame.is_keyframe() {
            self.awaiting_keyframe = false;
            self.withheld_since = None;
        }
        Some(Event::Frame(frame, arrived))
    }

    fn content(&mut self, whole: Whole) -> Option<Content> {
        let content = Content::read(&whole.header, whole.body);
        if content.is_err() {
            self.faults.malformed += 1;
        }
        content.ok()
    }

    fn is_rejoin_due(&self, now: Instant) -> bool {
        let is_needed = self.is_astray || self.awaiting_keyframe && self.withheld_since.is_some();
        is_needed && now.saturating_duration_since(self.last_join) >= self.rejoin_after
    }
}

/// The end of the answer to a request to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// All of it was handled.
    Complete,
    /// The owner refuses.
    Refused(EndReason),
    /// Parts of it were lost.
    Broken,
}

#[cfg(test)]
pub(crate) mod sender;
#[cfg(test)]
mod tests;
