//! The context that all tasks of a node share.

use std::sync::atomic::{AtomicBool, AtomicU8};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::Message;
use distributary_hub::Hub;
use tokio::sync::Semaphore;

use crate::arbiter::Arbiter;
use crate::clock::micros;
use crate::config::{Label, WithoutArbiter};
use crate::control::{self, Control};
use crate::link::Link;
use crate::message::{self, MessageError};
use crate::nodes::Nodes;
use crate::share::Share;
use crate::slots::Slots;
use crate::stats::Counters;
use crate::subject::Subjects;
use crate::subscription::asker;
use crate::versions::OtherVersions;

/// Maximum number of answers to requests to join that are sent at a time to one node, and to all. Each
/// holds a GOP.
const MAX_JOINS: (usize, usize) = (12, 16);

/// Maximum number of entries that are compared or confirmed at a time: after an outage there is one
/// for each name.
pub(crate) const MAX_CHECKS: usize = 32;

/// The context that all tasks of a node share.
pub(crate) struct Context {
    pub(crate) hub: Hub,
    pub(crate) link: Link,
    pub(crate) arbiter: Arbiter,
    pub(crate) subjects: Subjects,
    pub(crate) node: Label,
    /// The table of nodes.
    pub(crate) nodes: Mutex<Nodes>,
    /// A random number of this process.
    pub(crate) instance: u64,
    pub(crate) zone: Label,
    pub(crate) url: String,
    pub(crate) without_arbiter: WithoutArbiter,
    /// Silence of an owner after which it is asked for again.
    pub(crate) silence: Duration,
    pub(crate) counters: Arc<Counters>,
    pub(crate) other_versions: OtherVersions,
    /// The origin of the clock in messages.
    pub(crate) origin: Instant,
    pub(crate) draining: AtomicBool,
    /// CPU time in percent of what the program may use; more than 100 if it is not known.
    pub(crate) cpu: AtomicU8,
    pub(crate) redirect_at: Share,
    /// The answers to requests to join that are being sent.
    pub(crate) joins: Slots,
    /// The requests for sessions of other nodes that wait for their answers.
    pub(crate) forwarded: Slots,
    /// The entries of the arbiter that are being compared or confirmed.
    pub(crate) checks: Semaphore,
}

impl Context {
    pub(crate) fn join_slots() -> Slots {
        Slots::new(MAX_JOINS.0, MAX_JOINS.1)
    }

    /// Returns the table of nodes.
    pub(crate) fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the owner in an entry of this node has left the cluster: its beacons have
    /// ended, or it was a former process of this node.
    pub(crate) fn has_left(&self, node: &Label) -> bool {
        *node == self.node || self.nodes().has_left(node)
    }

    /// Returns the name of the node that expects an answer on the subject `reply`. Unknown nodes share one
    /// name. NATS does not check who may name a subject for answers, only who may receive there: a hostile
    /// node can use the name of another one, which then gets the answer.
    pub(crate) fn asking_node(&self, reply: &str) -> String {
        let node: Option<Label> = asker(reply).and_then(|node| node.parse().ok());
        let node = node.filter(|node| self.nodes().contains(node));
        node.map_or_else(String::new, |node| node.to_string())
    }

    /// Reads a control message of another node.
    pub(crate) fn read<T: Control>(&self, message: &Message) -> Option<T> {
        let read = T::from_json(&message.payload);
        if read.is_none() {
            self.note_unreadable(&message.payload);
        }
        read
    }

    /// Notes a control message that cannot be read.
    pub(crate) fn note_unreadable(&self, json: &[u8]) {
        match control::other_version(json) {
            Some(version) => self.note_version(version),
            None => self.counters.malformed.note(),
        }
    }

    /// Notes a media message that cannot be read.
    pub(crate) fn note_fault(&self, fault: MessageError) {
        match fault {
            MessageError::Version(version) => self.note_version(version),
            _ => self.counters.malformed.note(),
        }
    }

    fn note_version(&self, version: u8) {
        self.counters.other_version.note();
        self.other_versions.note(version, message::VERSION);
    }

    /// Returns the clock of this node, in microseconds.
    pub(crate) fn clock(&self, now: Instant) -> u64 {
        micros(now.saturating_duration_since(self.origin))
    }
}
