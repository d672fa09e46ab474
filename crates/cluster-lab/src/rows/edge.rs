//! A node with viewers stands still.

use std::time::Duration;

use tokio::time::sleep;

use super::{Outcome, Size, millis, seconds};
use crate::lab::{Lab, Settings, Shape};
use crate::sample::Sample;

/// The publishers' node, the one that stands still, and another one.
const OWNER: usize = 0;
const STOPPED: usize = 1;
const OTHER: usize = 2;

/// Age above which a frame must not be shown: with the whole GOP, which viewers must not get, it would
/// be up to 2 s. A busy machine adds some time to that of the oldest frame that they may get, 1 s.
const OLD: Duration = millis(1500);

/// Stops a node for 5 s.
pub(super) async fn stopped(settings: &Settings, size: Size) -> Outcome {
    let lab = Lab::start(settings, Shape::default()).await?;
    let mut encoders = Vec::new();
    let (mut stopped, mut others) = (Vec::new(), Vec::new());
    for number in 0..size.streams {
        let name = format!("edge-{number}");
        encoders.push(lab.encoder(OWNER, &name, 1, false));
        stopped.push(lab.watch(STOPPED, &name).await?);
        others.push(lab.watch(OTHER, &name).await?);
    }
    sleep(seconds(3)).await;
    let before = lab.now();
    sleep(seconds(5)).await;
    let begin = lab.now();
    lab.freeze(STOPPED);
    sleep(seconds(5)).await;
    lab.thaw(STOPPED);
    let end = lab.now();
    sleep(seconds(5)).await;

    let mut sample = Sample::default();
    for watcher in &others {
        let seen = watcher.seen();
        let ages = |from, until| {
            let frames = seen.between(from, until).0;
            frames.into_iter().map(|frame| frame.age())
        };
        sample.add("age of frames before", None, ages(before, begin));
        sample.add(
            "age of frames meanwhile",
            Some(millis(10)),
            ages(begin, end),
        );
        let gap = seen.longest_gap(begin, end);
        sample.add("longest gap of each stream at another node", None, [gap]);
        match seen.between(before, lab.now()).missing() {
            0 => {}
            missing => sample.fail(format!("{missing} frames are missing at another node")),
        }
    }
    for watcher in &stopped {
        let after = watcher.seen().between(end, lab.now());
        let ages: Vec<_> = after.0.iter().map(|frame| frame.age()).collect();
        match ages.iter().max() {
            None => sample.fail("no frames at the node that stood still"),
            Some(oldest) if *oldest > OLD => {
                sample.fail(format!(
                    "a frame is {oldest:?} old at the node that stood still"
                ));
            }
            Some(_) => {}
        }
        sample.add("age of frames after it goes on", Some(seconds(1)), ages);
        let first = after.0.first().map(|frame| frame.at - end);
        sample.add("until it shows frames again", None, first);
    }
    Ok(sample)
}
