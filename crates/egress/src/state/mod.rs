//! State that the HTTP side and all shards share.

mod counter_offers;
mod failure;
mod handshakes;
mod identity;
mod joins;
mod latency;
mod prepared;
mod stats;
mod switches;

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use distributary_hub::{Hub, JournalKind};
use distributary_names::StreamName;
use distributary_webrtc::rtcp::ntp::WallClock;
use tokio::sync::mpsc;

use crate::command::Command;
use crate::engine_config::EngineConfig;
use crate::session::{Expired, Registry, SessionContext};

pub use counter_offers::OFFER_LIFETIME;
pub(crate) use counter_offers::{CounterOffers, OfferedTo, PendingOffer};
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
pub(crate) use prepared::Prepared;
pub use prepared::{PREPARED_LIFETIME, PreparedStats};
pub use stats::{SessionInfo, SessionStats};
pub(crate) use stats::{SessionStatsCell, SessionStatsTable};
pub(crate) use switches::SwitchCounters;
pub use switches::Switches;

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
    pub(crate) inboxes: Vec<mpsc::Sender<Command>>,
    /// Latency from a frame's arrival to its sending to the last viewer of a shard.
    pub(crate) fan_out: Latency,
    /// Durations of the steps of joins.
    pub(crate) joins: JoinTimes,
    /// Viewers that have moved between renditions.
    pub(crate) switches: SwitchCounters,
}

impl EngineState {
    /// Creates the state of an engine whose UDP address is `local`, with a TCP listener beside it
    /// or not.
    ///
    /// # Errors
    /// Returns [`IdentityError`] if no certificate can be generated.
    pub(crate) fn new(
        config: EngineConfig,
        hub: Hub,
        (local, has_tcp): (SocketAddr, bool),
        inboxes: Vec<mpsc::Sender<Command>>,
        (now, wall): (Instant, SystemTime),
    ) -> Result<Self, IdentityError> {
        Ok(Self {
            registry: Registry::default(),
            counter_offers: CounterOffers::default(),
            prepared: Prepared::default(),
            handshakes: Handshakes::default(),
            failures: Failures::default(),
            stats: SessionStatsTable::default(),
            config,
            hub,
            identities: Identities::new(now, wall)?,
            wall: WallClock::new(now, wall),
            local,
            has_tcp,
            inboxes,
            fan_out: Latency::default(),
            joins: JoinTimes::default(),
            switches: SwitchCounters::default(),
        })
    }

    /// Removes offers and sessions whose viewers have not come, and rotates the window of latencies
    /// when it is due. Called about once a second.
    pub(crate) fn keep_up(&self, now: Instant) {
        self.fan_out.rotate_when_due(now);
        let unanswered = self.counter_offers.expire(now);
        self.prepared.note_expired(unanswered as u64);
        for Expired {
            stream,
            context,
            was_heard,
        } in self.registry.expire(now)
        {
            let reason = if was_heard {
                "the viewer came, but its DTLS handshake could not begin: too many others were incomplete"
            } else {
                "the viewer never came: no valid ICE check of it reached the UDP port"
            };
            tracing::info!(parent: &context.span, "{reason}");
            self.note_failed_join(&stream, &context, &reason, now);
        }
    }

    /// Records in the journal that a viewer got an answer and did not connect.
    pub(crate) fn note_failed_join(
        &self,
        stream: &StreamName,
        context: &SessionContext,
        reason: &dyn Display,
        now: Instant,
    ) {
        let (journal, stream) = (self.hub.journal(), stream.published());
        journal.record(
            JournalKind::JoinFailed,
            Some(&stream),
            context.address,
            reason,
            now,
        );
    }
}
