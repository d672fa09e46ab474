//! An egress shard: some of the viewers, and a copy of the logs of the streams they watch.
//!
//! [`Shard`] is a state machine. Datagrams, deliveries of the hub, commands and the time go in.
//! Datagrams come out by an [`Outlet`], commands to other shards by their inboxes, and the next
//! deadline by [`Shard::poll_timeout`]. `shard_thread` runs it on a thread of its own and reads the
//! clock for it.
//!
//! * `admission`: sessions that wait for their viewer.
//! * `newcomer`: the viewer that such a session becomes.
//! * `addresses`, `other_shards`: which viewer, or which other shard, datagrams of an address are
//!   for.
//! * `fan_out`: serves the viewers, with the parts below.
//! * `viewers`: the viewers, by address, user name fragment, session and connection.
//! * `schedule`: the viewers by the time at which something is due.
//! * `stream`, `streams`: the streams that are watched and their logs.
//! * `b_frames`, `held_audio`: frames on their way into the logs.
//! * `renditions`, `quality`, `moves`: the renditions of a stream, the choice of one for a viewer,
//!   and viewers that move from one to another.
//! * `disturbance`: times in which the packets of all viewers were held up.
//! * `codec_change`: sessions that end because the codec has changed.
//! * `transmitter`, `unsent`: sending.
//! * `stats`: stats of the viewers for the API and the audio encoder.
//! * `tables`: the sizes of the tables, for simulations.

mod addresses;
mod admission;
mod b_frames;
mod codec_change;
mod disturbance;
mod fan_out;
mod held_audio;
mod late_audio;
mod moves;
mod newcomer;
mod other_shards;
mod quality;
mod renditions;
mod schedule;
mod stats;
mod stream;
mod streams;
#[cfg(any(test, feature = "test-util"))]
mod tables;
#[cfg(test)]
mod tests;
mod transmitter;
mod unsent;
mod viewers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use distributary_hub::{Delivery, Sink};
use distributary_webrtc::demux::DatagramKind;
use distributary_webrtc::ice::CandidatePair;
use distributary_webrtc::stun::{is_named_check, local_ufrag};

use crate::command::Command;
use crate::datagrams::{Outlet, Received};
use crate::ice_tcp::Connection;
use crate::state::EngineState;
use addresses::Holders;
use admission::Admission;
use disturbance::Disturbance;
use fan_out::FanOut;
use other_shards::OtherShards;
use stats::StatsWriter;
#[cfg(any(test, feature = "test-util"))]
pub use tables::ShardTables;

/// Time between two rounds of everything that needs no exact deadline.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Some of the viewers of the gateway.
pub(crate) struct Shard<O> {
    index: usize,
    shared: Arc<EngineState>,
    fan_out: FanOut<O>,
    others: OtherShards,
    disturbance: Disturbance,
    stats: StatsWriter,
    next_upkeep: Instant,
}

impl<O: Outlet> Shard<O> {
    /// Creates the shard of number `index`, to which the hub delivers by `sink`.
    pub(crate) fn new(
        index: usize,
        shared: Arc<EngineState>,
        outlet: O,
        sink: Sink,
        now: Instant,
    ) -> Self {
        Self {
            index,
            fan_out: FanOut::new(index, Arc::clone(&shared), outlet, sink, now),
            others: OtherShards::new(index, Arc::clone(&shared)),
            shared,
            disturbance: Disturbance::default(),
            stats: StatsWriter::new(now),
            next_upkeep: now,
        }
    }

    /// Returns the way out.
    pub(crate) fn outlet(&self) -> &O {
        self.fan_out.transmitter.outlet()
    }

    /// Returns whether datagrams wait for room in the kernel: [`Self::handle_writable`] is due when
    /// there is some.
    pub(crate) fn has_unsent(&self) -> bool {
        self.fan_out.transmitter.has_unsent()
    }

    /// Returns when [`Self::handle_timeout`] is due; `None` while there is nothing to wait for.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let upkeep = self.needs_upkeep().then_some(self.next_upkeep);
        upkeep.into_iter().chain(self.fan_out.poll_timeout()).min()
    }

    /// Handles a datagram that came in at the socket of this shard.
    pub(crate) fn handle_datagram(&mut self, datagram: Received<'_>, now: Instant) {
        if self.disturbance.note_datagram(datagram.source, now) {
            self.fan_out.note_disturbance(now);
        }
        let Received {
            source,
            local,
            bytes,
        } = datagram;
        let (kind, pair) = (DatagramKind::of(bytes), CandidatePair::udp(local, source));
        // A check in the short form and the answer to a check name no session. Like media, they
        // belong to a viewer by their source.
        if kind == DatagramKind::Stun && is_named_check(bytes) {
            match self.find_by_check(pair, bytes, now) {
                Recipient::Here(key) => self.fan_out.feed(key, pair, bytes, now),
                Recipient::Elsewhere(shard) => {
                    self.fan_out.viewers.contest_address(&source);
                    self.others.hand_over_check(shard, pair, bytes);
                }
                Recipient::Refused(refusal) => self.fan_out.transmitter.refuse(pair, &refusal),
                Recipient::Nowhere => {}
            }
            return;
        }
        let holders = self.fan_out.viewers.by_address(&source);
        if holders.is_none_or(Holders::may_be_elsewhere) {
            self.others.hand_over_stray(pair, bytes);
        }
        match holders {
            None => {}
            Some(holders) if kind == DatagramKind::Stun => {
                for key in holders.all() {
                    self.fan_out.feed(key, pair, bytes, now);
                }
            }
            Some(holders) => self.fan_out.feed(holders.owner(), pair, bytes, now),
        }
    }

    /// Handles a command. [`Command::Shutdown`] is for the driver.
    pub(crate) fn handle_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Datagram {
                source,
                local,
                mut bytes,
            } => {
                let datagram = Received {
                    source,
                    local,
                    bytes: &mut bytes,
                };
                self.handle_datagram(datagram, now);
            }
            Command::Frame {
                connection,
                mut bytes,
            } => self.handle_frame(&connection, &mut bytes, now),
            Command::Restart { id, local, remote } => {
                self.fan_out.restart_ice(&id, local, remote);
            }
            Command::Quality { id, preference } => {
                self.fan_out.set_quality(&id, preference, now);
            }
            Command::Close(id) => {
                if let Some(key) = self.fan_out.viewers.by_id(&id) {
                    self.fan_out.close(key, now);
                }
            }
            Command::EndHandshake(id) => {
                if let Some(key) = self.fan_out.viewers.by_id(&id) {
                    self.fan_out.end_handshake(key, now);
                }
            }
            Command::Shutdown => {}
            #[cfg(any(test, debug_assertions))]
            Command::Panic => panic!("panicked on command"),
        }
    }

    /// Logs a delivery of the hub, and sends it to all viewers at the live edge.
    pub(crate) fn handle_delivery(&mut self, delivery: &Delivery, now: Instant) {
        self.fan_out.handle_delivery(delivery, now);
    }

    /// Sends packets that the kernel's full buffer held back, and then brings all viewers up to
    /// date.
    pub(crate) fn handle_writable(&mut self, now: Instant) {
        self.fan_out.handle_writable(now);
    }

    /// Performs the work that is due at `now`.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        // What is due for a viewer: the rest of this may wait for it.
        let due = self.fan_out.schedule.poll_timeout();
        if self.disturbance.note_work(due, now) {
            self.fan_out.note_disturbance(now);
        }
        self.fan_out.handle_timeout(now);
        if self.needs_upkeep() && now >= self.next_upkeep {
            self.keep_up(now);
            self.next_upkeep = now + UPKEEP_INTERVAL;
        }
    }

    /// Ends all sessions.
    pub(crate) fn close_all(&mut self, now: Instant) {
        for key in self.fan_out.viewers.keys() {
            self.fan_out.close(key, now);
        }
    }

    /// Handles a frame that came on a TCP connection, as a datagram from an address of its own.
    fn handle_frame(&mut self, connection: &Arc<Connection>, bytes: &mut [u8], now: Instant) {
        let pair = connection.pair();
        let key = match DatagramKind::of(bytes) {
            DatagramKind::Stun if is_named_check(bytes) => {
                match self.find_by_check(pair, bytes, now) {
                    Recipient::Here(key) => key,
                    Recipient::Elsewhere(shard) => {
                        self.others.hand_over_frame(shard, connection, bytes);
                        return;
                    }
                    Recipient::Refused(refusal) => return connection.send(&refusal),
                    Recipient::Nowhere => return,
                }
            }
            _ => match self.fan_out.viewers.by_connection(connection.id()) {
                Some(key) => key,
                None => return,
            },
        };
        self.fan_out.feed_frame(key, connection, bytes, now);
    }

    /// Finds the viewer that a check names. One that waits becomes a viewer of this shard.
    fn find_by_check(&mut self, pair: CandidatePair, check: &[u8], now: Instant) -> Recipient {
        let Some(ufrag) = local_ufrag(check) else {
            return Recipient::Nowhere;
        };
        if let Some(key) = self.fan_out.viewers.by_ufrag(ufrag) {
            return Recipient::Here(key);
        }
        match admission::admit(&self.shared, self.index, ufrag, pair, check, now) {
            Admission::Admitted(session, handshake) => self
                .fan_out
                .add(*session, handshake, now)
                .map_or(Recipient::Nowhere, Recipient::Here),
            Admission::Elsewhere(shard) => Recipient::Elsewhere(shard),
            Admission::Refused(refusal) => Recipient::Refused(refusal),
            Admission::Nothing => Recipient::Nowhere,
        }
    }

    /// Returns whether [`Self::keep_up`] has any work. The first shard also maintains the shared
    /// state.
    fn needs_upkeep(&self) -> bool {
        self.index == 0 || !self.fan_out.streams.is_empty()
    }

    /// Performs the work that needs no exact deadline.
    fn keep_up(&mut self, now: Instant) {
        self.fan_out.keep_up(now);
        let FanOut {
            viewers, streams, ..
        } = &self.fan_out;
        self.stats.write(viewers, streams, now);
        let streams = &mut self.fan_out.streams;
        streams.drop_unwatched();
        streams.bound(now);
        self.shared
            .log_records
            .set(self.index, streams.log_records());
        if self.index == 0 {
            self.shared.keep_up(now);
        }
    }
}

/// The owner of the viewer that a check names.
enum Recipient {
    /// This shard, under this key.
    Here(usize),
    /// The shard of this number.
    Elsewhere(usize),
    /// None, and this error response refuses the check.
    Refused(Vec<u8>),
    /// None, and the check gets no answer.
    Nowhere,
}
