//! One node after the other is replaced by another release while viewers watch.

use std::error::Error;
use std::time::Duration;

use tokio::time::sleep;

use super::{Outcome, STREAM, millis, seconds};
use crate::lab::{LIMIT, Lab, Settings, Shape};
use crate::sample::Sample;
use crate::seen::Seen;
use crate::watcher::Watcher;

/// The nodes, in the order in which they are replaced. The publisher moves from the second one to the
/// first, so that either release owns a stream that viewers of the other one watch.
const FIRST: usize = 2;
const SECOND: usize = 0;
const THIRD: usize = 1;

/// Marks of the encoders.
const BEFORE: u8 = 1;
const AFTER: u8 = 2;

/// The longest gap that a viewer should see.
const TARGET: Duration = millis(200);

/// A viewer that opens a session at another node beside its own, and leaves its own when frames come.
struct Nomad {
    current: Watcher,
    /// The frames of the sessions that it has left.
    before: Seen,
    stale: usize,
}

impl Nomad {
    async fn start(lab: &Lab, node: usize) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            current: lab.watch(node, STREAM).await?,
            before: Seen::default(),
            stale: 0,
        })
    }

    /// Moves to a node.
    async fn go(&mut self, lab: &Lab, node: usize) -> Result<(), Box<dyn Error>> {
        let next = lab.watch(node, STREAM).await?;
        let seen = std::mem::replace(&mut self.current, next).seen();
        self.stale += seen.stale();
        self.before.0.extend(seen.0);
        // Something is seen there before it moves on.
        sleep(seconds(1)).await;
        Ok(())
    }

    /// Waits for a frame of an encoder.
    async fn sees(&self, lab: &Lab, encoder: u8) -> Result<(), Box<dyn Error>> {
        let deadline = lab.now() + LIMIT;
        while self.current.seen().first_of(encoder).is_none() {
            if lab.now() > deadline {
                return Err(format!("a viewer sees no frame of encoder {encoder}").into());
            }
            sleep(millis(10)).await;
        }
        Ok(())
    }

    /// Returns the longest time without a frame, and the number of frames of an encoder that was
    /// replaced.
    fn end(mut self, begin: Duration, end: Duration) -> (Duration, usize) {
        let seen = self.current.seen();
        let stale = self.stale + seen.stale();
        self.before.0.extend(seen.0);
        self.before.0.sort_by_key(|frame| frame.at);
        (self.before.longest_gap(begin, end), stale)
    }
}

/// Replaces the nodes.
pub(super) async fn run(settings: &Settings) -> Outcome {
    // The second encoder need not wait until the first is gone.
    let shape = Shape {
        on_duplicate: "takeover",
        others: &[FIRST, SECOND, THIRD],
        ..Shape::default()
    };
    let mut lab = Lab::start(settings, shape).await?;
    let first = lab.encoder(SECOND, STREAM, BEFORE, false);
    let mut near = Nomad::start(&lab, FIRST).await?;
    let mut far = Nomad::start(&lab, THIRD).await?;
    sleep(seconds(2)).await;
    let begin = lab.now();

    // A new node watches an old owner.
    near.go(&lab, THIRD).await?;
    lab.upgrade(FIRST).await?;
    near.go(&lab, FIRST).await?;
    // Old nodes watch a new owner.
    let _second = lab.encoder(FIRST, STREAM, AFTER, true);
    near.sees(&lab, AFTER).await?;
    far.sees(&lab, AFTER).await?;
    drop(first);
    lab.upgrade(SECOND).await?;
    far.go(&lab, SECOND).await?;
    lab.upgrade(THIRD).await?;
    far.go(&lab, THIRD).await?;

    let end = lab.now();
    let mut sample = Sample::default();
    for viewer in [near, far] {
        let (gap, stale) = viewer.end(begin, end);
        sample.add("longest gap of a viewer", Some(TARGET), [gap]);
        if stale > 0 {
            sample.fail(format!("{stale} frames of the replaced encoder"));
        }
    }
    if let Err(error) = lab.settle(&[FIRST, SECOND, THIRD], 1).await {
        sample.fail(error);
    }
    Ok(sample)
}
