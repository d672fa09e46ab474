//! `cargo xtask cluster`: what viewers of a cluster see when parts of it fail.
//!
//! This builds the measuring program (`crates/cluster-lab`) and the gateway, and runs the former in
//! namespaces of its own: whatever it starts ends with it.

use std::ffi::OsString;

use clap::Args;

use crate::load::{LoadError, Programs, lab};
use crate::python;
use crate::tools::{self, Tool};

/// Command-line arguments.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// Arguments of the measuring program, see `cargo xtask cluster --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, num_args = 0..)]
    arguments: Vec<OsString>,
}

/// Measures, and prints a table.
pub(crate) fn run(options: &Options) -> Result<(), LoadError> {
    let tools: Vec<&Tool> = tools::BUILD.iter().chain(tools::FFMPEG).collect();
    tools::ensure(&tools, true)?;
    let programs = Programs::built()?;
    let target = programs.folder.parent().unwrap_or(&programs.folder);
    python::ensure_nats(target)?;
    let mut command = lab::command("cluster-lab", &options.arguments)?;
    let names_clip = |argument: &OsString| argument.to_string_lossy().starts_with("--clip");
    if !options.arguments.iter().any(names_clip) {
        command.arg("--clip").arg(programs.clip()?);
    }
    lab::run(command, "cluster")
}
