//! The clocks of the drivers.

use std::time::{Duration, Instant, SystemTime};

/// Returns the time of the drivers' clock, which tests can pause.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Returns the time of the wall clock, which orders the provisional claims of different nodes.
#[allow(
    clippy::disallowed_methods,
    reason = "used by drivers alone, which pass it on as an argument"
)]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// Returns a duration in whole microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Completes at an instant; never if there is none.
pub(crate) async fn reached(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
