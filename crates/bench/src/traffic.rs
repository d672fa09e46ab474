//! Stats of the media that a viewer collects without decryption.

use std::time::{Duration, Instant};

use distributary_webrtc::rtp::RtpHeader;

use crate::offer;
use crate::rtp::SourceCounter;

/// Counts the RTP packets of one viewer.
///
/// Counters run from the first packet on. A measurement is the difference between two moments:
/// [`Self::begin`] and [`Self::measured`].
#[derive(Debug, Default)]
pub struct Traffic {
    video: SourceCounter,
    audio: SourceCounter,
    retransmissions: u64,
    bytes: u64,
    /// Access units that have ended, by the marker bit.
    frames: u64,
    packet_gap: Gap,
    frame_gap: Gap,
    baseline: Baseline,
}

/// The media of one viewer over the measured interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// Time that was measured.
    pub interval: Duration,
    /// RTP packets: video, audio and retransmissions.
    pub packets: u64,
    /// Bytes of them, RTP header and tag included.
    pub bytes: u64,
    /// Retransmissions among the packets.
    pub retransmissions: u64,
    /// Video packets missing.
    pub video_lost: u64,
    /// Audio packets missing.
    pub audio_lost: u64,
    /// Access units whose last packet came.
    pub frames: u64,
    /// Longest time without any RTP packet.
    pub packet_gap: Duration,
    /// Longest time without the end of an access unit.
    pub frame_gap: Duration,
}

#[derive(Clone, Copy, Debug, Default)]
struct Baseline {
    begun: Option<Instant>,
    packets: u64,
    bytes: u64,
    retransmissions: u64,
    video_lost: u64,
    audio_lost: u64,
    frames: u64,
}

/// The longest time between two events.
#[derive(Clone, Copy, Debug, Default)]
struct Gap {
    last: Option<Instant>,
    longest: Duration,
}

impl Traffic {
    /// Takes an RTP packet of `len` bytes.
    pub fn handle_packet(&mut self, now: Instant, header: &RtpHeader, len: usize) {
        match header.payload_type {
            offer::VIDEO => {
                self.video.handle(header);
                if header.marker {
                    self.frames += 1;
                    self.frame_gap.handle(now);
                }
            }
            offer::AUDIO => self.audio.handle(header),
            offer::RTX => self.retransmissions += 1,
            _ => return,
        }
        self.bytes += len as u64;
        self.packet_gap.handle(now);
    }

    /// Starts the measured interval.
    pub fn begin(&mut self, now: Instant) {
        self.packet_gap = Gap::since(now);
        self.frame_gap = Gap::since(now);
        self.baseline = Baseline {
            begun: Some(now),
            packets: self.packets(),
            bytes: self.bytes,
            retransmissions: self.retransmissions,
            video_lost: self.video.lost(),
            audio_lost: self.audio.lost(),
            frames: self.frames,
        };
    }

    /// Returns the stats since [`Self::begin`], or all if it was not called. Silence up to `now`
    /// counts as a gap.
    #[must_use]
    pub fn measured(&self, now: Instant) -> Measured {
        let base = &self.baseline;
        Measured {
            interval: base
                .begun
                .map_or(Duration::ZERO, |begun| now.saturating_duration_since(begun)),
            packets: self.packets() - base.packets,
            bytes: self.bytes - base.bytes,
            retransmissions: self.retransmissions - base.retransmissions,
            // A packet that was late at the beginning makes the loss smaller than it was.
            video_lost: self.video.lost().saturating_sub(base.video_lost),
            audio_lost: self.audio.lost().saturating_sub(base.audio_lost),
            frames: self.frames - base.frames,
            packet_gap: self.packet_gap.until(now),
            frame_gap: self.frame_gap.until(now),
        }
    }

    /// Returns packets since the beginning.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.video.received() + self.audio.received() + self.retransmissions
    }

    /// Returns the video, for receiver reports.
    #[must_use]
    pub fn video(&self) -> &SourceCounter {
        &self.video
    }

    /// Returns the audio, for receiver reports.
    #[must_use]
    pub fn audio(&self) -> &SourceCounter {
        &self.audio
    }
}

impl Measured {
    /// Frames per second; 0 of an interval without length.
    #[must_use]
    pub fn fps(&self) -> f64 {
        let seconds = self.interval.as_secs_f64();
        if seconds > 0.0 {
            self.frames as f64 / seconds
        } else {
            0.0
        }
    }
}

impl Gap {
    fn since(now: Instant) -> Self {
        Self {
            last: Some(now),
            longest: Duration::ZERO,
        }
    }

    fn handle(&mut self, now: Instant) {
        self.longest = self.until(now);
        self.last = Some(now);
    }

    fn until(&self, now: Instant) -> Duration {
        let current = self
            .last
            .map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.longest.max(current)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    fn header(payload_type: u8, sequence: u16, marker: bool) -> RtpHeader {
        RtpHeader {
            payload_type,
            marker,
            sequence,
            timestamp: 0,
            ssrc: payload_type.into(),
        }
    }

    #[test]
    fn only_packets_of_the_interval_are_measured() {
        let origin = Instant::now();
        let at = |millis| origin + Duration::from_millis(millis);
        let mut traffic = Traffic::default();
        traffic.handle_packet(at(0), &header(offer::VIDEO, 0, true), 100);
        // Number 1 is lost before the interval, number 4 within it.
        traffic.handle_packet(at(900), &header(offer::VIDEO, 2, true), 100);
        traffic.begin(at(1000));
        traffic.handle_packet(at(1010), &header(offer::VIDEO, 3, false), 100);
        traffic.handle_packet(at(1040), &header(offer::VIDEO, 5, true), 50);
        traffic.handle_packet(at(1050), &header(offer::AUDIO, 9, true), 20);
        traffic.handle_packet(at(1060), &header(offer::RTX, 1, false), 30);
        traffic.handle_packet(at(1060), &header(77, 1, false), 30);
        let expected = Measured {
            interval: Duration::from_millis(100),
            packets: 4,
            bytes: 200,
            retransmissions: 1,
            video_lost: 1,
            audio_lost: 0,
            frames: 1,
            packet_gap: Duration::from_millis(40),
            frame_gap: Duration::from_millis(60),
        };
        assert_eq!(traffic.measured(at(1100)), expected);
        assert_eq!(traffic.packets(), 6);
    }

    #[test]
    fn viewer_without_packets_has_a_gap_as_long_as_the_interval() {
        let origin = Instant::now();
        let mut traffic = Traffic::default();
        traffic.begin(origin);
        let measured = traffic.measured(origin + Duration::from_secs(3));
        assert_eq!(measured.packet_gap, Duration::from_secs(3));
        assert_eq!(measured.frame_gap, Duration::from_secs(3));
    }
}
