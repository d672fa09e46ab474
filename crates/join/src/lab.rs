//! A gateway with a publisher on one machine, and a browser on the other.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use distributary_tests::browser::Browser;
use distributary_tests::client;
use distributary_tests::gateway::Gateway;
use distributary_tests::process::Process;
use distributary_tests::wait::eventually;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::condition::Condition;
use crate::course::{Course, Layer};
use crate::crowd::{Crowd, Groups};
use crate::join::{Join, Notes};
use crate::network::{GATEWAY, Network, since_epoch};
use crate::plan::{Plan, Target};
use crate::row::Row;
use crate::start::Start;

/// The script that runs in every page.
const SCRIPT: &str = include_str!("join.js");

/// Name of the stream.
const STREAM: &str = "live/join";

/// A join without a frame has failed after this time, in seconds.
const TIMEOUT: u32 = 20;

/// Interval at which to look for the transcoder.
const CHILD_POLL: Duration = Duration::from_millis(5);

/// Rest after a join: its last packets must not count for the next.
const REST: Duration = Duration::from_millis(700);

/// The parts that stay from row to row.
pub(crate) struct Lab {
    network: Network,
    browser: Browser,
    /// The gateway's program.
    gateway: PathBuf,
    /// Its configuration file.
    config: Option<PathBuf>,
}

impl Lab {
    /// Makes the network, and starts the browser.
    ///
    /// # Errors
    /// When the system refuses a device.
    pub(crate) async fn new(
        gateway: PathBuf,
        config: Option<PathBuf>,
    ) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            network: Network::new()?,
            browser: Browser::start_with(SCRIPT).await,
            gateway,
            config,
        })
    }

    /// Returns the browser's name and version.
    pub(crate) async fn browser(&self) -> String {
        let agent: String = self.browser.evaluate("navigator.userAgent").await;
        let mut words = agent.split(' ').rev();
        let name = words.find(|word| word.contains("Chrome"));
        name.unwrap_or("an unknown browser").to_owned()
    }

    /// Measures one row of a plan, on a fresh gateway: the joins are spread evenly over the GOP.
    ///
    /// # Errors
    /// When the clip cannot be made.
    pub(crate) async fn measure(
        &self,
        plan: &Plan,
        condition: &Condition,
    ) -> Result<Row, Box<dyn Error>> {
        let clip = condition.stream.clip()?;
        // Everything is up before the path gets slow.
        self.network.change(Default::default());
        let _gateway = self.start_gateway();
        let _publisher = self.publish(&clip);
        wait_until_live().await;

        let gop = Duration::from_secs(condition.stream.gop.into());
        let first = Instant::now() + gop;
        let mut joins = Vec::new();
        self.browser.open(&url("healthz")).await;
        self.network.change(condition.path);
        for number in 0..plan.joins {
            let place = gop.mul_f64(f64::from(number) / f64::from(plan.joins));
            sleep_until(next_at(first + place, gop, Instant::now())).await;
            joins.push(self.join(plan).await);
            sleep(REST + condition.path.rtt).await;
        }
        self.browser.open("about:blank").await;
        Ok(Row::new(*condition, joins))
    }

    /// Watches over a link that changes, on a fresh gateway. Returns the notes of the page, and the
    /// times since 1970 at which the phases began, in milliseconds.
    ///
    /// # Errors
    /// When the clip cannot be made.
    pub(crate) async fn follow(
        &self,
        course: &Course,
    ) -> Result<(Notes, Vec<f64>), Box<dyn Error>> {
        let clip = course.stream.clip()?;
        self.network.change(Default::default());
        let _gateway = self.start_gateway();
        let _publisher = self.publish(&clip);
        wait_until_live().await;
        self.browser.open(&url("healthz")).await;
        let first = course.phases.first().map(|phase| phase.path);
        self.network.change(first.unwrap_or_default());
        let whep = url(&format!("whep/{STREAM}"));
        let (total, has_feedback) = (course.seconds(), course.has_feedback);
        let script = format!("lab.join('{whep}', {total}, {TIMEOUT}, {has_feedback})");
        let changes = async {
            let mut begins = Vec::new();
            for phase in &course.phases {
                begins.push(1000.0 * since_epoch().as_secs_f64());
                self.network.change(phase.path);
                sleep(phase.time).await;
            }
            begins
        };
        let outcome = tokio::join!(self.browser.evaluate(&script), changes);
        self.browser.open("about:blank").await;
        Ok(outcome)
    }

    /// Measures viewers that ask for a rendition which ffmpeg does not make yet.
    ///
    /// # Errors
    /// When the clip cannot be made.
    pub(crate) async fn start_rendition(
        &self,
        layer: &Layer,
    ) -> Result<Vec<Start>, Box<dyn Error>> {
        let clip = layer.stream().clip()?;
        self.network.change(Default::default());
        let gateway = self.start_gateway();
        let _publisher = self.publish(&clip);
        wait_until_live().await;
        self.browser.open(&url("healthz")).await;
        let whep = url(&format!("whep/{STREAM}?layer={}", layer.layer));
        let script = format!("lab.join('{whep}', {}, {TIMEOUT}, true)", layer.seconds);
        let mut starts = Vec::new();
        for _ in 0..layer.joins {
            let child = async {
                while gateway.encoders().is_empty() {
                    sleep(CHILD_POLL).await;
                }
                since_epoch()
            };
            let (notes, child): (Notes, _) =
                tokio::join!(self.browser.evaluate(&script), timeout(layer.time(), child));
            starts.push(Start::new(&notes, child.ok()));
            while !gateway.encoders().is_empty() {
                sleep(REST).await;
            }
        }
        self.browser.open("about:blank").await;
        Ok(starts)
    }

    /// Measures fast viewers beside the gateway while slow ones share a link, with this rate for each in
    /// megabits per second.
    ///
    /// # Errors
    /// When the clip cannot be made, or viewers fail.
    pub(crate) async fn watch_as_crowd(
        &self,
        crowd: &Crowd,
        rate: f64,
    ) -> Result<Groups, Box<dyn Error>> {
        let clip = crowd.stream().clip()?;
        self.network.change(Default::default());
        let gateway = self.start_gateway();
        let _publisher = self.publish(&clip);
        wait_until_live().await;
        self.network.change(crowd.path(rate));
        let whep = url(&format!("whep/{STREAM}"));
        let fast = |program: &str| self.network.at_gateway(program);
        let (fast, slow) = tokio::join!(
            crowd.watch(fast, &whep, Some(gateway.process_id())),
            crowd.watch(|program| Command::new(program), &whep, None)
        );
        Ok(Groups {
            rate,
            fast: fast?,
            slow: slow?,
        })
    }

    /// Publishes a clip in a loop.
    fn publish(&self, clip: &Path) -> Process {
        let mut publisher = self.network.at_gateway("ffmpeg");
        publisher.args(["-hide_banner", "-loglevel", "error", "-nostats", "-nostdin"]);
        publisher
            .args(["-re", "-stream_loop", "-1", "-i"])
            .arg(clip);
        publisher.args([
            "-c",
            "copy",
            "-f",
            "flv",
            &format!("rtmp://{GATEWAY}:1935/{STREAM}"),
        ]);
        Process::start("ffmpeg", publisher)
    }

    fn start_gateway(&self) -> Gateway {
        let mut command = self.network.at_gateway(&self.gateway.to_string_lossy());
        for (option, port) in [("--rtmp", 1935), ("--http", 8080), ("--webrtc", 8189)] {
            command.args([option, &format!("{GATEWAY}:{port}")]);
        }
        command.args(["--admin", "127.0.0.1:8180", "--log", "warn"]);
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        Gateway::of(Process::start("distributary", command))
    }

    /// Joins once, and leaves.
    async fn join(&self, plan: &Plan) -> Join {
        let media = self.network.next_media();
        let seconds = plan.seconds;
        let notes: Notes = match plan.target {
            Target::Whep { has_feedback } => {
                let whep = url(&format!("whep/{STREAM}"));
                let script = format!("lab.join('{whep}', {seconds}, {TIMEOUT}, {has_feedback})");
                self.browser.evaluate(&script).await
            }
            Target::Page => {
                self.browser.open(&url(STREAM)).await;
                let script = format!("lab.page({seconds}, {TIMEOUT})");
                let notes = self.browser.evaluate(&script).await;
                self.browser.open("about:blank").await;
                notes
            }
        };
        Join::new(&notes, media.try_recv().ok())
    }
}

/// Returns the first of the moments `first`, `first + interval`, ... that is not before `now`.
fn next_at(first: Instant, interval: Duration, now: Instant) -> Instant {
    let mut at = first;
    while at < now {
        at += interval;
    }
    at
}

fn url(path: &str) -> String {
    format!("http://{GATEWAY}:8080/{path}")
}

async fn wait_until_live() {
    let server = format!("{GATEWAY}:8080").parse().expect("it is an address");
    eventually("the stream is live", async || {
        let live = client::request(server, "GET", "/api/live", &[], b"").json();
        let stream = live["streams"].as_array()?.first()?.clone();
        (!stream["video"].is_null() && !stream["audio"].is_null()).then_some(())
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_join_keeps_its_place_in_the_gop() {
        let first = Instant::now();
        let gop = Duration::from_secs(2);
        assert_eq!(next_at(first, gop, first), first);
        let late = first + Duration::from_secs(5);
        assert_eq!(next_at(first, gop, late), first + Duration::from_secs(6));
    }
}
