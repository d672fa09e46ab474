//! Rate limits: a token bucket for each key, which fills evenly.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Buckets that are remembered. Past that the fullest are forgotten, which costs nothing but leniency.
const MAX_BUCKETS: usize = 65_536;

/// A limit on how often somebody may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Times in a row.
    pub burst: u32,
    /// Times per minute in the long run; 0 is without limit.
    pub per_minute: u32,
}

impl RateLimit {
    /// Time after which a bucket has one token more; `None` without a limit.
    fn interval(self) -> Option<Duration> {
        let minute = Duration::from_secs(60);
        (self.per_minute > 0).then(|| minute / self.per_minute)
    }
}

/// Counts how often each asks; `K` says who, such as the network of an address.
#[derive(Debug)]
pub struct RateLimiter<K> {
    limit: RateLimit,
    /// When a bucket is full again (the virtual scheduling form of the leaky bucket, ITU-T I.371).
    full_at: HashMap<K, Instant>,
}

impl<K: Copy + Eq + Hash> RateLimiter<K> {
    /// Nobody has asked yet.
    pub fn new(limit: RateLimit) -> Self {
        Self {
            limit,
            full_at: HashMap::new(),
        }
    }

    /// Returns the limit.
    pub fn current(&self) -> RateLimit {
        self.limit
    }

    /// Changes the limit; what was counted stays.
    pub fn limit(&mut self, limit: RateLimit) {
        self.limit = limit;
    }

    /// Counts a request of `key` at `now`. Returns the time to wait as the error when it exceeds the limit.
    ///
    /// # Errors
    /// The time to wait.
    pub fn check(&mut self, key: K, now: Instant) -> Result<(), Duration> {
        let Some(interval) = self.limit.interval() else {
            return Ok(());
        };
        self.make_room(now);
        let full_at = self.full_at.get(&key).map_or(now, |at| now.max(*at));
        let capacity = interval * self.limit.burst.max(1);
        let filled = full_at + interval;
        let due = filled - now;
        if due > capacity {
            return Err(due - capacity);
        }
        self.full_at.insert(key, filled);
        Ok(())
    }

    fn make_room(&mut self, now: Instant) {
        if self.full_at.len() < MAX_BUCKETS {
            return;
        }
        self.full_at.retain(|_, full_at| *full_at > now);
        if self.full_at.len() >= MAX_BUCKETS {
            // So many at once are an attack from everywhere; the bound holds all the same.
            self.full_at.clear();
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

    #[test]
    fn a_burst_is_allowed_and_then_an_even_pace() {
        let start = Instant::now();
        let mut limiter = RateLimiter::new(RateLimit {
            burst: 3,
            per_minute: 60,
        });
        for _ in 0..3 {
            assert_eq!(limiter.check(1, start), Ok(()));
        }
        assert_eq!(limiter.check(1, start), Err(Duration::from_secs(1)));
        assert_eq!(limiter.check(2, start), Ok(()));
        let later = start + Duration::from_secs(1);
        assert_eq!(limiter.check(1, later), Ok(()));
        assert_eq!(limiter.check(1, later), Err(Duration::from_secs(1)));
    }

    #[test]
    fn without_a_rate_there_is_no_limit() {
        let start = Instant::now();
        let mut limiter = RateLimiter::new(RateLimit {
            burst: 1,
            per_minute: 0,
        });
        assert!((0..1000).all(|_| limiter.check(1, start).is_ok()));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let start = Instant::now();
        let mut limiter = RateLimiter::new(RateLimit {
            burst: 1,
            per_minute: 1,
        });
        for n in 0..=2 * MAX_BUCKETS {
            let _ = limiter.check(n, start);
        }
        assert!(limiter.full_at.len() <= MAX_BUCKETS);
    }
}
