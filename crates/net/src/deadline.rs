//! Waiting for a moment that may not be set.

use tokio::time::{Instant, sleep_until};

/// Completes at this moment; never if it is `None`.
pub async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
