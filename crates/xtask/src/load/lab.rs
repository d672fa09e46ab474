//! Measuring programs that run in namespaces of their own: whatever they start ends with them.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use super::{LoadError, Programs, cargo, io_error, namespace, succeed};
use crate::check;

/// Other namespaces: the processes of this one are killed when its first process ends.
const PROCESSES: &[&str] = &["--pid", "--fork", "--kill-child", "--mount-proc"];

/// Returns a command that runs a measuring program, which is built before, as the gateway is unless the
/// arguments name another one.
pub(crate) fn command(program: &str, arguments: &[OsString]) -> Result<Command, LoadError> {
    // In the way of the tests, whose helpers it uses: no dependency is compiled twice.
    succeed(cargo().args(check::BUILD.split(' ')))?;
    let mut command = namespace::unshare(PROCESSES)?;
    let programs = Programs::built()?;
    command.arg(programs.folder.with_file_name("debug").join(program));
    command.args(arguments);
    let names_gateway = |argument: &OsString| argument.to_string_lossy().starts_with("--gateway");
    if !arguments.iter().any(names_gateway) {
        let programs = Programs::build(&["distributary-gateway"])?;
        command.arg("--gateway");
        command.arg(programs.folder.join("distributary"));
    }
    Ok(command)
}

/// Runs a measuring program to its end.
pub(crate) fn run(command: Command, name: &str) -> Result<(), LoadError> {
    finish(command, name).map(drop)
}

/// Runs a measuring program to its end, and returns what it has printed.
pub(crate) fn output(mut command: Command, name: &str) -> Result<String, LoadError> {
    command.stdout(Stdio::piped());
    finish(command, name)
}

/// Returns what the program has printed, if that does not go elsewhere.
fn finish(mut command: Command, name: &str) -> Result<String, LoadError> {
    let mut program = command
        .stdin(Stdio::piped())
        .spawn()
        .map_err(io_error("unshare"))?;
    // The program ends when this pipe is closed: also when this process is killed.
    let pipe = program.stdin.take();
    let output = program.wait_with_output();
    drop(pipe);
    let output = output.map_err(io_error("the measuring program"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(LoadError::Failed(name.to_owned()))
    }
}
