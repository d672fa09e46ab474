//! A track's packets as a log, in which every viewer is a cursor.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use distributary_media::{AudioFrame, LONG_GOP, MediaTime, VideoCodec, VideoFrame};

use crate::reorder;
use crate::rtp::extension::MAX_HEADER;
use crate::rtp::{self, Payload, red};
use crate::srtp::rtp::MAX_TAG_LEN;

/// Longest packet in bytes of UDP payload: it passes every path that carries IPv6 in a tunnel.
pub const MAX_PACKET: usize = 1200;

/// Bytes of the original sequence number in front of a retransmitted payload (RFC 4588 section 4).
pub(crate) const OSN_LEN: usize = 2;

/// Longest payload of a packet in bytes: what the longest header and tag leave of [`MAX_PACKET`],
/// in a retransmission too.
pub const MAX_PAYLOAD: usize = MAX_PACKET - MAX_HEADER - OSN_LEN - MAX_TAG_LEN;

/// Most bytes of padding. Fragments of equal size leave the last one shorter by less than there are
/// fragments: longer padding would be for an odd unit behind them, which is not worth it.
const MAX_PADDING: u8 = 64;

/// The least distance between two pictures: one tick of the 90 kHz clock, rounded up.
const TICK: Duration = Duration::from_nanos(11_112);

/// Most pictures held back that are reckoned with.
const MAX_HELD: usize = 4;

/// How much earlier a picture that is held back is taken to be at most, for each of them: after a pause,
/// what a decoder still holds is of no moment.
pub(crate) const MAX_INTERVAL: Duration = Duration::from_millis(100);

/// Bounds of a log.
#[derive(Clone, Copy, Debug)]
pub struct LogLimits {
    /// How long packets are kept for retransmission after they came in.
    pub history: Duration,
    /// Longest time back to the newest keyframe. A longer group of pictures is not kept for
    /// newcomers.
    pub max_group: Duration,
    /// Most bytes of memory, whatever the two above say. The oldest packets are dropped, and with one of
    /// the newest group the group is not kept for newcomers.
    pub max_bytes: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            history: Duration::from_secs(2),
            max_group: Duration::from_secs(30),
            max_bytes: 32 << 20,
        }
    }
}

/// Memory that a packet takes beside its payload, at most: itself, and what slices of one buffer share.
const PACKET_OVERHEAD: usize = size_of::<LoggedPacket>() + 64;

/// How long a group of pictures is kept behind the keyframe of the next: newcomers who are still being sent
/// it finish the picture that they are in, and go over.
const LEAVE_TIME: Duration = Duration::from_millis(200);

/// The packets of one track of a stream, packetised once for all viewers of a shard.
///
/// Packets are numbered from zero and never renumbered. Kept are those since the newest keyframe,
/// for newcomers, and those of the last seconds, for retransmission.
#[derive(Debug)]
pub struct Log {
    clock_rate: u32,
    limits: LogLimits,
    pads: bool,
    makes_red: bool,
    packets: VecDeque<LoggedPacket>,
    /// Number of the first packet kept.
    first: u64,
    /// Number of the newest keyframe's first packet, while it is kept.
    keyframe: Option<u64>,
    /// That of the keyframe before.
    keyframe_before: Option<u64>,
    /// The newest keyframe, as it came.
    last_keyframe: Option<VideoFrame>,
    /// Time of the newest picture.
    newest: Option<MediaTime>,
    /// Presentation times of the pictures that decoders hold back to put them in order.
    held: BinaryHeap<Reverse<MediaTime>>,
    /// Presentation times of the pictures before, the newest first.
    before: VecDeque<MediaTime>,
    /// When the newest keyframe came, and how long after the one before it.
    keyframe_at: Option<Instant>,
    keyframe_interval: Option<Duration>,
    bytes: usize,
}

/// One packet of the log.
#[derive(Clone, Debug)]
pub struct LoggedPacket {
    /// What follows the RTP header.
    pub payload: Payload,
    /// The coding of its picture; `None` for sound.
    pub codec: Option<VideoCodec>,
    /// The same with the block of sound before it (RFC 2198), where the log makes that.
    pub red: Option<Box<Payload>>,
    /// Presentation time, from the stream's epoch.
    pub pts: MediaTime,
    /// The same in ticks of the media clock, modulo 2^32.
    pub timestamp: u32,
    /// How many ticks earlier the pictures are that come out of a decoder which holds one, two and so on
    /// back. Zero where that is reckoned with in the time itself.
    pub lags: [u16; MAX_HELD],
    /// Whether it is the first packet of its picture.
    pub first: bool,
    /// Whether it is the last packet of its picture.
    pub marker: bool,
    /// Whether no other picture refers to its picture, so that it can be left out.
    pub disposable: bool,
    /// Which viewers it is for.
    pub audience: Audience,
    /// Bytes of padding behind the payload (RFC 3550 section 5.1); 0 for none.
    pub padding: u8,
    /// When it was logged.
    pub at: Instant,
}

/// Which viewers a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// All of them.
    All,
    /// Those who begin with it.
    Newcomers,
    /// Those whose decoder puts pictures in order.
    Reordering,
    /// Of those, the ones whose decoder holds fewer than this many pictures back so far.
    Priming(u8),
}

/// What the packets of a picture have in common.
struct Picture {
    codec: VideoCodec,
    /// Number of its first packet.
    start: u64,
    time: MediaTime,
    timestamp: u32,
    lags: [u16; MAX_HELD],
    keyframe: bool,
    disposable: bool,
    at: Instant,
}

impl LoggedPacket {
    /// Returns the memory that the packet takes, in bytes. Its payload is a slice of a frame that the hub
    /// has compacted, so a frame costs no more than its packets.
    fn memory(&self) -> usize {
        let red = self.red.as_ref();
        let red = red.map_or(0, |red| red.len() + size_of::<Payload>());
        self.payload.len() + red + PACKET_OVERHEAD
    }

    /// How many ticks earlier than this picture the one is that comes out of a decoder which holds so many
    /// pictures back when this one goes in.
    pub fn lag(&self, held: u8) -> u32 {
        let place = usize::from(held).checked_sub(1);
        let lag = place.and_then(|place| self.lags.get(place.min(MAX_HELD - 1)));
        lag.copied().map_or(0, u32::from)
    }
}

impl Log {
    /// An empty log of a track whose media clock runs at `clock_rate` Hz.
    pub fn new(clock_rate: u32, limits: LogLimits) -> Self {
        Self {
            clock_rate,
            limits,
            pads: false,
            makes_red: false,
            packets: VecDeque::new(),
            first: 0,
            keyframe: None,
            keyframe_before: None,
            last_keyframe: None,
            newest: None,
            held: BinaryHeap::new(),
            before: VecDeque::with_capacity(MAX_HELD),
            keyframe_at: None,
            keyframe_interval: None,
            bytes: 0,
        }
    }

    /// The same for sound, with a second form of each packet that carries the one before it as well.
    #[must_use]
    pub fn with_redundancy(self, makes_red: bool) -> Self {
        Self { makes_red, ..self }
    }

    /// The rate of the media clock in Hz.
    pub fn clock_rate(&self) -> u32 {
        self.clock_rate
    }

    /// Whether the last packet of each picture is padded to the length of the one before, so that sound
    /// can be sent behind it with the same call.
    pub fn set_padding(&mut self, pads: bool) {
        self.pads = pads;
    }

    /// Packetises a picture that came at `now`.
    pub fn push_video(&mut self, frame: &VideoFrame, now: Instant) {
        while let Some(Reverse(time)) = self.held.pop() {
            self.note_shown(time);
        }
        if frame.keyframe {
            self.last_keyframe = Some(frame.clone());
        } else if frame.is_recovery_point() {
            self.push_entrance(frame, now);
        }
        let lags = self.lags(frame.pts);
        self.note_shown(frame.pts);
        let picture = Picture {
            lags,
            ..self.picture(frame, frame.pts, now)
        };
        self.append(&picture, &frame.units, Audience::All);
        self.end_picture(&picture, now);
    }

    /// Packetises a picture of a stream whose pictures are shown in another order than they are decoded
    /// in, so that a decoder holds `depth` of them back. Viewers whose decoder does that are sent all
    /// pictures, the others the keyframes (see [`crate::reorder`]).
    pub fn push_reordered(&mut self, frame: &VideoFrame, depth: u8, now: Instant) {
        let time = self.time_of_next_shown(frame, depth);
        let picture = self.picture(frame, time, now);
        if frame.keyframe {
            let parts = reorder::Keyframe::new(&frame.units, depth);
            self.append(&picture, &parts.parameter_sets, Audience::All);
            self.append(&picture, &[parts.carrier], Audience::Reordering);
            for held in 1..=depth {
                self.append(&picture, &parts.slices, Audience::Priming(held));
            }
            self.append(&picture, &parts.picture, Audience::All);
        } else {
            self.append(&picture, &frame.units, Audience::Reordering);
        }
        self.end_picture(&picture, now);
    }

    /// When a picture goes into a decoder that holds `depth` of them back, the earliest of those it has
    /// comes out, and its time is what is sent. Decoding times would do for most encoders; some let them
    /// run ahead of that by more pictures than are held back. What comes out while the decoder is primed
    /// is the keyframe again, at decoding times. On from a stream in order, time must not step back.
    fn time_of_next_shown(&mut self, frame: &VideoFrame, depth: u8) -> MediaTime {
        self.held.push(Reverse(frame.pts));
        let shown = match self.held.len() > usize::from(depth) {
            true => self.held.pop(),
            false => None,
        };
        if let Some(Reverse(time)) = shown {
            self.note_shown(time);
        }
        let time = shown.map_or(frame.dts, |Reverse(time)| time);
        self.newest.map_or(time, |newest| time.max(newest + TICK))
    }

    fn note_shown(&mut self, time: MediaTime) {
        self.before.truncate(MAX_HELD - 1);
        self.before.push_front(time);
    }

    /// A decoder that was made to hold pictures back goes on to do so when the stream is in order again. What
    /// comes out of it is so much earlier than the picture of this time that goes in.
    fn lags(&self, time: MediaTime) -> [u16; MAX_HELD] {
        let mut lags = [0; MAX_HELD];
        let mut most = Duration::ZERO;
        let mut before = self.before.iter();
        let mut lag = Duration::ZERO;
        for ticks in &mut lags {
            most += MAX_INTERVAL;
            // Where there was no such picture, the lag is that of the one before it.
            lag = before
                .next()
                .map_or(lag, |before| time.saturating_since(*before))
                .min(most);
            let rate = u128::from(self.clock_rate);
            *ticks = u16::try_from(lag.as_nanos() * rate / 1_000_000_000).unwrap_or(u16::MAX);
        }
        lags
    }

    /// Lets newcomers begin with a picture that is no keyframe, if the last one is far back: they get that
    /// first, since a decoder begins with nothing else. Until the stream has refreshed itself once, what
    /// they see is partly wrong, which is more than nothing.
    fn push_entrance(&mut self, frame: &VideoFrame, now: Instant) {
        let is_far = |keyframe: &VideoFrame| {
            keyframe.codec == frame.codec && frame.dts.saturating_since(keyframe.dts) > LONG_GOP
        };
        let Some(keyframe) = self.last_keyframe.take_if(|keyframe| is_far(keyframe)) else {
            return;
        };
        let mut picture = self.picture(&keyframe, frame.pts - TICK, now);
        // It does not come at the rhythm of keyframes.
        picture.keyframe = false;
        self.append(&picture, &keyframe.units, Audience::Newcomers);
        self.end_picture(&picture, now);
        self.keyframe = Some(picture.start);
        self.last_keyframe = Some(keyframe);
    }

    fn picture(&self, frame: &VideoFrame, time: MediaTime, now: Instant) -> Picture {
        Picture {
            codec: frame.codec,
            start: self.head(),
            time,
            timestamp: self.timestamp(time),
            lags: [0; MAX_HELD],
            keyframe: frame.keyframe,
            disposable: frame.is_disposable(),
            at: now,
        }
    }

    /// Logs the packets of a part of a picture.
    fn append(&mut self, picture: &Picture, units: &[Bytes], audience: Audience) {
        let (codec, keyframe) = (picture.codec, picture.keyframe);
        rtp::packetise(codec, units, keyframe, MAX_PAYLOAD, |payload| {
            let number = self.first + self.packets.len() as u64;
            let packet = LoggedPacket {
                payload,
                codec: Some(codec),
                red: None,
                pts: picture.time,
                timestamp: picture.timestamp,
                lags: picture.lags,
                first: number == picture.start,
                marker: false,
                disposable: picture.disposable,
                audience,
                padding: 0,
                at: picture.at,
            };
            self.bytes += packet.memory();
            self.packets.push_back(packet);
        });
    }

    fn end_picture(&mut self, picture: &Picture, now: Instant) {
        let start = picture.start;
        if self.head() == start {
            return;
        }
        self.newest = Some(picture.time);
        let padding = if self.pads {
            self.missing_bytes(start)
        } else {
            0
        };
        if let Some(last) = self.packets.back_mut() {
            last.marker = true;
            last.padding = padding;
        }
        if picture.keyframe {
            self.keyframe_before = self.keyframe.replace(start);
            self.keyframe_interval = self
                .keyframe_at
                .replace(now)
                .map(|before| now.saturating_duration_since(before));
        }
        self.trim(now);
    }

    /// How many bytes the last packet is shorter than the one before, if both are of the picture that
    /// begins with the packet `start` and it is not by much.
    fn missing_bytes(&self, start: u64) -> u8 {
        let (Some(before), Some(last)) = (self.head().checked_sub(2), self.packets.back()) else {
            return 0;
        };
        let before = self.get(before).filter(|_| before >= start);
        let missing =
            before.and_then(|before| before.payload.len().checked_sub(last.payload.len()));
        missing
            .and_then(|missing| u8::try_from(missing).ok())
            .filter(|missing| *missing <= MAX_PADDING)
            .unwrap_or(0)
    }

    /// Adds a block of sound that came at `now`: one packet.
    pub fn push_audio(&mut self, frame: &AudioFrame, now: Instant) {
        if frame.data.is_empty() || frame.data.len() > MAX_PAYLOAD {
            return;
        }
        let payload = Payload::whole(frame.data.clone());
        let timestamp = self.timestamp(frame.pts);
        let red = self.makes_red.then(|| {
            let before = self.packets.back().map(|packet| {
                let offset = timestamp.wrapping_sub(packet.timestamp);
                (offset, packet.payload.body())
            });
            Box::new(red::payload(&frame.data, before, MAX_PAYLOAD))
        });
        let packet = LoggedPacket {
            payload,
            codec: None,
            red,
            pts: frame.pts,
            timestamp,
            lags: [0; MAX_HELD],
            first: true,
            marker: false,
            disposable: false,
            audience: Audience::All,
            padding: 0,
            at: now,
        };
        self.bytes += packet.memory();
        self.packets.push_back(packet);
        self.trim(now);
    }

    /// The number that the next packet will have.
    pub fn head(&self) -> u64 {
        self.first + self.packets.len() as u64
    }

    /// The packet of this number, if it is kept.
    pub fn get(&self, number: u64) -> Option<&LoggedPacket> {
        self.packets
            .get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// The coding of the newest picture, if that is kept.
    pub fn codec(&self) -> Option<VideoCodec> {
        self.packets.back()?.codec
    }

    /// Number of the newest keyframe's first packet, while the whole group is kept.
    pub fn keyframe(&self) -> Option<u64> {
        self.keyframe
    }

    /// How long until the next keyframe, if the last interval repeats itself; zero when it is
    /// overdue, `None` before the second keyframe.
    pub fn next_keyframe_in(&self, now: Instant) -> Option<Duration> {
        let next = self.keyframe_at? + self.keyframe_interval?;
        Some(next.saturating_duration_since(now))
    }

    /// Bytes of memory that the packets take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets the keyframe: what follows does not continue its group of pictures.
    pub fn end_group(&mut self) {
        self.keyframe = None;
        self.keyframe_before = None;
        self.last_keyframe = None;
        self.keyframe_at = None;
        self.held.clear();
    }

    fn timestamp(&self, time: MediaTime) -> u32 {
        // RTP timestamps count modulo 2^32 (RFC 3550 section 5.1).
        time.ticks(self.clock_rate) as u32
    }

    /// Drops what is neither needed to join nor to retransmit, and what is over the bounds.
    fn trim(&mut self, now: Instant) {
        let group_age = self
            .keyframe
            .and_then(|keyframe| self.get(keyframe))
            .map_or(Duration::ZERO, |packet| {
                now.saturating_duration_since(packet.at)
            });
        if group_age > self.limits.max_group {
            self.keyframe = None;
        }
        let is_new = self
            .keyframe_at
            .is_some_and(|at| now.saturating_duration_since(at) <= LEAVE_TIME);
        let group_before = self.keyframe_before.filter(|_| is_new);
        while let Some(front) = self.packets.front() {
            let expired = now.saturating_duration_since(front.at) > self.limits.history;
            let is_since = |keyframe: Option<u64>| keyframe.is_some_and(|at| self.first >= at);
            let is_needed = is_since(self.keyframe) || is_since(group_before);
            if self.bytes <= self.limits.max_bytes && (!expired || is_needed) {
                break;
            }
            if self.keyframe == Some(self.first) {
                self.keyframe = None;
            }
            self.bytes -= front.memory();
            self.packets.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    fn picture(millis: i64, keyframe: bool, len: usize) -> VideoFrame {
        let mut unit = vec![0; len];
        unit[0] = if keyframe { 0x65 } else { 0x41 };
        VideoFrame {
            codec: VideoCodec::H264,
            pts: MediaTime::from_millis(millis),
            dts: MediaTime::from_millis(millis),
            keyframe,
            units: vec![unit.into()],
        }
    }

    fn log() -> (Log, Instant) {
        (Log::new(90_000, LogLimits::default()), Instant::now())
    }

    #[test]
    fn a_picture_ends_with_a_marker_and_shares_one_timestamp() {
        let (mut log, now) = log();
        log.push_video(&picture(1000, true, 3000), now);
        assert_eq!(log.head(), 3);
        let packets: Vec<_> = (0..3).map(|n| log.get(n).unwrap()).collect();
        assert!(packets.iter().all(|packet| packet.timestamp == 90_000));
        let markers: Vec<bool> = packets.iter().map(|packet| packet.marker).collect();
        assert_eq!(markers, [false, false, true]);
    }

    #[test]
    fn pictures_are_padded_to_packets_of_one_length_where_that_costs_little() {
        let (mut log, now) = log();
        log.set_padding(true);
        let mut lengths = |len: usize| {
            let start = log.head();
            log.push_video(&picture(0, true, len), now);
            let packets = (start..log.head()).map(|number| log.get(number).unwrap());
            packets
                .map(|packet| packet.payload.len() + usize::from(packet.padding))
                .collect::<Vec<_>>()
        };
        for len in 2000..2600 {
            let lengths = lengths(len);
            assert!(
                lengths.windows(2).all(|pair| pair[0] == pair[1]),
                "{lengths:?}"
            );
        }
        assert_eq!(lengths(100), [100]);
        // A parameter set in front of one packet, and a unit of a few bytes behind fragments.
        let mut frame = picture(0, false, 2000);
        frame.units.push(Bytes::from_static(&[0x06, 5, 1, 0, 0x80]));
        let start = log.head();
        log.push_video(&frame, now);
        assert_eq!(log.get(log.head() - 1).unwrap().padding, 0);
        // A picture is not measured by the one before.
        log.push_video(&picture(40, false, 900), now);
        assert_eq!(log.get(log.head() - 1).unwrap().padding, 0);
        assert!(log.head() > start);
        log.set_padding(false);
        log.push_video(&picture(80, false, 2001), now);
        assert_eq!(log.get(log.head() - 1).unwrap().padding, 0);
    }

    #[test]
    fn a_picture_is_disposable_when_none_of_its_slices_is_referred_to() {
        let (_, now) = log();
        let slice = |header: u8| Bytes::from(vec![header, 1, 2]);
        for (units, disposable) in [
            (vec![slice(0x01)], true),
            (vec![slice(0x06), slice(0x01), slice(0x01)], true),
            (vec![slice(0x01), slice(0x21)], false),
            (vec![slice(0x41)], false),
            (vec![slice(0x06)], false),
        ] {
            let (mut log, _) = log();
            let frame = VideoFrame {
                units,
                ..picture(0, false, 1)
            };
            log.push_video(&frame, now);
            let packet = log.get(0).unwrap();
            assert_eq!(packet.disposable, disposable, "{frame:?}");
            assert!(packet.first);
        }
    }

    #[test]
    fn pictures_of_other_codecs_are_never_disposable() {
        for (codec, unit) in [
            // A sub-layer non-reference picture, a frame of AV1, and one of VP9 that updates nothing.
            (VideoCodec::H265, &[0x00, 0x01, 0xd0][..]),
            (VideoCodec::Av1, &[0x32, 2, 0x30, 0]),
            (VideoCodec::Vp9, &[0x86, 0, 0, 0]),
        ] {
            let (mut log, now) = log();
            let frame = VideoFrame {
                codec,
                units: vec![Bytes::from_static(unit)],
                ..picture(0, false, 1)
            };
            log.push_video(&frame, now);
            assert_eq!(log.codec(), Some(codec));
            assert!(!log.get(0).unwrap().disposable, "{codec}");
        }
    }

    #[test]
    fn the_next_keyframe_is_expected_after_the_interval_of_the_last_two() {
        let (mut log, start) = log();
        log.push_video(&picture(0, true, 100), start);
        assert_eq!(log.next_keyframe_in(start), None);
        let second = start + Duration::from_secs(2);
        log.push_video(&picture(2000, true, 100), second);
        let half = Duration::from_millis(500);
        assert_eq!(log.next_keyframe_in(second + 3 * half), Some(half));
        assert_eq!(
            log.next_keyframe_in(second + 5 * half),
            Some(Duration::ZERO)
        );
    }

    #[test]
    fn the_group_is_kept_for_newcomers_and_older_packets_for_retransmission() {
        let (mut log, start) = log();
        for n in 0..100 {
            let now = start + Duration::from_millis(100 * n);
            // Keyframes at 0 s and at 5 s.
            log.push_video(&picture(100 * n as i64, n == 0 || n == 50, 100), now);
            match n {
                49 => assert!(log.get(0).is_some(), "the first group is still needed"),
                60 => assert!(
                    log.get(41).is_some() && log.get(38).is_none(),
                    "two seconds back"
                ),
                _ => {}
            }
        }
        assert_eq!(log.keyframe(), Some(50));
        assert!(log.get(50).is_some());
        assert!(log.get(49).is_none());
    }

    #[test]
    fn the_time_of_a_reordered_picture_is_that_of_the_one_that_comes_out() {
        // One picture is held back, and decoding times run three pictures ahead: I P B B P B B, by the
        // places in which they are shown.
        let shown = [0, 3, 1, 2, 6, 4, 5];
        let (mut log, now) = log();
        for (n, place) in shown.into_iter().enumerate() {
            let mut frame = picture(40 * n as i64, n == 0, 10);
            frame.pts = MediaTime::from_millis(120 + 40 * place);
            log.push_reordered(&frame, 1, now);
        }
        let mut times: Vec<_> = log
            .packets
            .iter()
            .map(|packet| packet.pts.as_millis())
            .collect();
        times.dedup();
        assert_eq!(times, [0, 120, 160, 200, 240, 280, 320]);
    }

    #[test]
    fn a_group_that_is_too_long_or_too_large_is_given_up() {
        let (mut log, start) = log();
        for n in 0..400 {
            let now = start + Duration::from_millis(100 * n);
            log.push_video(&picture(100 * n as i64, n == 0, 100), now);
        }
        assert_eq!(log.keyframe(), None);
        assert!(log.packets.len() <= 21, "only the history is left");

        let limits = LogLimits {
            max_bytes: 10_000,
            ..LogLimits::default()
        };
        let mut log = Log::new(90_000, limits);
        log.push_video(&picture(0, true, 1000), start);
        assert_eq!(log.keyframe(), Some(0));
        for _ in 0..20 {
            log.push_video(&picture(0, false, 1000), start);
        }
        assert_eq!(log.keyframe(), None);
        assert!(log.bytes() <= 10_000);
    }

    #[test]
    fn packets_without_bytes_count_as_memory_too() {
        let limits = LogLimits {
            max_bytes: 1 << 20,
            ..LogLimits::default()
        };
        let (mut log, start) = (Log::new(90_000, limits), Instant::now());
        for n in 0..20_000 {
            log.push_video(&picture(n, n == 0, 1), start);
        }
        assert!(log.packets.len() * size_of::<LoggedPacket>() <= 1 << 20);
        assert!(log.bytes() <= 1 << 20);
    }

    #[test]
    fn the_group_before_stays_for_those_who_are_in_the_middle_of_a_picture() {
        let (mut log, start) = log();
        let at = |millis| start + Duration::from_millis(millis);
        log.push_video(&picture(0, true, 100), at(0));
        log.push_video(&picture(1000, false, 100), at(1000));
        log.push_video(&picture(9000, true, 100), at(9000));
        assert!(log.get(0).is_some() && log.keyframe() == Some(2));
        log.push_video(&picture(9100, false, 100), at(9100));
        assert!(log.get(0).is_some());
        log.push_video(&picture(9300, false, 100), at(9300));
        assert!(log.get(1).is_none() && log.get(2).is_some());
        // Where every picture is a keyframe, the one before is not worth more than the history.
        for n in 0..400 {
            log.push_video(&picture(9400 + 25 * n, true, 100), at(9400 + 25 * n as u64));
        }
        assert!(log.packets.len() <= 2000 / 25 + 2);
    }

    #[test]
    fn redundant_sound_carries_the_block_before() {
        let (_, now) = log();
        let mut log = Log::new(48_000, LogLimits::default()).with_redundancy(true);
        for n in 0..2 {
            let frame = AudioFrame {
                codec: distributary_media::AudioCodec::Opus,
                pts: MediaTime::from_millis(20 * n),
                data: Bytes::from(vec![n as u8; 3]),
            };
            log.push_audio(&frame, now);
        }
        let red = log.get(1).unwrap().red.clone().unwrap();
        let mut bytes = vec![0; red.len()];
        red.copy_to(&mut bytes);
        assert_eq!(bytes, [0x80, 0x0f, 0, 3, 0, 0, 0, 0, 1, 1, 1]);
        assert_eq!(log.get(0).unwrap().red.as_ref().unwrap().len(), 4);
    }

    #[test]
    fn sound_is_one_packet_each_and_too_large_ones_are_left_out() {
        let (_, now) = log();
        let mut log = Log::new(48_000, LogLimits::default());
        let sound = |len: usize| AudioFrame {
            codec: distributary_media::AudioCodec::Opus,
            pts: MediaTime::from_millis(20),
            data: Bytes::from(vec![1; len]),
        };
        log.push_audio(&sound(200), now);
        log.push_audio(&sound(0), now);
        log.push_audio(&sound(MAX_PAYLOAD + 1), now);
        assert_eq!(log.head(), 1);
        assert_eq!(log.get(0).unwrap().timestamp, 960);
    }
}
