//! A network path, from the publisher to the gateway or from there to the viewer: it delays packets, loses
//! some, and has a bottleneck.
//!
//! Sans-IO: packets and `now` go in; packets come out when they are due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::bottleneck::{Bottleneck, Link};
use crate::losses::Losses;
use crate::packet::is_udp;

/// Seed of the losses and of the jitter: the same packets meet the same path again.
const SEED: u64 = 1;

/// The way that a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Direction {
    /// With the media: from the publisher to the gateway, from the gateway to the viewer.
    Downstream,
    /// Against the media.
    Upstream,
}

/// Properties of a path.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct PathSettings {
    /// Round trip time: half of it each way.
    pub(crate) rtt: Duration,
    /// The greatest additional delay of a packet, each way. It reorders packets.
    pub(crate) jitter: Duration,
    /// Percentage of packets that are lost at random, each way.
    pub(crate) loss: f64,
    /// The mean number of packets that are lost in a row; `None` if each is lost by itself.
    pub(crate) burst: Option<f64>,
    /// The longest packet that gets through, in bytes with its IP header: longer ones vanish, without a
    /// message to their sender. `None` if all do.
    pub(crate) longest: Option<usize>,
    /// True if UDP does not get through.
    pub(crate) blocks_udp: bool,
    /// The slowest link downstream.
    pub(crate) bottleneck: Option<Bottleneck>,
}

/// A path in use.
#[derive(Debug)]
pub(crate) struct Path {
    settings: PathSettings,
    random: StdRng,
    losses: Losses,
    link: Option<Link>,
    /// Packets on their way, the next to arrive on top.
    on_the_way: BinaryHeap<Reverse<Arrival>>,
    /// Number of packets so far: packets of the same moment arrive in order.
    count: u64,
}

/// A packet that arrives.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Arrival {
    at: Instant,
    number: u64,
    direction: Direction,
    packet: Vec<u8>,
}

impl Path {
    /// Creates a path without packets.
    pub(crate) fn new(settings: PathSettings) -> Self {
        Self {
            settings,
            random: StdRng::seed_from_u64(SEED),
            losses: Losses::new(settings.loss, settings.burst),
            link: settings.bottleneck.map(Link::new),
            on_the_way: BinaryHeap::new(),
            count: 0,
        }
    }

    /// Changes the properties of the path. Packets on their way still arrive, and those that wait for
    /// the link are before all others; losses are the same as on a new path.
    pub(crate) fn change(&mut self, settings: PathSettings) {
        self.settings = settings;
        self.random = StdRng::seed_from_u64(SEED);
        self.losses = Losses::new(settings.loss, settings.burst);
        let before = self.link.take();
        let link = |bottleneck| {
            before.map_or_else(|| Link::new(bottleneck), |link| link.changed(bottleneck))
        };
        self.link = settings.bottleneck.map(link);
    }

    /// Takes a packet that is sent at `now`.
    pub(crate) fn handle_packet(&mut self, now: Instant, direction: Direction, packet: Vec<u8>) {
        let is_too_long = self
            .settings
            .longest
            .is_some_and(|most| packet.len() > most);
        if is_too_long || self.settings.blocks_udp && is_udp(&packet) {
            return;
        }
        let link = self.link.as_mut();
        let sent = match link.filter(|_| direction == Direction::Downstream) {
            Some(link) => link.departure(now, packet.len()),
            None => Some(now),
        };
        let Some(sent) = sent else {
            return;
        };
        if self.losses.is_lost(direction, &mut self.random) {
            return;
        }
        let jitter = self.settings.jitter.mul_f64(self.random.random());
        self.count += 1;
        self.on_the_way.push(Reverse(Arrival {
            at: sent + self.settings.rtt / 2 + jitter,
            number: self.count,
            direction,
            packet,
        }));
    }

    /// Returns the next packet that has arrived by `now`.
    pub(crate) fn poll_packet(&mut self, now: Instant) -> Option<(Direction, Vec<u8>)> {
        self.poll_timeout().filter(|due| *due <= now)?;
        let Reverse(arrival) = self.on_the_way.pop()?;
        Some((arrival.direction, arrival.packet))
    }

    /// Returns when the next packet arrives; `None` if none is on its way.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.on_the_way.peek().map(|Reverse(next)| next.at)
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "any moment will do to begin with"
)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn arrived(path: &mut Path, now: Instant) -> Vec<u8> {
        std::iter::from_fn(|| path.poll_packet(now))
            .map(|(_, packet)| packet[0])
            .collect()
    }

    #[test]
    fn packets_arrive_in_order_after_half_a_round_trip() {
        let now = Instant::now();
        let rtt = 100 * MILLISECOND;
        let mut path = Path::new(PathSettings {
            rtt,
            ..PathSettings::default()
        });
        path.handle_packet(now, Direction::Downstream, vec![1]);
        path.handle_packet(now, Direction::Downstream, vec![2]);
        path.handle_packet(now + MILLISECOND, Direction::Upstream, vec![3]);
        assert_eq!(path.poll_timeout(), Some(now + rtt / 2));
        assert!(arrived(&mut path, now + rtt / 2 - MILLISECOND).is_empty());
        assert_eq!(arrived(&mut path, now + rtt / 2), [1, 2]);
        let (direction, _) = path.poll_packet(now + rtt).unwrap();
        assert_eq!(direction, Direction::Upstream);
        assert_eq!(path.poll_timeout(), None);
    }

    #[test]
    fn losses_have_the_wanted_rate_and_are_the_same_in_each_run() {
        let now = Instant::now();
        let run = || {
            let mut path = Path::new(PathSettings {
                loss: 5.0,
                ..PathSettings::default()
            });
            for number in 0..2000 {
                path.handle_packet(now, Direction::Downstream, vec![(number % 251) as u8]);
            }
            arrived(&mut path, now)
        };
        let arrived = run();
        assert!((1870..=1930).contains(&arrived.len()), "{}", arrived.len());
        assert_eq!(arrived, run());
    }

    #[test]
    fn long_packets_and_udp_vanish_where_the_path_has_no_place_for_them() {
        let now = Instant::now();
        let mut path = Path::new(PathSettings {
            longest: Some(1280),
            blocks_udp: true,
            ..PathSettings::default()
        });
        let mut udp = vec![0x45; 28];
        udp[9] = 17;
        for packet in [vec![1; 1280], vec![2; 1281], udp, vec![3]] {
            path.handle_packet(now, Direction::Downstream, packet);
        }
        assert_eq!(arrived(&mut path, now), [1, 3]);
    }

    #[test]
    fn jitter_reorders_within_its_bound() {
        let now = Instant::now();
        let jitter = 50 * MILLISECOND;
        let mut path = Path::new(PathSettings {
            jitter,
            ..PathSettings::default()
        });
        for number in 0..100 {
            path.handle_packet(now, Direction::Downstream, vec![number]);
        }
        let all = arrived(&mut path, now + jitter);
        assert_eq!(all.len(), 100);
        assert!(!all.is_sorted());
    }

    #[test]
    fn packets_on_their_way_arrive_although_the_path_changes() {
        let now = Instant::now();
        let with = |megabits| PathSettings {
            bottleneck: Some(Bottleneck {
                megabits,
                queue: 10 * MILLISECOND,
            }),
            ..PathSettings::default()
        };
        let mut path = Path::new(with(8.0));
        for number in [1, 2] {
            path.handle_packet(now, Direction::Downstream, vec![number; 1000]);
        }
        path.change(with(4.0));
        path.handle_packet(now, Direction::Downstream, vec![3; 1000]);
        assert_eq!(arrived(&mut path, now + 2 * MILLISECOND), [1, 2]);
        assert_eq!(path.poll_timeout(), Some(now + 4 * MILLISECOND));
    }

    #[test]
    fn bottleneck_holds_only_the_way_downstream() {
        let now = Instant::now();
        let mut path = Path::new(PathSettings {
            bottleneck: Some(Bottleneck {
                megabits: 8.0,
                queue: Duration::ZERO,
            }),
            ..PathSettings::default()
        });
        for _ in 0..2 {
            path.handle_packet(now, Direction::Downstream, vec![1; 1000]);
            path.handle_packet(now, Direction::Upstream, vec![2; 1000]);
        }
        assert_eq!(arrived(&mut path, now), [2, 2]);
        assert_eq!(arrived(&mut path, now + MILLISECOND), [1]);
        assert_eq!(path.poll_timeout(), None, "the second was dropped");
    }
}
