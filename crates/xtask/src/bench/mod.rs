//! `cargo xtask bench`: what a viewer costs, as one table.
//!
//! ```text
//! rtmp-swarm ──RTMP──► distributary (release build) ──WebRTC──► whep-swarm
//! ```
//!
//! Everything runs on this machine over loopback, so the viewers take their share of it: the figures of
//! CPU are those of the gateway's process alone.

mod machine;
mod table;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use clap::{Args, ValueEnum};

use crate::tools::{self, Tool};
use table::Row;

/// What to measure, from the command line.
#[derive(Args)]
pub(crate) struct Options {
    /// How many viewers, one run each
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100, 500, 1000, 2000])]
    viewers: Vec<usize>,
    /// How many shards send, one series of runs each; 0 is one per core
    #[arg(long, value_delimiter = ',', default_values_t = [1, 0])]
    shards: Vec<usize>,
    /// Seconds to measure in each run; the gateway's own figures are those of ten of them
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Joins begun each second
    #[arg(long, default_value_t = 100)]
    ramp: u32,
    /// Whether the viewers take many packets from the kernel at once
    #[arg(long, value_enum, default_value_t = Receive::Gro)]
    receive: Receive,
}

/// How the viewers receive.
#[derive(Clone, Copy, ValueEnum)]
enum Receive {
    /// With `UDP_GRO`: what the sender segments costs it as on a wire.
    Gro,
    /// One packet per call: loopback charges the sender for the delivery of each.
    Plain,
}

impl Receive {
    /// As the programs of the load have it.
    fn name(self) -> &'static str {
        match self {
            Self::Gro => "gro",
            Self::Plain => "plain",
        }
    }
}

/// The clip: 20 s of 720p30 at 2.5 Mbit/s with a keyframe every 2 s, and AAC.
const CLIP: &[&str] = &[
    "-f",
    "lavfi",
    "-i",
    "testsrc2=size=1280x720:rate=30",
    "-f",
    "lavfi",
    "-i",
    "sine=frequency=440:sample_rate=48000",
    "-t",
    "20",
    "-c:v",
    "libx264",
    "-profile:v",
    "baseline",
    "-preset",
    "veryfast",
    "-pix_fmt",
    "yuv420p",
    "-b:v",
    "2500k",
    "-minrate",
    "2500k",
    "-maxrate",
    "2500k",
    "-bufsize",
    "1000k",
    "-nal-hrd",
    "cbr",
    "-g",
    "60",
    "-keyint_min",
    "60",
    "-sc_threshold",
    "0",
    "-c:a",
    "aac",
    "-b:a",
    "96k",
    "-ac",
    "2",
    "-f",
    "flv",
];

/// The name the clip is published under; `rtmp-swarm` numbers its streams.
const STREAM: &str = "live/bench-0";

/// Attempts to find the stream live after its publisher was started.
const LIVE_ATTEMPTS: u32 = 20;

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error(transparent)]
    Tool(#[from] tools::ToolError),
    #[error("{what}: {source}")]
    Io {
        what: &'static str,
        source: io::Error,
    },
    #[error("`{0}` failed")]
    Failed(String),
    #[error("the gateway ended before it printed the address of {0}")]
    NoAddress(&'static str),
    #[error("the stream did not become live")]
    NotLive,
    #[error("not the JSON of a report: {0}")]
    Report(#[from] serde_json::Error),
}

/// Measures and prints the table.
pub(crate) fn run(options: &Options) -> Result<(), BenchError> {
    let needed: Vec<&Tool> = tools::BUILD.iter().chain(tools::FFMPEG).collect();
    tools::ensure(&needed, true)?;
    let programs = Programs::build()?;
    let clip = clip(&programs.folder)?;
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let mut rows = Vec::new();
    for &shards in &options.shards {
        let gateway = Gateway::start(&programs, shards, &clip)?;
        gateway.wait_live(&programs)?;
        for &viewers in &options.viewers {
            println!("{viewers} viewers, {} shards", shards_of(shards, cores));
            let floor = programs.floor(viewers, options)?;
            let report = gateway.watch(&programs, viewers, options)?;
            let server = gateway.status()?;
            let shards = shards_of(shards, cores);
            rows.push(Row::new(viewers, shards, &report, &server, &floor));
        }
    }
    println!("\n{}\n", machine::describe(cores));
    println!("{}", table::render(&rows));
    Ok(())
}

fn shards_of(shards: usize, cores: usize) -> usize {
    if shards == 0 { cores } else { shards }
}

/// The release builds of what is measured and of what measures.
struct Programs {
    folder: PathBuf,
}

impl Programs {
    fn build() -> Result<Self, BenchError> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["build", "--locked", "--release"]);
        command.args(["-p", "distributary-gateway", "-p", "distributary-bench"]);
        succeed(&mut command)?;
        let executable = env::current_exe().map_err(io_error("this program's path"))?;
        // This program lies in target/<profile>.
        let target = executable.ancestors().nth(2).unwrap_or(&executable);
        Ok(Self {
            folder: target.join("release"),
        })
    }

    fn command(&self, program: &str) -> Command {
        Command::new(self.folder.join(program))
    }

    /// What the sealing and sending alone costs at this moment.
    fn floor(&self, viewers: usize, options: &Options) -> Result<serde_json::Value, BenchError> {
        let mut floor = self.command("egress-floor");
        floor
            .args(["--viewers", &viewers.to_string(), "--json"])
            .args(["--receive", options.receive.name()]);
        let output = floor.output().map_err(io_error("egress-floor"))?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// Makes the clip, once.
fn clip(folder: &Path) -> Result<PathBuf, BenchError> {
    let path = folder.join("bench-720p30.flv");
    if !path.exists() {
        let unfinished = folder.join("bench-unfinished.flv");
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"]);
        succeed(ffmpeg.args(CLIP).arg(&unfinished))?;
        fs::rename(&unfinished, &path).map_err(io_error("the clip"))?;
    }
    Ok(path)
}

/// A gateway and its publisher. Both are killed when this is dropped.
struct Gateway {
    child: Child,
    publisher: Option<Child>,
    addresses: BTreeMap<&'static str, String>,
}

impl Gateway {
    fn start(programs: &Programs, shards: usize, clip: &Path) -> Result<Self, BenchError> {
        let configuration = programs.folder.join("bench.toml");
        let text = format!(
            "rtmp = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\nwebrtc = \"127.0.0.1:0\"\n\
             admin = \"127.0.0.1:0\"\nlog = \"warn\"\n\
             [viewers]\nshards = {shards}\n"
        );
        fs::write(&configuration, text).map_err(io_error("the gateway's configuration"))?;
        let mut command = programs.command("distributary");
        command.arg("--config").arg(&configuration);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(io_error("the gateway"))?;
        let stdout = child.stdout.take();
        let mut gateway = Self {
            child,
            publisher: None,
            addresses: BTreeMap::new(),
        };
        let mut lines = BufReader::new(stdout.ok_or(BenchError::NoAddress("RTMP"))?).lines();
        for what in ["RTMP", "HTTP", "Admin"] {
            let mut words = lines.by_ref().map_while(Result::ok).filter_map(|line| {
                let mut words = line.split_whitespace();
                (words.next() == Some(what))
                    .then(|| words.next().map(str::to_owned))
                    .flatten()
            });
            let address = words.next().ok_or(BenchError::NoAddress(what))?;
            gateway.addresses.insert(what, address);
        }
        // The rest is of no interest, but somebody has to take it.
        thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let url = format!("rtmp://{}/live/bench", gateway.address("RTMP"));
        let mut publisher = programs.command("rtmp-swarm");
        publisher.args(["--duration", "1440m", "--url", &url, "--file"]);
        let publisher = publisher
            .arg(clip)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        gateway.publisher = Some(publisher.map_err(io_error("the publisher"))?);
        Ok(gateway)
    }

    fn address(&self, what: &str) -> &str {
        self.addresses.get(what).map_or("", String::as_str)
    }

    fn swarm(&self, programs: &Programs, viewers: usize) -> Command {
        let mut swarm = programs.command("whep-swarm");
        let url = format!("http://{}/whep/{STREAM}", self.address("HTTP"));
        swarm.args(["--url", &url, "--viewers", &viewers.to_string()]);
        swarm
    }

    /// Watches with one viewer until that succeeds.
    fn wait_live(&self, programs: &Programs) -> Result<(), BenchError> {
        for _ in 0..LIVE_ATTEMPTS {
            let mut swarm = self.swarm(programs, 1);
            swarm
                .args(["--duration", "500ms"])
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            if swarm.status().is_ok_and(|status| status.success()) {
                return Ok(());
            }
        }
        Err(BenchError::NotLive)
    }

    /// Watches with many viewers; the report of the swarm.
    fn watch(
        &self,
        programs: &Programs,
        viewers: usize,
        options: &Options,
    ) -> Result<serde_json::Value, BenchError> {
        let mut swarm = self.swarm(programs, viewers);
        swarm
            .args(["--duration", &format!("{}s", options.seconds)])
            .args(["--ramp", &options.ramp.to_string()])
            .args(["--receive", options.receive.name()])
            .args(["--server-pid", &self.child.id().to_string(), "--json"])
            .stderr(Stdio::inherit());
        // Viewers that fail are in the report; the exit code only repeats it.
        let output = swarm.output().map_err(io_error("whep-swarm"))?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

impl Gateway {
    /// What the gateway says of itself.
    fn status(&self) -> Result<serde_json::Value, BenchError> {
        let failed = io_error("the gateway's API");
        let address = self.address("Admin");
        let request =
            format!("GET /api/server HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let mut response = String::new();
        let answered = TcpStream::connect(address).and_then(|mut connection| {
            connection.write_all(request.as_bytes())?;
            connection.read_to_string(&mut response)
        });
        answered.map_err(failed)?;
        let body = response.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok(serde_json::from_str(body)?)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        for child in self.publisher.iter_mut().chain([&mut self.child]) {
            // Both fail only for a process that has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn succeed(command: &mut Command) -> Result<(), BenchError> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        _ => Err(BenchError::Failed(format!("{command:?}"))),
    }
}

fn io_error(what: &'static str) -> impl Fn(io::Error) -> BenchError {
    move |source| BenchError::Io { what, source }
}
