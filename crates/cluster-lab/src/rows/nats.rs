//! NATS servers fail.

use std::time::Duration;

use tokio::task::block_in_place;
use tokio::time::sleep;

use super::{Outcome, STREAM, millis, seconds};
use crate::lab::{LIMIT, Lab, Settings, Shape};
use crate::sample::Sample;
use crate::watcher::Watcher;

/// The publisher's node, and that of viewers.
const OWNER: usize = 0;
const EDGE: usize = 2;

/// The viewers' server is killed.
pub(super) async fn killed(settings: &Settings) -> Outcome {
    let mut lab = Lab::start(settings, Shape::default()).await?;
    let _encoder = lab.encoder(OWNER, STREAM, 1, false);
    let (local, remote) = watch(&lab).await?;
    let server = lab.server_of(EDGE).await?;
    let begin = lab.now();
    lab.nats.servers[server].kill();
    sleep(seconds(5)).await;
    Ok(judge(&lab, begin, 300, &local, &remote))
}

/// The viewers' server stands still for 5 s.
pub(super) async fn frozen(settings: &Settings) -> Outcome {
    let lab = Lab::start(settings, Shape::default()).await?;
    let _encoder = lab.encoder(OWNER, STREAM, 1, false);
    let (local, remote) = watch(&lab).await?;
    let server = lab.server_of(EDGE).await?;
    let begin = lab.now();
    lab.nats.servers[server].freeze();
    sleep(seconds(5)).await;
    lab.nats.servers[server].thaw();
    sleep(seconds(2)).await;
    Ok(judge(&lab, begin, 1200, &local, &remote))
}

/// All servers are away for 10 s.
pub(super) async fn gone(settings: &Settings) -> Outcome {
    let mut lab = Lab::start(settings, Shape::default()).await?;
    let _encoder = lab.encoder(OWNER, STREAM, 1, false);
    let (local, remote) = watch(&lab).await?;
    let begin = lab.now();
    for server in &mut lab.nats.servers {
        server.kill();
    }
    sleep(seconds(10)).await;
    block_in_place(|| {
        lab.nats
            .servers
            .iter_mut()
            .for_each(|server| server.restart())
    });
    let back = lab.now();
    while remote.last().is_none_or(|frame| frame.at < back) && lab.now() < back + LIMIT {
        sleep(millis(10)).await;
    }
    sleep(seconds(2)).await;
    let mut sample = Sample::default();
    check(&mut sample, &lab, begin, &local);
    let after = remote.seen().between(back, lab.now());
    match after.0.first() {
        Some(frame) => sample.add(
            "frames at another node again",
            Some(millis(500)),
            [frame.at - back],
        ),
        None => sample.fail("no frame at another node after the servers are back"),
    }
    if let Err(error) = lab.settle(&[0, 1, 2], 1).await {
        sample.fail(error);
    }
    Ok(sample)
}

/// Returns viewers at the publisher's node and at another one, once they have frames.
async fn watch(lab: &Lab) -> Result<(Watcher, Watcher), Box<dyn std::error::Error>> {
    let local = lab.watch(OWNER, STREAM).await?;
    let remote = lab.watch(EDGE, STREAM).await?;
    sleep(seconds(2)).await;
    Ok((local, remote))
}

/// Measures both viewers.
fn judge(lab: &Lab, begin: Duration, target: u64, local: &Watcher, remote: &Watcher) -> Sample {
    let mut sample = Sample::default();
    check(&mut sample, lab, begin, local);
    let gap = remote.seen().longest_gap(begin, lab.now());
    sample.add("gap at another node", Some(millis(target)), [gap]);
    if remote
        .last()
        .is_none_or(|frame| frame.at < lab.now() - seconds(1))
    {
        sample.fail("no frames at another node");
    }
    sample
}

/// Checks that viewers at the publisher's node have noticed nothing.
fn check(sample: &mut Sample, lab: &Lab, begin: Duration, local: &Watcher) {
    let seen = local.seen().between(begin, lab.now());
    let gap = seen.longest_gap(begin, lab.now());
    sample.add("gap at the publisher's node", None, [gap]);
    match seen.missing() {
        0 => {}
        missing => sample.fail(format!(
            "{missing} frames are missing at the publisher's node"
        )),
    }
}
