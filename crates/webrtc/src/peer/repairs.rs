//! The lost packets that a viewer is still to be sent.

use std::time::{Duration, Instant};

use super::repair_budget::RepairBudget;
use crate::pacer::Pacer;
use crate::sender::{RepairLogs, RtpSender, Wire};

/// Most packets that a viewer is to be sent again. Chromium asks for a thousand at most; others ask
/// again.
pub(super) const MAX_LOST: usize = 1024;

/// Most bits per second of retransmissions to one viewer: a viewer that asks for everything again
/// must not cost more than one that watches.
const RATE: u64 = 10_000_000;

/// Time between two turns while packets wait.
const TURN_INTERVAL: Duration = Duration::from_millis(5);

/// A packet is not sent again more often than once in a round trip, which is taken to be within
/// these bounds.
const RESEND_INTERVAL: (Duration, Duration) =
    (Duration::from_millis(10), Duration::from_millis(500));

/// Interval between retransmissions of a packet before the round trip is known.
const FIRST_RESEND_INTERVAL: Duration = Duration::from_millis(50);

/// The lost packets that a viewer is still to be sent, at a pace.
///
/// After an outage a viewer asks for all that was sent meanwhile, and for what does not come once in
/// each round trip.
#[derive(Debug)]
pub(super) struct Repairs {
    /// Sequence numbers, those that the viewer needs first at the front.
    lost: Vec<u16>,
    pacer: Pacer,
    budget: RepairBudget,
    /// When more is to be sent.
    next: Option<Instant>,
}

impl Repairs {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            lost: Vec::new(),
            pacer: Pacer::new(RATE, now),
            budget: RepairBudget::new(),
            next: None,
        }
    }

    /// Returns whether no packet waits.
    pub(super) fn is_empty(&self) -> bool {
        self.lost.is_empty()
    }

    /// Forgets the packets that wait: the viewer asks again for what it still needs.
    pub(super) fn clear(&mut self) {
        self.lost.clear();
        self.next = None;
    }

    /// Returns when packets are to be sent; `None` if none wait.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// Handles the time of [`Self::poll_timeout`]: [`Self::send`] is about to be called.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.next.take_if(|next| *next <= now);
    }

    /// Adds the packets of a request of the viewer.
    pub(super) fn add(
        &mut self,
        now: Instant,
        requested: &[u16],
        video: &mut RtpSender,
        logs: RepairLogs<'_>,
    ) {
        video.note_nack(now, requested, logs);
        self.lost.extend(requested);
        video.sort_by_need(&mut self.lost, logs);
        self.lost.truncate(MAX_LOST);
    }

    /// Sends packets that are due, at most `credit` bytes and a packet. Returns the bytes sent. To a
    /// viewer that `is_blind` (see [`PathCondition`](crate::bandwidth::PathCondition)), packets beyond the
    /// budget are not sent, unless an outage has lost them.
    pub(super) fn send(
        &mut self,
        video: &mut RtpSender,
        logs: RepairLogs<'_>,
        interval: Duration,
        credit: usize,
        is_blind: bool,
        wire: &mut Wire<'_>,
    ) -> usize {
        let credit = credit.min(self.pacer.credit(wire.now()));
        self.budget
            .update(video.stats().octets, logs.present.bitrate());
        let (mut total, mut count) = (0, 0);
        for sequence in &self.lost {
            if total >= credit {
                break;
            }
            count += 1;
            let is_bounded = is_blind && !video.has_lost_in_outage(*sequence);
            if is_bounded && !self.budget.has_some() {
                continue;
            }
            let sent = video.retransmit(*sequence, logs, interval, wire);
            total += sent;
            if is_bounded {
                self.budget.spend(sent);
            }
        }
        self.lost.drain(..count);
        self.pacer.spend(total);
        self.next = (!self.lost.is_empty()).then(|| wire.now() + TURN_INTERVAL);
        total
    }
}

/// Returns the least time between two retransmissions of a packet. It may be overtaken as well, by
/// packets that were sent up to `reordering` later.
pub(super) fn resend_interval(round_trip: Option<Duration>, reordering: Duration) -> Duration {
    let (least, most) = RESEND_INTERVAL;
    let usual = round_trip.map_or(FIRST_RESEND_INTERVAL, |time| time.clamp(least, most));
    usual + reordering
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::SystemTime;

    use distributary_media::VideoCodec;
    use distributary_media::test_util::video_frame;

    use super::*;
    use crate::bandwidth::SentPackets;
    use crate::log::{Log, LogLimits};
    use crate::media_clock::MediaClock;
    use crate::rtcp::ntp::WallClock;
    use crate::rtp::StreamExtensions;
    use crate::send_buffer::SendBuffer;
    use crate::sender::{RandomStart, Resend, SenderConfig};
    use crate::srtp::test_support::master;
    use crate::srtp::{SrtpProfile, SrtpSealer};

    /// Time of a frame in milliseconds, and the number of frames from one keyframe to the next.
    const FRAME: u64 = 33;
    const GOP: u64 = 60;

    /// A stream of 2.4 Mbit/s to a viewer whose network is cut.
    struct World {
        now: Instant,
        start: Instant,
        log: Log,
        sender: RtpSender,
        repairs: Repairs,
        clock: MediaClock,
        sealer: SrtpSealer,
        sent: SentPackets,
        buffer: SendBuffer,
    }

    impl World {
        fn new() -> Self {
            let start = Instant::now();
            let config = SenderConfig {
                ssrc: 1,
                codec: Some(VideoCodec::H264),
                payload_type: 96,
                red: None,
                resend: Resend::Same,
                extensions: StreamExtensions::default(),
                reorders: false,
            };
            let first = RandomStart {
                sequence: 0x7f00,
                rtx_sequence: 0,
                timestamp: 0,
            };
            Self {
                now: start,
                start,
                log: Log::new(90_000, LogLimits::default()),
                sender: RtpSender::new(config, first),
                repairs: Repairs::new(start),
                clock: MediaClock {
                    epoch: start,
                    wall: WallClock::new(start, SystemTime::UNIX_EPOCH),
                },
                sealer: SrtpSealer::new(&master(SrtpProfile::AeadAes128Gcm, 1)),
                sent: SentPackets::default(),
                buffer: SendBuffer::new(1 << 20),
            }
        }

        /// Returns the sequence numbers of the packets that `write` writes.
        fn written(
            &mut self,
            write: impl FnOnce(&mut RtpSender, &mut Repairs, &Log, &mut Wire<'_>),
        ) -> Vec<u16> {
            self.buffer.clear();
            let buffer = &mut self.buffer;
            let mut wire = Wire::new(self.now, &self.clock, &self.sealer, buffer, &mut self.sent);
            write(&mut self.sender, &mut self.repairs, &self.log, &mut wire);
            let runs = self.buffer.runs();
            let packets = runs.flat_map(|(bytes, segment)| bytes.chunks(segment));
            let sequence = |packet: &[u8]| u16::from_be_bytes([packet[2], packet[3]]);
            packets.map(sequence).collect()
        }

        /// Publishes and sends frame `number`. Returns its packets.
        fn frame(&mut self, number: u64) -> Vec<u16> {
            self.now = self.start + Duration::from_millis(FRAME * number);
            let is_keyframe = number.is_multiple_of(GOP);
            let len = if is_keyframe { 60_000 } else { 9_000 };
            let frame = video_frame((FRAME * number) as i64, is_keyframe, len);
            self.log.push_video(&frame, self.now);
            self.written(|sender, _, log, wire| {
                sender.send_video(log, usize::MAX, false, wire);
            })
        }

        /// Lets the viewer ask for packets.
        fn ask(&mut self, lost: &[u16]) {
            let logs = RepairLogs {
                present: &self.log,
                former: None,
            };
            self.repairs.add(self.now, lost, &mut self.sender, logs);
        }

        /// Sends packets again that are due. Returns them.
        fn repair(&mut self) -> Vec<u16> {
            self.repairs.handle_timeout(self.now);
            self.written(|sender, repairs, present, wire| {
                let logs = RepairLogs {
                    present,
                    former: None,
                };
                let interval = Duration::from_millis(50);
                repairs.send(sender, logs, interval, usize::MAX, true, wire);
            })
        }
    }

    /// Cuts the network for three seconds, up to some frames after a keyframe. A viewer that is 50 ms away
    /// then asks as Chromium does: for everything, and for what has not come ten times at most. Returns the
    /// packets of the frames from that keyframe on and of those before it that come, with the milliseconds
    /// until they do, and the number of the former.
    fn outage(frames: u64) -> (BTreeMap<u16, u64>, BTreeMap<u16, u64>, usize) {
        let mut world = World::new();
        let keyframe = 3 * GOP;
        let (mut present, mut older) = (Vec::new(), Vec::new());
        for number in 0..keyframe + frames {
            let packets = world.frame(number);
            if number >= keyframe {
                present.extend(packets);
            } else if number * FRAME >= (keyframe + frames) * FRAME - 3000 {
                older.extend(packets);
            }
        }
        let end = world.now;
        let mut came = BTreeMap::new();
        let mut requests = (0..10)
            .map(|n| end + Duration::from_millis(50 * n))
            .peekable();
        loop {
            let times = [requests.peek().copied(), world.repairs.poll_timeout()];
            let Some(next) = times.into_iter().flatten().min() else {
                break;
            };
            world.now = next;
            if requests.next_if_eq(&next).is_some() {
                let all = older.iter().chain(&present);
                let is_missing = |sequence: &&u16| !came.contains_key(*sequence);
                let lost: Vec<u16> = all.filter(is_missing).copied().collect();
                world.ask(&lost);
            }
            let millis = next.saturating_duration_since(end).as_millis() as u64;
            for sequence in world.repair() {
                came.entry(sequence).or_insert(millis);
            }
        }
        let stats = world.sender.stats();
        assert_eq!(stats.retransmitted, stats.of_outages);
        let (newer, older) = came
            .into_iter()
            .partition(|(sequence, _)| present.contains(sequence));
        (newer, older, present.len())
    }

    #[test]
    fn all_that_a_viewer_needs_comes_soon_after_an_outage() {
        for frames in [1, 10, 30, 59] {
            let (newer, older, needed) = outage(frames);
            assert_eq!(newer.len(), needed, "{frames} frames");
            let last = newer.values().max();
            assert!(last <= Some(&500), "{frames} frames: {last:?} ms");
            let first = older.values().min();
            assert!(
                first.is_none_or(|first| Some(first) >= last),
                "{frames} frames"
            );
        }
    }

    #[test]
    fn frames_from_long_before_the_newest_keyframe_are_not_sent_again() {
        let (_, older, _) = outage(59);
        assert!(older.is_empty(), "{older:?}");
        let (_, older, _) = outage(1);
        assert!(!older.is_empty(), "those of the last second are");
    }

    #[test]
    fn requests_have_a_bound() {
        let mut world = World::new();
        world.frame(0);
        let all: Vec<u16> = (0..=u16::MAX).collect();
        world.ask(&all);
        world.ask(&all);
        assert_eq!(world.repairs.lost.len(), MAX_LOST);
    }
}
