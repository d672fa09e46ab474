//! Machines with a network of their own, as network namespaces without a name.
//!
//! The system removes a namespace, and its devices, with the last process in it.

use std::io;
use std::process::{Command, Stdio};

use crate::process::Process;

/// A machine with a network of its own. It has a loopback device only, which is down.
#[derive(Debug)]
pub struct Machine {
    /// A process that does nothing: its network is the machine's.
    idle: Process,
}

impl Machine {
    /// Makes a machine; `name` is for messages. This needs root, or a user namespace.
    ///
    /// # Panics
    /// When the system makes no namespace.
    #[must_use]
    pub fn start(name: &str) -> Self {
        let mut idle = Command::new("unshare");
        idle.args(["--net", "sh", "-c", "echo ready; exec sleep infinity"]);
        let idle = Process::start(name, idle);
        idle.wait_for_line("ready", |line| (line.text == "ready").then_some(()));
        Self { idle }
    }

    /// Returns the words of a command before the program that is to run on this machine. The program
    /// takes the place of the process that runs them.
    #[must_use]
    pub fn prefix(&self) -> Vec<String> {
        let network = format!("--net=/proc/{}/ns/net", self.idle.id());
        vec!["nsenter".to_owned(), network, "--".to_owned()]
    }

    /// Returns a command that runs `program` on this machine.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let prefix = self.prefix();
        let mut command = Command::new(&prefix[0]);
        command.args(&prefix[1..]).arg(program);
        command
    }

    /// Moves a network device of this process's machine there.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn take_device(&self, name: &str) -> io::Result<()> {
        let machine = self.idle.id().to_string();
        run(Command::new("ip").args(["link", "set", name, "netns", &machine]))
    }
}

/// Runs a command to its end.
///
/// # Errors
/// When it fails, with what it has printed.
pub fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{command:?}: {}", reason.trim())))
}
