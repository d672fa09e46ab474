//! The requirements of a load test: release builds, a clip, the gateway itself.

mod gateway;
pub(crate) mod lab;
pub(crate) mod machine;
pub(crate) mod namespace;
pub(crate) mod process;
mod running;

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::programs::ProgramError;
use crate::tools::{self, Tool};

pub(crate) use gateway::Gateway;
pub(crate) use running::Running;

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

/// The reason why a load test cannot run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Tool(#[from] tools::ToolError),
    #[error(transparent)]
    Program(#[from] ProgramError),
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
    #[error(
        "no network namespace can be made: this needs Linux with `unshare` and `ip`, and root or user \
         namespaces"
    )]
    NoNamespace,
    #[error("the gateway has ended")]
    Ended,
    #[error("too few samples for a trend")]
    TooShort,
    #[error("docs/performance.md has no markers for the table")]
    NoMarkers,
    #[error("not the JSON of a report: {0}")]
    Report(#[from] serde_json::Error),
}

/// The release builds of the gateway and of the measuring programs.
pub(crate) struct Programs {
    pub(crate) folder: PathBuf,
}

impl Programs {
    /// Builds the programs of some crates, and installs the tools that the build and the clips
    /// need.
    pub(crate) fn build(crates: &[&str]) -> Result<Self, LoadError> {
        let needed: Vec<&Tool> = tools::BUILD.iter().chain(tools::FFMPEG).collect();
        tools::ensure(&needed, true)?;
        let mut command = cargo();
        command.args(["build", "--locked", "--release"]);
        command.args(crates.iter().flat_map(|name| ["-p", name]));
        succeed(&mut command)?;
        Self::built()
    }

    /// Returns those that were built before.
    pub(crate) fn built() -> Result<Self, LoadError> {
        let executable = env::current_exe().map_err(io_error("this program's path"))?;
        // This program lies in target/<profile>.
        let target = executable.ancestors().nth(2).unwrap_or(&executable);
        Ok(Self {
            folder: target.join("release"),
        })
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        Command::new(self.folder.join(program))
    }

    /// Returns the clip that honest publishers send, made once.
    pub(crate) fn clip(&self) -> Result<PathBuf, LoadError> {
        clip(&self.folder, "bench-720p30", CLIP)
    }
}

/// Returns a cargo command that builds as one by hand does. Build scripts watch what `cargo run`
/// has set for this program: with it, each change between the two would compile half of the
/// dependencies again.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (variable, _) in env::vars_os() {
        let is_ours =
            |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if variable.to_str().is_some_and(is_ours) {
            command.env_remove(variable);
        }
    }
    command
}

/// Makes a clip with ffmpeg, once.
pub(crate) fn clip(folder: &Path, name: &str, options: &[&str]) -> Result<PathBuf, LoadError> {
    let path = folder.join(format!("{name}.flv"));
    if !path.exists() {
        let unfinished = folder.join(format!("{name}-unfinished.flv"));
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"]);
        succeed(ffmpeg.args(options).arg(&unfinished))?;
        fs::rename(&unfinished, &path).map_err(io_error("the clip"))?;
    }
    Ok(path)
}

pub(crate) fn succeed(command: &mut Command) -> Result<(), LoadError> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        _ => Err(LoadError::Failed(format!("{command:?}"))),
    }
}

pub(crate) fn io_error(what: &'static str) -> impl Fn(io::Error) -> LoadError {
    move |source| LoadError::Io { what, source }
}
