//! The publisher's node fails, and an encoder connects to another one.

use tokio::time::sleep;

use super::{Outcome, STREAM, millis, seconds};
use crate::encoder::Encoder;
use crate::lab::{LIMIT, Lab, Settings, Shape};
use crate::sample::Sample;
use crate::watcher::Watcher;

/// The node that fails, that of the second encoder, and one with viewers only.
const OWNER: usize = 0;
const STANDBY: usize = 1;
const EDGE: usize = 2;

/// Marks of the encoders.
const FIRST: u8 = 1;
const SECOND: u8 = 2;

/// A cluster with a stream that is watched.
struct Scene {
    lab: Lab,
    _encoder: Encoder,
    watchers: [(&'static str, Watcher); 2],
}

impl Scene {
    async fn start(settings: &Settings) -> Result<Self, Box<dyn std::error::Error>> {
        // As encoders expect that come back at another node: they need not wait until the first is dead.
        let shape = Shape {
            on_duplicate: "takeover",
            ..Shape::default()
        };
        let lab = Lab::start(settings, shape).await?;
        let encoder = lab.encoder(OWNER, STREAM, FIRST, false);
        let near = lab.watch(STANDBY, STREAM).await?;
        let far = lab.watch(EDGE, STREAM).await?;
        sleep(seconds(2)).await;
        Ok(Self {
            lab,
            _encoder: encoder,
            watchers: [
                ("gap at the node of the second encoder", near),
                ("gap at a third node", far),
            ],
        })
    }

    /// Lets the owner fail, and an encoder connect to another node; measures until its frames are there
    /// and `rest` has ended. Returns the encoder.
    async fn fail(
        &self,
        sample: &mut Sample,
        target: u64,
        fail: impl FnOnce(),
        rest: impl AsyncFnOnce(&Lab),
    ) -> Encoder {
        let lab = &self.lab;
        let begin = lab.now();
        fail();
        let second = lab.encoder(STANDBY, STREAM, SECOND, true);
        let deadline = begin + LIMIT;
        let is_there = |watcher: &Watcher| watcher.seen().first_of(SECOND).is_some();
        while !self.watchers.iter().all(|(_, watcher)| is_there(watcher)) {
            if lab.now() > deadline {
                break;
            }
            sleep(millis(10)).await;
        }
        rest(lab).await;
        // Late frames would come now.
        sleep(seconds(2)).await;
        let end = lab.now();
        for &(what, ref watcher) in &self.watchers {
            let seen = watcher.seen();
            let gap = seen.longest_gap(begin, end);
            sample.add(what, Some(millis(target)), [gap]);
            if seen.first_of(SECOND).is_none() {
                let reason = watcher.failure().unwrap_or_default();
                let granted = second.granted();
                sample.fail(format!(
                    "{what}: no frame of the second encoder, which was granted the name {granted} times; {reason}"
                ));
            }
            match seen.stale() {
                0 => {}
                stale => sample.fail(format!("{what}: {stale} frames of the replaced encoder")),
            }
        }
        second
    }
}

/// The owner is killed.
pub(super) async fn killed(settings: &Settings) -> Outcome {
    let scene = Scene::start(settings).await?;
    let mut sample = Sample::default();
    let kill = || scene.lab.kill(OWNER);
    let _second = scene.fail(&mut sample, 600, kill, async |_| {}).await;
    one_owner(&scene.lab, &[STANDBY, EDGE], &mut sample).await;
    Ok(sample)
}

/// The owner is killed together with the NATS server that leads the bucket.
pub(super) async fn killed_with_leader(settings: &Settings) -> Outcome {
    let mut scene = Scene::start(settings).await?;
    let mut sample = Sample::default();
    let leader = scene.lab.leader().await?;
    scene.lab.nats.servers[leader].kill();
    let kill = || scene.lab.kill(OWNER);
    let _second = scene.fail(&mut sample, 800, kill, async |_| {}).await;
    one_owner(&scene.lab, &[STANDBY, EDGE], &mut sample).await;
    Ok(sample)
}

/// The owner stands still for 5 s.
pub(super) async fn frozen(settings: &Settings) -> Outcome {
    let scene = Scene::start(settings).await?;
    let mut sample = Sample::default();
    let begin = scene.lab.now();
    let freeze = || scene.lab.freeze(OWNER);
    let wake = async |lab: &Lab| {
        sleep(seconds(5).saturating_sub(lab.now() - begin)).await;
        lab.thaw(OWNER);
    };
    let _second = scene.fail(&mut sample, 1200, freeze, wake).await;
    one_owner(&scene.lab, &[OWNER, STANDBY, EDGE], &mut sample).await;
    Ok(sample)
}

/// Checks that one of the nodes has the name.
async fn one_owner(lab: &Lab, nodes: &[usize], sample: &mut Sample) {
    if let Err(error) = lab.settle(nodes, 1).await {
        sample.fail(error);
    }
}
