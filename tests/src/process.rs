//! A child process whose output is kept, and which does not outlive the test.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::wait::{Deadline, TIMEOUT};

/// A running child process. It is killed when this is dropped; when a test fails, its last lines
/// are shown.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Output>,
}

/// The output of the process so far.
#[derive(Debug, Default)]
struct Output {
    text: Mutex<Text>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Text {
    lines: Vec<Line>,
    /// Number of the output streams that have ended.
    ended: u8,
}

/// One line of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The stream it came from.
    pub stream: Stream,
    /// The text, without its line end.
    pub text: String,
}

/// The streams a process writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Process {
    /// Starts `command`; `name` is for messages.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(name: &str, mut command: Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let output = Arc::<Output>::default();
        if let Some(stdout) = child.stdout.take() {
            collect(stdout, Stream::Stdout, Arc::clone(&output));
        }
        if let Some(stderr) = child.stderr.take() {
            collect(stderr, Stream::Stderr, Arc::clone(&output));
        }
        Self {
            name: name.to_owned(),
            child,
            output,
        }
    }

    /// Waits for a line that `find` accepts.
    ///
    /// # Panics
    /// When the output ends before that, or after [`TIMEOUT`].
    pub fn wait_for_line<T>(&self, what: &str, find: impl Fn(&Line) -> Option<T>) -> T {
        self.find_line(find)
            .unwrap_or_else(|| panic!("{} did not print {what}", self.name))
    }

    /// Does the same; `None` when the output ends before that, or after [`TIMEOUT`].
    pub fn find_line<T>(&self, find: impl Fn(&Line) -> Option<T>) -> Option<T> {
        let deadline = Deadline::after(TIMEOUT);
        let mut text = self
            .output
            .text
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = text.lines.iter().find_map(&find) {
                return Some(found);
            }
            let left = deadline.left().filter(|_| text.ended < 2)?;
            let waited = self.output.changed.wait_timeout(text, left);
            text = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Returns all output so far of one stream.
    #[must_use]
    pub fn printed(&self, stream: Stream) -> Vec<String> {
        let text = self
            .output
            .text
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let lines = text.lines.iter().filter(|line| line.stream == stream);
        lines.map(|line| line.text.clone()).collect()
    }

    /// Returns its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns its running child processes.
    ///
    /// # Panics
    /// When the system does not list them.
    #[must_use]
    pub fn children(&self) -> Vec<u32> {
        let own = self.child.id();
        let processes = fs::read_dir("/proc").expect("the system lists its processes");
        processes
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| parent_of_running(*pid) == Some(own))
            .collect()
    }

    /// Sends a signal, such as `TERM` (service manager) or `INT` (terminal).
    ///
    /// # Panics
    /// When the signal cannot be sent.
    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "kill -s {signal} {pid}"
        );
    }

    /// Waits until the process has exited and all its output is read.
    ///
    /// # Panics
    /// When it has not exited after [`TIMEOUT`].
    pub fn wait(&mut self) -> ExitStatus {
        self.wait_within(TIMEOUT)
    }

    /// Does the same for a process that has much to do.
    ///
    /// # Panics
    /// When it has not exited after `timeout`.
    pub fn wait_within(&mut self, timeout: Duration) -> ExitStatus {
        let deadline = Deadline::after(timeout);
        let mut text = self
            .output
            .text
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        while text.ended < 2 {
            let Some(left) = deadline.left() else {
                drop(text);
                panic!("{} did not end", self.name);
            };
            let waited = self.output.changed.wait_timeout(text, left);
            text = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(text);
        self.child
            .wait()
            .unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// Returns whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a process that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let text = self
                .output
                .text
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let first = text.lines.len().saturating_sub(SHOWN_LINES);
            for line in &text.lines[first..] {
                eprintln!("{} | {}", self.name, line.text);
            }
        }
    }
}

/// Returns the parent of a running process; `None` when it no longer runs (proc(5),
/// `/proc/[pid]/stat`).
fn parent_of_running(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may have any character.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let is_running = fields.next()? != "Z";
    fields.next()?.parse().ok().filter(|_| is_running)
}

/// Returns whether a process runs.
#[must_use]
pub fn is_running(pid: u32) -> bool {
    parent_of_running(pid).is_some()
}

/// Kills a process.
///
/// # Panics
/// When there is no such process.
pub fn kill(pid: u32) {
    let status = Command::new("kill")
        .args(["-s", "KILL", &pid.to_string()])
        .status();
    assert!(status.is_ok_and(|status| status.success()), "kill {pid}");
}

/// Lines of output that are shown when a test fails.
const SHOWN_LINES: usize = 200;

fn collect(pipe: impl Read + Send + 'static, stream: Stream, output: Arc<Output>) {
    thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while reader
            .read_until(b'\n', &mut line)
            .is_ok_and(|count| count > 0)
        {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            let mut output_text = output.text.lock().unwrap_or_else(PoisonError::into_inner);
            output_text.lines.push(Line { stream, text });
            output.changed.notify_all();
        }
        output
            .text
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .ended += 1;
        output.changed.notify_all();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start("sh", command)
    }

    #[test]
    fn line_is_found_in_either_stream() {
        let process = shell("echo one; echo two >&2; sleep 60");
        let find =
            |wanted: &'static str| move |line: &Line| (line.text == wanted).then_some(line.stream);
        assert_eq!(process.wait_for_line("one", find("one")), Stream::Stdout);
        assert_eq!(process.wait_for_line("two", find("two")), Stream::Stderr);
    }

    #[test]
    #[should_panic(expected = "sh did not print three")]
    fn waiting_for_a_line_ends_with_the_process() {
        let process = shell("echo one");
        process.wait_for_line("three", |line| (line.text == "three").then_some(()));
    }

    #[test]
    fn signal_reaches_the_process_and_its_exit_code_is_returned() {
        let mut process = shell("trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done");
        process.wait_for_line("ready", |line| (line.text == "ready").then_some(()));
        process.signal("TERM");
        assert_eq!(process.wait().code(), Some(7));
        assert!(!process.is_running());
    }
}
