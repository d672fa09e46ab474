//! Measurements of renditions: links whose rate changes while somebody watches, and renditions that
//! somebody asks for.

use std::time::Duration;

use clap::Args;

use crate::bottleneck::Bottleneck;
use crate::network::{ETHERNET, Family};
use crate::path::PathSettings;
use crate::plan::{gop, millis};
use crate::stream::Stream;

/// Seconds before a link begins to swing.
const LEAD: u32 = 10;

/// The stream, and the link without its rate.
#[derive(Args)]
pub(crate) struct Line {
    /// Rate of the video in Mbit/s
    #[arg(long, default_value_t = 4.5)]
    stream: f64,
    /// Height of the video in pixels
    #[arg(long, default_value_t = 1080)]
    height: u32,
    /// Seconds from keyframe to keyframe: a divisor of 40
    #[arg(long, default_value_t = 2, value_parser = gop)]
    gop: u32,
    /// The longest time that a packet waits for the link, in ms
    #[arg(long, default_value_t = 400)]
    queue: u32,
    /// Round trip time in ms
    #[arg(long, default_value_t = 20)]
    rtt: u32,
    /// A player without transport-wide feedback
    #[arg(long)]
    without_feedback: bool,
}

/// Links that slow down and recover.
#[derive(Args)]
pub(crate) struct Switch {
    #[command(flatten)]
    line: Line,
    /// Rate of the link before and after in Mbit/s
    #[arg(long, default_value_t = 6.0)]
    pub(crate) fast: f64,
    /// Rates of the link meanwhile in Mbit/s
    #[arg(long, value_delimiter = ',', default_values_t = [1.0])]
    pub(crate) slow: Vec<f64>,
    /// Seconds before the slowdown, until the recovery, and after it
    #[arg(long, value_delimiter = ',', default_values_t = [10, 15, 25])]
    seconds: Vec<u32>,
}

/// Links that swing.
#[derive(Args)]
pub(crate) struct Swing {
    #[command(flatten)]
    line: Line,
    /// The least rates of the link in Mbit/s: one for each row
    #[arg(long, value_delimiter = ',', default_values_t = [1.0])]
    pub(crate) low: Vec<f64>,
    /// The greatest rate in Mbit/s
    #[arg(long, default_value_t = 1.8)]
    pub(crate) high: f64,
    /// Seconds from one slowdown to the next
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) period: u32,
    /// Seconds for which the link swings
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// A rendition.
#[derive(Args)]
pub(crate) struct Layer {
    /// Id of the rendition, as in the query of the WHEP endpoint
    #[arg(long, default_value = "360p")]
    pub(crate) layer: String,
    /// Rate of the video in Mbit/s
    #[arg(long, default_value_t = 4.5)]
    stream: f64,
    /// Height of the video in pixels
    #[arg(long, default_value_t = 1080)]
    height: u32,
    /// Seconds from keyframe to keyframe: a divisor of 40
    #[arg(long, default_value_t = 2, value_parser = gop)]
    gop: u32,
    /// Seconds to watch after the first frame
    #[arg(long, default_value_t = 5)]
    pub(crate) seconds: u32,
    /// Joins, each when the transcoder has ended
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) joins: u32,
}

/// One viewer's course: its player, and its path over time.
pub(crate) struct Course {
    /// The stream.
    pub(crate) stream: Stream,
    /// True for a player with transport-wide feedback.
    pub(crate) has_feedback: bool,
    /// The addresses of gateway and viewer.
    pub(crate) family: Family,
    /// MTU of the viewer's device.
    pub(crate) viewer_mtu: u16,
    /// The paths over time.
    pub(crate) phases: Vec<Phase>,
}

/// Paths for a time.
pub(crate) struct Phase {
    /// The path from the publisher.
    pub(crate) uplink: PathSettings,
    /// The path to the viewer.
    pub(crate) path: PathSettings,
    /// The time.
    pub(crate) time: Duration,
}

impl Course {
    /// Returns its length in seconds.
    pub(crate) fn seconds(&self) -> u64 {
        let times = self.phases.iter().map(|phase| phase.time);
        times.sum::<Duration>().as_secs()
    }
}

impl Switch {
    /// Returns the course of a viewer whose link slows down to `slow` megabits per second.
    pub(crate) fn course(&self, slow: f64) -> Course {
        let rates = [self.fast, slow, self.fast].into_iter();
        let seconds = self.seconds.iter().copied();
        let times = seconds.map(|seconds| Duration::from_secs(seconds.into()));
        self.line.course(rates.zip(times))
    }
}

impl Swing {
    /// Returns the course of a viewer whose link swings down to `low` megabits per second, after a
    /// phase at the mean rate.
    pub(crate) fn course(&self, low: f64) -> Course {
        let lead = f64::midpoint(low, self.high);
        let time = Duration::from_secs(self.period.into()) / 2;
        let swings = [self.high, low].map(|rate| (rate, time));
        let swings = swings.into_iter().cycle();
        let swings = swings.take((2 * self.seconds / self.period) as usize);
        let lead = [(lead, Duration::from_secs(LEAD.into()))];
        self.line.course(lead.into_iter().chain(swings))
    }
}

impl Layer {
    /// Returns the stream.
    pub(crate) fn stream(&self) -> Stream {
        Stream {
            height: self.height,
            rate: 30,
            megabits: self.stream,
            gop: self.gop,
        }
    }

    /// Returns the time for which each viewer watches.
    pub(crate) fn time(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }
}

impl Line {
    /// Returns the course over links of these rates in Mbit/s, each for a time.
    fn course(&self, phases: impl Iterator<Item = (f64, Duration)>) -> Course {
        let phase = |(megabits, time)| Phase {
            uplink: PathSettings::default(),
            path: PathSettings {
                rtt: millis(self.rtt),
                bottleneck: Some(Bottleneck {
                    megabits,
                    queue: millis(self.queue),
                }),
                ..PathSettings::default()
            },
            time,
        };
        Course {
            stream: Stream {
                height: self.height,
                rate: 30,
                megabits: self.stream,
                gop: self.gop,
            },
            has_feedback: !self.without_feedback,
            family: Family::V4,
            viewer_mtu: ETHERNET,
            phases: phases.map(phase).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        swing: Swing,
    }

    #[test]
    fn link_swings_after_a_phase_at_the_mean_rate() {
        let arguments = ["join", "--low", "1", "--high", "2", "--seconds", "8"];
        let course = Cli::parse_from(arguments).swing.course(1.0);
        let rates = course
            .phases
            .iter()
            .filter_map(|phase| phase.path.bottleneck);
        let rates: Vec<f64> = rates.map(|link| link.megabits).collect();
        assert_eq!(rates, [1.5, 2.0, 1.0, 2.0, 1.0]);
        assert_eq!(course.seconds(), 18);
    }
}
