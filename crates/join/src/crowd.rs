//! Many viewers, some of them behind a slow link: do the others notice?

use std::env;
use std::fmt::Write as _;
use std::io;
use std::process::{Command, Stdio};

use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::bottleneck::Bottleneck;
use crate::path::PathSettings;
use crate::plan::{gop, millis};
use crate::stream::Stream;

/// The program that watches as many viewers.
const SWARM: &str = "whep-swarm";

/// Fast viewers beside the gateway, and slow ones that share a link.
#[derive(Args)]
pub(crate) struct Crowd {
    /// Number of fast viewers, and of slow ones
    #[arg(long, default_value_t = 50)]
    pub(crate) viewers: u32,
    /// Rates of the link for each slow viewer in Mbit/s: one for each row
    #[arg(long, value_delimiter = ',', default_values_t = [10.0, 1.2])]
    pub(crate) rate: Vec<f64>,
    /// Rate of the video in Mbit/s
    #[arg(long, default_value_t = 2.4)]
    stream: f64,
    /// Height of the video in pixels
    #[arg(long, default_value_t = 720)]
    height: u32,
    /// Seconds from keyframe to keyframe: a divisor of 40
    #[arg(long, default_value_t = 2, value_parser = gop)]
    gop: u32,
    /// The longest time that a packet waits for the link, in ms
    #[arg(long, default_value_t = 300)]
    queue: u32,
    /// Round trip time of the slow viewers in ms
    #[arg(long, default_value_t = 20)]
    rtt: u32,
    /// Seconds to measure
    #[arg(long, default_value_t = 40)]
    seconds: u32,
}

impl Crowd {
    /// Returns the stream.
    pub(crate) fn stream(&self) -> Stream {
        Stream {
            height: self.height,
            rate: 30,
            megabits: self.stream,
            gop: self.gop,
        }
    }

    /// Returns the path that all slow viewers share, with this rate for each in Mbit/s.
    pub(crate) fn path(&self, rate: f64) -> PathSettings {
        PathSettings {
            rtt: millis(self.rtt),
            bottleneck: Some(Bottleneck {
                megabits: rate * f64::from(self.viewers),
                queue: millis(self.queue),
            }),
            ..PathSettings::default()
        }
    }

    /// Watches `url`, by a command that starts a program on some machine, and returns what the viewers
    /// observe. The costs of the process `server` are measured, if there is one.
    ///
    /// # Errors
    /// When the program cannot be run, or some viewer did not join or stay.
    pub(crate) async fn watch(
        &self,
        command: impl FnOnce(&str) -> Command,
        url: &str,
        server: Option<u32>,
    ) -> io::Result<Observed> {
        let program = env::current_exe()?.with_file_name(SWARM);
        let mut command = command(&program.to_string_lossy());
        let (viewers, duration) = (self.viewers.to_string(), format!("{}s", self.seconds));
        command.args(["--json", "--feedback", "--url", url, "--ramp", "50"]);
        command.args(["--viewers", &viewers, "--duration", &duration]);
        if let Some(server) = server {
            command.args(["--server-pid", &server.to_string()]);
        }
        command.stdin(Stdio::null()).stderr(Stdio::inherit());
        let output = spawn_blocking(move || command.output()).await??;
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// The part of the report of a swarm that the table has.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Observed {
    media: Media,
    server: Option<Server>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Media {
    seconds: f64,
    packets: u64,
    megabits_per_second: f64,
    fps: f64,
    min_fps: f64,
    frame_gap: Gaps,
}

/// The longest time between two frames of each viewer, in ms: over the viewers.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Gaps {
    p50: f64,
    max: f64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Server {
    cpu_percent: f64,
}

/// Both groups of one row, with the rate of the link for each slow viewer.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Groups {
    pub(crate) rate: f64,
    pub(crate) fast: Observed,
    pub(crate) slow: Observed,
}

impl Groups {
    /// Returns the CPU time of the gateway for each packet of both groups, in µs.
    fn cost(&self) -> f64 {
        let server = self.fast.server.as_ref();
        let seconds = server.map_or(0.0, |server| server.cpu_percent / 100.0);
        let rate = |media: &Media| media.packets as f64 / media.seconds;
        1e6 * seconds / (rate(&self.fast.media) + rate(&self.slow.media))
    }
}

/// Returns the table of several rates.
pub(crate) fn table(rows: &[Groups]) -> String {
    let mut text = String::from(
        "| link for each slow viewer, Mbit/s | fast: fps | least | longest gap | of any | slow: fps | \
         longest gap | Mbit/s | gateway, % of a core | µs/packet |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let (fast, slow) = (&row.fast.media, &row.slow.media);
        let server = row.fast.server.as_ref();
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "| {} | {:.1} | {:.1} | {:.0} | {:.0} | {:.1} | {:.0} | {:.2} | {:.0} | {:.1} |",
            row.rate,
            fast.fps,
            fast.min_fps,
            fast.frame_gap.p50,
            fast.frame_gap.max,
            slow.fps,
            slow.frame_gap.p50,
            slow.megabits_per_second,
            server.map_or(0.0, |server| server.cpu_percent),
            row.cost(),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_is_that_of_the_packets_of_both_groups() {
        let observed = |packets, server| Observed {
            media: Media {
                seconds: 10.0,
                packets,
                megabits_per_second: 1.0,
                fps: 30.0,
                min_fps: 29.0,
                frame_gap: Gaps {
                    p50: 50.0,
                    max: 70.0,
                },
            },
            server,
        };
        let server = Server { cpu_percent: 20.0 };
        let row = Groups {
            rate: 1.2,
            fast: observed(150_000, Some(server)),
            slow: observed(50_000, None),
        };
        let text = table(&[row]);
        let last = text.lines().last().unwrap();
        assert!(last.ends_with("| 20 | 10.0 |"), "{last}");
        let widths = text.lines().map(|line| line.matches('|').count());
        assert!(widths.eq([11, 11, 11]), "{text}");
    }
}
