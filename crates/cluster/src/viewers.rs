//! Other nodes for viewers of this node: those that have a stream, and those with less load.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use distributary_names::StreamName;

use crate::choice;
use crate::cluster::Cluster;
use crate::load::load;
use crate::public_url::base;
use crate::roster::RemoteStream;
use crate::share::Share;

impl Cluster {
    /// Sets the CPU time of this program, as a share of what it may use.
    pub fn set_cpu(&self, cpu: Share) {
        let cpu = cpu.as_percent();
        self.context().cpu.store(cpu, Ordering::Relaxed);
    }

    /// Returns the public URLs of up to three nodes where viewers of this node should go if it fails
    /// or ends: in its zone first, then with less load.
    pub fn alternates(&self) -> Vec<String> {
        let zone = self.context().zone.as_str();
        choice::alternates(&self.list_nodes(), zone, &mut rand::rng())
    }

    /// Returns the public URL of the node to which a new viewer of a stream has to go instead of this
    /// one, because this one has too much load.
    pub fn less_loaded(&self, name: &StreamName) -> Option<String> {
        let context = self.context();
        let (load, limit) = (load(context), context.redirect_at);
        if load < limit || limit == Share::percent(100) {
            return None;
        }
        let rosters = self
            .rosters()
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let has_stream = |node: &crate::nodes::Node| rosters.has(&node.name, name);
        let (nodes, zone) = (self.list_nodes(), context.zone.as_str());
        let mut random = rand::rng();
        choice::less_loaded(&nodes, zone, load, limit, has_stream, &mut random)
    }

    /// Counts a new viewer that is redirected to another node because this one has too much load.
    pub fn note_redirect_by_load(&self) {
        self.context().counters.redirects_load.note();
    }

    /// Counts a new viewer that is redirected to another node because this one drains.
    pub fn note_redirect_by_drain(&self) {
        self.context().counters.redirects_drain.note();
    }

    /// Returns where players reach this node and no other, if it says so.
    pub fn public_url(&self) -> Option<String> {
        let url = base(&self.context().url);
        (!url.is_empty()).then(|| url.to_owned())
    }

    /// Returns whether players reach all nodes over HTTPS, as far as these have a public URL.
    pub fn are_secure(&self) -> bool {
        let nodes = self.list_nodes();
        nodes
            .iter()
            .all(|node| node.url.is_empty() || node.url.starts_with("https:"))
    }

    /// Returns streams that publishers of other nodes use, sorted by name, `most` at most.
    pub fn remote_streams(&self, most: usize) -> Vec<RemoteStream> {
        let rosters = self
            .rosters()
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        rosters.owned(most)
    }
}
