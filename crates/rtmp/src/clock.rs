//! The clocks of the drivers.

use std::time::{Instant, SystemTime};

use tokio::time::sleep_until;

/// Completes at this moment; never if it is `None`.
pub(crate) async fn reached(moment: Option<tokio::time::Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Returns the wall clock, by which tokens expire.
#[expect(
    clippy::disallowed_methods,
    reason = "the driver reads the clock when a client asks for permission"
)]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// Returns the clock of the drivers, which tests can pause.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
