//! The memory of the gateway by part, and its budget.

use std::sync::atomic::AtomicU64;

use distributary_egress::engine::EngineMemory;
use distributary_hub::Memory;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use serde::Serialize;

use super::door::AdminDoor;
use super::process::resident_memory;

/// The memory of the gateway.
#[derive(Serialize)]
pub(super) struct MemoryStatus {
    /// The memory that the process may use, in bytes.
    budget_bytes: Option<usize>,
    /// The step of the order of refusal that is in force.
    pressure: &'static str,
    /// Maximum size of a GOP cache while memory is short.
    gop_limit_bytes: Option<usize>,
    parts: Parts,
}

/// The resident memory by part, in bytes. No byte is in two parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Parts {
    /// Frames: GOP caches, queues, the payload in the logs of the shards, RTMP players.
    media: usize,
    /// Incomplete messages of publishers.
    ingest: usize,
    /// The packets in the logs of the shards, without their payload.
    logs: usize,
    /// Sessions, an estimate.
    sessions: usize,
    /// The history of 15 minutes.
    history: usize,
    /// The rest of the resident memory: the program, its libraries and threads, HTTP, RTMP
    /// connections, queues between nodes, memory that is free and not returned to the system.
    /// `None` if the system does not tell the resident memory.
    other: Option<usize>,
}

impl MemoryStatus {
    pub(super) fn of(door: &AdminDoor) -> Self {
        let memory = door.hub.memory();
        let gop_limit = memory.gop_limit();
        Self {
            budget_bytes: memory.budget(),
            pressure: memory.pressure().as_str(),
            gop_limit_bytes: (gop_limit < usize::MAX).then_some(gop_limit),
            parts: Parts::of(door),
        }
    }
}

impl Parts {
    pub(super) fn of(door: &AdminDoor) -> Self {
        let EngineMemory { logs, sessions } = door.engine.memory();
        let memory = door.hub.memory();
        let parts = Self {
            media: memory.media(),
            ingest: memory.ingest(),
            logs,
            sessions,
            history: door.history.memory(),
            other: None,
        };
        parts.within(resident_memory())
    }

    /// Adds the rest of the resident memory. A part can be larger than what is resident of it:
    /// incomplete messages count by the lengths that they declare.
    fn within(self, resident: Option<usize>) -> Self {
        let known = self.media + self.ingest + self.logs + self.sessions + self.history;
        Self {
            other: resident.map(|resident| resident.saturating_sub(known)),
            ..self
        }
    }

    fn named(self) -> impl Iterator<Item = (&'static str, usize)> {
        [
            ("media", Some(self.media)),
            ("ingest", Some(self.ingest)),
            ("logs", Some(self.logs)),
            ("sessions", Some(self.sessions)),
            ("history", Some(self.history)),
            ("other", self.other),
        ]
        .into_iter()
        .filter_map(|(name, bytes)| Some((name, bytes?)))
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfPart {
    part: &'static str,
}

/// Collects the memory by part, and the budget.
pub(super) fn collect(parts: Parts, memory: &Memory, registry: &mut Registry) {
    let family = Family::<OfPart, Gauge<u64, AtomicU64>>::default();
    for (part, bytes) in parts.named() {
        family.get_or_create(&OfPart { part }).set(bytes as u64);
    }
    registry.register_with_unit(
        "memory",
        "Resident memory by part: media, ingest, logs, sessions, history and other",
        Unit::Bytes,
        family,
    );
    let pressure: Gauge = Gauge::default();
    pressure.set(memory.pressure() as i64);
    registry.register(
        "memory_pressure",
        "What gives way because memory is short: 0 nothing, 1 new publishers, 2 GOP caches too, 3 new viewers too",
        pressure,
    );
    if let Some(bytes) = memory.budget() {
        let budget = Gauge::<u64, AtomicU64>::default();
        budget.set(bytes as u64);
        registry.register_with_unit(
            "memory_budget",
            "Memory that the gateway may use",
            Unit::Bytes,
            budget,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_to_the_resident_memory() {
        let parts = Parts {
            media: 10,
            ingest: 20,
            logs: 30,
            sessions: 40,
            history: 50,
            other: None,
        };
        let parts = parts.within(Some(1000));
        assert_eq!(parts.named().map(|(_, bytes)| bytes).sum::<usize>(), 1000);
        assert_eq!(parts.within(Some(100)).other, Some(0));
        assert_eq!(parts.within(None).named().count(), 5);
    }
}
