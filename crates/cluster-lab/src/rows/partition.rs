//! A node is cut off from the others, with a NATS server.

use tokio::time::sleep;

use super::{Outcome, STREAM, seconds};
use crate::lab::{LIMIT, Lab, Settings, Shape};
use crate::sample::Sample;

/// The publisher's node, one with viewers, and the one that is cut off.
const OWNER: usize = 0;
const EDGE: usize = 1;
const LONELY: usize = 2;

/// Cuts a node off for 30 s. An encoder publishes the same name there.
pub(super) async fn run(settings: &Settings) -> Outcome {
    let lab = Lab::start(settings, Shape::default()).await?;
    let _first = lab.encoder(OWNER, STREAM, 1, false);
    let near = lab.watch(EDGE, STREAM).await?;
    let far = lab.watch(LONELY, STREAM).await?;
    let begin = lab.now();
    lab.network.cut(LONELY)?;
    let second = lab.encoder(LONELY, STREAM, 2, true);
    sleep(seconds(30)).await;
    let mut sample = Sample::default();
    if second.granted() == 0 {
        sample.fail("the encoder at the node that is cut off was refused");
    }
    // The one that is dismissed does not come back.
    second.stop_retrying();
    lab.network.heal(LONELY)?;
    let healed = lab.now();
    match lab.settle(&[OWNER, EDGE, LONELY], 1).await {
        Ok(settled) => {
            let took = settled.saturating_sub(healed);
            sample.add("one owner after healing", Some(seconds(1)), [took]);
        }
        Err(error) => sample.fail(error),
    }
    let gap = near.seen().longest_gap(begin, healed);
    sample.add("gap at a node of the majority", None, [gap]);
    if near
        .last()
        .is_none_or(|frame| frame.at < lab.now() - seconds(1))
    {
        sample.fail("no frames at a node of the majority");
    }
    if near.seen().first_of(2).is_some() {
        sample.fail("frames of the node that was cut off at one of the majority");
    }
    // Viewers of the node that was cut off come back to the one owner.
    while far
        .last()
        .is_none_or(|frame| frame.at < healed || frame.mark.encoder != 1)
    {
        if lab.now() > healed + LIMIT {
            sample.fail("viewers of the node that was cut off do not get the owner's frames");
            return Ok(sample);
        }
        sleep(super::millis(10)).await;
    }
    let after = far.seen().between(healed, lab.now());
    if let Some(first) = after.first_of(1) {
        sample.add(
            "the owner's frames at the node that was cut off",
            None,
            [first - healed],
        );
    }
    Ok(sample)
}
