//! Tests of following a stream.

#![allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]

use super::sender::{Sender, video};
use super::*;
use crate::message::{Header, encode_frame};
use distributary_media::test_util::opus_frame;

const EPOCH: u64 = 3;

fn time(event: Option<Event>) -> Option<i64> {
    match event {
        Some(Event::Frame(frame, _)) => Some(frame.dts().as_millis()),
        None => None,
        Some(other) => panic!("{other:?}"),
    }
}

/// Handles a live message. Returns -1 if the stream has to be joined again, or the time of a frame
/// that is passed on.
fn live(follower: &mut Follower, part: &Part, now: Instant) -> Option<i64> {
    let event = follower.handle(part, now);
    let is_rejoin_due = follower.rejoin_if_due(now);
    is_rejoin_due.then_some(-1).or(time(event))
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
        let event = live(&mut follower, &part, at(start, millis as u64));
        assert_eq!(event, expected, "{millis}");
    }
    assert_eq!(follower.take_faults(), Faults::default());
}

#[test]
fn part_with_a_number_far_away_does_not_silence_the_stream() {
    let start = Instant::now();
    let (mut follower, mut sender) = joined(start);
    let mut astray = sender.part(&video(80, false), 0, 80);
    astray.sequence = u64::MAX;
    assert_eq!(follower.handle(&astray, at(start, 80)), None);
    assert_eq!(follower.heard(), start, "it is no sign of life");
    let part = sender.live(&video(80, false), 80);
    assert_eq!(live(&mut follower, &part, at(start, 80)), Some(80));
    // Were it true, what was missed would come with the next answer.
    let part = sender.live(&video(80, false), 2000);
    assert_eq!(live(&mut follower, &part, at(start, 2000)), Some(-1));
    follower.rejoin(true, at(start, 2000));
    let end = follower.handle_answer(&sender.joined(), at(start, 2000));
    assert_eq!(end, Err(Answered::Complete));
    let part = sender.live(&video(2040, false), 2040);
    assert_eq!(live(&mut follower, &part, at(start, 2040)), Some(2040));
}

#[test]
fn join_that_expects_a_number_far_away_is_repeated() {
    let start = Instant::now();
    let (mut follower, mut sender) = joined(start);
    let next = std::mem::replace(&mut sender.live, u64::MAX);
    follower.rejoin(true, start);
    let end = follower.handle_answer(&sender.joined(), start);
    assert_eq!(end, Err(Answered::Complete));
    sender.live = next;
    let part = sender.live(&video(2000, false), 2000);
    assert_eq!(live(&mut follower, &part, at(start, 2000)), Some(-1));
    assert_eq!(follower.heard(), start);
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
    let part = sender.tracks(timeline, present, frames[0]);
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
    assert_eq!(live(&mut follower, &part, start), None);
    let part = sender.live(&video(3_040, true), 40);
    assert_eq!(live(&mut follower, &part, at(start, 40)), Some(3_040));
}

#[test]
fn viewers_of_an_earlier_owner_get_the_long_gop_if_no_keyframe_follows() {
    let start = Instant::now();
    let mut follower = Follower::new(EPOCH, true, start);
    let mut sender = Sender::new(EPOCH);
    let gop = (0..3_000).step_by(40);
    answer(&mut follower, &mut sender, (1, 3_000), gop, start);
    let part = sender.live(&video(5_000, false), 2_000);
    assert_eq!(live(&mut follower, &part, at(start, 2_000)), Some(-1));
    follower.rejoin(true, at(start, 2_000));
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

/// Returns the follower of a stream whose node stands still for 5 s after this time.
fn watched(start: Instant) -> (Follower, Sender) {
    let mut follower = Follower::new(EPOCH, false, start);
    let mut sender = Sender::new(EPOCH);
    let gop = (0..3_000).step_by(40);
    let passed = answer(&mut follower, &mut sender, (1, 3_000), gop, start);
    assert_eq!(passed.len(), 75, "its first viewers get the whole GOP");
    (follower, sender)
}

#[test]
fn viewers_do_not_see_old_frames_after_their_node_stood_still() {
    let start = Instant::now();
    let (mut follower, mut sender) = watched(start);
    // They have waited for a keyframe before, and got it.
    let _lost = sender.live(&video(3_000, false), 0);
    for (millis, keyframe, expected) in [(3_040, false, None), (3_080, true, Some(3_080))] {
        let part = sender.live(&video(millis, keyframe), millis as u64 - 3_000);
        assert_eq!(live(&mut follower, &part, start), expected);
    }
    let now = at(start, 5_000);
    follower.rejoin(true, now);
    let gop = (6_000..8_000).step_by(40);
    let passed = answer(&mut follower, &mut sender, (1, 8_000), gop, now);
    assert!(passed.is_empty(), "{passed:?}");
    // What refers to frames that were not passed on cannot be decoded.
    let part = sender.live(&video(8_000, false), 5_000);
    assert_eq!(live(&mut follower, &part, now), None);
    let part = sender.live(&video(8_040, true), 5_040);
    assert_eq!(live(&mut follower, &part, at(start, 5_040)), Some(8_040));
}

/// Returns the follower of a stream with a keyframe at these intervals, whose node stands still after
/// `last` milliseconds.
fn watched_with_gop(interval: i64, last: i64, start: Instant) -> (Follower, Sender) {
    let mut follower = Follower::new(EPOCH, false, start);
    let mut sender = Sender::new(EPOCH);
    answer(&mut follower, &mut sender, (1, 0), [0], start);
    for millis in (40..=last).step_by(40) {
        let part = sender.live(&video(millis, millis % interval == 0), millis as u64);
        let event = live(&mut follower, &part, at(start, millis as u64));
        assert_eq!(event, Some(millis));
    }
    (follower, sender)
}

#[test]
fn viewers_catch_up_if_the_next_keyframe_is_further_away_than_what_they_have_missed() {
    for (interval, last, present, is_passed) in [
        (10_000, 15_000, 16_200, true),
        (10_000, 15_000, 19_200, false),
        // It would not come before the stream is joined again.
        (10_000, 11_000, 16_200, true),
        (2_000, 3_000, 4_200, true),
        (2_000, 3_000, 5_200, false),
    ] {
        let start = Instant::now();
        let (mut follower, mut sender) = watched_with_gop(interval, last, start);
        let now = at(start, present as u64);
        follower.rejoin(true, now);
        let gop = (present - present % interval..=present).step_by(40);
        let passed = answer(&mut follower, &mut sender, (1, present), gop.clone(), now);
        let missed: Vec<_> = gop.filter(|millis| is_passed && *millis > last).collect();
        assert_eq!(passed, missed, "{interval} {last} {present}");
    }
}

#[test]
fn interval_between_keyframes_is_not_measured_over_a_gap() {
    let start = Instant::now();
    let (mut follower, mut sender) = watched_with_gop(2_000, 4_000, start);
    let _lost = sender.live(&video(6_000, true), 6_000);
    for (millis, keyframe) in [(7_000, false), (8_000, true)] {
        let part = sender.live(&video(millis, keyframe), millis as u64);
        let _ = follower.handle(&part, at(start, millis as u64));
    }
    let now = at(start, 11_500);
    follower.rejoin(true, now);
    let passed = answer(&mut follower, &mut sender, (1, 11_500), [10_000], now);
    assert!(
        passed.is_empty(),
        "the next keyframe comes in half a second"
    );
}

#[test]
fn gap_is_told_once_when_the_video_before_it_is_old() {
    let start = Instant::now();
    let (mut follower, mut sender) = watched(start);
    assert!(!follower.take_gap());
    // Each of these parts is lost or refers to one that is.
    let _lost = sender.live(&video(3_000, false), 0);
    for millis in (40..2_000).step_by(40) {
        let part = sender.live(&video(3_000 + millis, false), millis as u64);
        let _ = follower.handle(&part, at(start, millis as u64));
        let is_first_old = millis == 1_040;
        assert_eq!(follower.take_gap(), is_first_old, "{millis}");
    }
    let part = sender.live(&video(5_000, true), 2_000);
    assert_eq!(live(&mut follower, &part, at(start, 2_000)), Some(5_000));
    assert!(!follower.take_gap());
    let now = at(start, 7_000);
    follower.rejoin(true, now);
    let gop = (8_000..10_000).step_by(40);
    answer(&mut follower, &mut sender, (1, 10_000), gop, now);
    assert!(follower.take_gap() && follower.awaits_keyframe());
    assert!(!follower.take_gap());
}

#[test]
fn viewers_catch_up_with_a_short_gop_after_their_node_stood_still() {
    let start = Instant::now();
    let (mut follower, mut sender) = watched(start);
    let now = at(start, 5_000);
    follower.rejoin(true, now);
    let gop = [7_500, 7_540, 7_580];
    let passed = answer(&mut follower, &mut sender, (1, 8_000), gop, now);
    assert_eq!(passed, gop);
}

#[test]
fn viewers_get_old_frames_after_their_node_stood_still_if_no_keyframe_follows() {
    let start = Instant::now();
    let (mut follower, mut sender) = watched(start);
    // It has been joined again many times.
    for _ in 0..8 {
        follower.rejoin_after = follower.rejoins.fail();
    }
    let mut now = at(start, 5_000);
    follower.rejoin(true, now);
    let gop = (4_000..8_000).step_by(40);
    answer(&mut follower, &mut sender, (1, 8_000), gop, now);
    let mut frames = (8_000..).step_by(40);
    loop {
        let part = sender.live(&video(frames.next().unwrap(), false), 0);
        match live(&mut follower, &part, now) {
            None => now += Duration::from_millis(40),
            event => break assert_eq!(event, Some(-1)),
        }
    }
    assert_eq!(now, at(start, 7_000));
    follower.rejoin(true, now);
    let gop = (4_000..10_000).step_by(40);
    let passed = answer(&mut follower, &mut sender, (1, 10_000), gop, now);
    assert_eq!(passed.len(), 150);
}

#[test]
fn viewers_get_old_frames_after_their_node_stood_still_if_no_video_follows() {
    let start = Instant::now();
    let (mut follower, mut sender) = watched(start);
    let mut now = at(start, 5_000);
    follower.rejoin(true, now);
    let gop = (4_000..8_000).step_by(40);
    let passed = answer(&mut follower, &mut sender, (1, 8_000), gop, now);
    assert!(passed.is_empty(), "{passed:?}");
    // The publisher shows a still, and goes on with its audio.
    for millis in (8_000..).step_by(20) {
        let audio = Frame::Audio(opus_frame(millis, &[1]));
        let part = sender.live(&audio, millis as u64 - 3_000);
        match live(&mut follower, &part, now) {
            Some(-1) => break,
            event => assert_eq!(event, Some(millis)),
        }
        now += Duration::from_millis(20);
    }
    assert_eq!(now, at(start, 7_000));
}

#[test]
fn viewers_get_old_frames_with_the_second_answer_even_if_answers_take_long() {
    let start = Instant::now();
    let (mut follower, mut sender) = watched(start);
    let asked = at(start, 5_000);
    follower.rejoin(true, asked);
    let part = sender.tracks(1, 8_000, 4_000);
    assert!(follower.handle_answer(&part, asked).is_ok());
    for millis in (4_000..8_000).step_by(40) {
        let part = sender.answer(&video(millis, millis == 4_000));
        assert_eq!(follower.handle_answer(&part, asked), Ok(None));
    }
    let complete = at(start, 6_500);
    let end = follower.handle_answer(&sender.joined(), complete);
    assert_eq!(end, Err(Answered::Complete));
    let part = sender.live(&video(10_000, false), 0);
    let now = at(start, 7_000);
    assert_eq!(live(&mut follower, &part, now), Some(-1));
    follower.rejoin(true, now);
    let gop = (4_000..10_000).step_by(40);
    let passed = answer(&mut follower, &mut sender, (1, 10_000), gop, now);
    assert_eq!(passed.len(), 150);
}

#[test]
fn lost_video_is_asked_for_while_only_audio_follows() {
    let start = Instant::now();
    let (mut follower, mut sender) = watched(start);
    let _lost = sender.live(&video(3_000, false), 0);
    let mut asked = None;
    for millis in (3_020..6_000).step_by(20) {
        let audio = sender.live(
            &Frame::Audio(opus_frame(millis, &[1])),
            millis as u64 - 3_000,
        );
        let now = at(start, millis as u64 - 3_000);
        if live(&mut follower, &audio, now) == Some(-1) {
            asked.get_or_insert(millis);
        }
    }
    assert_eq!(asked, Some(5_000));
}

#[test]
fn viewers_of_an_earlier_owner_catch_up_with_intra_refresh() {
    let start = Instant::now();
    let mut follower = Follower::new(EPOCH, true, start);
    let mut sender = Sender::new(EPOCH);
    // The only keyframe is the first frame of all. The refresh begins with the second one here.
    let part = sender.tracks(1, 60_000, 59_600);
    assert!(follower.handle_answer(&part, start).is_ok());
    for millis in [0, 59_600, 59_640] {
        let part = sender.answer(&video(millis, millis == 0));
        let event = follower.handle_answer(&part, start).unwrap();
        assert_eq!(time(event), Some(millis));
    }
}

#[test]
fn viewers_of_few_frames_get_the_one_that_was_lost() {
    let start = Instant::now();
    let (mut follower, mut sender) = watched(start);
    let now = at(start, 5_000);
    follower.rejoin(true, now);
    let frames = [0, 2_960, 7_950];
    let passed = answer(&mut follower, &mut sender, (1, 8_000), frames, now);
    assert_eq!(passed, [7_950], "its age counts, not that of the last one");
}

#[test]
fn new_viewers_get_all_frames_after_a_standstill() {
    let start = Instant::now();
    let (mut follower, mut sender) = watched(start);
    let now = at(start, 5_000);
    follower.rejoin(false, now);
    let gop = (6_000..8_000).step_by(40);
    let passed = answer(&mut follower, &mut sender, (1, 8_000), gop, now);
    assert_eq!(passed.len(), 50);
}

#[test]
fn viewers_that_have_waited_get_all_lost_frames() {
    let start = Instant::now();
    let (mut follower, mut sender) = watched(start);
    let _lost = sender.live(&video(3_000, false), 0);
    for millis in (40..2_000).step_by(40) {
        let part = sender.live(&video(3_000 + millis, false), millis as u64);
        let event = live(&mut follower, &part, at(start, millis as u64));
        assert_eq!(event, None);
    }
    let now = at(start, 2_000);
    let part = sender.live(&video(5_000, false), 2_000);
    assert_eq!(live(&mut follower, &part, now), Some(-1));
    follower.rejoin(true, now);
    let gop = (0..=5_000).step_by(40);
    let passed = answer(&mut follower, &mut sender, (1, 5_000), gop, now);
    let missing: Vec<_> = (3_000..=5_000).step_by(40).collect();
    assert_eq!(passed, missing);
}

#[test]
fn nothing_is_repeated_when_the_same_owner_gets_another_epoch() {
    let start = Instant::now();
    let mut follower = Follower::new(EPOCH, false, start);
    let mut sender = Sender::new(EPOCH);
    let gop = (0..3_000).step_by(500);
    answer(&mut follower, &mut sender, (7, 3_000), gop, start);
    follower.change_epoch(EPOCH + 1, true, start);
    let mut sender = Sender::new(EPOCH + 1);
    let gop = (0..=3_500).step_by(500);
    let passed = answer(&mut follower, &mut sender, (7, 3_500), gop, start);
    assert_eq!(passed, [3_000, 3_500], "only what is missing");
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
    assert_eq!(live(&mut follower, &part, at(start, 80)), None);
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
        let event = live(&mut follower, &part, at(start, millis as u64));
        if event == Some(-1) {
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
        assert_eq!(live(&mut follower, &part, at(start, now)), None);
    }
    let audio = sender.live(&Frame::Audio(opus_frame(160, &[1])), 160);
    let event = live(&mut follower, &audio, at(start, now));
    assert_eq!(event, Some(160), "audio goes on");
    let part = sender.live(&video(2_200, false), 2_200);
    assert_eq!(live(&mut follower, &part, at(start, 2_200)), Some(-1));
    follower.rejoin(true, at(start, 2_200));
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
    assert_eq!(live(&mut follower, &part, at(start, 2_241)), Some(2_240));
    assert_eq!(follower.take_faults().gaps, 1);
}

#[test]
fn keyframe_ends_the_wait_after_a_gap() {
    let start = Instant::now();
    let (mut follower, mut sender) = joined(start);
    let _lost = sender.live(&video(80, false), 80);
    let part = sender.live(&video(120, false), 120);
    assert_eq!(live(&mut follower, &part, at(start, 120)), None);
    let part = sender.live(&video(160, true), 160);
    assert_eq!(live(&mut follower, &part, at(start, 160)), Some(160));
}

#[test]
fn frames_that_waited_in_a_buffer_are_dropped() {
    let start = Instant::now();
    let (mut follower, mut sender) = joined(start);
    let first = sender.live(&video(80, false), 80);
    assert_eq!(live(&mut follower, &first, at(start, 80)), Some(80));
    let old = sender.live(&video(120, false), 120);
    assert_eq!(live(&mut follower, &old, at(start, 5_000)), Some(-1));
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
    assert_eq!(live(&mut follower, &part, at(start, 40)), None);
    let part = sender.live(&video(80, true), 80);
    assert_eq!(live(&mut follower, &part, at(start, 80)), Some(80));
}

#[test]
fn audio_without_video_is_not_joined_again() {
    let start = Instant::now();
    let mut follower = Follower::new(EPOCH, false, start);
    let mut sender = Sender::new(EPOCH);
    let _ = follower.handle_answer(&sender.joined(), start);
    for millis in (0..10_000).step_by(20) {
        let part = sender.live(&Frame::Audio(opus_frame(millis, &[1])), millis as u64);
        let event = live(&mut follower, &part, at(start, millis as u64));
        assert_eq!(event, Some(millis));
    }
}

#[test]
fn messages_of_another_subscription_are_not_late_for_taking_a_slower_way() {
    let start = Instant::now();
    let (mut follower, mut sender) = joined(start);
    let first = sender.live(&video(80, false), 80);
    assert_eq!(live(&mut follower, &first, at(start, 80)), Some(80));
    // The clock of the sender stood still for some seconds, and the subscription is a new one.
    follower.resubscribe(at(start, 5_000));
    let next = sender.live(&video(120, false), 120);
    assert_eq!(live(&mut follower, &next, at(start, 5_000)), Some(120));
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

#[test]
fn answer_without_video_is_waited_for_with_a_keyframe_only_if_messages_were_lost() {
    for lost in [0, 1] {
        let start = Instant::now();
        let (mut follower, mut sender) = joined(start);
        let part = sender.live(&video(80, false), 80);
        assert_eq!(live(&mut follower, &part, at(start, 80)), Some(80));
        // The connection was lost for a moment, and the GOP is too large for an answer.
        sender.live += lost;
        follower.rejoin(true, at(start, 500));
        follower.resubscribe(at(start, 500));
        let end = follower.handle_answer(&sender.joined(), at(start, 500));
        assert_eq!(end, Err(Answered::Complete));
        assert_eq!(follower.awaits_keyframe(), lost > 0);
        let part = sender.live(&video(540, false), 540);
        let passed = (lost == 0).then_some(540);
        assert_eq!(live(&mut follower, &part, at(start, 540)), passed);
        let part = sender.live(&video(580, true), 580);
        assert_eq!(live(&mut follower, &part, at(start, 580)), Some(580));
    }
}

#[test]
fn request_after_one_without_an_answer_still_waits_for_a_keyframe() {
    let start = Instant::now();
    let (mut follower, mut sender) = (Follower::new(EPOCH, false, start), Sender::new(EPOCH));
    let first = sender.answer(&video(0, true));
    assert!(follower.handle_answer(&first, start).is_ok());
    let complete = Err(Answered::Complete);
    assert_eq!(follower.handle_answer(&sender.joined(), start), complete);
    // A part is lost, and no answer comes to the first request.
    sender.live += 1;
    assert_eq!(
        follower.handle(&sender.live(&video(40, false), 40), start),
        None
    );
    follower.rejoin(true, start);
    follower.rejoin(true, start);
    // The GOP is too large for an answer.
    assert_eq!(follower.handle_answer(&sender.joined(), start), complete);
    assert_eq!(
        follower.handle(&sender.live(&video(80, false), 80), start),
        None
    );
    let next = follower.handle(&sender.live(&video(120, true), 120), start);
    assert_eq!(time(next), Some(120));
}
