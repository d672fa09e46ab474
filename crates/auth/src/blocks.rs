//! Addresses and names that are blocked for a time.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use distributary_names::StreamName;

use crate::access::Denied;

/// Maximum number of blocks. With a name of 255 bytes, all of them need less than 400 kB.
pub const MAX_BLOCKS: usize = 1000;

/// Maximum duration of a block.
pub const MAX_BLOCK_DURATION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The clients that a block refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockTarget {
    /// Viewers at an address, or in the /64 network of an IPv6 address.
    Viewer(IpAddr),
    /// Publishers of a stream.
    Publisher(StreamName),
}

/// A block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its number.
    pub id: u32,
    /// The clients that it refuses.
    pub target: BlockTarget,
    /// Its end.
    pub until: Instant,
}

/// The reason why nothing is blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// There are [`MAX_BLOCKS`] blocks.
    #[error("there are {MAX_BLOCKS} blocks already; remove one")]
    Full,
    /// The duration is 0 or above [`MAX_BLOCK_DURATION`].
    #[error("expected a duration from 1 second to 30 days")]
    BadDuration,
}

/// The addresses and names that are blocked, in memory only: a restart forgets them. A clone is a
/// handle to the same table.
#[derive(Clone, Debug, Default)]
pub struct Blocks(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    blocks: Vec<Block>,
    last_id: u32,
}

impl Blocks {
    /// Blocks `target` for `duration` from `now`. A block of the same target is replaced.
    ///
    /// # Errors
    /// Returns [`BlockError`] if the table is full or the duration is out of range.
    pub fn add(
        &self,
        target: BlockTarget,
        duration: Duration,
        now: Instant,
    ) -> Result<Block, BlockError> {
        if duration < Duration::from_secs(1) || duration > MAX_BLOCK_DURATION {
            return Err(BlockError::BadDuration);
        }
        let target = match target {
            BlockTarget::Viewer(ip) => BlockTarget::Viewer(distributary_net::network(ip)),
            target => target,
        };
        let mut table = self.lock();
        table.expire(now);
        table.blocks.retain(|block| block.target != target);
        if table.blocks.len() >= MAX_BLOCKS {
            return Err(BlockError::Full);
        }
        table.last_id = table.last_id.wrapping_add(1);
        let block = Block {
            id: table.last_id,
            target,
            until: now + duration,
        };
        table.blocks.push(block.clone());
        Ok(block)
    }

    /// Removes a block. Returns `false` if there is none of this number.
    pub fn remove(&self, id: u32) -> bool {
        let mut table = self.lock();
        let before = table.blocks.len();
        table.blocks.retain(|block| block.id != id);
        table.blocks.len() < before
    }

    /// Returns the blocks in force at `now`, the oldest first.
    pub fn list(&self, now: Instant) -> Vec<Block> {
        let mut table = self.lock();
        table.expire(now);
        table.blocks.clone()
    }

    /// Checks whether a viewer at this address may watch at `now`.
    ///
    /// # Errors
    /// Returns [`Denied::Blocked`] if a block refuses it.
    pub fn check_viewer(&self, ip: IpAddr, now: Instant) -> Result<(), Denied> {
        self.check(now, |block| block.is_of_viewer(ip))
    }

    /// Checks whether this stream may be published at `now`.
    pub(crate) fn check_publisher(&self, stream: &StreamName, now: Instant) -> Result<(), Denied> {
        self.check(
            now,
            |block| matches!(&block.target, BlockTarget::Publisher(name) if name == stream),
        )
    }

    fn check(&self, now: Instant, refuses: impl Fn(&Block) -> bool) -> Result<(), Denied> {
        let table = self.lock();
        let mut blocks = table.blocks.iter();
        if blocks.any(|block| block.until > now && refuses(block)) {
            Err(Denied::Blocked)
        } else {
            Ok(())
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Block {
    /// Returns whether it is meant for a viewer at this address.
    pub fn is_of_viewer(&self, ip: IpAddr) -> bool {
        self.target == BlockTarget::Viewer(distributary_net::network(ip))
    }
}

impl Table {
    fn expire(&mut self, now: Instant) {
        self.blocks.retain(|block| block.until > now);
    }
}

impl fmt::Display for BlockTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Viewer(ip) => write!(f, "viewers at {ip}"),
            Self::Publisher(name) => write!(f, "publishers of {name}"),
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;
    use crate::access::tests::name;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn block_refuses_its_target_until_it_ends() {
        let (blocks, now) = (Blocks::default(), Instant::now());
        let stream = name("live/a");
        let other = name("live/b");
        let target = BlockTarget::Publisher(stream.clone());
        let block = blocks.add(target.clone(), MINUTE, now).unwrap();
        let check = |name, at| blocks.check_publisher(name, at);
        assert_eq!(check(&stream, now + MINUTE / 2), Err(Denied::Blocked));
        assert_eq!(check(&stream, now + MINUTE), Ok(()));
        assert_eq!(check(&other, now), Ok(()));
        let viewer = "192.0.2.1".parse().unwrap();
        assert_eq!(blocks.check_viewer(viewer, now), Ok(()));
        assert!(blocks.remove(block.id) && !blocks.remove(block.id));
        assert_eq!(check(&stream, now), Ok(()));
    }

    #[test]
    fn ipv6_viewer_is_blocked_with_its_network() {
        let (blocks, now) = (Blocks::default(), Instant::now());
        let check = |ip: &str| blocks.check_viewer(ip.parse().unwrap(), now);
        let target = BlockTarget::Viewer("2001:db8::1".parse().unwrap());
        let block = blocks.add(target, MINUTE, now).unwrap();
        assert_eq!(check("2001:db8::ffff"), Err(Denied::Blocked));
        assert_eq!(check("2001:db8:0:1::1"), Ok(()));
        assert!(block.is_of_viewer("2001:db8::2".parse().unwrap()));
        blocks
            .add(
                BlockTarget::Viewer("192.0.2.1".parse().unwrap()),
                MINUTE,
                now,
            )
            .unwrap();
        assert_eq!(check("::ffff:192.0.2.1"), Err(Denied::Blocked));
        assert_eq!(check("192.0.2.2"), Ok(()));
    }

    #[test]
    fn table_is_bounded_and_ended_blocks_make_room() {
        let (blocks, now) = (Blocks::default(), Instant::now());
        let target = |n: usize| BlockTarget::Publisher(name(&format!("live/{n}")));
        for n in 0..MAX_BLOCKS {
            blocks.add(target(n), MINUTE, now).unwrap();
        }
        assert_eq!(
            blocks.add(target(MAX_BLOCKS), MINUTE, now),
            Err(BlockError::Full)
        );
        let again = blocks.add(target(0), 2 * MINUTE, now).unwrap();
        assert_eq!(blocks.list(now).len(), MAX_BLOCKS);
        assert_eq!(blocks.list(now + MINUTE), [again]);
        assert!(blocks.add(target(1), MINUTE, now + MINUTE).is_ok());
    }

    #[test]
    fn durations_out_of_range_are_refused() {
        let (blocks, now) = (Blocks::default(), Instant::now());
        let target = BlockTarget::Publisher(name("live/a"));
        for duration in [Duration::ZERO, MAX_BLOCK_DURATION + MINUTE] {
            let refused = blocks.add(target.clone(), duration, now);
            assert_eq!(refused, Err(BlockError::BadDuration));
        }
    }
}
