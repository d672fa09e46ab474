//! `cargo xtask bench`: the cost of a viewer, as one table.
//!
//! ```text
//! rtmp-swarm ──RTMP──► distributary (release build) ──WebRTC──► whep-swarm
//! ```
//!
//! Everything runs on this machine over loopback, so the viewers take their share of it: the
//! CPU times are those of the gateway's process alone.

mod table;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::process::Stdio;
use std::thread;

use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::load::{Gateway, LoadError, Programs, io_error, machine};
use table::Row;

/// Command-line arguments.
#[derive(Args)]
pub(crate) struct Options {
    /// Number of viewers, one run each
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100, 500, 1000, 2000])]
    viewers: Vec<usize>,
    /// Number of shards send, one series of runs each; 0 is one per core
    #[arg(long, value_delimiter = ',', default_values_t = [1, 0])]
    shards: Vec<usize>,
    /// Seconds to measure in each run; the gateway's own stats cover ten of them
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Joins begun each second
    #[arg(long, default_value_t = 100)]
    ramp: u32,
    /// True if the viewers take many packets from the kernel at once
    #[arg(long, value_enum, default_value_t = Receive::Gro)]
    receive: Receive,
}

/// Receive mode of the viewers.
#[derive(Clone, Copy, ValueEnum)]
enum Receive {
    /// With `UDP_GRO`: segmentation costs the sender as much as on a wire.
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

/// Measures and prints the table.
pub(crate) fn run(options: &Options) -> Result<(), LoadError> {
    let programs = Programs::build(&["distributary-gateway", "distributary-bench"])?;
    let clip = programs.clip()?;
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let mut rows = Vec::new();
    for &shards in &options.shards {
        let gateway = start(&programs, shards)?;
        let _publisher = gateway.serve(&programs, &clip)?;
        for &viewers in &options.viewers {
            println!("{viewers} viewers, {} shards", shards_of(shards, cores));
            let floor = floor(&programs, viewers, options)?;
            let report = watch(&gateway, &programs, viewers, options)?;
            let server = status(&gateway)?;
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

fn start(programs: &Programs, shards: usize) -> Result<Gateway, LoadError> {
    let configuration = programs.folder.join("bench.toml");
    let text = format!(
        "rtmp = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\nwebrtc = \"127.0.0.1:0\"\n\
         admin = \"127.0.0.1:0\"\nlog = \"warn\"\n\
         [viewers]\nshards = {shards}\n"
    );
    fs::write(&configuration, text).map_err(io_error("the gateway's configuration"))?;
    let program = programs.folder.join("distributary");
    Gateway::start(&program, &configuration, Stdio::inherit())
}

/// Measures the cost of sealing and sending alone.
fn floor(programs: &Programs, viewers: usize, options: &Options) -> Result<Value, LoadError> {
    let mut floor = programs.command("egress-floor");
    floor
        .args(["--viewers", &viewers.to_string(), "--json"])
        .args(["--receive", options.receive.name()]);
    let output = floor.output().map_err(io_error("egress-floor"))?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Watches with many viewers; the report of the swarm.
fn watch(
    gateway: &Gateway,
    programs: &Programs,
    viewers: usize,
    options: &Options,
) -> Result<Value, LoadError> {
    let mut swarm = gateway.swarm(programs, viewers);
    swarm
        .args(["--duration", &format!("{}s", options.seconds)])
        .args(["--ramp", &options.ramp.to_string()])
        .args(["--receive", options.receive.name()])
        .args(["--server-pid", &gateway.pid().to_string(), "--json"])
        .stderr(Stdio::inherit());
    // Viewers that fail are in the report; the exit code only repeats it.
    let output = swarm.output().map_err(io_error("whep-swarm"))?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Returns the gateway's own stats.
fn status(gateway: &Gateway) -> Result<Value, LoadError> {
    let failed = io_error("the gateway's API");
    let address = gateway.address("Admin");
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
