//! Viewers join streams of another node.

use std::time::Duration;

use tokio::time::sleep;

use super::{Outcome, millis, seconds};
use crate::lab::{LIMIT, Lab, Settings, Shape};
use crate::sample::Sample;

use super::Size;

/// The publisher's node, and that of viewers.
const OWNER: usize = 0;
const EDGE: usize = 2;

/// Time in which a viewer that has begun with the last keyframe catches up with the stream.
const CATCH_UP: Duration = seconds(3);

/// Joins each stream once, at a node that nobody has watched it at.
pub(super) async fn run(settings: &Settings, size: Size) -> Outcome {
    let lab = Lab::start(settings, Shape::default()).await?;
    let mut sample = Sample::default();
    // One stream after the other, so that encoders and viewers leave the machine to the nodes.
    for number in 0..size.streams {
        let name = format!("join-{number}");
        let _encoder = lab.encoder(OWNER, &name, 1, false);
        let local = lab.watch(OWNER, &name).await?;
        // Somewhere in the GOP.
        sleep(millis(1000 + 370 * (number as u64 % 5))).await;
        let remote = lab.join(EDGE, &name, true).await?;
        let deadline = lab.now() + LIMIT;
        while remote.last().is_none() && lab.now() < deadline {
            sleep(millis(5)).await;
        }
        sleep(CATCH_UP + seconds(2)).await;
        let seen = remote.seen();
        let Some(first) = seen.0.first() else {
            sample.fail(format!("no frame of {name}"));
            continue;
        };
        let took = first.at - remote.asked;
        sample.add("first frame", Some(millis(300)), [took]);
        let live = seen.between(first.at + CATCH_UP, Duration::MAX);
        let hops = live.later_than(&local.seen());
        sample.add(
            "a frame later than at the publisher's node",
            Some(millis(5)),
            hops,
        );
    }
    Ok(sample)
}
