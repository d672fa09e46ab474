//! `cargo xtask dist`: the artifacts of a release, in `target/dist`.
//!
//! | file | |
//! |---|---|
//! | `distributary-VERSION-TARGET.tar.gz` | program, manual page, configuration, unit, licenses |
//! | `distributary_VERSION-1_ARCH.deb` | the same for Debian and Ubuntu, with a system user |
//! | `distributary-VERSION.cdx.json` | the list of components (SBOM), CycloneDX |
//! | `SHA256SUMS` | the checksums of the others |
//!
//! With `--images PROGRAM` also the images `distributary:VERSION` and
//! `distributary:VERSION-ffmpeg`.
//!
//! The times in the archives are that of the commit, so that the same source and toolchain make the
//! same archives.

mod archive;
mod checksums;
mod components;
mod images;
mod registry;
mod staging;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;

use crate::check::{target_folder, workspace_root};
use crate::load::cargo;
use crate::programs::ProgramError;
use crate::third_party::ThirdPartyError;
use crate::tools::{self, Tool, ToolError};

/// The crate of the gateway.
const PACKAGE: &str = "distributary-gateway";

/// The name of the gateway's program, and of its package.
const NAME: &str = "distributary";

/// Version of all crates.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Command-line arguments.
#[derive(Args)]
pub(crate) struct Options {
    /// Also build the container images with this program: docker, podman or buildah
    #[arg(long, value_name = "PROGRAM")]
    images: Option<String>,
    /// An argument for each build of an image, such as RUNTIME=registry.example/debian
    #[arg(long, value_name = "ARGUMENT", requires = "images")]
    build_arg: Vec<String>,
}

/// The reason why the artifacts cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DistError {
    /// A program is missing.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A program of a registry cannot be installed.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The licenses of the components cannot be listed.
    #[error(transparent)]
    ThirdParty(#[from] ThirdPartyError),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    /// A command cannot be run, or failed.
    #[error("`{command}` failed: {reason}")]
    Failed { command: String, reason: String },
}

/// Variable by which cargo builds for another target, in another folder.
const TARGET_VARIABLE: &str = "CARGO_BUILD_TARGET";

/// Makes all artifacts and prints their names and sizes.
pub(crate) fn run(options: &Options) -> Result<(), DistError> {
    let needed: Vec<&Tool> = tools::BUILD.iter().chain(tools::PACKAGING).collect();
    tools::ensure(&needed, true)?;
    let root = workspace_root();
    let target = target_folder().map_err(io_error(Path::new("target")))?;
    let programs = registry::ensure(&target)?;
    let release = Release::of(&root)?;

    // The artifacts are for this machine, in the folder of builds without a target.
    let mut build = cargo();
    build.current_dir(&root).env_remove(TARGET_VARIABLE);
    succeed(build.args(["build", "--locked", "--release", "--package", PACKAGE]))?;
    let staged = staging::stage(&root, &target.join("release"), &release)?;

    let output = target.join("dist");
    remove(&output)?;
    create(&output)?;
    archive::make(&staged, &output, &release)?;
    let mut package = programs.command("cargo-deb");
    release.dates(&mut package).current_dir(&root);
    package.env_remove(TARGET_VARIABLE);
    package.args(["deb", "--package", PACKAGE, "--no-build", "--locked"]);
    succeed(package.arg("--output").arg(&output))?;
    components::write(&programs, &root, &target.join("release"), &output, &release)?;
    checksums::write(&output)?;

    println!("\n{}:", output.display());
    for file in files(&output)? {
        let size = file.metadata().map_or(0, |metadata| metadata.len());
        let name = file.file_name().unwrap_or_default();
        println!("{size:>10}  {}", name.display());
    }
    if let Some(program) = &options.images {
        images::build(program, &root, &options.build_arg)?;
    }
    if release.is_changed {
        println!("\nThe source has changes that are not committed: do not publish these files.");
    }
    Ok(())
}

/// The source and target of a release.
struct Release {
    /// The target of the compiler, such as `x86_64-unknown-linux-gnu`.
    host: String,
    /// Seconds since 1970 of the commit.
    time: String,
    /// True if files differ from the commit.
    is_changed: bool,
}

impl Release {
    fn of(root: &Path) -> Result<Self, DistError> {
        let compiler = text(Command::new("rustc").arg("-vV"))?;
        let host = compiler
            .lines()
            .find_map(|line| line.strip_prefix("host: "));
        let git = |arguments: &[&str]| text(Command::new("git").current_dir(root).args(arguments));
        Ok(Self {
            host: host.unwrap_or_default().to_owned(),
            time: git(&["log", "-1", "--format=%ct"])?.trim().to_owned(),
            is_changed: !git(&["status", "--porcelain"])?.is_empty(),
        })
    }

    /// Makes a command use the time of the commit in what it writes.
    fn dates<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("SOURCE_DATE_EPOCH", &self.time)
    }
}

/// Returns the files of a folder, by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>, DistError> {
    let entries = fs::read_dir(folder).map_err(io_error(folder))?;
    let files: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut files = files.map_err(io_error(folder))?;
    files.sort();
    Ok(files)
}

fn create(folder: &Path) -> Result<(), DistError> {
    fs::create_dir_all(folder).map_err(io_error(folder))
}

fn remove(folder: &Path) -> Result<(), DistError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(folder)(error)),
        _ => Ok(()),
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> DistError {
    move |source| DistError::Io {
        path: path.to_owned(),
        source,
    }
}

/// Runs a command; its output goes where this program's goes.
fn succeed(command: &mut Command) -> Result<(), DistError> {
    let status = command.stdin(Stdio::null()).status();
    let reason = match status {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    Err(failed(command, reason))
}

/// Runs a command and returns the text that it prints.
fn text(command: &mut Command) -> Result<String, DistError> {
    let printed = bytes(command)?;
    String::from_utf8(printed).map_err(|error| failed(command, error.to_string()))
}

/// Runs a command and returns what it prints.
fn bytes(command: &mut Command) -> Result<Vec<u8>, DistError> {
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    match command.output() {
        Ok(output) if output.status.success() => Ok(output.stdout),
        Ok(output) => Err(failed(command, output.status.to_string())),
        Err(error) => Err(failed(command, error.to_string())),
    }
}

fn failed(command: &Command, reason: String) -> DistError {
    DistError::Failed {
        command: format!("{command:?}"),
        reason,
    }
}
