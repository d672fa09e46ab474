//! Players with other WebRTC implementations than Chromium's. Each watches until it has received
//! enough and has heard from the gateway, or has waited too long for that, and then prints the result.

use std::process::Command;

use serde::Deserialize;

use crate::ffmpeg::{FRAME_RATE, scratch_folder, tool_folder, tool_python};
use crate::process::{Process, Stream};
use crate::wait::TIMEOUT;

/// Video frames with which a player has enough: those of eight seconds.
pub const ENOUGH_VIDEO: u64 = 8 * FRAME_RATE as u64;

/// Opus frames with which a player has enough, likewise.
pub const ENOUGH_AUDIO: u64 = 8 * 50;

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
pub fn aiortc_watches(url: &str) -> Watched {
    let script = include_str!("players/aiortc_player.py");
    let mut command = Command::new(tool_python());
    command.args(["-c", script]).current_dir(scratch_folder());
    watch("aiortc", command, url)
}

/// GStreamer's webrtcbin: libnice for ICE, an RSA certificate, usrsctp's successor for SCTP. It
/// offers only `codec` for video: `H264` or `H265`.
///
/// # Panics
/// As [`aiortc_watches`].
#[must_use]
pub fn gstreamer_watches(url: &str, codec: &str) -> Watched {
    let script = include_str!("players/gstreamer_player.py");
    // Debian's own, which has the bindings to GStreamer.
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", script]).current_dir(scratch_folder());
    watch_with("GStreamer", command, url, &[codec])
}

/// libdatachannel: libjuice for ICE, usrsctp, libsrtp. It does not decode.
///
/// # Panics
/// As [`aiortc_watches`].
#[must_use]
pub fn libdatachannel_watches(url: &str) -> Watched {
    let script = include_str!("players/libdatachannel_player.js");
    let mut command = Command::new("node");
    // Its packages are installed there.
    command
        .args(["-e", script])
        .current_dir(tool_folder("node"));
    watch("libdatachannel", command, url)
}

fn watch(name: &str, command: Command, url: &str) -> Watched {
    watch_with(name, command, url, &[])
}

fn watch_with(name: &str, mut command: Command, url: &str, further: &[&str]) -> Watched {
    let numbers = [ENOUGH_VIDEO, ENOUGH_AUDIO, TIMEOUT.as_secs()];
    command
        .arg(url)
        .args(numbers.map(|number| number.to_string()));
    command.args(further);
    let mut process = Process::start(name, command);
    let status = process.wait_within(2 * TIMEOUT);
    let printed = process.printed(Stream::Stdout);
    let report = printed.iter().find(|line| line.starts_with('{'));
    let report = report.unwrap_or_else(|| {
        let errors = process.printed(Stream::Stderr).join("\n");
        panic!("{name} ended with {status} and printed no report:\n{errors}")
    });
    serde_json::from_str(report).unwrap_or_else(|error| panic!("{error}: {report}"))
}
