//! Players with other WebRTC implementations than Chromium's. Each watches for some seconds and
//! then prints the result.

use std::process::Command;

use serde::Deserialize;

use crate::ffmpeg::{scratch_folder, tool_folder, tool_python};
use crate::process::{Process, Stream};

/// The result of a player.
#[derive(Clone, Debug, Deserialize)]
pub struct Watched {
    /// Video frames decoded, or received completely by players that do not decode.
    pub video: u64,
    /// Audio frames, likewise.
    pub audio: u64,
    /// Width of the last decoded frame; 0 without one.
    pub width: u32,
    /// Frame numbers, from players that read them.
    #[serde(default)]
    pub numbers: Vec<u32>,
    /// Messages from the data channel.
    pub texts: Vec<String>,
    /// State of the connection at the end.
    pub state: String,
}

/// aiortc: a stack in Python with an ICE, a DTLS certificate (ECDSA alone) and an SCTP of its own.
///
/// # Panics
/// When `cargo xtask test` has not installed it, or it fails.
#[must_use]
pub fn aiortc_watches(url: &str, seconds: u32) -> Watched {
    let script = include_str!("players/aiortc_player.py");
    let mut command = Command::new(tool_python());
    command.args(["-c", script]).current_dir(scratch_folder());
    watch("aiortc", command, url, seconds)
}

/// GStreamer's webrtcbin: libnice for ICE, an RSA certificate, usrsctp's successor for SCTP. It
/// offers only `codec` for video: `H264` or `H265`.
///
/// # Panics
/// As [`aiortc_watches`].
#[must_use]
pub fn gstreamer_watches(url: &str, codec: &str, seconds: u32) -> Watched {
    let script = include_str!("players/gstreamer_player.py");
    // Debian's own, which has the bindings to GStreamer.
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", script]).current_dir(scratch_folder());
    watch_with("GStreamer", command, url, seconds, &[codec])
}

/// libdatachannel: libjuice for ICE, usrsctp, libsrtp. It does not decode.
///
/// # Panics
/// As [`aiortc_watches`].
#[must_use]
pub fn libdatachannel_watches(url: &str, seconds: u32) -> Watched {
    let script = include_str!("players/libdatachannel_player.js");
    let mut command = Command::new("node");
    // Its packages are installed there.
    command
        .args(["-e", script])
        .current_dir(tool_folder("node"));
    watch("libdatachannel", command, url, seconds)
}

fn watch(name: &str, command: Command, url: &str, seconds: u32) -> Watched {
    watch_with(name, command, url, seconds, &[])
}

fn watch_with(
    name: &str,
    mut command: Command,
    url: &str,
    seconds: u32,
    further: &[&str],
) -> Watched {
    command.args([url, &seconds.to_string()]).args(further);
    let mut process = Process::start(name, command);
    let status = process.wait();
    let printed = process.printed(Stream::Stdout);
    let report = printed.iter().find(|line| line.starts_with('{'));
    let report = report.unwrap_or_else(|| {
        let errors = process.printed(Stream::Stderr).join("\n");
        panic!("{name} ended with {status} and printed no report:\n{errors}")
    });
    serde_json::from_str(report).unwrap_or_else(|error| panic!("{error}: {report}"))
}
