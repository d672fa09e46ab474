//! The load, from its begin to its end.
#![allow(
    clippy::disallowed_methods,
    reason = "a driver: it reads the system's clock"
)]

use std::fs::{self, File};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::course::Course;
use super::log::Log;
use super::outcome::Soak;
use super::reload::Reloads;
use super::sample::{QUANTITIES, SESSIONS, STREAMS, take};
use super::trend::Trend;
use super::{course, report as text, rest};
use crate::load::{Gateway, LoadError, Programs, Running, io_error};

/// The failure of a viewer that comes while its stream is away.
const STREAM_AWAY: &str = "HTTP status 409 Conflict";

/// From one sample to the next.
const INTERVAL: Duration = Duration::from_secs(10);

/// From one reload to the next.
const RELOAD_INTERVAL: Duration = Duration::from_secs(60);

/// Time before the minutes that count: after it, sessions of viewers that left without a word end as
/// often as new ones begin (RFC 7675: 30 s).
const WARM_UP: Duration = Duration::from_secs(60);

/// Joins begun each second at the start.
const RAMP: u32 = 50;

/// Time for which publishers go on after the load, so that viewers have streams up to their end.
const PUBLISHERS_LONGER: u64 = 20;

/// Longest wait for the sessions and streams to end.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(90);

/// From the end of the last session to the last sample: buffers are returned, idle threads end.
const REST: Duration = Duration::from_secs(20);

/// The clients.
pub(super) struct Load {
    /// Time that counts.
    pub(super) seconds: u64,
    pub(super) viewers: u32,
    /// Viewers that are replaced each second.
    pub(super) churn: f64,
    pub(super) publishers: u32,
    /// Seconds after which a publisher leaves.
    pub(super) stay: u32,
}

/// All that takes part.
pub(super) struct Scene {
    pub(super) programs: Programs,
    pub(super) gateway: PathBuf,
    pub(super) clip: PathBuf,
    pub(super) load: Load,
}

impl Scene {
    /// Plays the load on a fresh gateway.
    pub(super) fn play(&self) -> Result<Soak, LoadError> {
        let file = |name: &str| self.programs.folder.join(name);
        let mut reloads = Reloads::new(file("soak.toml"))?;
        let log = file("soak.log");
        let log_file = File::create(&log).map_err(io_error("the gateway's log"))?;
        let gateway = Gateway::start(&self.gateway, reloads.path(), log_file)?;
        let mut course = Course {
            before: take(&gateway)?,
            ..Course::default()
        };
        let publishers = self.publishers(&gateway)?;
        let viewers = self.viewers(&gateway)?;
        self.observe(&gateway, &mut course, &mut reloads)?;
        let viewers = viewers.report()?;
        let publishers = publishers.report()?;

        let mut findings = Vec::new();
        findings.extend(wait_for_end(&gateway)?);
        thread::sleep(REST);
        course.after = take(&gateway)?;
        drop(gateway);
        let log = fs::read_to_string(&log).map_err(io_error("the gateway's log"))?;
        let log = Log::read(&log);

        let trends = self.trends(&course)?;
        for (quantity, trend) in QUANTITIES.iter().zip(&trends) {
            if !trend.is_flat() {
                findings.push(format!(
                    "{} grows by {:.1} ({:.1} in an hour); {:.1} would be flat",
                    quantity.name, trend.growth, trend.per_hour, trend.allowed
                ));
            }
        }
        findings.extend(rest::findings(&course));
        findings.extend(log.findings());
        findings.extend(failures("viewers", &viewers));
        findings.extend(failures("publishers", &publishers));
        if log.reloads != reloads.count() as usize {
            findings.push(format!(
                "{} reloads were asked for, and {} succeeded",
                reloads.count(),
                log.reloads
            ));
        }
        let left = &viewers["churn"]["left"];
        let time = |percentile: &str| {
            let time = viewers["churn"]["first_packet"][percentile].as_f64();
            time.unwrap_or(f64::NAN)
        };
        let away = viewers["failures"][STREAM_AWAY]
            .as_u64()
            .unwrap_or_default();
        let mut notes = vec![
            format!("{away} viewers came while their stream was away"),
            format!(
                "{left} viewers left and were replaced; first packet after {:.0} ms (p50), {:.0} ms (p99), \
                 {:.0} ms (max)",
                time("p50"),
                time("p99"),
                time("max")
            ),
            format!(
                "publishers came back {} times; {} reloads",
                publishers["returns"],
                reloads.count()
            ),
        ];
        let expected = log.expected.iter();
        notes.extend(
            expected
                .map(|(message, count)| format!("logged {count} times, as expected: {message}")),
        );
        Ok(Soak {
            course,
            trends,
            notes,
            findings,
        })
    }

    /// Samples and reloads as long as there is load.
    fn observe(
        &self,
        gateway: &Gateway,
        course: &mut Course,
        reloads: &mut Reloads,
    ) -> Result<(), LoadError> {
        let begin = Instant::now();
        let mut next_reload = RELOAD_INTERVAL;
        let mut next_sample = INTERVAL;
        while next_sample <= self.length() {
            thread::sleep(next_sample.saturating_sub(begin.elapsed()));
            let at = begin.elapsed();
            let sample = take(gateway)?;
            eprintln!("{}", text::progress(at, &sample));
            course.load.push((at, sample));
            next_sample += INTERVAL;
            if at >= next_reload {
                next_reload += RELOAD_INTERVAL;
                reloads.reload(gateway.pid())?;
            }
        }
        Ok(())
    }

    /// Returns the trend of each value over the last two thirds.
    fn trends(&self, course: &Course) -> Result<Vec<Trend>, LoadError> {
        let begin = WARM_UP + Duration::from_secs(self.load.seconds) / 3;
        let quantities = QUANTITIES.iter().enumerate();
        let trends = quantities.map(|(index, quantity)| {
            let points = course.since(begin, index);
            Trend::of(&points, quantity.tolerance).ok_or(LoadError::TooShort)
        });
        trends.collect()
    }

    fn length(&self) -> Duration {
        WARM_UP + Duration::from_secs(self.load.seconds)
    }

    fn publishers(&self, gateway: &Gateway) -> Result<Running, LoadError> {
        let Load {
            publishers, stay, ..
        } = &self.load;
        let mut command = gateway.publisher(&self.programs, "soak", &self.clip);
        let seconds =
            self.length().as_secs() + u64::from(self.load.viewers / RAMP) + PUBLISHERS_LONGER;
        command.args(["--publishers", &publishers.to_string()]);
        command.args([
            "--stay",
            &format!("{stay}s"),
            "--duration",
            &format!("{seconds}s"),
        ]);
        let publishers = Running::start(command.arg("--json"), "rtmp-swarm")?;
        gateway.wait_until_watchable(self.load.publishers as usize)?;
        Ok(publishers)
    }

    fn viewers(&self, gateway: &Gateway) -> Result<Running, LoadError> {
        let mut command = self.programs.command("whep-swarm");
        let url = format!("http://{}/whep/live/soak-0", gateway.address("HTTP"));
        command.args(["--url", &url, "--feedback", "--json"]);
        command.args(["--viewers", &self.load.viewers.to_string()]);
        command.args(["--streams", &self.load.publishers.to_string()]);
        command.args(["--ramp", &RAMP.to_string()]);
        command.args(["--churn", &self.load.churn.to_string()]);
        command.args(["--duration", &format!("{}s", self.length().as_secs())]);
        Running::start(&mut command, "whep-swarm")
    }
}

/// Waits until all sessions and streams have ended. Returns a sentence if they do not.
fn wait_for_end(gateway: &Gateway) -> Result<Option<String>, LoadError> {
    let begin = Instant::now();
    loop {
        let sample = take(gateway)?;
        let value = |index| course::value(&sample, index);
        let (sessions, streams) = (value(SESSIONS), value(STREAMS));
        if (sessions, streams) == (0.0, 0.0) {
            return Ok(None);
        }
        if begin.elapsed() > LEAVE_TIMEOUT {
            return Ok(Some(format!(
                "{sessions} sessions and {streams} streams are left {} s after all clients",
                LEAVE_TIMEOUT.as_secs()
            )));
        }
        thread::sleep(Duration::from_secs(1));
    }
}

/// Returns a sentence about each failure in a report. That a stream is away when a viewer comes is
/// none.
fn failures(who: &str, report: &Value) -> Vec<String> {
    let failures = report["failures"].as_object().into_iter().flatten();
    let failures = failures.filter(|(reason, _)| *reason != STREAM_AWAY);
    let sentence = |(reason, count): (&String, &Value)| format!("{count} {who} failed: {reason}");
    failures.map(sentence).collect()
}
