//! The measurements: which rows, and how each is measured.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::bottleneck::Bottleneck;
use crate::condition::Condition;
use crate::course::{Layer, Swing, Switch};
use crate::crowd::Crowd;
use crate::networks::Networks;
use crate::path::PathSettings;
use crate::row::{Column, LOSS, RATE, STEPS};
use crate::stream::{CLIP, Stream};

/// The kind of measurement.
#[derive(Subcommand)]
pub(crate) enum Mode {
    /// The steps from the WHEP request to the first frame, by round trip time and loss
    Steps(Steps),
    /// The steps from the arrival of the player page to the first frame
    Page(Steps),
    /// The instant start over a slow link: losses, freezes and latency
    Rate(Rate),
    /// A path that slows down and recovers: renditions and freezes
    Switch(Switch),
    /// A path that swings around the rate of a rendition: renditions and freezes
    Swing(Swing),
    /// A rendition that does not run yet: the time from the WHEP request to its first frame
    Layer(Layer),
    /// Many viewers, half of them behind a slow link: whether the others notice
    Crowd(Crowd),
    /// Playing over a path with losses: freezes, NACKs, retransmissions and latency
    Loss(Loss),
    /// Bad networks, one for each row: frame rate, freezes, recovery, retransmissions and latency
    Networks(Networks),
}

/// Paths for the steps of a join.
#[derive(Args)]
pub(crate) struct Steps {
    /// Round trip times in ms
    #[arg(long, value_delimiter = ',', default_values_t = [0, 50, 100, 200])]
    rtt: Vec<u32>,
    /// Percentages of packets lost at random, each way
    #[arg(long, value_delimiter = ',', default_values_t = [0.0, 5.0, 10.0])]
    loss: Vec<f64>,
    /// Joins in each row, spread evenly over the GOP
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    joins: u32,
}

/// Slow links.
#[derive(Args)]
pub(crate) struct Rate {
    /// Rates of the link in Mbit/s
    #[arg(long, value_delimiter = ',', default_values_t = [3.0, 5.0, 8.0, 20.0, 100.0])]
    rate: Vec<f64>,
    /// Rates of the video in Mbit/s
    #[arg(long, value_delimiter = ',', default_values_t = [2.4, 6.0])]
    stream: Vec<f64>,
    /// Seconds from keyframe to keyframe: divisors of 40
    #[arg(long, value_delimiter = ',', default_values_t = [2, 8], value_parser = gop)]
    gop: Vec<u32>,
    /// The longest time that a packet waits for the link, in ms
    #[arg(long, default_value_t = 400)]
    queue: u32,
    /// Round trip times in ms
    #[arg(long, value_delimiter = ',', default_values_t = [20])]
    rtt: Vec<u32>,
    /// Offer no transport-wide feedback: the gateway then has receiver reports alone
    #[arg(long)]
    no_feedback: bool,
    /// Seconds to watch after the first frame
    #[arg(long, default_value_t = 8)]
    seconds: u32,
    /// Joins in each row, spread evenly over the GOP
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    joins: u32,
}

/// Paths with losses.
#[derive(Args)]
pub(crate) struct Loss {
    /// Percentages of packets lost at random, each way
    #[arg(long, value_delimiter = ',', default_values_t = [0.0, 2.0, 5.0, 10.0])]
    loss: Vec<f64>,
    /// Round trip times in ms
    #[arg(long, value_delimiter = ',', default_values_t = [50, 100, 200])]
    rtt: Vec<u32>,
    /// The greatest additional delay of a packet in ms, each way: it reorders packets
    #[arg(long, default_value_t = 0)]
    jitter: u32,
    /// Seconds to watch after the first frame
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Joins in each row, spread evenly over the GOP
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    joins: u32,
}

/// One table.
pub(crate) struct Plan {
    /// One for each row.
    pub(crate) conditions: Vec<Condition>,
    /// The player that joins.
    pub(crate) target: Target,
    /// Joins in each row.
    pub(crate) joins: u32,
    /// Seconds to watch after the first frame.
    pub(crate) seconds: u32,
    /// Columns of the table.
    pub(crate) columns: &'static [Column],
}

/// The player that joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A page that is there already, with an open connection to the gateway.
    Whep {
        /// True if it offers transport-wide feedback.
        has_feedback: bool,
    },
    /// The gateway's player page.
    Page,
}

/// A player as browsers are.
const WHEP: Target = Target::Whep { has_feedback: true };

/// The stream where nothing else is asked for.
const USUAL: Stream = Stream {
    height: 720,
    rate: 30,
    megabits: 2.4,
    gop: 2,
};

impl Mode {
    /// Returns the rows and the way to measure them; `None` for measurements over time.
    pub(crate) fn plan(&self) -> Option<Plan> {
        Some(match self {
            Self::Steps(steps) => steps.plan(WHEP),
            Self::Page(steps) => steps.plan(Target::Page),
            Self::Rate(rate) => rate.plan(),
            Self::Loss(loss) => loss.plan(),
            Self::Switch(_)
            | Self::Swing(_)
            | Self::Layer(_)
            | Self::Crowd(_)
            | Self::Networks(_) => return None,
        })
    }
}

impl Steps {
    fn plan(&self, target: Target) -> Plan {
        Plan {
            conditions: lossy(&self.rtt, &self.loss, 0),
            target,
            joins: self.joins,
            seconds: 0,
            columns: STEPS,
        }
    }
}

impl Loss {
    fn plan(&self) -> Plan {
        Plan {
            conditions: lossy(&self.rtt, &self.loss, self.jitter),
            target: WHEP,
            joins: self.joins,
            seconds: self.seconds,
            columns: LOSS,
        }
    }
}

impl Rate {
    fn plan(&self) -> Plan {
        let mut conditions = Vec::new();
        for &megabits in &self.stream {
            for &gop in &self.gop {
                for &rate in &self.rate {
                    conditions.extend(self.rtt.iter().map(|&rtt| Condition {
                        stream: Stream {
                            height: 720,
                            rate: 30,
                            megabits,
                            gop,
                        },
                        path: PathSettings {
                            rtt: millis(rtt),
                            bottleneck: Some(Bottleneck {
                                megabits: rate,
                                queue: millis(self.queue),
                            }),
                            ..PathSettings::default()
                        },
                    }));
                }
            }
        }
        Plan {
            conditions,
            target: Target::Whep {
                has_feedback: !self.no_feedback,
            },
            joins: self.joins,
            seconds: self.seconds,
            columns: RATE,
        }
    }
}

fn lossy(rtts: &[u32], losses: &[f64], jitter: u32) -> Vec<Condition> {
    let paths = rtts.iter().flat_map(|&rtt| {
        losses.iter().map(move |&loss| PathSettings {
            rtt: millis(rtt),
            jitter: millis(jitter),
            loss,
            ..PathSettings::default()
        })
    });
    paths
        .map(|path| Condition {
            stream: USUAL,
            path,
        })
        .collect()
}

/// Returns this duration in milliseconds.
pub(crate) fn millis(millis: u32) -> Duration {
    Duration::from_millis(millis.into())
}

/// Parses the seconds from keyframe to keyframe.
pub(crate) fn gop(text: &str) -> Result<u32, String> {
    let gop = text.parse().map_err(|error| format!("{error}"))?;
    let divides = gop > 0 && CLIP.is_multiple_of(gop);
    divides
        .then_some(gop)
        .ok_or_else(|| "not a divisor of 40".to_owned())
}
