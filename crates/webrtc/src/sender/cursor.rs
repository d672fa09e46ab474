//! The position of a viewer in the log, and the decision which packets to skip.

mod change;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use distributary_media::{MediaTime, VideoCodec};

use crate::log::{Audience, Log, LoggedPacket};
use crate::reorder::Decoder;

pub use change::LogChange;

/// A viewer that is behind by more than this is moved to the newest keyframe: its path or socket
/// did not keep up.
pub const MAX_BEHIND: Duration = Duration::from_secs(1);

/// On a path that is slower than the stream, disposable frames older than this are dropped.
const MAX_BEHIND_DISPOSABLE: Duration = Duration::from_millis(100);

/// A viewer that is behind by more than this is late. A large keyframe alone can cause less.
const LATE: Duration = Duration::from_millis(300);

/// Most moves of the cursor that are remembered: packets from before them cannot be retransmitted.
const MAX_PLACEMENTS: usize = 64;

/// Least time between two replays of the GOP for one viewer: the first value at first, then twice
/// the previous time, up to the second. On a lossy network the replay is often damaged as well; if
/// the longest time applied from the start, the viewer would see nothing for all of it.
const REPLAY_INTERVAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// After this time without a replay the interval starts over.
const REPLAY_REST: Duration = Duration::from_secs(10);

/// The GOP is not replayed if the next keyframe comes within this time: the replay would end no
/// sooner.
const KEYFRAME_SOON: Duration = Duration::from_secs(1);

/// Time that a damaged keyframe needs to be repaired by retransmissions, besides the round trip.
const REPAIR_TIME: Duration = Duration::from_millis(500);

/// A position in the log, and the sequence numbers under which its packets were sent.
#[derive(Debug)]
pub(super) struct Cursor {
    /// Negotiated video codec; frames of another one are skipped.
    codec: Option<VideoCodec>,
    /// Number of the packet to send next, once there is one to start with.
    number: Option<u64>,
    /// Index of the next packet: its sequence number, extended to 48 bits.
    next_index: u64,
    /// The mappings from numbers to indices, the current one last.
    placements: VecDeque<Placement>,
    /// Age that packets may have beyond [`MAX_BEHIND`]: a newcomer starts that far back, and may
    /// stay so until it reaches the head.
    allowance: Duration,
    /// Set while everything up to the next keyframe is skipped: the first number that may be it.
    awaits_keyframe_from: Option<u64>,
    /// True if the current frame is the first since the cursor was moved.
    is_new: bool,
    /// The state of the viewer's decoder with regard to the order of frames.
    pub(super) decoder: Decoder,
    wants_replay: bool,
    replayed: Option<Instant>,
    /// Least time from the last replay to the next.
    replay_interval: Duration,
    /// The latest presentation time sent.
    newest: Option<MediaTime>,
    /// Set while it is about to move to another log.
    stop: Option<Stop>,
    /// When a keyframe was sent last.
    pub(super) keyframe_sent: Option<Instant>,
    pub(super) skips: u64,
    pub(super) dropped_frames: u64,
    pub(super) replays: u64,
}

/// From `since` on, a packet's index is its number plus `offset`, modulo 2^64.
#[derive(Clone, Copy, Debug)]
struct Placement {
    since: u64,
    offset: u64,
    log: Source,
}

/// The log of a packet that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The present one.
    Present,
    /// The one before it.
    Former,
}

/// A packet that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct SentPacket {
    /// Its sequence number, extended to 48 bits.
    pub(super) index: u64,
    pub(super) log: Source,
    /// Its number in that log.
    pub(super) number: u64,
}

/// The frame before which a cursor stops that is about to move to another log.
#[derive(Clone, Copy, Debug)]
enum Stop {
    /// The first one from this time on.
    Before(MediaTime),
    /// The newest keyframe; since when it has waited there.
    AtKeyframe(Option<Instant>),
    /// Any.
    Now,
}

/// The position at which sending continues.
#[derive(Debug)]
pub(super) enum Position<'l> {
    /// At the packet of this number.
    At(u64, &'l LoggedPacket),
    /// At the head: everything has been sent.
    Head,
    /// At the next keyframe, which has not come.
    Waiting,
}

impl Cursor {
    /// Creates a cursor whose first packet will have the index `next_index`, for frames of `codec`.
    /// `reorders`: the viewer's decoder can be made to reorder frames.
    pub(super) fn new(next_index: u64, codec: Option<VideoCodec>, reorders: bool) -> Self {
        Self {
            codec,
            number: None,
            next_index,
            placements: VecDeque::new(),
            allowance: Duration::ZERO,
            awaits_keyframe_from: None,
            is_new: true,
            decoder: Decoder::new(reorders),
            wants_replay: false,
            replayed: None,
            replay_interval: REPLAY_INTERVAL.0,
            newest: None,
            stop: None,
            keyframe_sent: None,
            skips: 0,
            dropped_frames: 0,
            replays: 0,
        }
    }

    /// Returns the position of the next video packet: at the cursor, or at the newest keyframe when
    /// the stream starts, has fallen behind, or is to be replayed. On a `slow_path`, first
    /// disposable frames are skipped, and then everything up to the next keyframe. A frame that was
    /// started is sent completely, except before a [`LogChange`] for which the path is too slow.
    pub(super) fn next_packet<'l>(
        &mut self,
        log: &'l Log,
        now: Instant,
        slow_path: bool,
    ) -> Position<'l> {
        loop {
            let Some(number) = self.number else {
                return self.begin(log, now);
            };
            let Some(packet) = log.get(number) else {
                if number < log.head() {
                    self.await_keyframe(number);
                    continue;
                }
                if self.take_replay(log, now) {
                    continue;
                }
                self.allowance = Duration::ZERO;
                return Position::Head;
            };
            if matches!(self.stop, Some(Stop::Now)) {
                return Position::Head;
            }
            if !self.is_addressed(packet.audience) {
                self.move_to(number + 1);
                continue;
            }
            if !packet.first {
                return Position::At(number, packet);
            }
            if packet.codec != self.codec {
                self.await_keyframe(number + 1);
                continue;
            }
            if self.take_replay(log, now) {
                continue;
            }
            if self.stops_at(log, number, packet) {
                return Position::Head;
            }
            let age = now.saturating_duration_since(packet.at);
            let has_newer = log.keyframe().is_some_and(|keyframe| keyframe > number);
            let skips_after = if slow_path { LATE } else { MAX_BEHIND };
            if has_newer && age > skips_after || slow_path && age > MAX_BEHIND + self.allowance {
                self.await_keyframe(number + 1);
            } else if slow_path && packet.disposable && age > MAX_BEHIND_DISPOSABLE {
                self.move_to(end_of_frame(log, number));
                self.dropped_frames += 1;
            } else {
                return Position::At(number, packet);
            }
        }
    }

    fn stops_at(&self, log: &Log, number: u64, packet: &LoggedPacket) -> bool {
        match self.stop {
            None => false,
            Some(Stop::Before(time)) => packet.pts >= time,
            Some(Stop::AtKeyframe(_)) => log.keyframe() == Some(number),
            Some(Stop::Now) => true,
        }
    }

    /// Returns whether the frame at the cursor is the first since the cursor was moved.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Returns the index of the next packet.
    pub(super) fn next_index(&self) -> u64 {
        self.next_index
    }

    /// Returns the number of packets in the log from the cursor on.
    pub(super) fn pending(&self, log: &Log) -> u64 {
        self.number
            .map_or(0, |number| log.head().saturating_sub(number))
    }

    /// Moves the cursor to the newest keyframe, if it has the one that it waits for.
    fn begin<'l>(&mut self, log: &'l Log, now: Instant) -> Position<'l> {
        let from = self.awaits_keyframe_from.unwrap_or(0);
        let is_due = |(keyframe, _): &(u64, &LoggedPacket)| *keyframe >= from;
        let Some((keyframe, packet)) = self.keyframe(log).filter(is_due) else {
            return Position::Waiting;
        };
        if self.stops_at(log, keyframe, packet) {
            return Position::Waiting;
        }
        if self.awaits_keyframe_from.take().is_some() {
            self.skips += 1;
        }
        self.allowance = now.saturating_duration_since(packet.at);
        self.is_new = true;
        self.move_to(keyframe);
        Position::At(keyframe, packet)
    }

    /// Moves to another log. If `repairs` is set, packets of the old one can still be retransmitted,
    /// until the next move.
    pub(super) fn change_log(&mut self, repairs: bool) {
        self.number = None;
        self.placements
            .retain(|placement| repairs && placement.log == Source::Present);
        for placement in &mut self.placements {
            placement.log = Source::Former;
        }
        self.allowance = Duration::ZERO;
        self.awaits_keyframe_from = None;
        self.is_new = true;
        self.decoder.abandon_frame();
        self.wants_replay = false;
    }

    /// Returns the newest keyframe, if it has the negotiated codec.
    fn keyframe<'l>(&self, log: &'l Log) -> Option<(u64, &'l LoggedPacket)> {
        let keyframe = log.keyframe()?;
        let packet = log.get(keyframe)?;
        (packet.codec == self.codec).then_some((keyframe, packet))
    }

    /// Skips everything up to the first keyframe from `number` on.
    fn await_keyframe(&mut self, number: u64) {
        self.number = None;
        self.awaits_keyframe_from = Some(number);
    }

    /// Returns whether the next packet is late or skipped.
    pub(super) fn is_late(&self, log: &Log, now: Instant) -> bool {
        self.awaits_keyframe_from.is_some()
            || self
                .number
                .and_then(|number| log.get(number))
                .is_some_and(|packet| now.saturating_duration_since(packet.at) > LATE)
    }

    /// Returns the number of the next audio packet. Skips packets that are no longer in the log.
    pub(super) fn next_audio(&mut self, log: &Log) -> u64 {
        match self.number {
            Some(number) if number >= log.head() || log.get(number).is_some() => number,
            _ => {
                self.move_to(log.head());
                log.head()
            }
        }
    }

    /// Returns whether a packet is for this viewer.
    fn is_addressed(&self, audience: Audience) -> bool {
        match audience {
            Audience::All => true,
            Audience::Newcomers => self.is_new,
            Audience::Reordering(decoders) => self.decoder.is_among(decoders),
        }
    }

    /// Moves past the packet at the cursor. Returns the index under which it is sent.
    pub(super) fn advance(&mut self, packet: &LoggedPacket) -> u64 {
        if let Audience::Reordering(decoders) = packet.audience {
            self.decoder.note_sent(decoders);
        }
        self.is_new &= !packet.marker;
        self.newest = self.newest.max(Some(packet.pts));
        if packet.marker {
            self.decoder.end_frame();
        }
        let index = self.next_index;
        self.next_index += 1;
        self.number = self.number.map(|number| number + 1);
        index
    }

    /// Moves the cursor; sequence numbers continue without a gap.
    fn move_to(&mut self, number: u64) {
        self.number = Some(number);
        let placement = Placement {
            since: self.next_index,
            offset: self.next_index.wrapping_sub(number),
            log: Source::Present,
        };
        match self.placements.back_mut() {
            Some(last) if last.since == placement.since => *last = placement,
            _ => {
                if self.placements.len() == MAX_PLACEMENTS {
                    self.placements.pop_front();
                }
                self.placements.push_back(placement);
            }
        }
    }

    /// Returns the newest packet sent with this sequence number.
    pub(super) fn sent_as(&self, sequence: u16) -> Option<SentPacket> {
        let last = self.next_index.checked_sub(1)?;
        let age = u64::from((last as u16).wrapping_sub(sequence));
        let index = last.checked_sub(age)?;
        let mut placements = self.placements.iter().rev();
        let placement = placements.find(|placement| placement.since <= index)?;
        Some(SentPacket {
            index,
            log: placement.log,
            number: index.wrapping_sub(placement.offset),
        })
    }

    /// Returns the index under which the newest keyframe was sent; `None` if it was not.
    pub(super) fn keyframe_index(&self, log: &Log) -> Option<u64> {
        let keyframe = log.keyframe()?;
        let mut end = self.next_index;
        let placements = self.placements.iter().rev();
        let mut placements = placements.take_while(|placement| placement.log == Source::Present);
        placements.find_map(|placement| {
            let index = keyframe.wrapping_add(placement.offset);
            let is_sent = (placement.since..end).contains(&index);
            end = placement.since;
            is_sent.then_some(index)
        })
    }

    /// Schedules a replay of the GOP if that helps a viewer that asks for a keyframe: not if one
    /// was just sent or comes soon, and at most once per interval. Returns whether it did.
    pub(super) fn replay(&mut self, log: &Log, now: Instant, round_trip: Duration) -> bool {
        let is_within = |at: Option<Instant>, time: Duration| {
            at.is_some_and(|at| now.saturating_duration_since(at) < time)
        };
        let is_soon = log
            .next_keyframe_in(now)
            .is_some_and(|left| !left.is_zero() && left <= KEYFRAME_SOON);
        let has_sent_it = match (log.keyframe(), self.number) {
            (Some(keyframe), Some(number)) => keyframe < number,
            _ => false,
        };
        let helps = has_sent_it
            && !is_soon
            && !is_within(self.keyframe_sent, round_trip + REPAIR_TIME)
            && !is_within(self.replayed, self.replay_interval);
        self.wants_replay |= helps;
        if helps {
            let (first, longest) = REPLAY_INTERVAL;
            self.replay_interval = if is_within(self.replayed, REPLAY_REST) {
                (2 * self.replay_interval).min(longest)
            } else {
                first
            };
            self.replayed = Some(now);
        }
        helps
    }

    /// Moves the cursor back to the keyframe if a replay is scheduled. Returns whether it moved.
    fn take_replay(&mut self, log: &Log, now: Instant) -> bool {
        if !std::mem::take(&mut self.wants_replay) {
            return false;
        }
        let Some((keyframe, packet)) = self.keyframe(log) else {
            return false;
        };
        self.allowance = now.saturating_duration_since(packet.at);
        self.move_to(keyframe);
        // The viewer may have a new decoder.
        self.decoder.restart();
        self.is_new = true;
        self.replays += 1;
        true
    }
}

/// Returns the number of the first packet after the frame that starts at `number`.
fn end_of_frame(log: &Log, number: u64) -> u64 {
    let is_last = |number: &u64| {
        log.get(*number)
            .is_none_or(|packet: &LoggedPacket| packet.marker)
    };
    (number..log.head())
        .find(is_last)
        .map_or(log.head(), |last| last + 1)
}
