//! Ends sessions of which a shard may be busy.

use std::time::Duration;

use distributary_egress::engine::{CloseError, Engine};
use distributary_egress::session::SessionId;

/// Time after which the end of a session is requested again from a busy shard.
const BUSY_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Ends a session. Retries while its shard is busy.
pub(crate) async fn close(engine: &Engine, id: SessionId) {
    while engine.close(&id) == Err(CloseError::Busy) {
        tokio::time::sleep(BUSY_RETRY_INTERVAL).await;
    }
}
