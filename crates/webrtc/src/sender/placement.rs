//! Where in the log a viewer is, and what it is not sent.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use distributary_media::{MediaTime, VideoCodec};

use crate::log::{self, Audience, Log, LoggedPacket};

/// Media older than this is given up for the newest keyframe: the viewer's path or socket did not
/// keep up.
pub const MAX_BEHIND: Duration = Duration::from_secs(1);

/// On a path that is slower than the stream, pictures that no other refers to are left out when they
/// are older than this.
const MAX_BEHIND_DISPOSABLE: Duration = Duration::from_millis(100);

/// Being behind by more than this is noticed: less, a large keyframe alone can cause.
const LATE: Duration = Duration::from_millis(300);

/// How many moves of the cursor are remembered: packets from before them cannot be sent again.
const MAX_PLACEMENTS: usize = 64;

/// Least time between two replays of the GOP for one viewer: the first at first, and then twice
/// the time before, up to the second. On a network that loses much, what is sent anew is often damaged as
/// well, and a viewer that waited for the longest time after each would see nothing for all of it.
const REPLAY_INTERVAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// After this time without a replay the interval is the first again.
const REPLAY_REST: Duration = Duration::from_secs(10);

/// A keyframe that comes within this time is waited for: the group sent anew would end no sooner.
const KEYFRAME_SOON: Duration = Duration::from_secs(1);

/// What a keyframe that has arrived needs to be repaired by retransmissions, besides the round trip.
const REPAIR_TIME: Duration = Duration::from_millis(500);

/// A place in the log, and which sequence numbers its packets were sent under.
#[derive(Debug)]
pub(super) struct Cursor {
    /// The coding of the pictures that the viewer can be sent; those of another one are stepped over.
    codec: Option<VideoCodec>,
    /// Number of the packet to send next, once there is one to start with.
    number: Option<u64>,
    /// Index of the next packet: its sequence number, extended to 48 bits.
    next_index: u64,
    /// How numbers became indices, the present way last.
    placements: VecDeque<Placement>,
    /// How old what is sent may be beyond [`MAX_BEHIND`]: a newcomer begins that far back, and may
    /// stay so until it has come to the head.
    allowance: Duration,
    /// Set when everything up to the next keyframe is left out: the first number that may be it.
    awaits_keyframe_from: Option<u64>,
    /// Whether the present picture is the first since the cursor was put there.
    is_new: bool,
    /// How many pictures the viewer's decoder holds back to put them in order; `None` for one that
    /// takes pictures only in the order in which they are shown.
    held: Option<u8>,
    /// The same once the present picture is sent to its end.
    priming: u8,
    wants_replay: bool,
    replayed: Option<Instant>,
    /// Least time from the last replay to the next.
    replay_interval: Duration,
    /// The latest time of what was sent.
    newest: Option<MediaTime>,
    /// In another log, what is not later than this is left out: times never go back.
    begins_after: Option<MediaTime>,
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
}

/// Where sending goes on.
#[derive(Debug)]
pub(super) enum Place<'l> {
    /// At the packet of this number.
    At(u64, &'l LoggedPacket),
    /// Everything has been sent.
    Head,
    /// Nowhere before a keyframe comes.
    Nowhere,
}

impl Cursor {
    /// A cursor whose first packet will have the index `next_index`, for pictures of this coding.
    /// `reorders`: the viewer's decoder can be made to put pictures in order.
    pub(super) fn new(next_index: u64, codec: Option<VideoCodec>, reorders: bool) -> Self {
        Self {
            codec,
            number: None,
            next_index,
            placements: VecDeque::new(),
            allowance: Duration::ZERO,
            awaits_keyframe_from: None,
            is_new: true,
            held: reorders.then_some(0),
            priming: 0,
            wants_replay: false,
            replayed: None,
            replay_interval: REPLAY_INTERVAL.0,
            newest: None,
            begins_after: None,
            keyframe_sent: None,
            skips: 0,
            dropped_frames: 0,
            replays: 0,
        }
    }

    /// Where to go on with pictures: where the cursor is, or at the newest keyframe when the stream
    /// begins, has fallen behind, or is to be replayed. On a `slow_path`, pictures that nothing
    /// refers to are stepped over first, and then everything up to the next keyframe. A picture that
    /// was begun is sent to its end.
    pub(super) fn place<'l>(&mut self, log: &'l Log, now: Instant, slow_path: bool) -> Place<'l> {
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
                return Place::Head;
            };
            if !self.is_addressed(packet.audience) {
                self.move_to(number + 1);
                continue;
            }
            if !packet.first {
                return Place::At(number, packet);
            }
            if packet.codec != self.codec {
                self.await_keyframe(number + 1);
                continue;
            }
            if self.take_replay(log, now) {
                continue;
            }
            let age = now.saturating_duration_since(packet.at);
            let has_newer = log.keyframe().is_some_and(|keyframe| keyframe > number);
            let skips_after = if slow_path { LATE } else { MAX_BEHIND };
            if has_newer && age > skips_after || slow_path && age > MAX_BEHIND + self.allowance {
                self.await_keyframe(number + 1);
            } else if slow_path && packet.disposable && age > MAX_BEHIND_DISPOSABLE {
                self.move_to(end_of_picture(log, number));
                self.dropped_frames += 1;
            } else {
                return Place::At(number, packet);
            }
        }
    }

    /// Index of the next packet.
    pub(super) fn next_index(&self) -> u64 {
        self.next_index
    }

    /// How many packets of the log are to be sent from the cursor on.
    pub(super) fn pending(&self, log: &Log) -> u64 {
        self.number
            .map_or(0, |number| log.head().saturating_sub(number))
    }

    /// Begins at the newest keyframe, or at the one that is waited for.
    fn begin<'l>(&mut self, log: &'l Log, now: Instant) -> Place<'l> {
        let from = self.awaits_keyframe_from.unwrap_or(0);
        // In a decoder that holds pictures back, what comes out first is earlier than the keyframe.
        let lag = log::MAX_INTERVAL * self.held().into();
        let is_due = |(keyframe, packet): &(u64, &LoggedPacket)| {
            let is_later = |sent: MediaTime| packet.pts > sent + lag;
            *keyframe >= from && self.begins_after.is_none_or(is_later)
        };
        let Some((keyframe, packet)) = self.keyframe(log).filter(is_due) else {
            return Place::Nowhere;
        };
        self.begins_after = None;
        if self.awaits_keyframe_from.take().is_some() {
            self.skips += 1;
        }
        self.allowance = now.saturating_duration_since(packet.at);
        self.is_new = true;
        self.move_to(keyframe);
        Place::At(keyframe, packet)
    }

    /// Goes over to another log. What was sent from this one cannot be sent again.
    pub(super) fn change_log(&mut self) {
        self.number = None;
        self.placements.clear();
        self.allowance = Duration::ZERO;
        self.awaits_keyframe_from = None;
        self.is_new = true;
        self.priming = 0;
        self.wants_replay = false;
        self.begins_after = self.newest;
    }

    /// The newest keyframe, if the viewer can be sent it.
    fn keyframe<'l>(&self, log: &'l Log) -> Option<(u64, &'l LoggedPacket)> {
        let keyframe = log.keyframe()?;
        let packet = log.get(keyframe)?;
        (packet.codec == self.codec).then_some((keyframe, packet))
    }

    /// Leaves out everything up to the first keyframe from `number` on.
    fn await_keyframe(&mut self, number: u64) {
        self.number = None;
        self.awaits_keyframe_from = Some(number);
    }

    /// Whether what comes next is late, or is left out.
    pub(super) fn is_late(&self, log: &Log, now: Instant) -> bool {
        self.awaits_keyframe_from.is_some()
            || self
                .number
                .and_then(|number| log.get(number))
                .is_some_and(|packet| now.saturating_duration_since(packet.at) > LATE)
    }

    /// Where to go on with sound: what is no longer in the log is passed over, and in another log what was
    /// sent from the one before.
    pub(super) fn place_sound(&mut self, log: &Log) -> u64 {
        let number = match self.number {
            Some(number) if number >= log.head() || log.get(number).is_some() => number,
            _ => {
                self.move_to(log.head());
                log.head()
            }
        };
        let Some(sent) = self.begins_after else {
            return number;
        };
        let is_later = |number: &u64| log.get(*number).is_some_and(|packet| packet.pts > sent);
        let next = (number..log.head()).find(is_later);
        if next.is_some() {
            self.begins_after = None;
        }
        let next = next.unwrap_or(log.head());
        self.move_to(next);
        next
    }

    /// How many pictures the viewer's decoder holds back.
    pub(super) fn held(&self) -> u8 {
        self.held.unwrap_or(0)
    }

    /// Whether a packet is for this viewer.
    fn is_addressed(&self, audience: Audience) -> bool {
        match (audience, self.held) {
            (Audience::All, _) | (Audience::Reordering, Some(_)) => true,
            (Audience::Newcomers, _) => self.is_new,
            (Audience::Priming(depth), Some(held)) => depth > held,
            (_, None) => false,
        }
    }

    /// Moves over the packet at the cursor. Returns the index it is sent under.
    pub(super) fn advance(&mut self, packet: &LoggedPacket) -> u64 {
        if let Audience::Priming(depth) = packet.audience {
            self.priming = depth;
        }
        self.is_new &= !packet.marker;
        self.newest = self.newest.max(Some(packet.pts));
        if packet.marker && self.priming > 0 {
            self.held = Some(std::mem::take(&mut self.priming));
        }
        let index = self.next_index;
        self.next_index += 1;
        self.number = self.number.map(|number| number + 1);
        index
    }

    /// Moves the cursor; sequence numbers go on without a gap.
    fn move_to(&mut self, number: u64) {
        self.number = Some(number);
        let placement = Placement {
            since: self.next_index,
            offset: self.next_index.wrapping_sub(number),
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

    /// Index and number of the packet that was sent last with this sequence number.
    pub(super) fn sent_as(&self, sequence: u16) -> Option<(u64, u64)> {
        let last = self.next_index.checked_sub(1)?;
        let age = u64::from((last as u16).wrapping_sub(sequence));
        let index = last.checked_sub(age)?;
        let mut placements = self.placements.iter().rev();
        let placement = placements.find(|placement| placement.since <= index)?;
        Some((index, index.wrapping_sub(placement.offset)))
    }

    /// Lets the group of pictures be sent anew, when the viewer asks for a keyframe and that is of use:
    /// not if one was sent to it just now or will be soon, and not again and again.
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
            self.replay_interval = match is_within(self.replayed, REPLAY_REST) {
                true => (2 * self.replay_interval).min(longest),
                false => first,
            };
            self.replayed = Some(now);
        }
        helps
    }

    /// Moves the cursor back to the keyframe if that was asked for. `false`: it stays where it is.
    fn take_replay(&mut self, log: &Log, now: Instant) -> bool {
        if !std::mem::take(&mut self.wants_replay) {
            return false;
        }
        let Some((keyframe, packet)) = self.keyframe(log) else {
            return false;
        };
        self.allowance = now.saturating_duration_since(packet.at);
        self.move_to(keyframe);
        // Who asks for a keyframe may have a new decoder. One that holds pictures back already loses as
        // many of the old ones.
        self.held = self.held.map(|_| 0);
        self.is_new = true;
        self.replays += 1;
        true
    }
}

/// Number of the first packet behind the picture that begins at `number`.
fn end_of_picture(log: &Log, number: u64) -> u64 {
    let is_last = |number: &u64| {
        log.get(*number)
            .is_none_or(|packet: &LoggedPacket| packet.marker)
    };
    (number..log.head())
        .find(is_last)
        .map_or(log.head(), |last| last + 1)
}
