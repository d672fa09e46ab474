//! Remote addresses of viewers of other shards.

use std::collections::HashMap;
use std::net::SocketAddr;

/// Addresses remembered. When there are more, all are forgotten; the next check of each viewer
/// brings its own back.
const MAX_STRAYS: usize = 4096;

/// Shards remembered for one address: a check with a forged source may name a session of another
/// shard than that of the viewer who is there, and must not lead its datagrams astray.
const MAX_SHARDS: usize = 2;

/// The shards to which datagrams from an address belong: the kernel spreads senders by their
/// address, and a viewer's new address may lead here.
#[derive(Default)]
pub(super) struct Strays {
    by_address: HashMap<SocketAddr, [Option<usize>; MAX_SHARDS]>,
}

impl Strays {
    /// Records that a check from `address` named a session of `shard`.
    pub(super) fn note(&mut self, address: SocketAddr, shard: usize) {
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
    pub(super) fn shards(&self, address: &SocketAddr) -> impl Iterator<Item = usize> + use<> {
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
