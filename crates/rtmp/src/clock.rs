//! The clocks of the drivers.

use std::time::{Instant, SystemTime};

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
