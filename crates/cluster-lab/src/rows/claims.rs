//! Encoders that claim one name at the same moment.
#![allow(
    clippy::disallowed_methods,
    reason = "a driver: it measures in real time"
)]

use std::sync::Arc;
use std::time::Instant;

use distributary_rtmp::client;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::{Outcome, seconds};
use crate::encoder::APP;
use crate::lab::{LIMIT, Lab, Settings, Shape};
use crate::sample::Sample;

/// Number of nodes.
const NODES: usize = 3;

/// Claims this number of names, each at three nodes at once.
pub(super) async fn run(settings: &Settings, names: u32) -> Outcome {
    // A name that the arbiter has not decided is granted to nobody.
    let shape = Shape {
        without_arbiter: "refuse",
        ..Shape::default()
    };
    let lab = Lab::start(settings, shape).await?;
    let all: Vec<_> = (0..NODES).collect();
    let mut sample = Sample::default();
    for number in 0..names {
        let name = format!("claim-{number}");
        let barrier = Arc::new(Barrier::new(NODES));
        let mut claims = JoinSet::new();
        for node in 0..NODES {
            let (server, name, barrier) = (lab.rtmp(node), name.clone(), Arc::clone(&barrier));
            claims.spawn(async move {
                barrier.wait().await;
                let begun = Instant::now();
                let claimed = client::publish(server, APP, &name).await;
                (claimed, begun.elapsed())
            });
        }
        let mut granted = Vec::new();
        let mut refusals = Vec::new();
        while let Some(claim) = claims.join_next().await {
            match claim? {
                (Ok(publisher), took) => {
                    sample.add("until the name is granted", None, [took]);
                    granted.push(publisher);
                }
                (Err(error), took) => {
                    sample.add("until it is refused", None, [took]);
                    refusals.push(error.to_string());
                }
            }
        }
        if granted.len() != 1 {
            let count = granted.len();
            sample.fail(format!("{name} was granted {count} times; {refusals:?}"));
        }
        for publisher in granted {
            // The loser of two has no connection any more.
            let _ = publisher.close().await;
        }
    }
    // Every name is given back.
    let left = tokio::time::timeout(LIMIT + seconds(10), lab.settle(&all, 0)).await;
    if let Err(error) = left.unwrap_or_else(|_| Err("the nodes do not answer".to_owned())) {
        sample.fail(error);
    }
    Ok(sample)
}
