//! A track's packets as a log, in which every viewer is a cursor.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use distributary_media::{AudioFrame, MediaTime, VideoFrame};

use crate::rtp::{Payload, h264};

/// Longest payload of a packet in bytes. With the RTP header, the longest tag and the two bytes of a
/// retransmission it makes a packet of at most 1200 bytes, which passes every path that carries IPv6
/// in a tunnel.
pub const MAX_PAYLOAD: usize = 1160;

/// Bounds of a log.
#[derive(Clone, Copy, Debug)]
pub struct LogLimits {
    /// How long packets are kept for retransmission after they came in.
    pub history: Duration,
    /// Longest time back to the newest keyframe. A longer group of pictures is not kept for
    /// newcomers.
    pub max_group: Duration,
    /// Most bytes of payload, whatever the two above say.
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

/// The packets of one track of a stream, packetised once for all viewers of a shard.
///
/// Packets are numbered from zero and never renumbered. Kept are those since the newest keyframe,
/// for newcomers, and those of the last seconds, for retransmission.
#[derive(Debug)]
pub struct Log {
    clock_rate: u32,
    limits: LogLimits,
    packets: VecDeque<LoggedPacket>,
    /// Number of the first packet kept.
    first: u64,
    /// Number of the newest keyframe's first packet, while it is kept.
    keyframe: Option<u64>,
    bytes: usize,
}

/// One packet of the log.
#[derive(Clone, Debug)]
pub struct LoggedPacket {
    /// What follows the RTP header.
    pub payload: Payload,
    /// Presentation time in ticks of the media clock, from the stream's epoch, modulo 2^32.
    pub timestamp: u32,
    /// Whether it is the last packet of its picture.
    pub marker: bool,
    /// When it was logged.
    pub at: Instant,
}

impl Log {
    /// An empty log of a track whose media clock runs at `clock_rate` Hz.
    pub fn new(clock_rate: u32, limits: LogLimits) -> Self {
        Self {
            clock_rate,
            limits,
            packets: VecDeque::new(),
            first: 0,
            keyframe: None,
            bytes: 0,
        }
    }

    /// The rate of the media clock in Hz.
    pub fn clock_rate(&self) -> u32 {
        self.clock_rate
    }

    /// Packetises a picture that came at `now`.
    pub fn push_video(&mut self, frame: &VideoFrame, now: Instant) {
        let start = self.head();
        let timestamp = self.timestamp(frame.pts);
        h264::packetise(&frame.units, MAX_PAYLOAD, |payload| {
            self.bytes += payload.len();
            self.packets.push_back(LoggedPacket {
                payload,
                timestamp,
                marker: false,
                at: now,
            });
        });
        if self.head() == start {
            return;
        }
        if let Some(last) = self.packets.back_mut() {
            last.marker = true;
        }
        if frame.keyframe {
            self.keyframe = Some(start);
        }
        self.trim(now);
    }

    /// Adds a block of sound that came at `now`: one packet.
    pub fn push_audio(&mut self, frame: &AudioFrame, now: Instant) {
        if frame.data.is_empty() || frame.data.len() > MAX_PAYLOAD {
            return;
        }
        let payload = Payload::whole(frame.data.clone());
        let timestamp = self.timestamp(frame.pts);
        self.bytes += payload.len();
        self.packets.push_back(LoggedPacket {
            payload,
            timestamp,
            marker: false,
            at: now,
        });
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

    /// Number of the newest keyframe's first packet, while the whole group is kept.
    pub fn keyframe(&self) -> Option<u64> {
        self.keyframe
    }

    /// Bytes of payload kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets the keyframe: what follows does not continue its group of pictures.
    pub fn end_group(&mut self) {
        self.keyframe = None;
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
        while let Some(front) = self.packets.front() {
            let expired = now.saturating_duration_since(front.at) > self.limits.history;
            let needed_to_join = self.keyframe.is_some_and(|keyframe| self.first >= keyframe);
            if self.bytes <= self.limits.max_bytes && (!expired || needed_to_join) {
                break;
            }
            if self.keyframe == Some(self.first) {
                self.keyframe = None;
            }
            self.bytes -= front.payload.len();
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
    use bytes::Bytes;
    use distributary_media::VideoCodec;

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
