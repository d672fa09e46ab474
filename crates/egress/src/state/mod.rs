//! State that the HTTP side and all shards share.

mod counter_offers;
mod duration_histogram;
mod failure;
mod handshakes;
mod identity;
mod joins;
mod latency;
mod log_records;
mod outcomes;
mod prepared;
mod stats;
mod switches;

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use distributary_hub::{Hub, JournalKind};
use distributary_webrtc::peer::CloseReason;
use distributary_webrtc::rtcp::ntp::WallClock;

use crate::engine_config::EngineConfig;
use crate::inbox::Inbox;
use crate::session::{Ended, Registry, SessionId};

pub use counter_offers::OFFER_LIFETIME;
pub(crate) use counter_offers::{CounterOffers, OfferedTo, PendingOffer};
pub use duration_histogram::DurationCounts;
pub use failure::EngineFailure;
pub(crate) use failure::Failures;
pub(crate) use handshakes::Handshakes;
#[cfg(test)]
pub(crate) use handshakes::MAX_HANDSHAKES;
pub use identity::{CERTIFICATE_LIFETIME, IdentityError};
pub(crate) use identity::{Identities, Identity};
pub use joins::{JoinHistogram, JoinStep};
pub(crate) use joins::{JoinProgress, JoinTimes};
pub(crate) use latency::Latency;
pub use latency::LatencyStats;
pub(crate) use log_records::LogRecords;
pub(crate) use outcomes::JoinOutcomes;
use outcomes::Unreached;
pub use outcomes::{FailedJoin, JoinCounts, JoinFailure, JoinStats, RECENT};
pub(crate) use prepared::Prepared;
pub use prepared::{PREPARED_LIFETIME, PreparedStats};
pub use stats::{SessionInfo, SessionStats};
pub(crate) use stats::{SessionStatsCell, SessionStatsTable};
pub(crate) use switches::SwitchCounters;
pub use switches::Switches;

/// The reason of a join whose viewer's packets do not arrive.
pub(crate) const UNREACHED: &str =
    "the viewer never came: no valid ICE check of it reached the UDP port";

/// The state that the HTTP side and all shards share. None of it is locked while media flows.
pub(crate) struct EngineState {
    pub(crate) config: EngineConfig,
    pub(crate) hub: Hub,
    pub(crate) registry: Registry,
    pub(crate) counter_offers: CounterOffers,
    pub(crate) prepared: Prepared,
    pub(crate) handshakes: Handshakes,
    pub(crate) failures: Failures,
    pub(crate) stats: SessionStatsTable,
    pub(crate) identities: Identities,
    pub(crate) wall: WallClock,
    pub(crate) local: SocketAddr,
    /// Viewers may connect over TCP, too.
    pub(crate) has_tcp: bool,
    pub(crate) inboxes: Vec<Inbox>,
    /// Latency from a frame's arrival to its sending to the last viewer of a shard.
    pub(crate) fan_out: Latency,
    /// Memory of the logs.
    pub(crate) log_records: LogRecords,
    /// Durations of the steps of joins.
    pub(crate) joins: JoinTimes,
    /// Viewers that have moved between renditions.
    pub(crate) switches: SwitchCounters,
    /// Outcomes of joins.
    pub(crate) outcomes: JoinOutcomes,
}

/// The address of an engine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EngineAddress {
    /// The bound UDP address.
    pub(crate) local: SocketAddr,
    /// There is a TCP listener on the port of the same number.
    pub(crate) has_tcp: bool,
}

/// The time on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    /// The monotonic clock.
    pub(crate) now: Instant,
    /// The wall clock.
    pub(crate) wall: SystemTime,
}

impl EngineState {
    /// Creates the state of an engine that starts at this time.
    ///
    /// # Errors
    /// Returns [`IdentityError`] if no certificate can be generated.
    pub(crate) fn new(
        config: EngineConfig,
        hub: Hub,
        address: EngineAddress,
        inboxes: Vec<Inbox>,
        Clocks { now, wall }: Clocks,
    ) -> Result<Self, IdentityError> {
        Ok(Self {
            registry: Registry::default(),
            counter_offers: CounterOffers::default(),
            prepared: Prepared::default(),
            handshakes: Handshakes::default(),
            failures: Failures::default(),
            stats: SessionStatsTable::new(Arc::clone(hub.sent_bytes())),
            config,
            hub,
            identities: Identities::new(now, wall)?,
            wall: WallClock::new(now, wall),
            local: address.local,
            has_tcp: address.has_tcp,
            log_records: LogRecords::new(inboxes.len()),
            inboxes,
            fan_out: Latency::default(),
            joins: JoinTimes::default(),
            switches: SwitchCounters::default(),
            outcomes: JoinOutcomes::default(),
        })
    }

    /// Removes offers and sessions whose viewers have not come, and rotates the window of latencies
    /// when it is due. Called about once a second.
    pub(crate) fn keep_up(&self, now: Instant) {
        self.fan_out.rotate_when_due(now);
        let unanswered = self.counter_offers.expire(now);
        self.prepared.note_expired(unanswered as u64);
        for session in self.registry.expire(now) {
            let (failure, reason) = if session.was_heard {
                let reason = "the viewer came, but its DTLS handshake could not begin: too many others were incomplete";
                (JoinFailure::Overload, reason)
            } else {
                (JoinFailure::Unreachable, UNREACHED)
            };
            tracing::info!(parent: &session.span, "{reason}");
            self.note_failed(session, failure, &reason, now);
        }
        if let Some(unreached) = self.outcomes.take_unreached(now) {
            self.warn_of(unreached);
        }
    }

    /// Records that the handshake of a session is done.
    pub(crate) fn note_connected(&self, id: &SessionId, now: Instant) {
        if self.registry.note_connected(id) {
            self.outcomes.note_connected(now);
        }
    }

    /// Removes the session of a viewer that a shard has served.
    pub(crate) fn end_session(&self, id: &SessionId, reason: &CloseReason, now: Instant) {
        let Some(ended) = self.registry.remove(id) else {
            return;
        };
        let failure = match reason {
            _ if ended.was_connected => return,
            CloseReason::HandshakeTimeout | CloseReason::Handshake(_) | CloseReason::Silent => {
                JoinFailure::Handshake
            }
            CloseReason::Displaced => JoinFailure::Overload,
            // Its player has given up.
            _ if ended.report.is_some() => JoinFailure::Handshake,
            // Somebody ended it.
            _ => return,
        };
        self.note_failed(ended, failure, reason, now);
    }

    /// Counts a failed join, and records it in the journal.
    pub(crate) fn note_failed(
        &self,
        session: Ended,
        failure: JoinFailure,
        reason: &dyn Display,
        now: Instant,
    ) {
        self.hub.journal().record(
            JournalKind::JoinFailed,
            Some(&session.stream),
            session.address,
            reason,
            now,
        );
        self.outcomes.note_failed(FailedJoin {
            id: session.id.short(),
            stream: session.stream,
            address: session.address,
            reason: failure,
            report: session.report,
            at: now,
        });
    }

    /// Warns of viewers that were answered and whose checks did not arrive.
    fn warn_of(&self, Unreached { viewers, connected }: Unreached) {
        let port = self.local.port();
        let announced = &self.config.candidates;
        let protocols = if self.has_tcp { "UDP and TCP" } else { "UDP" };
        if connected == 0 {
            tracing::warn!(
                viewers,
                ?announced,
                port,
                "no packet of viewers arrives: open port {port} for {protocols} in the firewall and in \
                 the cloud's security group, and announce the address at which viewers reach this \
                 machine (advertise); \"distributary doctor\" checks this machine's side"
            );
        } else {
            tracing::warn!(
                viewers,
                connected,
                ?announced,
                port,
                "no packet of some viewers arrives, while others connect: their networks block port \
                 {port} or lead to none of the announced addresses; a TURN server ([[ice_server]]) helps \
                 where only port 443 is allowed"
            );
        }
    }
}
