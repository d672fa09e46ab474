//! `cargo xtask join`: how viewers in Chromium join over paths with delay, loss and a slow link.
//!
//! This builds the measuring program (`crates/join`) and the gateway, and runs the former in
//! namespaces of its own: whatever it starts ends with it.

use std::ffi::OsString;

use clap::Args;

use crate::document;
use crate::load::{LoadError, lab};
use crate::tools::{self, Tool};

/// Command-line arguments.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// Arguments of the measuring program, see `cargo xtask join --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, num_args = 0..)]
    arguments: Vec<OsString>,
}

/// The command that writes its table to the documentation.
pub(crate) const WRITE: &str = "cargo xtask join networks --write";

/// Measures, and prints a table. That of bad networks also goes to the documentation with `--write`.
pub(crate) fn run(options: &Options) -> Result<(), LoadError> {
    let tools = [tools::BUILD, tools::FFMPEG, tools::CHROMIUM];
    let tools: Vec<&Tool> = tools.into_iter().flatten().collect();
    tools::ensure(&tools, true)?;
    let mut arguments = options.arguments.clone();
    if arguments.first().is_some_and(|mode| mode == "networks") {
        arguments.retain(|argument| argument != "--write");
    }
    let command = lab::command("join", &arguments)?;
    if arguments.len() == options.arguments.len() {
        return lab::run(command, "join");
    }
    let text = lab::output(command, "join")?;
    println!("{text}");
    document::write(WRITE, text.trim_end())
}
