//! The shards of an engine that the caller drives.

use std::sync::Arc;
use std::time::Instant;

use distributary_hub::{Delivery, Hub, Sink};
use tokio::sync::mpsc;

use crate::command::Command;
use crate::datagrams::Outlet;
use crate::engine::EngineConfig;
use crate::inbox::Inbox;
use crate::shard::Shard;
use crate::state::{Clocks, EngineAddress, EngineState, IdentityError};

/// An engine whose shards the caller drives.
pub(crate) struct DrivenSetup {
    pub(crate) config: EngineConfig,
    pub(crate) hub: Hub,
    pub(crate) address: EngineAddress,
    pub(crate) clocks: Clocks,
    /// The number of shards.
    pub(crate) shards: usize,
    /// Commands that may wait for a shard.
    pub(crate) commands: usize,
    /// Deliveries of the hub that may wait for a shard.
    pub(crate) deliveries: usize,
}

/// A shard that the caller drives, with its inputs.
pub(crate) struct DrivenShard<O> {
    pub(crate) shard: Shard<O>,
    /// The outlet of the shard.
    pub(crate) outlet: O,
    inbox: mpsc::Receiver<Command>,
    deliveries: mpsc::Receiver<Delivery>,
}

impl DrivenSetup {
    /// Returns the setup of the tests of this crate: short queues, and viewers that wait for their
    /// publisher for ever.
    #[cfg(test)]
    #[allow(
        clippy::disallowed_methods,
        reason = "the wall clock at the start of a test"
    )]
    pub(crate) fn for_test(hub: Hub, shards: usize, now: Instant) -> Self {
        Self {
            config: EngineConfig {
                candidates: vec![[192, 0, 2, 1].into()],
                offline_grace: None,
                ..EngineConfig::default()
            },
            hub,
            address: EngineAddress {
                local: ([192, 0, 2, 1], 8189).into(),
                has_tcp: false,
            },
            clocks: Clocks {
                now,
                wall: std::time::SystemTime::now(),
            },
            shards,
            commands: 64,
            deliveries: 64,
        }
    }

    /// Creates the state of the engine and its shards, each with an outlet of its own.
    ///
    /// # Errors
    /// Returns [`IdentityError`] if no certificate can be generated.
    pub(crate) fn start<O: Outlet + Clone>(
        self,
        outlet: impl Fn() -> O,
    ) -> Result<(Arc<EngineState>, Vec<DrivenShard<O>>), IdentityError> {
        let (inboxes, receivers): (Vec<_>, Vec<_>) = (0..self.shards)
            .map(|_| Inbox::with_capacity(self.commands))
            .unzip();
        let shared = EngineState::new(self.config, self.hub, self.address, inboxes, self.clocks)?;
        let shared = Arc::new(shared);
        let driven = |(index, inbox)| {
            let (sink, deliveries) = Sink::channel(self.deliveries);
            let (shared, outlet) = (Arc::clone(&shared), outlet());
            DrivenShard {
                shard: Shard::new(index, shared, outlet.clone(), sink, self.clocks.now),
                outlet,
                inbox,
                deliveries,
            }
        };
        let shards = receivers.into_iter().enumerate().map(driven).collect();
        Ok((shared, shards))
    }
}

impl<O: Outlet> DrivenShard<O> {
    /// Handles the commands that wait. Returns whether there was one.
    pub(crate) fn handle_commands(&mut self, now: Instant) -> bool {
        let mut has_any = false;
        while let Ok(command) = self.inbox.try_recv() {
            has_any = true;
            self.shard.handle_command(command, now);
        }
        has_any
    }

    /// Handles the deliveries of the hub that wait. Returns whether there was one.
    pub(crate) fn handle_deliveries(&mut self, now: Instant) -> bool {
        let mut has_any = false;
        while let Ok(delivery) = self.deliveries.try_recv() {
            has_any = true;
            self.shard.handle_delivery(&delivery, now);
        }
        has_any
    }

    /// Handles the timeout if it is due. Returns whether it was.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> bool {
        let is_due = self.shard.poll_timeout().is_some_and(|due| due <= now);
        if is_due {
            self.shard.handle_timeout(now);
        }
        is_due
    }
}
