//! Joins the slices of an access unit that arrive in separate tags.

use super::super::error::FlvError;
use super::super::tag_kind::TagKind;
use super::tagged_frame::{Content, Part, TaggedFrame};
use super::video_state::VideoState;
use super::{FlvEvent, FlvEvents};
use crate::MediaTime;

/// Maximum memory of joined tags, in bytes: several times a keyframe of 4K. They stay in memory
/// until the access unit is complete; one that takes more is dropped.
const MAX_HELD: usize = 8 << 20;

/// Maximum memory of a tag in addition to its bytes.
const TAG_OVERHEAD: usize = 128;

/// Joins tags into access units, once a publisher was seen to split them.
#[derive(Debug, Default)]
pub(super) struct Join {
    mode: Mode,
    /// The timestamp of the last access unit that was used or dropped: its remaining tags are too
    /// late.
    past: Option<MediaTime>,
    /// The access unit that is being joined.
    held: Option<Held>,
    /// Number of tags that have begun or extended a held access unit.
    held_tags: u64,
}

/// The way in which the publisher sends access units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    /// Its tags have whole access units so far.
    #[default]
    Whole,
    /// Unknown; the first access unit is held.
    Unknown,
    /// Its access units are spread over several tags.
    Joined,
}

#[derive(Debug)]
struct Held {
    frame: TaggedFrame,
    has_slice: bool,
}

impl Held {
    /// Returns whether a tag belongs to this access unit.
    fn goes_on_with(&self, timestamp: MediaTime, part: Part) -> bool {
        let fits = match part.content {
            _ if part.is_delimited => false,
            Content::Prefix | Content::FirstSlice => !self.has_slice,
            Content::LaterSlices | Content::Other => true,
        };
        fits && self.frame.timestamp == timestamp
    }

    /// Adds a tag. Returns `false` if it exceeds the limit of memory.
    fn add(&mut self, tag: TaggedFrame, part: Part) -> bool {
        self.frame.held += tag.held;
        self.frame.more.push(tag.data);
        self.has_slice |= part.has_slice();
        self.memory() <= MAX_HELD
    }

    fn memory(&self) -> usize {
        self.frame.held + (1 + self.frame.more.len()) * TAG_OVERHEAD
    }
}

impl Join {
    /// Creates a join that holds the first access unit until it is known whether it is split.
    pub(super) fn holding_first() -> Self {
        Self {
            mode: Mode::Unknown,
            ..Self::default()
        }
    }

    /// Returns whether an access unit is held that may be incomplete.
    pub(super) fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// Returns the number of tags that have begun or extended a held access unit.
    pub(super) fn held_tags(&self) -> u64 {
        self.held_tags
    }

    /// Handles a tag of the track. Returns the events that it completes.
    pub(super) fn handle(
        &mut self,
        tag: TaggedFrame,
        video: &mut VideoState,
    ) -> Result<FlvEvents, FlvError> {
        let timestamp = tag.timestamp;
        let may_be_rest = self.past == Some(timestamp);
        if self.mode == Mode::Whole && !may_be_rest {
            return self.pass(tag, video);
        }
        let Some(part) = video.part(&tag.data) else {
            return self.pass(tag, video);
        };
        if let Some(held) = &mut self.held
            && held.goes_on_with(timestamp, part)
        {
            let is_spread = held.has_slice && part.has_slice();
            self.held_tags += 1;
            if held.add(tag, part) {
                return Ok(if is_spread {
                    self.join()
                } else {
                    FlvEvents::default()
                });
            }
            let len = held.memory();
            self.held = None;
            self.past = Some(timestamp);
            return Err(FlvError::TooLarge {
                tag: TagKind::Video,
                structure: "share in a frame",
                len,
                limit: MAX_HELD,
            });
        }
        if may_be_rest && part.is_rest() {
            return Ok(self.join());
        }
        if self.mode == Mode::Whole {
            return self.pass(tag, video);
        }
        let before = self.release(video);
        if self.mode == Mode::Whole
            && let Ok(mut events) = before
        {
            // The first access unit was whole, so this is another one. If it is broken, the first
            // one is not lost with it; the errors of those after it are reported.
            if let Ok(next) = self.pass(tag, video) {
                events.extend(next);
            }
            return Ok(events);
        }
        self.held_tags += 1;
        self.held = Some(Held {
            frame: tag,
            has_slice: part.has_slice(),
        });
        before
    }

    /// Joins from now on. Returns the event if this is new.
    fn join(&mut self) -> FlvEvents {
        let before = std::mem::replace(&mut self.mode, Mode::Joined);
        let news = (before != Mode::Joined).then_some(FlvEvent::SlicesJoined);
        news.into_iter().collect()
    }

    /// Uses a tag as a whole access unit.
    fn pass(&mut self, tag: TaggedFrame, video: &mut VideoState) -> Result<FlvEvents, FlvError> {
        let timestamp = tag.timestamp;
        let events = video.frame(tag)?;
        if events.has_frame() {
            self.past = Some(timestamp);
        }
        Ok(events)
    }

    /// Uses the access unit that is held, as far as it has arrived.
    pub(super) fn release(&mut self, video: &mut VideoState) -> Result<FlvEvents, FlvError> {
        let Some(Held { frame, has_slice }) = self.held.take() else {
            return Ok(FlvEvents::default());
        };
        self.past = Some(frame.timestamp);
        let events = video.frame(frame);
        if self.mode == Mode::Unknown && has_slice && events.is_ok() {
            self.mode = Mode::Whole;
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::super::FlvDemuxer;
    use super::super::tests::{HVCC, configured, enhanced};
    use super::*;
    use crate::bits::BitWriter;
    use crate::h264::nal::unit_of;
    use crate::test_util::hex;
    use crate::{Frame, VideoFrame};
    use bytes::Bytes;

    /// Milliseconds from one access unit to the next.
    const STEP: i64 = 40;

    /// Returns NAL units with length prefixes.
    fn prefixed(units: &[Vec<u8>]) -> Vec<u8> {
        let with_length = |unit: &Vec<u8>| [&(unit.len() as u32).to_be_bytes()[..], unit].concat();
        units.iter().flat_map(with_length).collect()
    }

    /// Returns slice `n` of an access unit, with unique content.
    fn h264_slice(header: u8, n: u32, content: u8) -> Vec<u8> {
        let mut bits = BitWriter::default();
        bits.ue(n * 80);
        bits.ue(7);
        bits.ue(0);
        bits.bits(u64::from(content), 8);
        unit_of(header, &bits.finish_rbsp())
    }

    fn h265_slice(kind: u8, n: u32, content: u8) -> Vec<u8> {
        let first = if n == 0 { 0x80 } else { 0 };
        vec![kind << 1, 1, first | 0x55, content, 0x80]
    }

    /// Returns access units of one to four slices, some after delimiters, parameter sets and SEI.
    fn access_units(is_h265: bool) -> Vec<Vec<Vec<u8>>> {
        let (delimiter, sei) = if is_h265 {
            (hex("460150"), hex("4e01051aff"))
        } else {
            (hex("09f0"), hex("060501ff80"))
        };
        let pps = hex(if is_h265 {
            "4401c073c189"
        } else {
            "68cb83cb20"
        });
        let unit = |n: u32| {
            let mut units = Vec::new();
            let is_keyframe = n.is_multiple_of(5);
            if n % 3 == 1 {
                units.push(delimiter.clone());
            }
            if is_keyframe {
                units.push(pps.clone());
            }
            if n % 2 == 1 {
                units.push(sei.clone());
            }
            // The first has several, so that the split is detected by it.
            let slices = if n == 0 { 4 } else { n % 4 + 1 };
            units.extend((0..slices).map(|slice| match (is_h265, is_keyframe) {
                (false, true) => h264_slice(0x65, slice, n as u8),
                (false, false) => h264_slice(0x41, slice, n as u8),
                (true, true) => h265_slice(19, slice, n as u8),
                (true, false) => h265_slice(1, slice, n as u8),
            }));
            units
        };
        (0..40).map(unit).collect()
    }

    struct Publisher {
        demuxer: FlvDemuxer,
        is_h265: bool,
        frames: Vec<VideoFrame>,
        /// Number of events that slices are joined.
        joined: usize,
    }

    impl Publisher {
        fn new(is_h265: bool) -> Self {
            let demuxer = if is_h265 {
                let mut demuxer = FlvDemuxer::new();
                let header = [b"\x90hvc1", &hex(HVCC)[..]].concat();
                enhanced(&mut demuxer, TagKind::Video, &header);
                demuxer
            } else {
                configured()
            };
            Self {
                demuxer,
                is_h265,
                frames: Vec::new(),
                joined: 0,
            }
        }

        fn h264() -> Self {
            Self::new(false)
        }

        /// Returns a publisher of which the first access unit is held.
        fn live(is_h265: bool) -> Self {
            let mut publisher = Self::new(is_h265);
            publisher.demuxer.video.join = Join::holding_first();
            publisher
        }

        fn flush(&mut self) {
            let events = self.demuxer.flush().unwrap();
            self.take(events);
        }

        fn take(&mut self, events: FlvEvents) {
            for event in events {
                match event {
                    FlvEvent::Frame(Frame::Video(frame)) => self.frames.push(frame),
                    FlvEvent::SlicesJoined => self.joined += 1,
                    other => panic!("{other:?}"),
                }
            }
        }

        fn send(&mut self, millis: i64, units: &[Vec<u8>]) -> Result<(), FlvError> {
            let head: &[u8] = if self.is_h265 {
                b"\xa1hvc1\0\0\x07"
            } else {
                &[0x27, 1, 0, 0, 7]
            };
            let body = [head, &prefixed(units)].concat();
            let time = MediaTime::from_millis(millis);
            let events = self.demuxer.handle_video(time, body.into())?;
            self.take(events);
            Ok(())
        }

        /// Sends access units, split into tags of the numbers of NAL units that `pieces` returns.
        fn publish(
            &mut self,
            access_units: &[Vec<Vec<u8>>],
            pieces: impl Fn(&[Vec<u8>]) -> Vec<Vec<Vec<u8>>>,
        ) {
            for (n, units) in access_units.iter().enumerate() {
                for piece in pieces(units) {
                    self.send(n as i64 * STEP, &piece).unwrap();
                }
                let body = Bytes::from_static(b"\x90OpusOpusHead");
                let time = MediaTime::from_millis(n as i64 * STEP);
                self.demuxer.handle_audio(time, body).unwrap();
            }
        }
    }

    fn whole(units: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
        vec![units.to_vec()]
    }

    fn one_by_one(units: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
        units.iter().map(|unit| vec![unit.clone()]).collect()
    }

    /// Returns one slice per tag, the first one with the units before it.
    fn slice_by_slice(units: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
        let slice = units.iter().position(|unit| {
            let first = unit[0];
            [0x65, 0x41, 19 << 1, 1 << 1].contains(&first)
        });
        let (head, tail) = units.split_at(slice.unwrap() + 1);
        [vec![head.to_vec()], one_by_one(tail)].concat()
    }

    #[test]
    fn slices_in_separate_tags_are_joined() {
        for is_h265 in [false, true] {
            let access_units = access_units(is_h265);
            let mut reference = Publisher::new(is_h265);
            reference.publish(&access_units, whole);
            assert_eq!(reference.frames.len(), access_units.len());
            assert_eq!(reference.joined, 0);
            for pieces in [slice_by_slice, one_by_one] {
                let mut publisher = Publisher::new(is_h265);
                publisher.publish(&access_units, pieces);
                assert_eq!(publisher.joined, 1);
                // The first was used before the second slice arrived, and the last is not complete
                // yet.
                let complete = 1..access_units.len() - 1;
                assert_eq!(publisher.frames[1..], reference.frames[complete]);
            }
        }
    }

    #[test]
    fn live_publisher_loses_neither_its_first_nor_its_last_access_unit() {
        for is_h265 in [false, true] {
            let access_units = access_units(is_h265);
            let mut reference = Publisher::new(is_h265);
            reference.publish(&access_units, whole);
            for pieces in [slice_by_slice, one_by_one] {
                let mut publisher = Publisher::live(is_h265);
                publisher.publish(&access_units, pieces);
                assert!(publisher.demuxer.is_holding());
                publisher.flush();
                assert_eq!(publisher.joined, 1);
                assert!(!publisher.demuxer.is_holding());
                assert_eq!(publisher.frames, reference.frames);
            }
        }
    }

    #[test]
    fn broken_second_access_unit_does_not_lose_the_first() {
        let mut publisher = Publisher::live(false);
        publisher.send(0, &[h264_slice(0x65, 0, 1)]).unwrap();
        let broken = Bytes::from_static(&[0x27, 1, 0, 0, 7, 0xff, 0xff, 0xff, 0xff, 0x41]);
        let time = MediaTime::from_millis(STEP);
        let events = publisher.demuxer.handle_video(time, broken.clone());
        publisher.take(events.unwrap());
        assert_eq!(publisher.frames.len(), 1);
        let time = MediaTime::from_millis(2 * STEP);
        assert!(publisher.demuxer.handle_video(time, broken).is_err());
    }

    #[test]
    fn only_the_first_access_unit_of_a_live_publisher_waits_for_the_next() {
        for (times, pieces) in [([0, STEP, 2 * STEP], 1), ([0, 0, 0], 3)] {
            let mut publisher = Publisher::live(false);
            for (n, time) in (1..).zip(times) {
                let slices: Vec<_> = (0..pieces)
                    .map(|slice| h264_slice(0x65, slice, n))
                    .collect();
                publisher.send(time, &slices).unwrap();
                let expected = if n == 1 { 0 } else { usize::from(n) };
                assert_eq!(publisher.frames.len(), expected);
            }
            assert!(!publisher.demuxer.is_holding());
            assert_eq!(publisher.joined, 0);
        }
    }

    #[test]
    fn broken_first_access_unit_of_a_live_publisher_keeps_the_next_one_whole() {
        let mut publisher = Publisher::live(false);
        let slices = [0, 1].map(|slice| h264_slice(0x65, slice, 9));
        // A slice, and an invalid parameter set.
        publisher.send(0, &[hex("67"), slices[0].clone()]).unwrap();
        for slice in &slices {
            let _ = publisher.send(STEP, std::slice::from_ref(slice));
        }
        publisher.flush();
        assert_eq!(publisher.frames.last().unwrap().units[2..], slices);
    }

    #[test]
    fn whole_access_units_are_not_delayed_even_if_they_share_a_timestamp() {
        let mut publisher = Publisher::h264();
        for n in 0..20 {
            let units = [h264_slice(0x65, 0, n), h264_slice(0x65, 1, n)];
            publisher.send(i64::from(n / 3) * STEP, &units).unwrap();
            assert_eq!(publisher.frames.len(), usize::from(n) + 1);
        }
        assert_eq!(publisher.joined, 0);
    }

    #[test]
    fn joined_access_units_with_one_timestamp_are_distinguished() {
        let mut publisher = Publisher::h264();
        let slices = |n| [0, 1, 2].map(|slice| h264_slice(0x65, slice, n));
        for n in 0..5 {
            for slice in slices(n) {
                publisher.send(0, &[slice]).unwrap();
            }
        }
        assert_eq!(publisher.frames.len(), 4);
        for (n, frame) in (1..4).zip(&publisher.frames[1..]) {
            assert_eq!(frame.units[2..], slices(n));
        }
    }

    #[test]
    fn sequence_header_completes_the_previous_access_unit() {
        let mut publisher = Publisher::h264();
        let slices = [0, 1].map(|slice| h264_slice(0x65, slice, 9));
        for time in [0, STEP] {
            for slice in &slices {
                publisher.send(time, std::slice::from_ref(slice)).unwrap();
            }
        }
        let other = super::super::tests::HEADER_360P.replace("68cb83cb20", "68cb83cb30");
        let time = MediaTime::from_millis(2 * STEP);
        let header = hex(&other).into();
        let events: Vec<_> = publisher
            .demuxer
            .handle_video(time, header)
            .unwrap()
            .collect();
        let [
            FlvEvent::Frame(Frame::Video(frame)),
            FlvEvent::VideoTrack(_),
        ] = &events[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!(frame.units[1], hex("68cb83cb20"), "its own parameter set");
        assert_eq!(frame.units[2..], slices);
        // It continues to join.
        for slice in &slices {
            publisher
                .send(3 * STEP, std::slice::from_ref(slice))
                .unwrap();
        }
        publisher.send(4 * STEP, &slices[..1]).unwrap();
        assert_eq!(publisher.frames.last().unwrap().units[2..], slices);
    }

    #[test]
    fn memory_of_joined_tags_is_limited() {
        let mut publisher = Publisher::h264();
        let slice = |n| h264_slice(0x65, n, 0);
        publisher.send(0, &[slice(0)]).unwrap();
        publisher.send(0, &[slice(1)]).unwrap();
        publisher.send(STEP, &[slice(0)]).unwrap();
        let mut large = slice(1);
        large.resize(1 << 20, 0xff);
        let mut results = (0..9).map(|_| publisher.send(STEP, std::slice::from_ref(&large)));
        assert_eq!(results.position(|result| result.is_err()), Some(7));
        // The rest of it is dropped, and the next one is returned.
        publisher.send(STEP, std::slice::from_ref(&large)).unwrap();
        for time in [2 * STEP, 3 * STEP] {
            publisher.send(time, &[slice(0)]).unwrap();
            publisher.send(time, &[slice(1)]).unwrap();
        }
        let times: Vec<_> = publisher
            .frames
            .iter()
            .map(|frame| frame.dts.as_millis())
            .collect();
        assert_eq!(times, [0, 2 * STEP]);
        // Tags take memory in addition to their bytes.
        let small = [slice(1)];
        let most = MAX_HELD / TAG_OVERHEAD;
        let refused = (0..most).any(|_| publisher.send(3 * STEP, &small).is_err());
        assert!(refused, "{most} tags");
    }
}
