//! A viewer that moves to another rendition.

use super::*;

/// A stream and another rendition of it, with equal frames of other bytes.
struct Two {
    viewer: Harness,
    other: Log,
    frames: u8,
}

/// Payload byte behind the NAL header of frames of the other rendition.
const OTHER: u8 = 100;

impl Two {
    fn new() -> Self {
        Self {
            viewer: Harness::new(Some((6, 109)), 10),
            other: Log::new(90_000, LogLimits::default()),
            frames: 0,
        }
    }

    /// Adds the next frame of the stream, a keyframe every tenth.
    fn frame(&mut self) {
        let number = self.frames;
        self.frames += 1;
        self.viewer.now += Duration::from_millis(33);
        self.viewer.frame(number, number.is_multiple_of(10));
    }

    /// Adds the frame of this number to the other rendition.
    fn other_frame(&mut self, number: u8, keyframe: bool) {
        let at = MediaTime::from_millis(i64::from(number) * 33);
        let unit = vec![if keyframe { 0x65 } else { 0x41 }, OTHER + number];
        let frame = VideoFrame {
            codec: VideoCodec::H264,
            pts: at,
            dts: at,
            keyframe,
            info: FrameInfo::default(),
            units: vec![unit.into()],
        };
        self.other.push_video(&frame, self.viewer.now);
    }

    fn change(&mut self, change: LogChange) -> bool {
        let Harness {
            sender, log, now, ..
        } = &mut self.viewer;
        let has_changed = sender.change_log(log, &self.other, *now, change);
        if has_changed {
            std::mem::swap(&mut self.viewer.log, &mut self.other);
        }
        has_changed
    }

    /// Retransmits a packet of the present log, or of the one before.
    fn retransmit(&mut self, sequence: u16) -> usize {
        self.viewer.retransmit_from(sequence, Some(&self.other))
    }

    /// Returns the numbers of the frames that the viewer got. Sequence numbers and times must not
    /// have a gap.
    fn got(&mut self, sequence: &mut u16) -> Vec<u8> {
        let packets = self.viewer.received();
        let marks = packets.iter().map(|packet| {
            assert_eq!(packet.sequence, *sequence);
            *sequence += 1;
            let frame = packet.payload[1] % OTHER;
            assert_eq!(packet.timestamp, 1000 + 2970 * u32::from(frame));
            packet.payload[1]
        });
        marks.collect()
    }
}

#[test]
fn rendition_that_is_on_time_follows_without_a_gap() {
    let mut two = Two::new();
    let (mut sequence, mut got) = (10, Vec::new());
    for number in 0..25 {
        two.frame();
        two.other_frame(number, number % 10 == 0);
        let has_changed = number >= 4 && two.change(LogChange::Seamless);
        two.viewer.send(usize::MAX);
        got.extend(two.got(&mut sequence));
        if has_changed {
            break;
        }
    }
    let expected: Vec<u8> = (0..10).chain([OTHER + 10]).collect();
    assert_eq!(got, expected);
}

#[test]
fn late_rendition_is_awaited_at_a_keyframe() {
    let mut two = Two::new();
    let (mut sequence, mut got) = (10, Vec::new());
    for number in 0..16_u8 {
        two.frame();
        // The encoder of the other one is five frames late.
        if let Some(number) = number.checked_sub(5) {
            two.other_frame(number, number.is_multiple_of(10));
        }
        if number >= 4 && two.change(LogChange::Seamless) {
            assert_eq!(number, 15);
            two.viewer.send(usize::MAX);
            got.extend(two.got(&mut sequence));
            break;
        }
        two.viewer.send(usize::MAX);
        got.extend(two.got(&mut sequence));
    }
    let expected: Vec<u8> = (0..10).chain([OTHER + 10]).collect();
    assert_eq!(got, expected);
}

#[test]
fn viewer_of_a_late_rendition_gets_the_rest_of_it_before_the_stream() {
    let mut two = Two::new();
    let (mut sequence, mut got) = (10, Vec::new());
    for number in 0..10_u8 {
        two.other_frame(number, number == 0);
    }
    for _ in 0..5 {
        two.frame();
    }
    // The viewer is at frame 5; the other one has a keyframe at 10.
    two.other_frame(10, true);
    for number in 5..14_u8 {
        two.viewer.send(usize::MAX);
        got.extend(two.got(&mut sequence));
        if two.change(LogChange::Seamless) {
            assert_eq!(number, 11);
            break;
        }
        two.frame();
    }
    two.viewer.send(usize::MAX);
    got.extend(two.got(&mut sequence));
    let expected: Vec<u8> = (0..10).chain([OTHER + 10]).collect();
    assert_eq!(got, expected);
}

#[test]
fn keyframe_that_never_comes_does_not_stop_the_stream() {
    let mut two = Two::new();
    let (mut sequence, mut got) = (10, Vec::new());
    for number in 0..40_u8 {
        two.frame();
        two.other_frame(number, number == 0);
        assert!(number == 0 || !two.change(LogChange::Seamless));
        two.viewer.send(usize::MAX);
        got.extend(two.got(&mut sequence));
    }
    let expected: Vec<u8> = (0..40).collect();
    assert_eq!(got, expected);
}

#[test]
fn slow_path_takes_the_next_keyframe_and_old_packets_are_not_resent() {
    let mut two = Two::new();
    for number in 0..3 {
        two.frame();
        two.other_frame(number, number == 0);
    }
    two.viewer.send(usize::MAX);
    assert!(
        !two.change(LogChange::Skip),
        "its keyframe was shown already"
    );
    for number in 3..8 {
        two.frame();
        two.other_frame(number, number == 6);
    }
    assert!(two.change(LogChange::Skip));
    two.viewer.send(usize::MAX);
    let mut sequence = 10;
    assert_eq!(two.got(&mut sequence), [0, 1, 2, OTHER + 6, OTHER + 7]);
    assert_eq!(two.retransmit(12), 0, "of the old log");
    assert!(two.retransmit(13) > 0);
}

#[test]
fn packets_that_were_lost_before_a_change_without_a_gap_are_resent() {
    let mut two = Two::new();
    for number in 0..11 {
        two.frame();
        two.other_frame(number, number % 10 == 0);
        two.viewer.send(usize::MAX);
        if number > 0 && two.change(LogChange::Seamless) {
            break;
        }
    }
    two.viewer.send(usize::MAX);
    let mut sequence = 10;
    let expected: Vec<u8> = (0..10).chain([OTHER + 10]).collect();
    assert_eq!(two.got(&mut sequence), expected);
    // The last one of the log before, and the first one of the present log.
    for (sequence, mark) in [(19_u16, 9), (20, OTHER + 10)] {
        assert!(two.retransmit(sequence) > 0);
        let resent = two.viewer.received().pop().unwrap();
        assert_eq!(resent.payload[..2], sequence.to_be_bytes());
        assert_eq!(resent.payload[3], mark);
    }
}

#[test]
fn rendition_that_is_late_by_more_than_its_keyframes_is_awaited_at_last() {
    let mut two = Two::new();
    let (mut sequence, mut got) = (10, Vec::new());
    for number in 0..40_u8 {
        two.frame();
        // Late by seven frames, with keyframes where the stream has none.
        if let Some(number) = number.checked_sub(7) {
            two.other_frame(number, number % 10 == 4);
        }
        let change = if number < 20 {
            LogChange::Seamless
        } else {
            LogChange::Stop
        };
        if number > 0 && two.change(change) {
            break;
        }
        two.viewer.send(usize::MAX);
        got.extend(two.got(&mut sequence));
    }
    two.viewer.send(usize::MAX);
    got.extend(two.got(&mut sequence));
    let expected: Vec<u8> = (0..20).chain([OTHER + 24]).collect();
    assert_eq!(got, expected);
}

#[test]
fn frame_that_a_slow_path_has_not_finished_is_given_up_for_the_keyframe() {
    for change in [LogChange::Skip, LogChange::Stop] {
        let mut two = Two::new();
        two.frame();
        two.viewer.send(usize::MAX);
        two.viewer.received();
        let large = [&[0x41, 1][..], &[7; 20_000]].concat();
        two.viewer.unit(large);
        two.frames += 1;
        two.viewer.send(3000);
        let begun = two.viewer.received();
        assert!(begun.len() == 2 && begun[1].timestamp == 1000 + 2970);
        assert!(!two.change(LogChange::Seamless) && !two.change(change));
        if change == LogChange::Stop {
            two.viewer.send(usize::MAX);
            assert_eq!(two.viewer.received(), [], "nothing more of it");
        }
        two.other_frame(1, true);
        assert!(!two.change(change), "a part of that frame was sent");
        two.frame();
        two.other_frame(2, true);
        assert!(two.change(change));
        two.viewer.send(usize::MAX);
        let got = two.viewer.received();
        let [keyframe] = &got[..] else {
            panic!("{got:?}");
        };
        assert_eq!(keyframe.sequence, begun[1].sequence + 1);
        assert_eq!(keyframe.payload, [0x65, OTHER + 2]);
    }
}
