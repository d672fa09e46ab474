//! Rate limits: a token bucket for each key.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Maximum buckets in memory. Beyond that the fullest are dropped, which only makes the limit more
/// lenient.
const MAX_BUCKETS: usize = 65_536;

/// A rate limit of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Maximum requests in a burst.
    pub burst: u32,
    /// Requests per minute in the long run; 0 means no limit.
    pub per_minute: u32,
}

impl RateLimit {
    /// Returns the time in which a bucket gains one token; `None` without a limit.
    fn interval(self) -> Option<Duration> {
        let minute = Duration::from_secs(60);
        (self.per_minute > 0).then(|| minute / self.per_minute)
    }
}

/// Counts requests by key `K`, such as the network of an address.
#[derive(Debug)]
pub struct RateLimiter<K> {
    limit: RateLimit,
    /// Time at which a bucket is full again (the virtual scheduling form of the leaky bucket, ITU-T
    /// I.371).
    full_at: HashMap<K, Instant>,
}

impl<K: Copy + Eq + Hash> RateLimiter<K> {
    /// Returns a limiter without counted requests.
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

    /// Counts a request of `key` at `now`. Returns the time to wait as the error when it exceeds
    /// the limit.
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
            // So many keys at once are a distributed attack; the limit of memory still holds.
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
    fn burst_is_allowed_and_then_a_steady_rate() {
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
    fn rate_of_zero_means_no_limit() {
        let start = Instant::now();
        let mut limiter = RateLimiter::new(RateLimit {
            burst: 1,
            per_minute: 0,
        });
        assert!((0..1000).all(|_| limiter.check(1, start).is_ok()));
    }

    #[test]
    fn number_of_buckets_is_limited() {
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
