//! The context that all tasks of a node share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use distributary_hub::Hub;
use tokio::sync::Semaphore;

use crate::arbiter::Arbiter;
use crate::config::{Label, WithoutArbiter};
use crate::link::Link;
use crate::stats::Counters;
use crate::subject::Subjects;

/// Maximum number of answers to requests to join that are sent at a time. Each holds a GOP.
const MAX_JOINS: usize = 16;

/// The context that all tasks of a node share.
pub(crate) struct Context {
    pub(crate) hub: Hub,
    pub(crate) link: Link,
    pub(crate) arbiter: Arbiter,
    pub(crate) subjects: Subjects,
    pub(crate) node: Label,
    /// A random number of this process.
    pub(crate) instance: u64,
    pub(crate) zone: Label,
    pub(crate) url: String,
    pub(crate) without_arbiter: WithoutArbiter,
    /// Silence of an owner after which it is asked for again.
    pub(crate) silence: Duration,
    pub(crate) counters: Arc<Counters>,
    /// The origin of the clock in messages.
    pub(crate) origin: Instant,
    pub(crate) draining: AtomicBool,
    /// The answers to requests to join that are being sent.
    pub(crate) joins: Arc<Semaphore>,
}

impl Context {
    pub(crate) fn join_slots() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(MAX_JOINS))
    }

    /// Returns the clock of this node, in microseconds.
    pub(crate) fn clock(&self, now: Instant) -> u64 {
        micros(now.saturating_duration_since(self.origin))
    }
}

/// Returns the clock of the drivers, which tests can pause.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
