//! Many RTMP publishers that send the tags of one FLV file, each in a loop and in real time.
#![allow(
    clippy::disallowed_methods,
    reason = "a driver, which reads the clock for what it measures"
)]

mod clip;
mod error;
mod publisher;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use distributary_rtmp::client::{self, ClientError, ClientPublisher};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use url::Url;

use crate::percentile::Percentiles;
use crate::process::{self, ProcessUsage};
use publisher::{Phase, Publisher, Work};

pub use clip::Clip;
pub use error::PublishersError;
pub use publisher::Stays;

/// Configuration of the publishers.
#[derive(Clone, Debug)]
pub struct PublishersConfig {
    /// `rtmp://host[:port]/app/name`; the publishers add `-0`, `-1` and so on to the name.
    pub url: Url,
    /// Number of publishers.
    pub publishers: usize,
    /// The FLV file. Without one they publish nothing after they were granted their names.
    pub file: Option<PathBuf>,
    /// Publishers begun each second.
    pub ramp: f64,
    /// Time to measure once all publish.
    pub duration: Duration,
    /// Lets publishers leave and come back.
    pub stays: Option<Stays>,
    /// Process id of the server.
    pub server_pid: Option<u32>,
}

/// Results of a run. Times are in milliseconds unless the name says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PublishersReport {
    /// URL of the publishers.
    pub url: String,
    /// Publishers that were begun.
    pub publishers: usize,
    /// Failures, counted by reason.
    pub failures: BTreeMap<String, usize>,
    /// From the beginning of the connection to the grant.
    pub publish: Option<Percentiles>,
    /// Length of the measured interval in seconds.
    pub seconds: f64,
    /// Megabits per second of all publishers together, without RTMP's own bytes.
    pub megabits_per_second: f64,
    /// Tags per second, of all publishers together.
    pub tags_per_second: f64,
    /// The longest delay of a tag after its time, caused by the swarm itself or the server.
    pub max_lateness: f64,
    /// Times that a publisher has left and come back.
    pub returns: u64,
    /// The server process, if it is known.
    pub server: Option<PublishersServer>,
    /// Load average of the machine at the end.
    pub load_average: Option<f64>,
}

/// Costs of the server.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PublishersServer {
    /// CPU time in the measured interval, in percent of one core.
    pub cpu_percent: f64,
    /// The same per tag, in microseconds; `None` where nothing was sent.
    pub cpu_us_per_tag: Option<f64>,
    /// Resident memory before the first publisher, in bytes.
    pub resident_before: u64,
    /// Resident memory at the end of the interval, in bytes.
    pub resident: u64,
    /// The difference, per publisher.
    pub resident_per_publisher: i64,
    /// Its nice level.
    pub nice: i32,
}

/// Publishes, measures and stops.
///
/// # Errors
/// If the file or the server is unusable; failures of single publishers are in the report.
pub fn run(config: &PublishersConfig) -> Result<PublishersReport, PublishersError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(swarm(config))
}

async fn swarm(config: &PublishersConfig) -> Result<PublishersReport, PublishersError> {
    let (address, app, name) = target(&config.url).await?;
    let clip = config.file.as_ref().map(Clip::read).transpose()?;
    let clip = clip.map(Arc::new);
    let before = config.server_pid.map(ProcessUsage::of).transpose()?;
    let (phase, phases) = watch::channel(Phase::Ramp);
    let mut admitted = Admitted::default();
    let start = Instant::now();
    let mut opening = JoinSet::new();
    for number in 0..config.publishers {
        sleep_until(start + Duration::from_secs_f64(number as f64 / config.ramp)).await;
        let part = (number + 1) as f64 / config.publishers as f64;
        let stay = config.stays.map(|stays| stays.stay).unwrap_or_default();
        let publisher = Publisher {
            address,
            app: app.clone(),
            stream: format!("{name}-{number}"),
            clip: clip.clone(),
            phases: phases.clone(),
            stays: config.stays,
            first_stay: stay.mul_f64(part),
        };
        opening.spawn(async move {
            let begun = Instant::now();
            let client = client::publish(address, &publisher.app, &publisher.stream).await?;
            Ok((publisher, client, begun.elapsed()))
        });
        while let Some(opened) = opening.try_join_next() {
            admitted.admit(opened);
        }
    }
    while let Some(opened) = opening.join_next().await {
        admitted.admit(opened);
    }

    sleep_until(Instant::now() + Duration::from_secs(1)).await;
    let usage_begin = config.server_pid.map(ProcessUsage::of).transpose()?;
    let begin = Instant::now();
    phase.send_replace(Phase::Measure);
    sleep_until(begin + config.duration).await;
    let seconds = begin.elapsed().as_secs_f64();
    let usage_end = config.server_pid.map(ProcessUsage::of).transpose()?;
    phase.send_replace(Phase::End);

    let Admitted {
        mut publishers,
        grants,
        mut failures,
    } = admitted;
    let mut work = Work::default();
    while let Some(ended) = publishers.join_next().await {
        match ended {
            Ok(Ok(done)) => work.add(&done),
            Ok(Err(error)) => count_failure(&mut failures, &error),
            Err(panic) => count_failure(&mut failures, &panic),
        }
    }
    let server = before.zip(usage_begin).zip(usage_end);
    let count = config.publishers.max(1);
    Ok(PublishersReport {
        url: config.url.to_string(),
        publishers: config.publishers,
        failures,
        publish: Percentiles::of(grants),
        seconds,
        megabits_per_second: work.bytes as f64 * 8e-6 / seconds,
        tags_per_second: work.tags as f64 / seconds,
        max_lateness: work.lateness.as_secs_f64() * 1e3,
        returns: work.returns,
        server: server.map(|((before, begin), end)| {
            let cpu = end.cpu.saturating_sub(begin.cpu).as_secs_f64();
            PublishersServer {
                cpu_percent: cpu / seconds * 100.0,
                cpu_us_per_tag: (work.tags > 0).then(|| cpu * 1e6 / work.tags as f64),
                resident_before: before.resident,
                resident: end.resident,
                resident_per_publisher: (end.resident as i64 - before.resident as i64)
                    / count as i64,
                nice: end.nice,
            }
        }),
        load_average: process::load_average().ok(),
    })
}

/// A publisher that was granted its name, its connection, and the time that it took.
type Opened = (Publisher, ClientPublisher, Duration);

/// The publishers that have asked for a name.
#[derive(Default)]
struct Admitted {
    /// Those that were granted it.
    publishers: JoinSet<Result<Work, ClientError>>,
    /// Times until the names were granted.
    grants: Vec<Duration>,
    /// Reasons why others were not, with their numbers.
    failures: BTreeMap<String, usize>,
}

impl Admitted {
    /// Lets a publisher begin that was granted its name.
    fn admit(&mut self, opened: Result<Result<Opened, ClientError>, tokio::task::JoinError>) {
        match opened {
            Ok(Ok((publisher, client, took))) => {
                self.grants.push(took);
                self.publishers.spawn(publisher.run(client));
            }
            Ok(Err(error)) => count_failure(&mut self.failures, &error),
            Err(panic) => count_failure(&mut self.failures, &panic),
        }
    }
}

fn count_failure(failures: &mut BTreeMap<String, usize>, reason: &dyn fmt::Display) {
    *failures.entry(reason.to_string()).or_default() += 1;
}

/// Returns the server's address, the application and the name in a URL.
async fn target(url: &Url) -> Result<(SocketAddr, String, String), PublishersError> {
    let malformed = || PublishersError::Url(url.clone());
    let host = url.host_str().filter(|_| url.scheme() == "rtmp");
    let host = host.ok_or_else(malformed)?.trim_matches(['[', ']']);
    let path = url.path().trim_matches('/');
    let (app, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut addresses = tokio::net::lookup_host((host, url.port().unwrap_or(1935))).await?;
    let address = addresses.next().ok_or_else(malformed)?;
    Ok((address, app.to_owned(), name.to_owned()))
}

impl fmt::Display for PublishersReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} publishers at {}", self.publishers, self.url)?;
        for (reason, count) in &self.failures {
            writeln!(f, "  {count} failed: {reason}")?;
        }
        if let Some(publish) = &self.publish {
            writeln!(
                f,
                "connect to grant    p50 {:.1} ms, p95 {:.1} ms, max {:.1} ms",
                publish.p50, publish.p95, publish.max
            )?;
        }
        writeln!(
            f,
            "media               {:.1} Mbit/s, {:.0} tags/s over {:.1} s, sent at most {:.1} ms late",
            self.megabits_per_second, self.tags_per_second, self.seconds, self.max_lateness
        )?;
        if self.returns > 0 {
            writeln!(f, "returns             {}", self.returns)?;
        }
        if let Some(server) = &self.server {
            let per_tag = server.cpu_us_per_tag;
            let per_tag = per_tag.map_or_else(String::new, |us| format!(", {us:.1} us per tag"));
            writeln!(
                f,
                "server              {:.1} % of a core{per_tag}; {:.1} MiB resident, {:.1} before, {:.1} KiB per \
                 publisher; nice {}",
                server.cpu_percent,
                server.resident as f64 / f64::from(1 << 20),
                server.resident_before as f64 / f64::from(1 << 20),
                server.resident_per_publisher as f64 / 1024.0,
                server.nice
            )?;
        }
        if let Some(load) = self.load_average {
            writeln!(f, "load average        {load:.2}")?;
        }
        Ok(())
    }
}
