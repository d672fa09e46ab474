//! The CPU time of gateways and NATS servers.

use std::error::Error;
use std::io;
use std::ops::RangeInclusive;
use std::time::Duration;

use distributary_bench::process::ProcessUsage;
use tokio::time::sleep;

use super::{Outcome, Size, seconds};
use crate::lab::{Lab, Settings, Shape};
use crate::sample::Sample;
use crate::watcher::Watcher;

/// The node of all publishers.
const OWNER: usize = 0;

/// Time until the programs run evenly after a change.
const SETTLE: Duration = seconds(3);

/// Time to measure.
const INTERVAL: Duration = seconds(10);

/// Targets for a frame on its way from the owner to an edge: streams, edges, and microseconds.
const TARGETS: [(usize, usize, u64); 2] = [(20, 4, 40), (100, 4, 16)];

/// Publishes streams at one node, with a viewer of each. Then adds a viewer of each at the other nodes,
/// and then another one: the differences are what a node and what a viewer costs.
pub(super) async fn run(settings: &Settings, size: Size) -> Outcome {
    let shape = Shape {
        nodes: (size.edges + 1).max(3),
        ..Shape::default()
    };
    let lab = Lab::start(settings, shape).await?;
    let edges = 1..=size.edges;
    let encoders = (0..size.streams).map(|number| lab.encoder(OWNER, &name(number), 1, false));
    let encoders: Vec<_> = encoders.collect();
    // The last one is live: so are the others, or soon.
    drop(lab.watch(OWNER, &name(size.streams - 1)).await?);
    sleep(seconds(2)).await;
    let mut watchers = watch(&lab, OWNER..=OWNER, size).await?;
    let alone = Load::measure(&lab, size).await?;
    watchers.extend(watch(&lab, edges.clone(), size).await?);
    let watched = Load::measure(&lab, size).await?;
    watchers.extend(watch(&lab, edges, size).await?);
    let twice = Load::measure(&lab, size).await?;

    let viewer = (twice.edges - watched.edges) / twice.frames;
    let owner = (watched.owner - alone.owner) / watched.frames;
    let nats = (watched.nats - alone.nats) / watched.frames;
    let edge = (watched.edges - alone.edges) / watched.frames - viewer;
    let target = TARGETS
        .iter()
        .find(|&&(streams, edges, _)| (streams, edges) == (size.streams, size.edges));
    let target = target.map(|(_, _, micros)| Duration::from_micros(*micros));
    let mut sample = Sample::default();
    let mut add = |what, target, seconds: f64| {
        // Less than the error of the measurement.
        let time = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        sample.add(what, target, [time]);
    };
    add(
        "a frame from the owner to an edge",
        target,
        owner + nats + edge,
    );
    add("the owner's part of it", None, owner);
    add("the NATS servers' part of it", None, nats);
    add(
        "the edge's part of it, once for all its viewers",
        None,
        edge,
    );
    add("a frame from an edge to a viewer", None, viewer);
    add(
        "a second of a stream at the owner, with one viewer",
        None,
        alone.owner / size.streams as f64,
    );
    for load in [watched, twice] {
        // 30 frames of video and about 47 of audio each second.
        if load.frames < 60.0 * (size.streams * size.edges) as f64 {
            let frames = load.frames;
            sample.fail(format!(
                "{frames:.0} frames per second: the machine is too slow"
            ));
        }
    }
    if encoders.iter().any(|encoder| encoder.has_ended()) {
        sample.fail("an encoder lost its connection");
    }
    Ok(sample)
}

/// Returns the name of a stream.
fn name(number: usize) -> String {
    format!("cost-{number}")
}

/// Adds a viewer of each stream at each of some nodes.
async fn watch(
    lab: &Lab,
    nodes: RangeInclusive<usize>,
    size: Size,
) -> Result<Vec<Watcher>, Box<dyn Error>> {
    let mut watchers = Vec::new();
    for number in 0..size.streams {
        let places = nodes.clone().map(|node| (node, name(number)));
        watchers.extend(lab.join_all(places.collect(), false).await?);
    }
    Ok(watchers)
}

/// The work of each part of a cluster per second.
#[derive(Clone, Copy)]
struct Load {
    /// CPU time of the owner, in seconds.
    owner: f64,
    /// CPU time of all NATS servers, in seconds.
    nats: f64,
    /// CPU time of all edges, in seconds.
    edges: f64,
    /// Frames that edges receive from the owner.
    frames: f64,
}

impl Load {
    /// Measures it once the programs run evenly.
    async fn measure(lab: &Lab, size: Size) -> Result<Self, Box<dyn Error>> {
        sleep(SETTLE).await;
        let (begin, before) = (lab.now(), Self::so_far(lab, size).await?);
        sleep(INTERVAL).await;
        let (end, after) = (lab.now(), Self::so_far(lab, size).await?);
        let seconds = (end - begin).as_secs_f64();
        Ok(Self {
            owner: (after.owner - before.owner) / seconds,
            nats: (after.nats - before.nats) / seconds,
            edges: (after.edges - before.edges) / seconds,
            frames: (after.frames - before.frames) / seconds,
        })
    }

    /// Returns the same from the start until now.
    async fn so_far(lab: &Lab, size: Size) -> Result<Self, Box<dyn Error>> {
        let edges = 1..=size.edges;
        let mut frames = 0;
        for edge in edges.clone() {
            let counters = &lab.cluster(edge).await["counters"];
            frames += counters["frames_in"].as_u64().unwrap_or_default();
        }
        Ok(Self {
            owner: cpu([lab.gateway_process(OWNER)])?,
            nats: cpu(lab.server_processes())?,
            edges: cpu(edges.map(|edge| lab.gateway_process(edge)))?,
            frames: frames as f64,
        })
    }
}

/// Returns the CPU time of processes, in seconds.
fn cpu(processes: impl IntoIterator<Item = u32>) -> io::Result<f64> {
    let usages = processes.into_iter().map(ProcessUsage::of);
    usages.map(|usage| Ok(usage?.cpu.as_secs_f64())).sum()
}
