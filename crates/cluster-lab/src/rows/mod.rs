//! The rows: what happens to a cluster.

mod claims;
mod cost;
mod edge;
mod join;
mod nats;
mod owner;
mod partition;
mod upgrade;

use std::error::Error;
use std::time::Duration;

use clap::ValueEnum;

use crate::lab::Settings;
use crate::sample::Sample;

/// Name of the stream, where there is one.
const STREAM: &str = "lab";

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Row {
    /// Encoders claim one name at three nodes at the same moment
    Claims,
    /// The node of the publisher is killed, and an encoder connects to another node
    OwnerKilled,
    /// The node of the publisher stands still for 5 s
    OwnerFrozen,
    /// The NATS server of the viewers' node is killed
    NatsKilled,
    /// The NATS server of the viewers' node stands still for 5 s
    NatsFrozen,
    /// All NATS servers are away for 10 s
    NatsGone,
    /// A node is cut off for 30 s, and an encoder publishes the same name there
    Partition,
    /// Viewers join streams of another node
    Join,
    /// A node with viewers stands still for 5 s
    EdgeStopped,
    /// The node of the publisher is killed together with the NATS server that leads the bucket
    LeaderKilled,
    /// One node after the other is replaced, from the program of `--other` to that of this tree
    Upgrade,
    /// The CPU time of gateways and NATS servers
    Cost,
}

/// Sizes of the rows that have one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Streams.
    pub(crate) streams: usize,
    /// Nodes with viewers.
    pub(crate) edges: usize,
}

/// The outcome of a run that came to its end.
type Outcome = Result<Sample, Box<dyn Error>>;

impl Row {
    /// Returns its name on the command line.
    pub(crate) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Returns how often it runs, and with how many names.
    pub(crate) fn runs(self, times: Option<u32>) -> (u32, u32) {
        match self {
            Self::Claims => (1, times.unwrap_or(1000)),
            Self::LeaderKilled => (times.unwrap_or(20), 1),
            Self::Partition | Self::Join | Self::EdgeStopped | Self::Upgrade | Self::Cost => {
                (times.unwrap_or(1), 1)
            }
            _ => (times.unwrap_or(5), 1),
        }
    }

    /// Runs it once, on a fresh cluster.
    pub(crate) async fn run(self, settings: &Settings, size: Size, names: u32) -> Outcome {
        match self {
            Self::Claims => claims::run(settings, names).await,
            Self::OwnerKilled => owner::killed(settings).await,
            Self::OwnerFrozen => owner::frozen(settings).await,
            Self::LeaderKilled => owner::killed_with_leader(settings).await,
            Self::NatsKilled => nats::killed(settings).await,
            Self::NatsFrozen => nats::frozen(settings).await,
            Self::NatsGone => nats::gone(settings).await,
            Self::Partition => partition::run(settings).await,
            Self::Join => join::run(settings, size).await,
            Self::EdgeStopped => edge::stopped(settings, size).await,
            Self::Upgrade => upgrade::run(settings).await,
            Self::Cost => cost::run(settings, size).await,
        }
    }
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
