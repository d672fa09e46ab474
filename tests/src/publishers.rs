//! Publishers with RTMP implementations of their own, beside Debian's ffmpeg.

pub mod obs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::ffmpeg::{Clip, scratch_folder, tool_python};
use crate::process::Process;

/// Starts a recent ffmpeg, which supports Enhanced RTMP and RTMPE, with these options, separated by
/// spaces.
///
/// # Panics
/// When `cargo xtask test` has not installed it, or it cannot be run.
#[must_use]
pub fn recent_ffmpeg(options: &str, url: &str) -> Process {
    recent_ffmpeg_with(&[], options, url)
}

/// Starts a recent ffmpeg that publishes `clip` in a loop with these output options.
///
/// # Panics
/// As [`recent_ffmpeg`].
#[must_use]
pub fn recent_ffmpeg_publishes(clip: &Clip, options: &str, url: &str) -> Process {
    let path = clip.path().to_str().expect("a path of this system is text");
    let input = ["-re", "-stream_loop", "-1", "-i", path];
    recent_ffmpeg_with(&input, options, url)
}

fn recent_ffmpeg_with(input: &[&str], options: &str, url: &str) -> Process {
    let mut command = Command::new(recent_ffmpeg_path());
    command
        .args(["-hide_banner", "-loglevel", "info", "-nostats", "-nostdin"])
        .args(input)
        .args(options.split_whitespace())
        .args(["-f", "flv", url]);
    Process::start("recent ffmpeg", command)
}

/// Returns the path of the recent ffmpeg.
///
/// # Panics
/// When `cargo xtask test` has not installed it.
#[must_use]
pub fn recent_ffmpeg_path() -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let python = tool_python();
        let script = "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())";
        let output = Command::new(&python).args(["-c", script]).output();
        let output = output
            .ok()
            .filter(|output| output.status.success())
            .unwrap_or_else(|| {
                panic!(
                    "{} has no imageio-ffmpeg: `cargo xtask test` installs it",
                    python.display()
                )
            });
        PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
    })
}

/// Publishes `clip` once with one of GStreamer's RTMP elements, such as `rtmp2sink location=...`.
///
/// # Panics
/// When it cannot be run.
#[must_use]
pub fn gstreamer_publishes(clip: &Clip, sink: &str) -> Process {
    let pipeline = format!(
        "filesrc location={} ! flvdemux name=demuxer \
         flvmux streamable=true name=muxer ! identity sync=true ! {sink} \
         demuxer.video ! queue ! h264parse ! muxer. \
         demuxer.audio ! queue ! aacparse ! muxer.",
        clip.path().display()
    );
    let mut command = Command::new("gst-launch-1.0");
    command.args(pipeline.split_whitespace());
    Process::start("gst-launch-1.0", command)
}

/// Publishes `clip` once with librtmp, with these options of the program in `publishers/librtmp.c`.
///
/// # Panics
/// When it cannot be compiled or run.
#[must_use]
pub fn librtmp_publishes(clip: &Clip, url: &str, options: &[&str]) -> Process {
    let mut command = Command::new(librtmp_publisher());
    command.arg(url).arg(clip.path()).args(options);
    Process::start("librtmp", command)
}

/// Compiles the publisher with librtmp, once per test process.
fn librtmp_publisher() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/publishers/librtmp.c");
        let folder = scratch_folder();
        fs::create_dir_all(&folder).expect("the build folder can be written");
        let unfinished = tempfile::Builder::new()
            .prefix("librtmp-")
            .tempfile_in(&folder)
            .expect("the build folder can be written")
            .into_temp_path();
        let compiler = Command::new("cc")
            .args(["-O1", "-Wall", "-o"])
            .arg(&unfinished)
            .arg(&source)
            .arg("-lrtmp")
            .output()
            .expect("the C compiler can be run");
        let said = String::from_utf8_lossy(&compiler.stderr);
        assert!(compiler.status.success(), "cc: {said}");
        let path = folder.join("librtmp-publisher");
        unfinished
            .persist(&path)
            .expect("a file can be renamed in its folder");
        path
    })
}
