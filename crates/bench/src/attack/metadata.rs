//! `onMetaData` of some 100 bytes that unfolds by references, of many publishers.

use super::amf::{self, DATA_AMF0};
use super::context::Context;
use super::error::AttackError;
use super::rtmp::RtmpPeer;

/// Number of publishers.
const PUBLISHERS: usize = 500;

pub(super) async fn run(context: &Context) -> Result<(), AttackError> {
    let mut publishers = Vec::new();
    for number in 0..PUBLISHERS {
        match publish(context, number).await {
            Ok(publisher) => publishers.push(publisher),
            Err(_) => context.add("publishers refused", 1.0),
        }
        context.note("publishers granted", publishers.len() as f64);
    }
    context.rest().await;
    Ok(())
}

async fn publish(context: &Context, number: usize) -> Result<RtmpPeer, AttackError> {
    let name = format!("metadata-{number}");
    let mut publisher = RtmpPeer::publish(context, number, &name).await?;
    publisher
        .send(context, DATA_AMF0, 0, amf::metadata())
        .await?;
    Ok(publisher)
}
