//! Bad networks: what a viewer in Chromium sees on each.

use std::time::Duration;

use clap::Args;

use crate::bottleneck::Bottleneck;
use crate::course::{Course, Phase};
use crate::network::{ETHERNET, Family};
use crate::path::PathSettings;
use crate::plan::millis;
use crate::stream::Stream;

/// Round trip time where it is not the trouble.
const RTT: u32 = 50;

/// The stream of most rows.
const USUAL: Stream = Stream {
    height: 720,
    rate: 30,
    megabits: 2.4,
    gop: 2,
};

/// The publisher's uplink, in Mbit/s, and the same while it is slow: half of what the stream needs.
const UPLINK: f64 = 10.0;
const SLOW_UPLINK: f64 = 1.2;

/// Seconds before a trouble that passes.
const BEFORE: u32 = 6;

/// Which of the networks, and for how long.
#[derive(Args)]
pub(crate) struct Networks {
    /// Measure only the rows whose names contain one of these texts
    #[arg(long, value_delimiter = ',', value_name = "TEXT")]
    only: Vec<String>,
    /// Seconds to watch after the first frame
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(14..))]
    seconds: u32,
}

/// One row: a network, and what is watched over it.
pub(crate) struct Network {
    /// What is bad about it.
    pub(crate) name: String,
    /// The trouble, or everything if it does not pass.
    pub(crate) course: Course,
    /// True if the trouble passes: the second phase of the course is the trouble.
    pub(crate) passes: bool,
}

impl Networks {
    /// Returns the rows to measure.
    pub(crate) fn rows(&self) -> Vec<Network> {
        let mut rows = self.all();
        let is_wanted = |name: &str| self.only.iter().any(|part| name.contains(part.as_str()));
        rows.retain(|row| self.only.is_empty() || is_wanted(&row.name));
        rows
    }

    fn all(&self) -> Vec<Network> {
        let path = PathSettings {
            rtt: millis(RTT),
            ..PathSettings::default()
        };
        let mut rows = Vec::new();
        for rtt in [20, 100, 200] {
            let name = format!("round trip of {rtt} ms, nothing else");
            let rtt = millis(rtt);
            rows.push(self.lasting(name, PathSettings { rtt, ..path }));
        }
        for loss in [1.0, 5.0, 10.0, 20.0] {
            let name = format!("loss of {loss} % each way");
            rows.push(self.lasting(name, PathSettings { loss, ..path }));
        }
        for (loss, burst) in [(1.0, 5.0), (5.0, 10.0)] {
            let name = format!("loss of {loss} %, {burst} packets in a row");
            let burst = Some(burst);
            rows.push(self.lasting(
                name,
                PathSettings {
                    loss,
                    burst,
                    ..path
                },
            ));
        }
        let jitter = PathSettings {
            jitter: millis(50),
            ..path
        };
        rows.push(self.lasting("jitter of 50 ms, which reorders".to_owned(), jitter));
        let outage = PathSettings {
            loss: 100.0,
            ..path
        };
        rows.push(self.passing("outage of 3 s".to_owned(), 3, |phase| phase.path = outage));
        let slow = PathSettings {
            bottleneck: Some(link(1.5)),
            ..path
        };
        rows.push(self.lasting("link of 1.5 Mbit/s".to_owned(), slow));
        let mut tunnel = self.lasting(
            "MTU of 1280".to_owned(),
            PathSettings {
                longest: Some(1280),
                ..path
            },
        );
        tunnel.course.viewer_mtu = 1280;
        rows.push(tunnel);
        let mut v6 = self.lasting("IPv6 only".to_owned(), path);
        v6.course.family = Family::V6;
        rows.push(v6);
        let blocked = PathSettings {
            blocks_udp: true,
            ..path
        };
        rows.push(self.lasting("UDP blocked".to_owned(), blocked));
        let lossy = PathSettings {
            loss: 1.0,
            ..blocked
        };
        rows.push(self.lasting("UDP blocked, loss of 1 % each way".to_owned(), lossy));
        rows.push(self.throttled());
        let mut smooth = self.lasting("60 frames per second, nothing else".to_owned(), path);
        smooth.course.stream = Stream {
            rate: 60,
            megabits: 4.0,
            ..USUAL
        };
        rows.push(smooth);
        rows
    }

    /// Returns the row whose publisher has a slow uplink for a time. Its uplink is wide, but not without
    /// bound, before and after it.
    fn throttled(&self) -> Network {
        let name = format!("publisher's uplink at {SLOW_UPLINK} Mbit/s for 5 s");
        let mut row = self.passing(name, 5, |_| {});
        for (phase, megabits) in row
            .course
            .phases
            .iter_mut()
            .zip([UPLINK, SLOW_UPLINK, UPLINK])
        {
            phase.uplink.bottleneck = Some(link(megabits));
        }
        row
    }

    /// Returns a row with the same path all the time.
    fn lasting(&self, name: String, path: PathSettings) -> Network {
        let course = course(vec![Phase {
            uplink: PathSettings::default(),
            path,
            time: seconds(self.seconds),
        }]);
        Network {
            name,
            course,
            passes: false,
        }
    }

    /// Returns a row whose second phase has a `trouble` for a number of seconds.
    fn passing(&self, name: String, length: u32, trouble: impl FnOnce(&mut Phase)) -> Network {
        let rest = self.seconds.saturating_sub(BEFORE + length);
        let mut phases = [BEFORE, length, rest].map(|time| Phase {
            uplink: PathSettings::default(),
            path: PathSettings {
                rtt: millis(RTT),
                ..PathSettings::default()
            },
            time: seconds(time),
        });
        trouble(&mut phases[1]);
        Network {
            name,
            course: course(phases.into()),
            passes: true,
        }
    }
}

fn course(phases: Vec<Phase>) -> Course {
    Course {
        stream: USUAL,
        has_feedback: true,
        family: Family::V4,
        viewer_mtu: ETHERNET,
        phases,
    }
}

fn link(megabits: f64) -> Bottleneck {
    Bottleneck {
        megabits,
        queue: millis(400),
    }
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(only: &[&str]) -> Vec<Network> {
        let only = only.iter().map(|&name| name.to_owned()).collect();
        Networks { only, seconds: 20 }.rows()
    }

    #[test]
    fn rows_are_chosen_by_parts_of_their_names() {
        let names: Vec<String> = rows(&["outage", "IPv6"])
            .into_iter()
            .map(|row| row.name)
            .collect();
        assert_eq!(names, ["outage of 3 s", "IPv6 only"]);
        let all = rows(&[]);
        assert!(all.len() > 15);
        assert!(all.iter().all(|row| row.course.seconds() == 20));
    }

    #[test]
    fn passing_trouble_is_the_second_phase() {
        let [outage] = &rows(&["outage"])[..] else {
            panic!("one row");
        };
        let lost: Vec<f64> = outage
            .course
            .phases
            .iter()
            .map(|phase| phase.path.loss)
            .collect();
        assert_eq!(lost, [0.0, 100.0, 0.0]);
    }
}
