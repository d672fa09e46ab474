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
    let (server, what) = server(&lab).await?;
    let begin = lab.now();
    lab.nats.servers[server].kill();
    sleep(seconds(5)).await;
    Ok(judge(&lab, begin, (what, 300), &local, &remote))
}

/// The viewers' server stands still for 5 s.
pub(super) async fn frozen(settings: &Settings) -> Outcome {
    let lab = Lab::start(settings, Shape::default()).await?;
    let _encoder = lab.encoder(OWNER, STREAM, 1, false);
    let (local, remote) = watch(&lab).await?;
    let (server, what) = server(&lab).await?;
    let begin = lab.now();
    lab.nats.servers[server].freeze();
    sleep(seconds(5)).await;
    lab.nats.servers[server].thaw();
    sleep(seconds(2)).await;
    Ok(judge(&lab, begin, (what, 1200), &local, &remote))
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
        for server in &mut lab.nats.servers {
            server.restart();
        }
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

/// Returns the number of the viewers' server, and the name of the figure: it matters whether the
/// publisher's node is connected to the same server.
async fn server(lab: &Lab) -> Result<(usize, &'static str), Box<dyn std::error::Error>> {
    let (owner, edge) = (lab.server_of(OWNER).await?, lab.server_of(EDGE).await?);
    let what = if owner == edge {
        "gap at another node, both at that server"
    } else {
        "gap at another node, the publisher's at another server"
    };
    Ok((edge, what))
}

/// Measures both viewers; `figure` is the name and the target of the one at another node.
fn judge(
    lab: &Lab,
    begin: Duration,
    figure: (&'static str, u64),
    local: &Watcher,
    remote: &Watcher,
) -> Sample {
    let mut sample = Sample::default();
    check(&mut sample, lab, begin, local);
    let (what, target) = figure;
    let end = lab.now();
    let gap = remote.seen().longest_gap(begin, end);
    sample.add(what, Some(millis(target)), [gap]);
    if remote
        .last()
        .is_none_or(|frame| frame.at + seconds(1) < end)
    {
        sample.fail(format!("{what}: no frames at the end"));
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
