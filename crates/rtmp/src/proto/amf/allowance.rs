//! A budget for the work that a peer causes per time.

use std::time::Instant;

/// A budget that refills with time, up to a limit.
#[derive(Clone, Debug)]
pub(crate) struct Allowance {
    per_second: usize,
    burst: usize,
    spent: usize,
    /// Time of the last update of `spent`.
    updated: Option<Instant>,
}

impl Allowance {
    /// Returns a full budget of `burst` that refills by `per_second`.
    pub(crate) fn new(per_second: usize, burst: usize) -> Self {
        Self {
            per_second,
            burst,
            spent: 0,
            updated: None,
        }
    }

    /// Returns whether any budget is left at `now`.
    pub(crate) fn has_some(&mut self, now: Instant) -> bool {
        let elapsed = self.updated.map_or_else(Default::default, |updated| {
            now.saturating_duration_since(updated)
        });
        let refill = (elapsed.as_secs_f64() * self.per_second as f64) as usize;
        // Fractions add up as long as nothing is refilled.
        if refill > 0 || self.updated.is_none() {
            self.spent = self.spent.saturating_sub(refill);
            self.updated = Some(now);
        }
        self.spent < self.burst
    }

    #[cfg(test)]
    pub(crate) fn spent(&self) -> usize {
        self.spent
    }

    /// Spends a cost. The last one may cost more than is left.
    pub(crate) fn spend(&mut self, cost: usize) {
        self.spent = self.spent.saturating_add(cost);
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn spent_budget_refills_with_time_up_to_its_limit() {
        let start = Instant::now();
        let mut allowance = Allowance::new(100, 50);
        assert!(allowance.has_some(start));
        allowance.spend(60);
        assert!(!allowance.has_some(start));
        assert!(!allowance.has_some(start + Duration::from_millis(100)));
        assert!(allowance.has_some(start + Duration::from_millis(110)));
        let later = start + Duration::from_secs(3600);
        assert!(allowance.has_some(later));
        allowance.spend(50);
        assert!(
            !allowance.has_some(later),
            "an hour is worth no more than the bound"
        );
    }

    #[test]
    fn steps_too_short_to_refill_anything_add_up() {
        let start = Instant::now();
        let mut allowance = Allowance::new(10, 1);
        assert!(allowance.has_some(start));
        allowance.spend(1);
        let steps = (1..=200).filter(|&n| {
            let has_some = allowance.has_some(start + Duration::from_millis(n));
            if has_some {
                allowance.spend(1);
            }
            has_some
        });
        assert_eq!(steps.count(), 2);
    }
}
