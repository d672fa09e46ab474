//! Injects a fault, to test the reaction of the process. Builds without debug assertions do not
//! have it: there SIGUSR1 ends the process, as it does by default.

use distributary_egress::engine::Engine;
use tokio::signal::unix::{SignalKind, signal};

/// Makes a shard of the engine panic when the process gets SIGUSR1.
pub(crate) async fn fail_at_signal(engine: Engine) {
    let Ok(mut told) = signal(SignalKind::user_defined1()) else {
        return;
    };
    while told.recv().await.is_some() {
        tracing::warn!(
            "making a shard panic, requested by SIGUSR1 in a build with debug assertions"
        );
        engine.fail_shard().await;
    }
}
