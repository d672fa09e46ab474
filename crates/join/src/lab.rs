//! A gateway with a publisher on one machine, and a browser on the other.

use std::error::Error;
use std::fs;
use std::io;
use std::process::Command;
use std::time::Duration;

use distributary_tests::browser::Browser;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::condition::Condition;
use crate::course::{Course, Layer};
use crate::crowd::{Crowd, Groups};
use crate::join::{Join, Notes};
use crate::line::since_epoch;
use crate::live::Live;
use crate::network::{ETHERNET, Family, Network};
use crate::networks;
use crate::plan::{Plan, Target};
use crate::row::Row;
use crate::start::Start;
use crate::stream::Stream;
use crate::watch::{Trouble, Watch};

/// The script that runs in every page.
const SCRIPT: &str = include_str!("join.js");

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
    gateway: String,
    /// Its configuration file.
    config: Option<String>,
}

impl Lab {
    /// Makes the network, and starts the browser.
    ///
    /// # Errors
    /// When the system refuses a device.
    pub(crate) async fn new(
        gateway: String,
        config: Option<String>,
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
        let live = self.go_live(condition.stream, Family::V4).await?;
        let gop = Duration::from_secs(condition.stream.gop.into());
        let first = Instant::now() + gop;
        let mut joins = Vec::new();
        self.browser.open(&live.url("healthz")).await;
        self.network.downlink.change(condition.path);
        for number in 0..plan.joins {
            let place = gop.mul_f64(f64::from(number) / f64::from(plan.joins));
            sleep_until(next_at(first + place, gop, Instant::now())).await;
            joins.push(self.join(plan, &live).await);
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
        let live = self.go_live(course.stream, course.family).await?;
        // Connections that are open already have longer packets.
        self.network.set_viewer_mtu(course.viewer_mtu)?;
        self.browser.open(&live.url("healthz")).await;
        let whep = live.whep();
        let (total, has_feedback) = (course.seconds(), course.has_feedback);
        let script = format!("lab.join('{whep}', {total}, {TIMEOUT}, {has_feedback})");
        let changes = async {
            let mut begins = Vec::new();
            for phase in &course.phases {
                begins.push(1000.0 * since_epoch().as_secs_f64());
                self.network.uplink.change(phase.uplink);
                self.network.downlink.change(phase.path);
                sleep(phase.time).await;
            }
            begins
        };
        let outcome = tokio::join!(self.browser.evaluate(&script), changes);
        self.network.set_viewer_mtu(ETHERNET)?;
        self.browser.open("about:blank").await;
        Ok(outcome)
    }

    /// Watches over a bad network, on a fresh gateway.
    ///
    /// # Errors
    /// When the clip cannot be made.
    pub(crate) async fn endure(&self, row: networks::Network) -> Result<Watch, Box<dyn Error>> {
        let (notes, begins) = self.follow(&row.course).await?;
        let trouble = match begins[..] {
            [_, begin, end] if row.passes => Some(Trouble { begin, end }),
            _ => None,
        };
        let rate = row.course.stream.rate;
        Ok(Watch::new(row.name, rate, &notes, trouble, load()?))
    }

    /// Measures viewers that ask for a rendition which ffmpeg does not make yet.
    ///
    /// # Errors
    /// When the clip cannot be made.
    pub(crate) async fn start_rendition(
        &self,
        layer: &Layer,
    ) -> Result<Vec<Start>, Box<dyn Error>> {
        let live = self.go_live(layer.stream(), Family::V4).await?;
        self.browser.open(&live.url("healthz")).await;
        let whep = format!("{}?layer={}", live.whep(), layer.layer);
        let script = format!("lab.join('{whep}', {}, {TIMEOUT}, true)", layer.seconds);
        let mut starts = Vec::new();
        for _ in 0..layer.joins {
            let child = async {
                while live.gateway.encoders().is_empty() {
                    sleep(CHILD_POLL).await;
                }
                since_epoch()
            };
            let (notes, child): (Notes, _) =
                tokio::join!(self.browser.evaluate(&script), timeout(layer.time(), child));
            starts.push(Start::new(&notes, child.ok()));
            while !live.gateway.encoders().is_empty() {
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
        let live = self.go_live(crowd.stream(), Family::V4).await?;
        self.network.downlink.change(crowd.path(rate));
        let whep = live.whep();
        let fast = |program: &str| self.network.at_gateway(program);
        let (fast, slow) = tokio::join!(
            crowd.watch(fast, &whep, Some(live.gateway.process_id())),
            crowd.watch(|program| Command::new(program), &whep, None)
        );
        Ok(Groups {
            rate,
            fast: fast?,
            slow: slow?,
        })
    }

    /// Starts a gateway with this stream. Everything is up before the paths get slow.
    async fn go_live(&self, stream: Stream, family: Family) -> io::Result<Live> {
        let clip = stream.clip()?;
        self.network.clear();
        let config = self.config.as_deref();
        let arguments = config.map_or_else(Vec::new, |file| vec!["--config", file]);
        Ok(Live::start(&self.network, family, &self.gateway, &arguments, &clip).await)
    }

    /// Joins once, and leaves.
    async fn join(&self, plan: &Plan, live: &Live) -> Join {
        let media = self.network.downlink.next_media();
        let seconds = plan.seconds;
        let notes: Notes = match plan.target {
            Target::Whep { has_feedback } => {
                let whep = live.whep();
                let script = format!("lab.join('{whep}', {seconds}, {TIMEOUT}, {has_feedback})");
                self.browser.evaluate(&script).await
            }
            Target::Page => {
                self.browser.open(&live.page()).await;
                let script = format!("lab.page({seconds}, {TIMEOUT})");
                let notes = self.browser.evaluate(&script).await;
                self.browser.open("about:blank").await;
                notes
            }
        };
        Join::new(&notes, media.try_recv().ok())
    }
}

/// Returns the load of this machine: its processes that ran or waited, in the mean of the last minute.
fn load() -> io::Result<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    let first = text.split_whitespace().next();
    Ok(first.and_then(|load| load.parse().ok()).unwrap_or_default())
}

/// Returns the first of the moments `first`, `first + interval`, ... that is not before `now`.
fn next_at(first: Instant, interval: Duration, now: Instant) -> Instant {
    let mut at = first;
    while at < now {
        at += interval;
    }
    at
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
