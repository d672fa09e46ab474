//! The step of the order of refusal that is in force.

use std::time::{Duration, Instant};

/// Size of GOP caches from which the limit starts to shrink: the default of the configuration.
const START: usize = 32 << 20;

/// Smallest limit of GOP caches: two seconds or more of a common stream, so that viewers still get
/// what they have lost.
const LEAST: usize = 1 << 20;

/// Time between two halvings of the limit.
const SHRINK_INTERVAL: Duration = Duration::from_secs(1);

/// Time between two doublings of the limit, once memory suffices.
const GROW_INTERVAL: Duration = Duration::from_secs(10);

/// Percent of the budget by which memory has to fall below the start of a step to end it, so that
/// steps do not come and go with every viewer.
const HYSTERESIS: usize = 3;

/// Time for which memory has to stay that low: returning free memory to the system lowers it for a
/// moment, and the allocator then takes some of it back.
const REST: Duration = Duration::from_secs(15);

/// The step of the order of refusal. Each includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Memory suffices.
    #[default]
    None,
    /// 85 % of the budget are in use: new publishers are refused.
    Publishers,
    /// 90 % of the budget are in use: GOP caches shrink, the largest first.
    Gops,
    /// 95 % of the budget are in use: new viewers are refused.
    Viewers,
}

impl Pressure {
    const ALL: [Self; 4] = [Self::None, Self::Publishers, Self::Gops, Self::Viewers];

    /// Returns its name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Publishers => "publishers",
            Self::Gops => "gops",
            Self::Viewers => "viewers",
        }
    }

    /// Returns the step that begins when `used` bytes of a `budget` are in use; `None` is no limit.
    pub fn at(used: usize, budget: Option<usize>) -> Self {
        let percent = percent(used, budget);
        let mut steps = Self::ALL.into_iter().rev();
        let step = steps.find(|step| percent >= step.start());
        step.unwrap_or_default()
    }

    /// Returns the percentage of the budget at which it starts.
    fn start(self) -> usize {
        match self {
            Self::None => 0,
            Self::Publishers => 85,
            Self::Gops => 90,
            Self::Viewers => 95,
        }
    }

    /// Returns the step of this number.
    pub(super) fn from_u8(number: u8) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|step| *step as u8 == number).unwrap_or_default()
    }
}

/// Decides on the step, and on the limit of GOP caches.
#[derive(Debug)]
pub(super) struct Control {
    pressure: Pressure,
    /// Since when memory has been low enough for an earlier step.
    relieved: Option<Instant>,
    gop_limit: usize,
    /// When the limit has changed last.
    changed: Option<Instant>,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            pressure: Pressure::None,
            relieved: None,
            gop_limit: usize::MAX,
            changed: None,
        }
    }
}

impl Control {
    pub(super) fn pressure(&self) -> Pressure {
        self.pressure
    }

    pub(super) fn gop_limit(&self) -> usize {
        self.gop_limit
    }

    /// Notes that `used` bytes of the `budget` are in use at `now`; `None` is no limit.
    pub(super) fn update(&mut self, used: usize, budget: Option<usize>, now: Instant) {
        let percent = percent(used, budget);
        let is_in_force = |step: &Pressure| {
            let kept = if *step <= self.pressure {
                HYSTERESIS
            } else {
                0
            };
            percent >= step.start().saturating_sub(kept)
        };
        let mut steps = Pressure::ALL.into_iter().rev();
        let step = steps.find(is_in_force).unwrap_or_default();
        self.move_to(step, budget.is_none(), now);
        if budget.is_none() {
            self.gop_limit = usize::MAX;
        } else if percent >= Pressure::Gops.start() {
            self.shrink(now);
        } else if self.pressure < Pressure::Gops {
            self.grow(now);
        }
    }

    /// Moves on to a later step at once, and back to an earlier one after [`REST`], unless there is no
    /// limit any more.
    fn move_to(&mut self, step: Pressure, is_unlimited: bool, now: Instant) {
        let since = if step < self.pressure {
            self.relieved.unwrap_or(now)
        } else {
            self.relieved = None;
            self.pressure = step;
            return;
        };
        if is_unlimited || now.saturating_duration_since(since) >= REST {
            self.relieved = None;
            self.pressure = step;
        } else {
            self.relieved = Some(since);
        }
    }

    /// Halves the limit, in steps.
    fn shrink(&mut self, now: Instant) {
        if self.is_due(SHRINK_INTERVAL, now) && self.gop_limit > LEAST {
            self.gop_limit = (self.gop_limit.min(START) / 2).max(LEAST);
            self.changed = Some(now);
        }
    }

    /// Doubles the limit, in steps, and then lifts it.
    fn grow(&mut self, now: Instant) {
        if self.gop_limit < usize::MAX && self.is_due(GROW_INTERVAL, now) {
            let doubled = self.gop_limit.saturating_mul(2);
            self.gop_limit = if doubled > START { usize::MAX } else { doubled };
            self.changed = Some(now);
        }
    }

    fn is_due(&self, interval: Duration, now: Instant) -> bool {
        let since = self.changed.map(|at| now.saturating_duration_since(at));
        since.is_none_or(|since| since >= interval)
    }
}

fn percent(used: usize, budget: Option<usize>) -> usize {
    budget.map_or(0, |budget| used.saturating_mul(100) / budget.max(1))
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    #[test]
    fn steps_begin_in_order_and_end_some_percent_below() {
        use Pressure::{Gops, None, Publishers, Viewers};
        let mut control = Control::default();
        let mut now = Instant::now();
        let mut step = |used| {
            control.update(used, Some(1000), now);
            now += REST;
            control.update(used, Some(1000), now);
            control.pressure()
        };
        for (used, expected) in [
            (840, None),
            (850, Publishers),
            (900, Gops),
            (949, Gops),
            (2000, Viewers),
            (920, Viewers),
            (919, Gops),
            (870, Gops),
            (869, Publishers),
            (820, Publishers),
            (819, None),
            (849, None),
            (950, Viewers),
            (0, None),
        ] {
            assert_eq!(step(used), expected, "{used}");
        }
        assert_eq!(Pressure::at(899, Some(1000)), Publishers);
        assert_eq!(Pressure::at(899, Option::None), None);
    }

    #[test]
    fn step_stays_while_memory_is_low_only_for_a_moment() {
        let mut control = Control::default();
        let start = Instant::now();
        // Free memory is returned every five seconds, and some of it is taken back.
        for second in 0..60 {
            let used = if second % 5 < 3 { 750 } else { 860 };
            control.update(used, Some(1000), start + Duration::from_secs(second));
            let is_short = second >= 3;
            assert_eq!(control.pressure() > Pressure::None, is_short, "{second}");
        }
        control.update(750, Some(1000), start + Duration::from_secs(60));
        control.update(750, Some(1000), start + Duration::from_secs(60) + REST);
        assert_eq!(control.pressure(), Pressure::None);
    }

    #[test]
    fn without_a_budget_nothing_gives_way() {
        let mut control = Control::default();
        let now = Instant::now();
        control.update(usize::MAX, Some(1), now);
        assert_eq!(control.pressure(), Pressure::Viewers);
        assert!(control.gop_limit() < START);
        control.update(usize::MAX, None, now);
        assert_eq!(control.pressure(), Pressure::None);
        assert_eq!(control.gop_limit(), usize::MAX);
    }

    #[test]
    fn limit_of_gop_caches_halves_each_second_and_grows_slowly() {
        let mut control = Control::default();
        let mut now = Instant::now();
        let mut limits = Vec::new();
        for _ in 0..14 {
            control.update(900, Some(1000), now);
            limits.push(control.gop_limit() >> 20);
            now += Duration::from_millis(500);
        }
        assert_eq!(limits, [16, 16, 8, 8, 4, 4, 2, 2, 1, 1, 1, 1, 1, 1]);
        // Within the hysteresis it stays.
        now += GROW_INTERVAL;
        control.update(880, Some(1000), now);
        assert_eq!(control.gop_limit(), LEAST);
        control.update(100, Some(1000), now);
        assert_eq!(control.gop_limit(), LEAST);
        now += REST;
        for megabytes in [2, 4, 8, 16, 32] {
            control.update(100, Some(1000), now);
            assert_eq!(control.gop_limit() >> 20, megabytes);
            now += GROW_INTERVAL;
        }
        control.update(100, Some(1000), now);
        assert_eq!(control.gop_limit(), usize::MAX);
    }

    #[test]
    fn every_step_is_known_by_its_number() {
        for step in Pressure::ALL {
            assert_eq!(Pressure::from_u8(step as u8), step);
        }
    }
}
