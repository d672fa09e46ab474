//! A gateway under load.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::Options;
use super::load::Load;
use super::table::States;
use crate::load::{Gateway, LoadError, Programs, Running, io_error};

/// Time after the last publisher in which its GOP cache fills.
const FILL: Duration = Duration::from_secs(6);

/// The gateway's own stats in its API.
const STATS: &str = "server";

/// Interval between two looks at the API while the viewers watch.
const LOOK: Duration = Duration::from_secs(1);

/// The programs and the options of all runs.
pub(super) struct Bench<'a> {
    pub(super) programs: Programs,
    pub(super) clip: PathBuf,
    pub(super) options: &'a Options,
}

impl Bench<'_> {
    /// Returns the gateway of this tree.
    pub(super) fn program(&self) -> PathBuf {
        self.programs.folder.join("distributary")
    }

    /// Measures a load with a gateway of its own: the report of the swarm, and the gateway's.
    pub(super) fn measure(
        &self,
        program: &Path,
        load: Load,
        shards: usize,
    ) -> Result<(Value, States), LoadError> {
        let gateway = self.start(program, shards)?;
        let empty = gateway.api(STATS)?;
        let _publisher = gateway.serve(&self.programs, &self.clip, load.streams)?;
        thread::sleep(FILL);
        let unwatched = gateway.api(STATS)?;
        let (report, watched) = self.watch(&gateway, load)?;
        let states = States {
            empty,
            unwatched,
            watched,
        };
        Ok((report, states))
    }

    /// Returns the CPU time per packet of a load, in microseconds.
    pub(super) fn cost(
        &self,
        program: &Path,
        load: Load,
        shards: usize,
    ) -> Result<Option<f64>, LoadError> {
        let (report, _) = self.measure(program, load, shards)?;
        let cost = report.pointer("/server/cpu_us_per_packet");
        Ok(cost.and_then(Value::as_f64))
    }

    /// Measures the cost of sealing and sending alone.
    pub(super) fn floor(&self, load: Load) -> Result<Value, LoadError> {
        let mut floor = self.programs.command("egress-floor");
        floor
            .args(["--viewers", &load.viewers().to_string(), "--json"])
            .args(["--receive", self.options.receive.name()]);
        let output = floor.output().map_err(io_error("egress-floor"))?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    fn start(&self, program: &Path, shards: usize) -> Result<Gateway, LoadError> {
        let configuration = self.programs.folder.join("bench.toml");
        let text = format!(
            "rtmp = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\nwebrtc = \"127.0.0.1:0\"\n\
             admin = \"127.0.0.1:0\"\nlog = \"warn\"\n\
             [viewers]\nshards = {shards}\n"
        );
        fs::write(&configuration, text).map_err(io_error("the gateway's configuration"))?;
        Gateway::start(program, &configuration, Stdio::inherit())
    }

    /// Watches with many viewers. Returns the report of the swarm, and the last state of the
    /// gateway's API with all of them.
    fn watch(&self, gateway: &Gateway, load: Load) -> Result<(Value, Value), LoadError> {
        let mut swarm = gateway.swarm(&self.programs, load.viewers());
        swarm
            .args(["--streams", &load.streams.to_string()])
            .args(["--duration", &format!("{}s", self.options.seconds)])
            .args(["--ramp", &self.options.ramp.to_string()])
            .args(["--receive", self.options.receive.name()])
            .args(["--server-pid", &gateway.pid().to_string(), "--json"])
            .args((!self.options.no_feedback).then_some("--feedback"))
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let failed = io_error("whep-swarm");
        // It ends with this function, also after an error.
        let mut swarm = Running(swarm.spawn().map_err(&failed)?);
        // The report is longer than a pipe is.
        let pipe = swarm.0.stdout.take();
        let report = thread::spawn(move || pipe.map(io::read_to_string).transpose());
        let sessions = |state: &Value| state["sessions"].as_u64().unwrap_or_default();
        let mut most = gateway.api(STATS)?;
        while !report.is_finished() {
            thread::sleep(LOOK);
            let state = gateway.api(STATS)?;
            if sessions(&state) >= sessions(&most) {
                most = state;
            }
        }
        // Viewers that fail are in the report; the exit code only repeats it.
        let report = report
            .join()
            .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
        let report = report.map_err(failed)?.unwrap_or_default();
        Ok((serde_json::from_str(&report)?, most))
    }
}
