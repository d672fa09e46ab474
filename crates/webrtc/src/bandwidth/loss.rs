//! Measures the loss of a path.

/// Window of the loss, in microseconds.
const SPAN: i64 = 1_000_000;

/// Number of bursts in a window that do not count.
const BURSTS: usize = 3;

/// The part of the packets that are lost, over the last whole window.
///
/// The longest bursts do not count. A radio link that is disturbed loses many packets in a row, which
/// says nothing about the bandwidth; a queue that overflows loses some of every frame.
#[derive(Debug, Default)]
pub(super) struct LossMeter {
    lost: usize,
    received: usize,
    /// Packets lost in a row up to now, and in the longest bursts of this window.
    run: usize,
    bursts: [usize; BURSTS],
    /// Arrival with which the window began, in microseconds.
    began: i64,
    loss: f64,
}

impl LossMeter {
    /// Counts a packet that is missing for the first time.
    pub(super) fn note_missing(&mut self) {
        self.lost += 1;
        self.run += 1;
    }

    /// Counts a packet that has arrived. `was_missing`: it was counted as missing before.
    pub(super) fn note_received(&mut self, was_missing: bool) {
        self.received += 1;
        if was_missing {
            self.lost = self.lost.saturating_sub(1);
        } else if self.run > 0 {
            self.end_burst();
        }
    }

    /// Ends a feedback whose newest packet arrived at `arrival`, in microseconds.
    pub(super) fn finish(&mut self, arrival: i64) {
        if arrival - self.began < SPAN {
            return;
        }
        self.end_burst();
        let lost = self.lost.saturating_sub(self.bursts.iter().sum());
        self.loss = lost as f64 / (lost + self.received).max(1) as f64;
        self.begin(arrival);
    }

    /// Begins anew after the packet that arrived at `arrival`, in microseconds.
    pub(super) fn forget(&mut self, arrival: i64) {
        self.loss = 0.0;
        self.begin(self.began.max(arrival));
    }

    /// Returns the loss, 0 to 1.
    pub(super) fn loss(&self) -> f64 {
        self.loss
    }

    fn end_burst(&mut self) {
        let run = std::mem::take(&mut self.run);
        if let Some(shortest) = self.bursts.iter_mut().min() {
            *shortest = run.max(*shortest);
        }
    }

    fn begin(&mut self, arrival: i64) {
        (self.lost, self.received) = (0, 0);
        self.bursts = [0; BURSTS];
        self.began = arrival;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Measures a second of 100 packets, of which those are lost that `is_lost` says.
    fn loss_of(is_lost: impl Fn(i64) -> bool) -> f64 {
        let mut meter = LossMeter::default();
        for packet in 0..=100 {
            if is_lost(packet) {
                meter.note_missing();
            } else {
                meter.note_received(false);
            }
            meter.finish(10_000 * packet);
        }
        meter.loss()
    }

    #[test]
    fn bursts_of_losses_do_not_count_but_losses_all_the_time_do() {
        assert_eq!(loss_of(|packet| (30..70).contains(&packet)), 0.0);
        assert_eq!(loss_of(|packet| packet % 30 > 20), 0.0);
        let overflow = loss_of(|packet| packet % 4 != 0);
        assert!((0.70..0.75).contains(&overflow), "{overflow}");
    }

    #[test]
    fn packet_that_was_overtaken_is_not_lost() {
        let mut meter = LossMeter::default();
        for packet in 0..=100 {
            meter.note_missing();
            meter.note_received(false);
            meter.note_received(true);
            meter.finish(10_000 * packet);
        }
        assert_eq!(meter.loss(), 0.0);
    }
}
