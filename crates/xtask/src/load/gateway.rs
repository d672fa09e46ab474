//! A gateway on ports of the system's choice, and the stream that it serves.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::{LoadError, Programs, Running, io_error};

/// The name the clip is published under; `rtmp-swarm` numbers its streams.
pub(crate) const STREAM: &str = "live/bench-0";

/// Attempts to find the streams live after their publisher was started.
const LIVE_ATTEMPTS: u32 = 300;

/// Interval between two such attempts.
const LIVE_INTERVAL: Duration = Duration::from_millis(200);

/// Longest wait for data from the API.
const API_TIMEOUT: Duration = Duration::from_secs(10);

/// A gateway. It is killed when this is dropped.
pub(crate) struct Gateway {
    process: Running,
    addresses: BTreeMap<&'static str, String>,
}

impl Gateway {
    /// Starts a gateway with the configuration in a file; its log goes to `log`.
    pub(crate) fn start(
        program: &Path,
        configuration: &Path,
        log: impl Into<Stdio>,
    ) -> Result<Self, LoadError> {
        let mut command = Command::new(program);
        command.arg("--config").arg(configuration);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(io_error("the gateway"))?;
        let stdout = child.stdout.take();
        let mut gateway = Self {
            process: Running(child),
            addresses: BTreeMap::new(),
        };
        let mut lines = BufReader::new(stdout.ok_or(LoadError::NoAddress("RTMP"))?).lines();
        for what in ["RTMP", "HTTP", "Admin", "WebRTC"] {
            let mut words = lines.by_ref().map_while(Result::ok).filter_map(|line| {
                let mut words = line.split_whitespace();
                (words.next() == Some(what))
                    .then(|| words.next().map(str::to_owned))
                    .flatten()
            });
            let address = words.next().ok_or(LoadError::NoAddress(what))?;
            gateway.addresses.insert(what, address);
        }
        // The rest is not used, but must be read.
        thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Ok(gateway)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Returns the address that it has printed for `RTMP`, `HTTP`, `Admin` or `WebRTC`.
    pub(crate) fn address(&self, what: &str) -> &str {
        self.addresses.get(what).map_or("", String::as_str)
    }

    /// Publishes the clip under `live/<name>-0`.
    pub(crate) fn publisher(&self, programs: &Programs, name: &str, clip: &Path) -> Command {
        let mut publisher = programs.command("rtmp-swarm");
        let url = format!("rtmp://{}/live/{name}", self.address("RTMP"));
        publisher.args(["--url", &url, "--file"]).arg(clip);
        publisher.stdin(Stdio::null()).stdout(Stdio::null());
        publisher
    }

    /// Publishes [`STREAM`], and more streams with the next numbers, until the result is dropped.
    /// Waits until all can be watched, without a viewer.
    pub(crate) fn serve(
        &self,
        programs: &Programs,
        clip: &Path,
        streams: usize,
    ) -> Result<Running, LoadError> {
        let mut publisher = self.publisher(programs, "bench", clip);
        publisher.args(["--publishers", &streams.to_string()]);
        publisher.args(["--duration", "1440m"]);
        let publisher = publisher.spawn().map_err(io_error("the publisher"))?;
        let publisher = Running(publisher);
        self.wait_until_watchable(streams)?;
        Ok(publisher)
    }

    /// Waits until so many streams can be watched.
    pub(crate) fn wait_until_watchable(&self, streams: usize) -> Result<(), LoadError> {
        for _ in 0..LIVE_ATTEMPTS {
            if self.watchable_streams()? >= streams {
                return Ok(());
            }
            thread::sleep(LIVE_INTERVAL);
        }
        Err(LoadError::NotLive)
    }

    /// Returns the number of live streams with a keyframe, with which a viewer can begin.
    fn watchable_streams(&self) -> Result<usize, LoadError> {
        let answer = self.api("streams")?;
        let streams = answer["streams"].as_array().into_iter().flatten();
        let has_keyframe = |stream: &&Value| stream["cache"]["bytes"].as_u64() > Some(0);
        Ok(streams.filter(has_keyframe).count())
    }

    /// Returns the answer of the admin API to `GET /api/<resource>`.
    pub(crate) fn api(&self, resource: &str) -> Result<Value, LoadError> {
        Ok(serde_json::from_str(
            &self.get(&format!("/api/{resource}"))?,
        )?)
    }

    /// Returns the body of the answer of the admin listener to `GET <path>`.
    pub(crate) fn get(&self, path: &str) -> Result<String, LoadError> {
        let address = self.address("Admin");
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let mut response = String::new();
        let answered = TcpStream::connect(address).and_then(|mut connection| {
            connection.set_read_timeout(Some(API_TIMEOUT))?;
            connection.write_all(request.as_bytes())?;
            connection.read_to_string(&mut response)
        });
        answered.map_err(io_error("the gateway's API"))?;
        let body = response.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok(body.to_owned())
    }

    /// Watches [`STREAM`] as many viewers.
    pub(crate) fn swarm(&self, programs: &Programs, viewers: usize) -> Command {
        let mut swarm = programs.command("whep-swarm");
        let url = format!("http://{}/whep/{STREAM}", self.address("HTTP"));
        swarm.args(["--url", &url, "--viewers", &viewers.to_string()]);
        swarm
    }
}
