//! Parts of messages in, whole messages out.

use bytes::{Bytes, BytesMut};

use crate::message::{Header, MAX_BODY, Part};

/// Maximum distance of a part's number from the expected one. One that is further away is no part
/// of what was joined: at the highest bit rate there is, these are many seconds.
const MAX_DISTANCE: u64 = 1 << 14;

/// Puts the parts of one subject together.
///
/// The body of a frame is copied once into a buffer of its own: a slice of what was read from the
/// connection would keep a whole buffer of it alive, with frames of other streams.
#[derive(Debug, Default)]
pub struct Reassembly {
    /// The number of the next part; `None` before the first.
    next: Option<u64>,
    partial: Option<Partial>,
}

#[derive(Debug)]
struct Partial {
    header: Header,
    clock: u64,
    length: usize,
    body: BytesMut,
}

/// A whole message.
#[derive(Clone, Debug, PartialEq)]
pub struct Whole {
    /// The header.
    pub header: Header,
    /// Clock of the owner when the message was sent, in microseconds.
    pub clock: u64,
    /// The body.
    pub body: Bytes,
}

/// The outcome of one part.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    /// True if parts are missing before this one.
    pub has_gap: bool,
    /// True if its number is too far from the expected one. It is ignored.
    pub is_astray: bool,
    /// The message that is whole now.
    pub whole: Option<Whole>,
}

impl Reassembly {
    /// Returns a reassembly that takes up a stream at the part with this number.
    pub fn starting_at(next: u64) -> Self {
        Self {
            next: Some(next),
            partial: None,
        }
    }

    /// Returns whether the part with this number is the next one.
    pub fn expects(&self, number: u64) -> bool {
        self.next == Some(number)
    }

    /// Handles a part. One that was already there, or comes too late, is ignored.
    pub fn handle(&mut self, part: &Part) -> Outcome {
        let expected = self.next.unwrap_or(part.sequence);
        let is_astray = part.sequence.abs_diff(expected) > MAX_DISTANCE;
        if part.sequence < expected || is_astray {
            return Outcome {
                has_gap: false,
                is_astray,
                whole: None,
            };
        }
        let has_gap = part.sequence > expected;
        self.next = Some(part.sequence.saturating_add(1));
        if has_gap || part.is_first {
            self.partial = None;
        }
        let whole = self.add(part);
        Outcome {
            has_gap,
            is_astray: false,
            whole,
        }
    }

    /// Adds a part to its message; returns it when it is whole.
    fn add(&mut self, part: &Part) -> Option<Whole> {
        if part.is_first {
            if part.is_last {
                // A copy, for the reason above.
                let body = Bytes::copy_from_slice(&part.body);
                return (body.len() == part.length).then_some(Whole {
                    header: part.header,
                    clock: part.clock,
                    body,
                });
            }
            self.partial = Some(Partial {
                header: part.header,
                clock: part.clock,
                length: part.length.min(MAX_BODY),
                body: BytesMut::with_capacity(2 * part.body.len()),
            });
        }
        let mut partial = self.partial.take()?;
        let fits = partial.body.len() + part.body.len() <= partial.length;
        if !fits || partial.header.kind != part.header.kind {
            return None;
        }
        partial.body.extend_from_slice(&part.body);
        if !part.is_last {
            self.partial = Some(partial);
            return None;
        }
        (partial.body.len() == partial.length).then(|| Whole {
            header: partial.header,
            clock: partial.clock,
            body: compact(partial.body),
        })
    }
}

/// Returns the bytes in a buffer of their size, if theirs is much larger.
fn compact(body: BytesMut) -> Bytes {
    if body.capacity() > body.len() + body.len() / 16 {
        Bytes::copy_from_slice(&body)
    } else {
        body.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Content;
    use crate::message::{MAX_PART, encode_frame};
    use distributary_media::test_util::{opus_frame, video_frame};
    use distributary_media::{Frame, MediaTime};
    use proptest::prelude::*;

    fn parts(frame: &Frame, sequence: u64) -> Vec<Part> {
        let header = Header::of_frame(frame, 3, 0);
        let messages = encode_frame(frame, &header, sequence, 0);
        messages.iter().map(|m| Part::decode(m).unwrap()).collect()
    }

    #[test]
    fn frames_come_out_as_they_went_in() {
        let mut large = video_frame(40, true, 3 * MAX_PART);
        large.units.push(vec![0x41; 10].into());
        large.pts = MediaTime::from_millis(80);
        large.info.disposable = true;
        let frames = [
            Frame::Video(large),
            Frame::Audio(opus_frame(40, &[1, 2])),
            Frame::Video(video_frame(80, false, 10)),
        ];
        let mut reassembly = Reassembly::default();
        let (mut sequence, mut out) = (0, Vec::new());
        for frame in &frames {
            for part in parts(frame, sequence) {
                sequence = part.sequence + 1;
                let outcome = reassembly.handle(&part);
                assert!(!outcome.has_gap);
                out.extend(outcome.whole);
            }
        }
        let out: Vec<_> = out
            .into_iter()
            .map(|whole| Content::read(&whole.header, whole.body).unwrap())
            .collect();
        assert_eq!(out, frames.map(Content::Frame));
    }

    #[test]
    fn frame_keeps_no_buffer_of_the_connection() {
        let frame = Frame::Audio(opus_frame(0, &[1, 2]));
        let read = encode_frame(&frame, &Header::of_frame(&frame, 1, 0), 0, 0).remove(0);
        let part = Part::decode(&read).unwrap();
        let whole = Reassembly::default().handle(&part).whole.unwrap();
        drop(part);
        assert!(read.is_unique(), "the frame does not hold it");
        drop(whole);
    }

    #[test]
    fn lost_part_is_a_gap_and_the_message_is_dropped() {
        let frame = Frame::Video(video_frame(0, true, 3 * MAX_PART));
        let mut all = parts(&frame, 0);
        let mut reassembly = Reassembly::default();
        let after = parts(&Frame::Video(video_frame(40, false, 10)), all.len() as u64);
        all.remove(1);
        let outcomes: Vec<_> = all
            .into_iter()
            .chain(after)
            .map(|part| reassembly.handle(&part))
            .collect();
        let gaps: Vec<_> = outcomes.iter().map(|outcome| outcome.has_gap).collect();
        assert_eq!(gaps, [false, true, false, false]);
        let whole = outcomes.iter().filter_map(|outcome| outcome.whole.as_ref());
        let times: Vec<_> = whole.map(|whole| whole.header.dts.as_millis()).collect();
        assert_eq!(times, [40]);
    }

    #[test]
    fn repeated_part_is_ignored() {
        let frame = Frame::Audio(opus_frame(0, &[1]));
        let mut reassembly = Reassembly::starting_at(5);
        let part = |sequence| parts(&frame, sequence).remove(0);
        assert!(reassembly.handle(&part(4)).whole.is_none());
        assert!(reassembly.handle(&part(5)).whole.is_some());
        assert!(reassembly.handle(&part(5)).whole.is_none());
        assert!(reassembly.handle(&part(9)).has_gap);
    }

    #[test]
    fn part_that_is_astray_changes_nothing() {
        let frame = Frame::Audio(opus_frame(0, &[1]));
        let part = |sequence| parts(&frame, sequence).remove(0);
        let mut reassembly = Reassembly::starting_at(5);
        let mut astray = part(0);
        astray.sequence = u64::MAX;
        let outcome = reassembly.handle(&astray);
        assert!(outcome.is_astray && outcome.whole.is_none());
        let outcome = reassembly.handle(&part(5));
        assert!(!outcome.is_astray && outcome.whole.is_some());
        let mut reassembly = Reassembly::starting_at(u64::MAX);
        assert!(reassembly.handle(&part(5)).is_astray);
    }

    #[test]
    fn message_without_its_first_part_or_of_another_length_is_dropped() {
        let frame = Frame::Video(video_frame(0, true, 2 * MAX_PART));
        let mut reassembly = Reassembly::default();
        let tail = parts(&frame, 0).split_off(1);
        assert!(
            tail.into_iter()
                .all(|part| reassembly.handle(&part).whole.is_none())
        );
        let mut short = parts(&frame, 10);
        short.remove(1);
        short[1].sequence = 11;
        let mut whole = short.into_iter().map(|part| reassembly.handle(&part).whole);
        assert!(whole.all(|whole| whole.is_none()));
    }

    proptest! {
        #[test]
        fn whatever_is_lost_only_whole_frames_come_out(
            sizes in proptest::collection::vec(1_usize..200_000, 1..8),
            lost in proptest::collection::vec(any::<bool>(), 40),
        ) {
            let frames: Vec<_> = sizes
                .iter()
                .enumerate()
                .map(|(at, size)| Frame::Video(video_frame(at as i64, false, *size)))
                .collect();
            let mut reassembly = Reassembly::default();
            let mut sequence = 0;
            for frame in &frames {
                for part in parts(frame, sequence) {
                    sequence = part.sequence + 1;
                    if lost[part.sequence as usize % lost.len()] {
                        continue;
                    }
                    if let Some(whole) = reassembly.handle(&part).whole {
                        prop_assert_eq!(&Content::read(&whole.header, whole.body).unwrap(), &Content::Frame(frame.clone()));
                    }
                }
            }
        }
    }
}
