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

/// Maximum media time that viewers who watch the stream already get at once when it goes on at
/// another owner. Otherwise their video goes on at the next keyframe, as after a takeover on one
/// machine: they would see the frames since the last keyframe in fast motion.
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
    /// Viewers have seen the stream from another owner.
    is_watched: bool,
    /// The video of the answer is not passed on: viewers wait for the next keyframe.
    skips_video: bool,
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
    rejoins: Backoff,
    /// Minimum time from the last request to join to the next.
    rejoin_after: Duration,
    heard: Instant,
    faults: Faults,
}

impl Follower {
    /// Returns the follower of a stream that is about to be joined. `is_watched`: viewers have seen
    /// it from another owner.
    pub(crate) fn new(epoch: u64, is_watched: bool, now: Instant) -> Self {
        let (first, longest) = REJOIN_INTERVAL;
        let mut rejoins = Backoff::new(first, longest);
        Self {
            epoch,
            timeline: None,
            anchor: None,
            is_watched,
            skips_video: false,
            answer: Reassembly::starting_at(0),
            live: Reassembly::default(),
            transit: Transit::new(now),
            last_video: None,
            last_audio: None,
            awaiting_keyframe: false,
            has_withheld: false,
            awaited: true,
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
        self.rejoin(now);
        self.epoch = epoch;
        self.live = Reassembly::default();
        self.is_watched = is_watched;
    }

    /// Prepares for the answer to another request to join.
    pub(crate) fn rejoin(&mut self, now: Instant) {
        self.answer = Reassembly::starting_at(0);
        self.skips_video = false;
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
                self.has_withheld |= self.skips_video;
                // Whoever waits for long after all gets the whole answer to the next request.
                self.skips_video = false;
                self.is_watched = false;
                Err(Answered::Complete)
            }
            Some(Content::End(reason)) => Err(Answered::Refused(reason)),
            Some(Content::Frame(frame)) => {
                if let Frame::Video(video) = &frame {
                    // Nobody needs a frame of the past for decoding that no other refers to.
                    if self.skips_video || self.is_watched && video.info.disposable {
                        return Ok(None);
                    }
                    self.awaited = false;
                }
                let arrived = match self.anchor {
                    Some(anchor) => anchor.arrival(frame.dts()),
                    None => now.checked_sub(age).unwrap_or(now),
                };
                Ok(self.pass(frame, arrived))
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
        if has_passed && self.timeline == Some(place.timeline) {
            self.is_watched = false;
            return;
        }
        self.timeline = Some(place.timeline);
        self.skips_video = self.is_watched && place.behind() > MAX_CATCH_UP;
        (self.last_video, self.last_audio) = (None, None);
        self.awaited = true;
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
                if now.saturating_duration_since(self.last_join) >= CALM {
                    self.rejoins.succeed();
                }
                self.rejoin_after = self.rejoins.fail();
                self.last_join = now;
                Some(Event::Rejoin)
            }
            None => None,
        }
    }

    fn live_event(&mut self, whole: Whole, late: Duration, now: Instant) -> Option<Event> {
        let age = Duration::from_micros(whole.header.age.into());
        match self.content(whole)? {
            // It has waited here, or at its owner.
            Content::Frame(frame) if late + age > MAX_LATE => {
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
            && now.saturating_duration_since(self.last_join) >= self.rejoin_after
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
        epoch: u64,
        live: u64,
        answer: u64,
    }

    impl Sender {
        fn new(epoch: u64) -> Self {
            Self {
                epoch,
                live: 0,
                answer: 0,
            }
        }

        fn part(&self, frame: &Frame, sequence: u64, at: u64) -> Part {
            let header = Header::of_frame(frame, self.epoch, 0);
            let message = encode_frame(frame, &header, sequence, 1000 * at).remove(0);
            Part::decode(&message).unwrap()
        }

        fn live(&mut self, frame: &Frame, at: u64) -> Part {
            self.live += 1;
            self.part(frame, self.live - 1, at)
        }

        fn answer(&mut self, frame: &Frame) -> Part {
            self.answer += 1;
            self.part(frame, self.answer - 1, 0)
        }

        fn joined(&mut self) -> Part {
            let header = Header::new(Kind::Joined, self.epoch);
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
        let mut follower = Follower::new(EPOCH, false, start);
        let mut sender = Sender::new(EPOCH);
        sender.live = 50;
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

    fn tracks(sender: &mut Sender, timeline: u64, present: i64, since: i64) -> Part {
        let nanos = 1_000_000;
        let place = Place {
            timeline,
            present: present * nanos,
            since: Some(since * nanos),
        };
        let body = TrackSet::default().at(place).to_json();
        let header = Header::new(Kind::Tracks, sender.epoch);
        let message = encode(&header, &[&body], sender.answer, 0).remove(0);
        sender.answer += 1;
        Part::decode(&message).unwrap()
    }

    /// Handles the answer to a request to join, with these frames. Returns the times of those that
    /// are passed on.
    fn answer(
        follower: &mut Follower,
        sender: &mut Sender,
        (timeline, present): (u64, i64),
        frames: impl IntoIterator<Item = i64>,
        now: Instant,
    ) -> Vec<i64> {
        let frames: Vec<_> = frames.into_iter().collect();
        let part = tracks(sender, timeline, present, frames[0]);
        assert!(matches!(
            follower.handle_answer(&part, now),
            Ok(Some(Event::Tracks(_)))
        ));
        let mut passed = Vec::new();
        for (at, millis) in frames.into_iter().enumerate() {
            let part = sender.answer(&video(millis, at == 0));
            passed.extend(time(follower.handle_answer(&part, now).unwrap()));
        }
        let end = follower.handle_answer(&sender.joined(), now);
        assert_eq!(end, Err(Answered::Complete));
        passed
    }

    #[test]
    fn old_keyframe_does_not_move_the_timeline_of_a_long_stream() {
        // Twelve hours of intra refresh: the only keyframe is the first frame of all.
        let long = 12 * 3_600_000;
        let start = at(Instant::now(), 100_000);
        let mut follower = Follower::new(EPOCH, false, start);
        let mut sender = Sender::new(EPOCH);
        let frames = [0, long - 80, long - 40];
        let passed = answer(&mut follower, &mut sender, (1, long), frames, start);
        assert_eq!(passed, frames);
        let anchor = follower.anchor().unwrap();
        let newest = MediaTime::from_millis(long - 40);
        assert_eq!(anchor.arrival(newest), start - Duration::from_millis(40));
        let origin = anchor.at_frame(MediaTime::ZERO);
        let since_origin = newest.saturating_since(origin.time);
        assert_eq!(origin.at + since_origin, start - Duration::from_millis(40));
    }

    #[test]
    fn viewers_of_an_earlier_owner_do_not_see_a_long_gop_of_the_next() {
        let start = Instant::now();
        let mut follower = Follower::new(EPOCH, true, start);
        let mut sender = Sender::new(EPOCH);
        let gop = (0..3_000).step_by(40);
        let passed = answer(&mut follower, &mut sender, (1, 3_000), gop, start);
        assert!(passed.is_empty(), "it would be shown in fast motion");
        let part = sender.live(&video(3_000, false), 0);
        assert_eq!(time(follower.handle(&part, start)), None);
        let part = sender.live(&video(3_040, true), 40);
        assert_eq!(time(follower.handle(&part, at(start, 40))), Some(3_040));
    }

    #[test]
    fn viewers_of_an_earlier_owner_get_the_long_gop_if_no_keyframe_follows() {
        let start = Instant::now();
        let mut follower = Follower::new(EPOCH, true, start);
        let mut sender = Sender::new(EPOCH);
        let gop = (0..3_000).step_by(40);
        answer(&mut follower, &mut sender, (1, 3_000), gop, start);
        let part = sender.live(&video(5_000, false), 2_000);
        assert_eq!(time(follower.handle(&part, at(start, 2_000))), Some(-1));
        follower.rejoin(at(start, 2_000));
        let gop = (0..=5_000).step_by(1_000);
        let passed = answer(&mut follower, &mut sender, (1, 5_000), gop, start);
        assert_eq!(passed.len(), 6);
    }

    #[test]
    fn viewers_of_an_earlier_owner_catch_up_with_a_short_gop() {
        let start = Instant::now();
        let mut follower = Follower::new(EPOCH, true, start);
        let mut sender = Sender::new(EPOCH);
        let passed = answer(&mut follower, &mut sender, (1, 200), [0, 40, 80], start);
        assert_eq!(passed, [0, 40, 80]);
    }

    #[test]
    fn nothing_is_repeated_when_the_same_owner_gets_another_epoch() {
        let start = Instant::now();
        let mut follower = Follower::new(EPOCH, false, start);
        let mut sender = Sender::new(EPOCH);
        let gop = (0..3_000).step_by(1_000);
        answer(&mut follower, &mut sender, (7, 3_000), gop, start);
        follower.change_epoch(EPOCH + 1, true, start);
        let mut sender = Sender::new(EPOCH + 1);
        let gop = (0..=4_000).step_by(1_000);
        let passed = answer(&mut follower, &mut sender, (7, 4_000), gop, start);
        assert_eq!(passed, [3_000, 4_000], "only what is missing");
        // The publisher has begun anew since then: that is another timeline.
        follower.change_epoch(EPOCH + 2, true, start);
        let mut sender = Sender::new(EPOCH + 2);
        let passed = answer(&mut follower, &mut sender, (8, 100), [0, 40], start);
        assert_eq!(passed, [0, 40]);
    }

    #[test]
    fn frames_that_waited_at_their_owner_are_dropped() {
        let start = Instant::now();
        let (mut follower, sender) = joined(start);
        let frame = video(80, true);
        let header = Header::of_frame(&frame, EPOCH, 3_000_000);
        let message = encode_frame(&frame, &header, sender.live, 80_000).remove(0);
        let part = Part::decode(&message).unwrap();
        assert_eq!(time(follower.handle(&part, at(start, 80))), None);
        assert_eq!(follower.take_faults().late, 1);
    }

    #[test]
    fn streams_that_lose_frames_all_the_time_are_joined_less_and_less_often() {
        let start = Instant::now();
        let (mut follower, mut sender) = joined(start);
        let mut joins = Vec::new();
        for millis in (0..70_000).step_by(40) {
            sender.live += 1;
            let part = sender.live(&video(1_000 + millis, false), millis as u64);
            let event = follower.handle(&part, at(start, millis as u64));
            if matches!(event, Some(Event::Rejoin)) {
                joins.push(millis / 1_000);
            }
        }
        assert_eq!(joins, [2, 6, 14, 30, 46, 62]);
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
        let mut follower = Follower::new(EPOCH, false, start);
        let mut sender = Sender::new(EPOCH);
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
        let mut follower = Follower::new(EPOCH, false, start);
        let mut sender = Sender::new(EPOCH);
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
        let mut follower = Follower::new(EPOCH, false, start);
        let mut sender = Sender::new(EPOCH);
        let _lost = sender.answer(&video(0, true));
        let part = sender.answer(&video(40, false));
        let broken = follower.handle_answer(&part, start);
        assert_eq!(broken, Err(Answered::Broken));
    }
}
