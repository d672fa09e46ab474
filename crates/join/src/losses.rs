//! Losses of a path: each packet by itself, or several in a row.

use rand::RngExt;
use rand::rngs::StdRng;

use crate::path::Direction;

/// Losses in use. Losses in a row are those of a Gilbert model: whether a packet is lost depends on
/// whether the one before it was, in its direction.
#[derive(Debug)]
pub(crate) struct Losses {
    /// The part of the packets that is lost.
    rate: f64,
    /// The mean number of packets that are lost in a row; `None` for packets by themselves.
    burst: Option<f64>,
    /// True where the last packet was lost: downstream, upstream.
    was_lost: [bool; 2],
}

impl Losses {
    /// Loses `percent` of the packets, `burst` in a row on average if it is given.
    pub(crate) fn new(percent: f64, burst: Option<f64>) -> Self {
        Self {
            rate: percent / 100.0,
            burst,
            was_lost: [false; 2],
        }
    }

    /// Returns whether the next packet in this direction is lost.
    pub(crate) fn is_lost(&mut self, direction: Direction, random: &mut StdRng) -> bool {
        let was_lost = &mut self.was_lost[usize::from(direction == Direction::Upstream)];
        let probability = match self.burst {
            None => self.rate,
            Some(burst) if *was_lost => 1.0 - 1.0 / burst,
            Some(burst) => self.rate / (burst * (1.0 - self.rate)),
        };
        *was_lost = random.random::<f64>() < probability;
        *was_lost
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    /// Returns the number of packets lost of 100 000, and how many times others came before them.
    fn lost(percent: f64, burst: Option<f64>) -> (usize, usize) {
        let mut random = StdRng::seed_from_u64(7);
        let mut losses = Losses::new(percent, burst);
        let lost: Vec<bool> = (0..100_000)
            .map(|_| losses.is_lost(Direction::Downstream, &mut random))
            .collect();
        let bursts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count();
        (lost.iter().filter(|lost| **lost).count(), bursts)
    }

    #[test]
    fn losses_in_a_row_have_the_wanted_rate_and_length() {
        let (alone, bursts) = lost(5.0, None);
        assert!((4_700..5_300).contains(&alone), "{alone}");
        assert!((4_400..5_100).contains(&bursts), "{bursts}");
        let (in_rows, bursts) = lost(5.0, Some(10.0));
        assert!((4_200..5_800).contains(&in_rows), "{in_rows}");
        assert!((420..580).contains(&bursts), "{bursts}");
    }

    #[test]
    fn directions_lose_their_packets_in_rows_of_their_own() {
        let mut random = StdRng::seed_from_u64(7);
        let mut losses = Losses::new(50.0, Some(1000.0));
        while !losses.is_lost(Direction::Downstream, &mut random) {}
        assert!(losses.is_lost(Direction::Downstream, &mut random));
        assert!(!losses.is_lost(Direction::Upstream, &mut random));
    }

    #[test]
    fn everything_or_nothing_is_lost_on_request() {
        assert_eq!(lost(0.0, None).0, 0);
        assert_eq!(lost(100.0, None).0, 100_000);
    }
}
