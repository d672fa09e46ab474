//! `cargo xtask join`: how viewers in Chromium join over paths with delay, loss and a slow link.
//!
//! This builds the measuring program (`crates/join`) and the gateway, and runs the former in
//! namespaces of its own: whatever it starts ends with it.

use std::ffi::OsString;
use std::process::Stdio;

use clap::Args;

use crate::check;
use crate::load::{self, LoadError, Programs, io_error, namespace, succeed};
use crate::tools::{self, Tool};

/// Command-line arguments.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// Arguments of the measuring program, see `cargo xtask join --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, num_args = 0..)]
    arguments: Vec<OsString>,
}

/// Other namespaces: the processes of this one are killed when its first process ends.
const PROCESSES: &[&str] = &["--pid", "--fork", "--kill-child", "--mount-proc"];

/// Measures, and prints a table.
pub(crate) fn run(options: &Options) -> Result<(), LoadError> {
    let tools = [tools::BUILD, tools::FFMPEG, tools::CHROMIUM];
    let tools: Vec<&Tool> = tools.into_iter().flatten().collect();
    tools::ensure(&tools, true)?;
    // In the way of the tests, whose browser it uses: no dependency is compiled twice.
    succeed(load::cargo().args(check::BUILD.split(' ')))?;
    let mut command = namespace::unshare(PROCESSES)?;
    let programs = Programs::built()?;
    command.arg(programs.folder.with_file_name("debug").join("join"));
    command.args(&options.arguments);
    let names_gateway = |argument: &OsString| argument.to_string_lossy().starts_with("--gateway");
    if !options.arguments.iter().any(names_gateway) {
        let programs = Programs::build(&["distributary-gateway"])?;
        command
            .arg("--gateway")
            .arg(programs.folder.join("distributary"));
    }
    let mut program = command
        .stdin(Stdio::piped())
        .spawn()
        .map_err(io_error("unshare"))?;
    // The program ends when this pipe is closed: also when this process is killed.
    let pipe = program.stdin.take();
    let status = program.wait().map_err(io_error("the measuring program"))?;
    drop(pipe);
    if status.success() {
        Ok(())
    } else {
        Err(LoadError::Failed("join".to_owned()))
    }
}
