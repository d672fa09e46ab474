//! The CPU time of gateways and NATS servers.

use std::time::Duration;

use distributary_bench::process::ProcessUsage;
use tokio::time::sleep;

use super::{Outcome, Size, seconds};
use crate::lab::{Lab, Settings, Shape};
use crate::sample::Sample;

/// The node of all publishers.
const OWNER: usize = 0;

/// Time to measure.
const INTERVAL: Duration = seconds(10);

/// Publishes streams at one node, with a viewer of each at the others.
pub(super) async fn run(settings: &Settings, size: Size) -> Outcome {
    let shape = Shape {
        nodes: (size.edges + 1).max(3),
        ..Shape::default()
    };
    let lab = Lab::start(settings, shape).await?;
    let name = |number| format!("cost-{number}");
    let encoders = (0..size.streams).map(|number| lab.encoder(OWNER, &name(number), 1, false));
    let encoders: Vec<_> = encoders.collect();
    // The last one is live: so are the others, or soon.
    drop(lab.watch(OWNER, &name(size.streams - 1)).await?);
    sleep(seconds(2)).await;
    let mut watchers = Vec::new();
    for number in 0..size.streams {
        let places = (1..=size.edges).map(|node| (node, name(number)));
        watchers.extend(lab.join_all(places.collect(), false).await?);
    }
    sleep(seconds(3)).await;
    let before = (cpu(&lab)?, frames(&lab, size.edges).await, lab.now());
    sleep(INTERVAL).await;
    let after = (cpu(&lab)?, frames(&lab, size.edges).await, lab.now());

    let mut sample = Sample::default();
    let delivered = after.1 - before.1;
    let per_frame = (after.0 - before.0).div_f64((delivered as f64).max(1.0));
    sample.add(
        "CPU time per frame at an edge, with its viewer",
        None,
        [per_frame],
    );
    // 30 frames of video and about 47 of audio each second.
    let seconds = (after.2 - before.2).as_secs_f64();
    let expected = 60.0 * seconds * (size.streams * size.edges) as f64;
    if (delivered as f64) < expected {
        sample.fail(format!(
            "{delivered} frames in {seconds:.1} s: the machine is too slow"
        ));
    }
    if encoders.iter().any(|encoder| encoder.has_ended()) {
        sample.fail("an encoder lost its connection");
    }
    Ok(sample)
}

/// Returns the CPU time of all gateways and NATS servers.
fn cpu(lab: &Lab) -> std::io::Result<Duration> {
    let processes = lab.processes().into_iter();
    processes
        .map(|process| ProcessUsage::of(process).map(|usage| usage.cpu))
        .sum()
}

/// Returns the frames that the edges have received from other nodes.
async fn frames(lab: &Lab, edges: usize) -> u64 {
    let mut frames = 0;
    for edge in 1..=edges {
        let cluster = lab.cluster(edge).await;
        frames += cluster["counters"]["frames_in"]
            .as_u64()
            .unwrap_or_default();
    }
    frames
}
