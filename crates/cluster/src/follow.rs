//! One stream of another node, from its messages to frames for the hub.

use std::time::{Duration, Instant};

use distributary_media::{Frame, MediaTime, TimedData};

use crate::content::{Content, EndReason};
use crate::message::Part;
use crate::reassembly::{Reassembly, Whole};
use crate::tracks::TrackSet;
use crate::transit::Transit;

/// Age beyond which a live frame is dropped: it waited in a buffer while this node, or its
/// connection, stood still.
const MAX_LATE: Duration = Duration::from_secs(1);

/// Minimum time between two requests to join again.
const REJOIN_INTERVAL: Duration = Duration::from_secs(2);

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
    /// Frames were lost: the stream has to be joined again to get them.
    Rejoin,
}

/// Faults since the last time they were asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) gaps: u64,
    pub(crate) late: u64,
    pub(crate) malformed: u64,
}

/// One stream of another node, in one epoch.
///
/// First the answer to the request to join is handled, by [`handle_answer`](Self::handle_answer),
/// then the live messages that arrived meanwhile and from then on. A frame that the answer has is
/// not repeated. After a gap the stream is joined again, which brings what is missing as long as
/// the GOP has it; until then nothing is passed on that could not be decoded.
#[derive(Debug)]
pub(crate) struct Follower {
    epoch: u64,
    answer: Reassembly,
    live: Reassembly,
    transit: Transit,
    /// Decoding time of the last video frame that was passed on.
    last_video: Option<MediaTime>,
    /// Decoding time of the last audio frame that was passed on.
    last_audio: Option<MediaTime>,
    awaiting_keyframe: bool,
    /// A video frame was not passed on since the last request to join.
    has_withheld: bool,
    /// The value of `awaiting_keyframe` after the answer to the request to join, unless the answer
    /// has video.
    awaited: bool,
    last_join: Instant,
    heard: Instant,
    faults: Faults,
}

impl Follower {
    /// Returns the follower of a stream that is about to be joined.
    pub(crate) fn new(epoch: u64, now: Instant) -> Self {
        Self {
            epoch,
            answer: Reassembly::starting_at(0),
            live: Reassembly::default(),
            transit: Transit::new(now),
            last_video: None,
            last_audio: None,
            awaiting_keyframe: false,
            has_withheld: false,
            awaited: true,
            last_join: now,
            heard: now,
            faults: Faults::default(),
        }
    }

    /// Prepares for the answer to another request to join.
    pub(crate) fn rejoin(&mut self, now: Instant) {
        self.answer = Reassembly::starting_at(0);
        // The answer begins with a keyframe, or has no video.
        self.awaited = std::mem::take(&mut self.awaiting_keyframe);
        self.has_withheld = false;
        self.last_join = now;
        self.heard = now;
    }

    /// Prepares for another subscription to the live messages, which may take another way.
    pub(crate) fn resubscribe(&mut self, now: Instant) {
        self.transit = Transit::new(now);
    }

    /// Returns the time of the last message.
    pub(crate) fn heard(&self) -> Instant {
        self.heard
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
        if outcome.has_gap {
            self.awaiting_keyframe = true;
            return Err(Answered::Broken);
        }
        let Some(whole) = outcome.whole else {
            return Ok(None);
        };
        let age = Duration::from_micros(whole.header.age.into());
        match self.content(whole) {
            Some(Content::Joined { next }) => {
                // Live messages from here on follow without a gap.
                self.live = Reassembly::starting_at(next);
                self.awaiting_keyframe = self.awaited;
                Err(Answered::Complete)
            }
            Some(Content::End(reason)) => Err(Answered::Refused(reason)),
            Some(Content::Frame(frame)) => {
                self.awaited &= matches!(frame, Frame::Audio(_));
                let arrived = now.checked_sub(age).unwrap_or(now);
                Ok(self.pass(frame, arrived))
            }
            Some(Content::Data(data)) => Ok(Some(Event::Data(data))),
            Some(Content::Tracks(tracks)) => Ok(Some(Event::Tracks(tracks))),
            Some(Content::Tick) | None => Ok(None),
        }
    }

    /// Handles a live message.
    pub(crate) fn handle(&mut self, part: &Part, now: Instant) -> Option<Event> {
        if part.header.epoch != self.epoch {
            return None;
        }
        self.heard = now;
        let late = self.transit.observe(part.clock, now);
        let outcome = self.live.handle(part);
        if outcome.has_gap {
            self.faults.gaps += 1;
            self.awaiting_keyframe = true;
        }
        let event = outcome
            .whole
            .and_then(|whole| self.live_event(whole, late, now));
        match event {
            Some(event) => Some(event),
            None if self.is_rejoin_due(now) => {
                self.last_join = now;
                Some(Event::Rejoin)
            }
            None => None,
        }
    }

    fn live_event(&mut self, whole: Whole, late: Duration, now: Instant) -> Option<Event> {
        let age = Duration::from_micros(whole.header.age.into());
        match self.content(whole)? {
            Content::Frame(frame) if late > MAX_LATE => {
                self.faults.late += 1;
                if matches!(frame, Frame::Video(_)) {
                    self.awaiting_keyframe = true;
                    self.has_withheld = true;
                }
                None
            }
            Content::Frame(frame) => {
                let arrived = now.checked_sub(age + late).unwrap_or(now);
                self.pass(frame, arrived)
            }
            Content::Data(data) => Some(Event::Data(data)),
            Content::Tracks(tracks) => Some(Event::Tracks(tracks)),
            Content::End(reason) => Some(Event::End(reason)),
            Content::Tick | Content::Joined { .. } => None,
        }
    }

    /// Passes a frame on, unless that was done before, or it cannot be decoded.
    fn pass(&mut self, frame: Frame, arrived: Instant) -> Option<Event> {
        let last = match &frame {
            Frame::Video(video) => {
                if self.awaiting_keyframe && !video.keyframe {
                    self.has_withheld = true;
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
        if frame.is_keyframe() {
            self.awaiting_keyframe = false;
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
        self.awaiting_keyframe
            && self.has_withheld
            && now.saturating_duration_since(self.last_join) >= REJOIN_INTERVAL
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
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;
    use crate::message::{Header, Kind, encode, encode_frame};
    use distributary_media::test_util::{opus_frame, video_frame};

    const EPOCH: u64 = 3;

    /// The owner's side.
    struct Sender {
        live: u64,
        answer: u64,
    }

    impl Sender {
        fn part(frame: &Frame, sequence: u64, at: u64) -> Part {
            let header = Header::of_frame(frame, EPOCH, 0);
            let message = encode_frame(frame, &header, sequence, 1000 * at).remove(0);
            Part::decode(&message).unwrap()
        }

        fn live(&mut self, frame: &Frame, at: u64) -> Part {
            self.live += 1;
            Self::part(frame, self.live - 1, at)
        }

        fn answer(&mut self, frame: &Frame) -> Part {
            self.answer += 1;
            Self::part(frame, self.answer - 1, 0)
        }

        fn joined(&mut self) -> Part {
            let header = Header::new(Kind::Joined, EPOCH);
            let body = self.live.to_be_bytes();
            let message = encode(&header, &[&body], self.answer, 0).remove(0);
            self.answer = 0;
            Part::decode(&message).unwrap()
        }
    }

    fn video(millis: i64, keyframe: bool) -> Frame {
        Frame::Video(video_frame(millis, keyframe, 10))
    }

    fn time(event: Option<Event>) -> Option<i64> {
        match event {
            Some(Event::Frame(frame, _)) => Some(frame.dts().as_millis()),
            Some(Event::Rejoin) => Some(-1),
            None => None,
            Some(other) => panic!("{other:?}"),
        }
    }

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    fn joined(start: Instant) -> (Follower, Sender) {
        let mut follower = Follower::new(EPOCH, start);
        let mut sender = Sender {
            live: 50,
            answer: 0,
        };
        for (millis, keyframe) in [(0, true), (40, false)] {
            let part = sender.answer(&video(millis, keyframe));
            let event = follower.handle_answer(&part, start).unwrap();
            assert_eq!(time(event), Some(millis));
        }
        let end = follower.handle_answer(&sender.joined(), start);
        assert_eq!(end, Err(Answered::Complete));
        (follower, sender)
    }

    #[test]
    fn live_frames_follow_the_answer_without_repetition() {
        let start = Instant::now();
        let (mut follower, mut sender) = joined(start);
        // The answer had this frame already, which was still on its way to the subject.
        for (millis, expected) in [(40, None), (80, Some(80)), (120, Some(120))] {
            let part = sender.live(&video(millis, false), millis as u64);
            let event = follower.handle(&part, at(start, millis as u64));
            assert_eq!(time(event), expected, "{millis}");
        }
        assert_eq!(follower.take_faults(), Faults::default());
    }

    #[test]
    fn lost_frames_come_with_another_join() {
        let start = Instant::now();
        let (mut follower, mut sender) = joined(start);
        let mut now = 80;
        let _lost = sender.live(&video(80, false), 80);
        for millis in [120, 160] {
            let part = sender.live(&video(millis, false), millis as u64);
            now = millis as u64;
            assert_eq!(time(follower.handle(&part, at(start, now))), None);
        }
        let audio = sender.live(&Frame::Audio(opus_frame(160, &[1])), 160);
        let event = follower.handle(&audio, at(start, now));
        assert_eq!(time(event), Some(160), "audio goes on");
        let part = sender.live(&video(2_200, false), 2_200);
        assert_eq!(time(follower.handle(&part, at(start, 2_200))), Some(-1));
        follower.rejoin(at(start, 2_200));
        let mut again = Vec::new();
        for (millis, keyframe) in [
            (0, true),
            (40, false),
            (80, false),
            (120, false),
            (2_200, false),
        ] {
            let part = sender.answer(&video(millis, keyframe));
            // Nothing is awaited in the answer: it begins with a keyframe.
            again.extend(time(
                follower.handle_answer(&part, at(start, 2_201)).unwrap(),
            ));
        }
        let _ = follower.handle_answer(&sender.joined(), at(start, 2_201));
        assert_eq!(again, [80, 120, 2_200], "only what is missing");
        let part = sender.live(&video(2_240, false), 2_240);
        assert_eq!(time(follower.handle(&part, at(start, 2_241))), Some(2_240));
        assert_eq!(follower.take_faults().gaps, 1);
    }

    #[test]
    fn keyframe_ends_the_wait_after_a_gap() {
        let start = Instant::now();
        let (mut follower, mut sender) = joined(start);
        let _lost = sender.live(&video(80, false), 80);
        let part = sender.live(&video(120, false), 120);
        assert_eq!(time(follower.handle(&part, at(start, 120))), None);
        let part = sender.live(&video(160, true), 160);
        assert_eq!(time(follower.handle(&part, at(start, 160))), Some(160));
    }

    #[test]
    fn frames_that_waited_in_a_buffer_are_dropped() {
        let start = Instant::now();
        let (mut follower, mut sender) = joined(start);
        let first = sender.live(&video(80, false), 80);
        assert_eq!(time(follower.handle(&first, at(start, 80))), Some(80));
        let old = sender.live(&video(120, false), 120);
        assert_eq!(time(follower.handle(&old, at(start, 5_000))), Some(-1));
        let fresh = sender.live(&video(4_960, true), 4_960);
        let event = follower.handle(&fresh, at(start, 5_000));
        let Some(Event::Frame(_, arrived)) = event else {
            panic!("{event:?}")
        };
        assert_eq!(arrived, at(start, 4_960));
        assert_eq!(follower.take_faults().late, 1);
    }

    #[test]
    fn answer_without_video_lets_video_begin_with_a_keyframe() {
        let start = Instant::now();
        let mut follower = Follower::new(EPOCH, start);
        let mut sender = Sender { live: 0, answer: 0 };
        let audio = sender.answer(&Frame::Audio(opus_frame(0, &[1])));
        let event = follower.handle_answer(&audio, start).unwrap();
        assert_eq!(time(event), Some(0));
        let _ = follower.handle_answer(&sender.joined(), start);
        let part = sender.live(&video(40, false), 40);
        assert_eq!(time(follower.handle(&part, at(start, 40))), None);
        let part = sender.live(&video(80, true), 80);
        assert_eq!(time(follower.handle(&part, at(start, 80))), Some(80));
    }

    #[test]
    fn audio_without_video_is_not_joined_again() {
        let start = Instant::now();
        let mut follower = Follower::new(EPOCH, start);
        let mut sender = Sender { live: 0, answer: 0 };
        let _ = follower.handle_answer(&sender.joined(), start);
        for millis in (0..10_000).step_by(20) {
            let part = sender.live(&Frame::Audio(opus_frame(millis, &[1])), millis as u64);
            let event = follower.handle(&part, at(start, millis as u64));
            assert_eq!(time(event), Some(millis));
        }
    }

    #[test]
    fn messages_of_another_subscription_are_not_late_for_taking_a_slower_way() {
        let start = Instant::now();
        let (mut follower, mut sender) = joined(start);
        let first = sender.live(&video(80, false), 80);
        assert_eq!(time(follower.handle(&first, at(start, 80))), Some(80));
        // The clock of the sender stood still for some seconds, and the subscription is a new one.
        follower.resubscribe(at(start, 5_000));
        let next = sender.live(&video(120, false), 120);
        assert_eq!(time(follower.handle(&next, at(start, 5_000))), Some(120));
    }

    #[test]
    fn frames_of_another_epoch_are_ignored() {
        let start = Instant::now();
        let (mut follower, mut sender) = joined(start);
        let mut part = sender.live(&video(80, false), 80);
        part.header.epoch = EPOCH - 1;
        assert_eq!(follower.handle(&part, start), None);
    }

    #[test]
    fn answer_with_lost_parts_is_broken() {
        let start = Instant::now();
        let mut follower = Follower::new(EPOCH, start);
        let mut sender = Sender { live: 0, answer: 0 };
        let _lost = sender.answer(&video(0, true));
        let part = sender.answer(&video(40, false));
        let broken = follower.handle_answer(&part, start);
        assert_eq!(broken, Err(Answered::Broken));
    }
}
