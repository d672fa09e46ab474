//! A program that runs as long as the value that holds it.

use std::io::Read;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{LoadError, io_error};

/// A process that is killed when this is dropped.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Starts a program that prints a report. `what` names it in an error.
    pub(crate) fn start(command: &mut Command, what: &'static str) -> Result<Self, LoadError> {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.spawn().map(Self).map_err(io_error(what))
    }

    /// Returns the report that the program prints as JSON before it ends.
    pub(crate) fn report(mut self) -> Result<Value, LoadError> {
        let mut text = String::new();
        if let Some(mut stdout) = self.0.stdout.take() {
            let read = stdout.read_to_string(&mut text);
            read.map_err(io_error("the report of a program"))?;
        }
        Ok(serde_json::from_str(&text)?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for a process that has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
