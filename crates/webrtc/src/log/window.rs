//! The packets that a log keeps, and the GOP that newcomers start with.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::packet::LoggedPacket;

/// Time that a GOP is kept after the keyframe of the next. Newcomers that are still receiving it
/// finish their current frame and move to the new keyframe.
const HANDOVER_TIME: Duration = Duration::from_millis(200);

/// The rate of a log is computed over at least this time.
const LEAST_RATE_SPAN: Duration = Duration::from_secs(1);

/// Bounds of a log.
#[derive(Clone, Copy, Debug)]
pub struct LogLimits {
    /// Time that packets are kept for retransmission, from their arrival on.
    pub history: Duration,
    /// Longest time back to the newest keyframe. A longer GOP is not kept for newcomers.
    pub max_gop: Duration,
    /// Most bytes of memory, with priority over the two limits above. The oldest packets are
    /// dropped; if one of them belongs to the newest GOP, that GOP is not kept for newcomers.
    pub max_bytes: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            history: Duration::from_secs(2),
            max_gop: Duration::from_secs(30),
            max_bytes: 32 << 20,
        }
    }
}

/// Number of packets whose memory is kept after a burst, for the next one. A larger queue shrinks
/// once it is mostly empty.
const LARGE: usize = 1024;

/// Packets in a row, numbered from zero and never renumbered: those since the newest keyframe, for
/// newcomers, and those of the last seconds, for retransmission.
#[derive(Debug)]
pub(super) struct Window {
    limits: LogLimits,
    packets: VecDeque<LoggedPacket>,
    /// Number of the first packet kept.
    first: u64,
    /// Number of the newest keyframe's first packet, while it is kept.
    keyframe: Option<u64>,
    /// The same for the keyframe before it.
    previous_keyframe: Option<u64>,
    /// Newcomers do not start with the newest GOP before its next frame.
    is_suspended: bool,
    /// Arrival of the newest keyframe.
    keyframe_at: Option<Instant>,
    keyframe_interval: Option<Duration>,
    bytes: usize,
}

impl Window {
    pub(super) fn new(limits: LogLimits) -> Self {
        Self {
            limits,
            packets: VecDeque::new(),
            first: 0,
            keyframe: None,
            is_suspended: false,
            previous_keyframe: None,
            keyframe_at: None,
            keyframe_interval: None,
            bytes: 0,
        }
    }

    pub(super) fn push(&mut self, packet: LoggedPacket) {
        self.bytes += packet.memory();
        self.packets.push_back(packet);
    }

    /// Returns the number that the next packet will have.
    pub(super) fn head(&self) -> u64 {
        self.first + self.packets.len() as u64
    }

    /// Returns the packet with this number, if it is kept.
    pub(super) fn get(&self, number: u64) -> Option<&LoggedPacket> {
        self.packets
            .get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// Returns the newest packet.
    pub(super) fn last(&self) -> Option<&LoggedPacket> {
        self.packets.back()
    }

    /// Marks the newest packet as the last of its frame, with this many bytes of padding.
    pub(super) fn end_frame(&mut self, padding: u8) {
        self.is_suspended = false;
        if let Some(last) = self.packets.back_mut() {
            last.marker = true;
            last.padding = padding;
        }
    }

    /// Returns the memory that the packets take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the memory of the packets in addition to their payload, in bytes.
    pub(super) fn records(&self) -> usize {
        self.packets.capacity() * size_of::<LoggedPacket>()
    }

    /// Changes the limit of bytes, and drops what is over it at `now`.
    pub(super) fn bound(&mut self, max_bytes: usize, now: Instant) {
        if max_bytes != self.limits.max_bytes {
            self.limits.max_bytes = max_bytes;
            self.trim(now);
        }
    }

    /// Returns the rate of the packets kept, in bits per second: their memory over the time since
    /// the oldest came, so a little more than is sent.
    pub(super) fn bitrate(&self) -> u64 {
        let (Some(first), Some(last)) = (self.packets.front(), self.packets.back()) else {
            return 0;
        };
        let span = last.at.saturating_duration_since(first.at);
        let millis = span.max(LEAST_RATE_SPAN).as_millis() as u64;
        self.bytes as u64 * 8000 / millis
    }

    /// Begins a GOP with the keyframe that starts with the packet `start` and arrived at `now`.
    pub(super) fn begin_gop(&mut self, start: u64, now: Instant) {
        self.previous_keyframe = self.keyframe.replace(start);
        self.keyframe_interval = self
            .keyframe_at
            .replace(now)
            .map(|before| now.saturating_duration_since(before));
    }

    /// Lets newcomers start with the packet `start`, which is not that of another keyframe.
    pub(super) fn move_start(&mut self, start: u64) {
        self.keyframe = Some(start);
    }

    /// Lets newcomers wait for the next frame.
    pub(super) fn suspend_gop(&mut self) {
        self.is_suspended = true;
    }

    /// Ends the GOP: frames that follow do not continue it.
    pub(super) fn end_gop(&mut self) {
        self.keyframe = None;
        self.previous_keyframe = None;
        self.keyframe_at = None;
    }

    /// Returns the number of the newest keyframe's first packet, while its whole GOP is kept and not
    /// suspended.
    pub(super) fn keyframe(&self) -> Option<u64> {
        self.keyframe.filter(|_| !self.is_suspended)
    }

    /// Returns the time until the next keyframe if the last interval repeats itself: zero when it
    /// is overdue, `None` before the second keyframe.
    pub(super) fn next_keyframe_in(&self, now: Instant) -> Option<Duration> {
        let next = self.keyframe_at? + self.keyframe_interval?;
        Some(next.saturating_duration_since(now))
    }

    /// Drops packets that are needed neither to join nor to retransmit, and those over the limits.
    pub(super) fn trim(&mut self, now: Instant) {
        let gop_age = self
            .keyframe
            .and_then(|keyframe| self.get(keyframe))
            .map_or(Duration::ZERO, |packet| {
                now.saturating_duration_since(packet.at)
            });
        if gop_age > self.limits.max_gop {
            self.keyframe = None;
        }
        let is_new = self
            .keyframe_at
            .is_some_and(|at| now.saturating_duration_since(at) <= HANDOVER_TIME);
        let previous_gop = self.previous_keyframe.filter(|_| is_new);
        while let Some(front) = self.packets.front() {
            let expired = now.saturating_duration_since(front.at) > self.limits.history;
            let is_since = |keyframe: Option<u64>| keyframe.is_some_and(|at| self.first >= at);
            let is_needed = is_since(self.keyframe) || is_since(previous_gop);
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
        if self.packets.capacity() > LARGE.max(4 * self.packets.len()) {
            self.packets.shrink_to(2 * self.packets.len());
        }
    }
}
