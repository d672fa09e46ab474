//! Datagrams and connections of viewers of other shards.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use distributary_webrtc::ice::CandidatePair;

use crate::command::Command;
use crate::ice_tcp::Connection;
use crate::state::EngineState;

/// Addresses remembered. When there are more, all are forgotten; the next check of each viewer
/// brings its own back.
const MAX_STRAYS: usize = 4096;

/// Shards remembered for one address: a check with a forged source may name a session of another
/// shard than that of the viewer who is there, and must not lead its datagrams astray.
const MAX_SHARDS: usize = 2;

/// The way from one shard to the others.
pub(super) struct OtherShards {
    /// The number of the shard itself.
    index: usize,
    shared: Arc<EngineState>,
    strays: Strays,
}

impl OtherShards {
    pub(super) fn new(index: usize, shared: Arc<EngineState>) -> Self {
        Self {
            index,
            shared,
            strays: Strays::default(),
        }
    }

    /// Hands over a check that names a session of `shard`, and from now on the other datagrams from
    /// its address.
    pub(super) fn hand_over_check(&mut self, shard: usize, pair: CandidatePair, check: &[u8]) {
        self.strays.note(pair.remote, shard);
        self.hand_over_datagram(shard, pair, check);
    }

    /// Hands over a datagram from an address at which a viewer of another shard may be.
    pub(super) fn hand_over_stray(&self, pair: CandidatePair, datagram: &[u8]) {
        for shard in self.strays.shards(&pair.remote) {
            self.hand_over_datagram(shard, pair, datagram);
        }
    }

    /// Gives a connection to the shard that has its session. When the inbox of that shard is full
    /// the frame is lost, and the viewer checks again.
    pub(super) fn hand_over_frame(&self, shard: usize, connection: &Arc<Connection>, frame: &[u8]) {
        connection.set_shard(shard);
        self.send(shard, || Command::Frame {
            connection: Arc::clone(connection),
            bytes: frame.into(),
        });
    }

    /// Gives a datagram of another shard's viewer to that shard. When its inbox is full the
    /// datagram is lost, as datagrams may be.
    fn hand_over_datagram(&self, shard: usize, pair: CandidatePair, datagram: &[u8]) {
        self.send(shard, || Command::Datagram {
            source: pair.remote,
            local: pair.local,
            bytes: datagram.into(),
        });
    }

    fn send(&self, shard: usize, command: impl FnOnce() -> Command) {
        let inbox = self.shared.inboxes.get(shard);
        if let Some(inbox) = inbox.filter(|_| shard != self.index) {
            let _ = inbox.try_send(command());
        }
    }
}

/// The shards to which datagrams from an address belong: the kernel spreads senders by their
/// address, and a viewer's new address may lead here.
#[derive(Default)]
struct Strays {
    by_address: HashMap<SocketAddr, [Option<usize>; MAX_SHARDS]>,
}

impl Strays {
    /// Records that a check from `address` named a session of `shard`.
    fn note(&mut self, address: SocketAddr, shard: usize) {
        if self.by_address.len() >= MAX_STRAYS && !self.by_address.contains_key(&address) {
            self.by_address.clear();
        }
        let shards = self.by_address.entry(address).or_default();
        if !shards.contains(&Some(shard)) {
            shards.rotate_right(1);
            shards[0] = Some(shard);
        }
    }

    /// Returns the shards that may have the viewer at `address`.
    fn shards(&self, address: &SocketAddr) -> impl Iterator<Item = usize> + use<> {
        let shards = self.by_address.get(address).copied();
        shards.unwrap_or_default().into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forged_check_does_not_lead_the_datagrams_of_another_viewer_astray() {
        let address = "192.0.2.7:5000".parse().unwrap();
        let mut strays = Strays::default();
        strays.note(address, 1);
        strays.note(address, 2);
        let shards: Vec<usize> = strays.shards(&address).collect();
        assert_eq!(shards, [2, 1]);
        // The viewer checks again, and so does the other.
        strays.note(address, 1);
        strays.note(address, 2);
        assert!(strays.shards(&address).any(|shard| shard == 1));
    }

    #[test]
    fn addresses_are_bounded() {
        let mut strays = Strays::default();
        for port in 0..2 * MAX_STRAYS as u16 {
            strays.note(([192, 0, 2, 7], port).into(), 1);
            assert!(strays.by_address.len() <= MAX_STRAYS);
        }
    }
}
