//! The nodes that watch one stream of this node, in one form.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::config::Label;

/// Time after its last renewal for which a node counts as watching.
pub(crate) const LIFETIME: Duration = Duration::from_secs(6);

/// Maximum number of nodes that watch a stream.
const MAX_NODES: usize = 1024;

/// The nodes that watch one stream of this node, in one form.
#[derive(Debug, Default)]
pub(crate) struct Interest {
    nodes: HashMap<Label, Watching>,
}

#[derive(Debug)]
struct Watching {
    until: Instant,
    /// Loss of audio packets on the way to its viewers, in percent.
    loss: u8,
}

impl Interest {
    /// Notes that a node watches.
    pub(crate) fn renew(&mut self, node: &Label, loss: u8, now: Instant) {
        if self.nodes.len() >= MAX_NODES && !self.nodes.contains_key(node) {
            return;
        }
        let watching = Watching {
            until: now + LIFETIME,
            loss: loss.min(100),
        };
        self.nodes.insert(node.clone(), watching);
    }

    /// Removes the nodes that have not renewed in time. Returns whether some node still watches.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        self.nodes.retain(|_, watching| watching.until > now);
        !self.nodes.is_empty()
    }

    /// Returns the highest loss that a node reports, in percent.
    pub(crate) fn loss(&self) -> u8 {
        let losses = self.nodes.values().map(|watching| watching.loss);
        losses.max().unwrap_or(0)
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    #[test]
    fn interest_ends_when_it_is_not_renewed() {
        let (mut interest, start) = (Interest::default(), Instant::now());
        let (a, b): (Label, Label) = ("a".parse().unwrap(), "b".parse().unwrap());
        assert!(!interest.expire(start));
        interest.renew(&a, 5, start);
        interest.renew(&b, 20, start);
        assert_eq!(interest.loss(), 20);
        interest.renew(&a, 5, start + LIFETIME / 2);
        assert!(interest.expire(start + LIFETIME));
        assert_eq!(interest.loss(), 5);
        assert!(!interest.expire(start + 2 * LIFETIME));
    }

    #[test]
    fn number_of_nodes_is_bounded() {
        let (mut interest, start) = (Interest::default(), Instant::now());
        for n in 0..2 * MAX_NODES {
            interest.renew(&format!("n{n}").parse().unwrap(), 0, start);
        }
        assert_eq!(interest.nodes.len(), MAX_NODES);
    }
}
