//! The child process that encodes.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use command_fds::{CommandFdExt, FdMapping, FdMappingCollision};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStderr, ChildStdin, Command};
use tokio::time::timeout;
use tracing::{Instrument, warn};

use crate::arguments::{Run, STDOUT, arguments, descriptor};
use crate::config::TranscodeConfig;
use crate::error_lines::ErrorLines;

/// Bytes of output read at once.
const READ_SIZE: usize = 64 << 10;

/// Maximum time from the end of an encoder's output to its exit.
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);

/// The lowest priority (setpriority(2)).
#[cfg(target_os = "linux")]
const MAX_NICE: i32 = 19;

/// A running encoder. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Encoder {
    child: Child,
    input: ChildStdin,
    /// The pipe of each output.
    outputs: Vec<pipe::Receiver>,
}

impl Encoder {
    /// Starts an encoder. Each of its outputs has a pipe of its own: the first is standard output,
    /// and the child inherits the others from number 3 on. One pipe for all would need a container
    /// with several tracks, and ffmpeg before 8 writes only one into FLV.
    pub(crate) fn start(config: &TranscodeConfig, run: &Run) -> io::Result<Self> {
        let mut command = Command::new(&config.command);
        clear_environment(&mut command);
        command
            .args(arguments(config, run))
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let outputs = connect_outputs(&mut command, run.outputs.len())?;
        // A signal from the terminal is for the gateway alone, which ends its encoders itself.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn()?;
        // The gateway must not hold the writing ends, or it would not notice that the child is
        // gone.
        drop(command);
        limit_memory(&child, config.max_memory)?;
        lower_priority(&child, config.nice)?;
        let missing = || io::Error::other("a pipe is missing");
        let input = child.stdin.take().ok_or_else(missing)?;
        if let Some(stderr) = child.stderr.take() {
            // Ends with the child, so that its last lines are logged.
            tokio::spawn(log(stderr).in_current_span());
        }
        Ok(Self {
            child,
            input,
            outputs,
        })
    }

    /// Returns its process id.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Writes some of `input`, from which it is removed, and reads some from an output into the
    /// buffer that `buffer` returns for its number. Returns that number, or `None` once all is
    /// written. It may be dropped and called again.
    ///
    /// # Errors
    /// When the encoder has ended, or its pipes have failed.
    pub(crate) async fn exchange<B: ReadBuffers + ?Sized>(
        &mut self,
        input: &mut BytesMut,
        buffers: &mut B,
    ) -> io::Result<Option<usize>> {
        loop {
            tokio::select! {
                written = self.input.write(input), if !input.is_empty() => {
                    input.advance(written?);
                    if input.is_empty() {
                        return Ok(None);
                    }
                }
                (output, read) = read_any(&mut self.outputs, buffers) => return match read? {
                    0 => Err(io::ErrorKind::UnexpectedEof.into()),
                    _ => Ok(Some(output)),
                },
            }
        }
    }

    /// Returns the exit status of an encoder whose pipes have failed: it is about to exit.
    pub(crate) async fn exited(&mut self) -> Option<ExitStatus> {
        timeout(EXIT_TIMEOUT, self.child.wait()).await.ok()?.ok()
    }

    /// Ends it. Returns its exit status if it exited by itself.
    pub(crate) async fn end(mut self) -> Option<ExitStatus> {
        drop((self.input, self.outputs));
        let by_itself = self.child.try_wait().ok().flatten();
        // It fails only if the child has exited.
        let _ = self.child.kill().await;
        by_itself
    }
}

/// The buffers for what an encoder writes.
pub(crate) trait ReadBuffers {
    /// Returns the buffer of an output.
    fn buffer(&mut self, output: usize) -> Option<&mut BytesMut>;
}

/// Reads from the first output that has bytes. Returns its number, and how many were read.
async fn read_any<B: ReadBuffers + ?Sized>(
    outputs: &mut [pipe::Receiver],
    buffers: &mut B,
) -> (usize, io::Result<usize>) {
    poll_fn(|context| {
        for (n, output) in outputs.iter_mut().enumerate() {
            let Some(buffer) = buffers.buffer(n) else {
                continue;
            };
            buffer.reserve(READ_SIZE);
            // Nothing is lost when the future is dropped.
            if let Poll::Ready(read) = pin!(output.read_buf(buffer)).poll(context) {
                return Poll::Ready((n, read));
            }
        }
        Poll::Pending
    })
    .await
}

/// Gives a command a pipe for each output. Returns the reading ends.
fn connect_outputs(command: &mut Command, count: usize) -> io::Result<Vec<pipe::Receiver>> {
    let mut receivers = Vec::new();
    let mut inherited = Vec::new();
    for output in 0..count {
        let (reader, writer) = io::pipe()?;
        receivers.push(pipe::Receiver::from_owned_fd(reader.into())?);
        match descriptor(output) {
            STDOUT => {
                command.stdout(writer);
            }
            child_fd => inherited.push(FdMapping {
                parent_fd: writer.into(),
                child_fd,
            }),
        }
    }
    if inherited.is_empty() {
        return Ok(receivers);
    }
    command
        .fd_mappings(inherited)
        .map_err(|FdMappingCollision| io::Error::other("two outputs have one number"))?;
    Ok(receivers)
}

/// Removes all environment variables but `PATH`: the program decodes untrusted media, and the
/// environment may hold keys and tokens.
pub(crate) fn clear_environment(command: &mut Command) {
    command.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
}

/// Limits the memory of a child before it has read anything. The limit counts the data segment, not
/// the address space, of which allocators and drivers reserve much more than they use.
fn limit_memory(child: &Child, bytes: usize) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if let (Some(id), 1..) = (child.id(), bytes) {
        let limit = bytes as u64;
        let pid = i32::try_from(id).map_err(io::Error::other)?;
        rlimit::prlimit(pid, rlimit::Resource::DATA, Some((limit, limit)), None)?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (child, bytes);
    Ok(())
}

/// Lowers the priority of a child to `by` below the gateway's, before it has threads.
fn lower_priority(child: &Child, by: u8) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if let (Some(id), 1..) = (child.id(), by) {
        use rustix::process::{Pid, getpriority_process, setpriority_process};
        let pid = i32::try_from(id).map_err(io::Error::other)?;
        let nice = getpriority_process(None)?.saturating_add(by.into());
        setpriority_process(Pid::from_raw(pid), nice.min(MAX_NICE))?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (child, by);
    Ok(())
}

/// Writes the encoder's standard error to the log.
async fn log(mut stderr: ChildStderr) {
    let mut errors = ErrorLines::default();
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
        for line in errors.take(buffer.get(..read).unwrap_or_default()) {
            warn!("encoder: {line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::Output;
    use distributary_names::RenditionId;

    /// Buffers of two outputs.
    impl ReadBuffers for [BytesMut; 2] {
        fn buffer(&mut self, output: usize) -> Option<&mut BytesMut> {
            self.get_mut(output)
        }
    }

    fn run(outputs: usize) -> Run {
        let output = Output {
            id: RenditionId::H264,
            size: None,
            limit: None,
        };
        Run {
            skip: Duration::ZERO,
            outputs: vec![output; outputs],
            keyframe_interval: 60,
            has_fps_mode: true,
        }
    }

    /// Runs a shell script as an encoder, and returns its outputs once they end with these lines.
    #[cfg(target_os = "linux")]
    async fn output_of(script: &str, ends: [&str; 2]) -> [String; 2] {
        let file =
            std::env::temp_dir().join(format!("encoder-{}-{}", std::process::id(), script.len()));
        let text = format!("#!/bin/sh\n{script}\ncat > /dev/null\n");
        std::fs::write(&file, text).unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&file, executable).unwrap();
        let config = TranscodeConfig {
            command: file.display().to_string(),
            ..TranscodeConfig::default()
        };
        let mut encoder = Encoder::start(&config, &run(2)).unwrap();
        let mut input = BytesMut::from(&b"F"[..]);
        let mut outputs = [BytesMut::new(), BytesMut::new()];
        let is_whole = |(output, end): (&BytesMut, &str)| output.ends_with(end.as_bytes());
        while !outputs.iter().zip(ends).all(is_whole) {
            encoder.exchange(&mut input, &mut outputs).await.unwrap();
        }
        encoder.end().await;
        std::fs::remove_file(file).unwrap();
        outputs.map(|output| String::from_utf8(output.to_vec()).unwrap())
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn each_output_has_a_pipe_of_its_own() {
        let script = "echo second >&3; echo first; echo end";
        let said = output_of(script, ["end\n", "second\n"]).await;
        assert_eq!(said, ["first\nend\n", "second\n"]);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn encoder_gets_only_the_path_of_the_environment() {
        assert!(std::env::vars().count() > 3, "there is an environment");
        let [said, _] = output_of("env; echo end", ["end\n", ""]).await;
        let names: Vec<_> = said
            .lines()
            .filter_map(|line| line.split_once('=').map(|(name, _)| name))
            // The shell sets these itself.
            .filter(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name))
            .collect();
        assert_eq!(names, ["PATH"]);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn encoder_has_low_priority_and_limited_memory() {
        // The limits are set after it has started, so it waits for its first byte.
        let script =
            "head -c 1 > /dev/null; nice; grep 'Max data size' /proc/self/limits; echo end";
        let [said, _] = output_of(script, ["end\n", ""]).await;
        let nice: i32 = said.lines().next().unwrap().parse().unwrap();
        let own = rustix::process::getpriority_process(None).unwrap();
        assert_eq!(nice, (own + 10).min(19), "{said}");
        assert!(said.contains(&(2_u64 << 30).to_string()), "{said}");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn output_is_read_and_the_exit_is_noticed() {
        // It accepts any arguments.
        let config = TranscodeConfig {
            command: "echo".into(),
            ..TranscodeConfig::default()
        };
        let mut encoder = Encoder::start(&config, &run(1)).unwrap();
        let (mut input, mut outputs) = (BytesMut::new(), [BytesMut::new(), BytesMut::new()]);
        while encoder.exchange(&mut input, &mut outputs).await.is_ok() {}
        assert!(outputs[0].starts_with(b"-hide_banner"));
        encoder.end().await;
    }

    #[tokio::test]
    async fn encoder_that_waits_for_input_is_killed() {
        let mut encoder = Encoder::start(&TranscodeConfig::default(), &run(2)).unwrap();
        let mut input = BytesMut::from(&b"F"[..]);
        let mut outputs = [BytesMut::new(), BytesMut::new()];
        let exchanged = encoder.exchange(&mut input, &mut outputs).await;
        assert_eq!(exchanged.unwrap(), None);
        assert!(input.is_empty() && encoder.id().is_some());
        assert_eq!(encoder.end().await, None, "not by itself");
    }
}
