//! The child process that encodes.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tracing::{Instrument, warn};

use crate::config::TranscodeConfig;
use crate::error_lines::ErrorLines;

/// Bytes of output read at once.
const READ_SIZE: usize = 64 << 10;

/// The lowest priority (setpriority(2)).
#[cfg(target_os = "linux")]
const MAX_NICE: i32 = 19;

/// Keyframe interval in seconds: the longest wait of a viewer that has lost a keyframe.
const KEYFRAME_SECONDS: u32 = 2;

/// A running encoder. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Encoder {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl Encoder {
    /// Starts an encoder that decodes the frames of the first `skip` without encoding them.
    pub(crate) fn start(config: &TranscodeConfig, skip: Duration) -> io::Result<Self> {
        let mut command = Command::new(&config.command);
        clear_environment(&mut command);
        command
            .args(arguments(config, skip))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        // A signal from the terminal is for the gateway alone, which ends its encoders itself.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn()?;
        limit_memory(&child, config.max_memory)?;
        lower_priority(&child, config.nice)?;
        let missing = || io::Error::other("a pipe is missing");
        let input = child.stdin.take().ok_or_else(missing)?;
        let output = child.stdout.take().ok_or_else(missing)?;
        if let Some(stderr) = child.stderr.take() {
            // Ends with the child, so that its last lines are logged.
            tokio::spawn(log(stderr).in_current_span());
        }
        Ok(Self {
            child,
            input,
            output,
        })
    }

    /// Returns its process id.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Writes some of `input`, from which it is removed, and reads some into `output`. Returns the
    /// number of bytes read once there are any, or 0 once all is written. It may be dropped and
    /// called again.
    ///
    /// # Errors
    /// When the encoder has ended, or its pipes have failed.
    pub(crate) async fn exchange(
        &mut self,
        input: &mut BytesMut,
        output: &mut BytesMut,
    ) -> io::Result<usize> {
        output.reserve(READ_SIZE);
        loop {
            tokio::select! {
                written = self.input.write(input), if !input.is_empty() => {
                    input.advance(written?);
                    if input.is_empty() {
                        return Ok(0);
                    }
                }
                read = self.output.read_buf(output) => return match read? {
                    0 => Err(io::ErrorKind::UnexpectedEof.into()),
                    read => Ok(read),
                },
            }
        }
    }

    /// Ends it. Returns its exit status if it exited by itself.
    pub(crate) async fn end(mut self) -> Option<ExitStatus> {
        drop((self.input, self.output));
        let by_itself = self.child.try_wait().ok().flatten();
        // It fails only if the child has exited.
        let _ = self.child.kill().await;
        by_itself
    }
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

/// Returns the arguments for ffmpeg.
fn arguments(config: &TranscodeConfig, skip: Duration) -> Vec<String> {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    let skipped: Vec<String> = match skip.as_millis() {
        0 => Vec::new(),
        millis => vec!["-ss".to_owned(), format!("{millis}ms")],
    };
    let keyframes = format!("expr:gte(t,n_forced*{KEYFRAME_SECONDS})");
    let max_pixels = match config.max_pixels {
        0 => Vec::new(),
        pixels => vec!["-max_pixels".to_owned(), pixels.to_string()],
    };
    let groups: [Vec<String>; 9] = [
        words("-hide_banner -nostdin -nostats -loglevel error"),
        // The stream may declare a wrong size, and change it.
        max_pixels,
        words(&config.decode),
        // The first bytes describe the stream, so probing needs no more.
        words("-probesize 32 -analyzeduration 0 -f flv -i pipe:0"),
        // Timestamps are kept, and no frame is duplicated or dropped for a constant rate.
        words("-copyts -map 0:v:0 -fps_mode passthrough"),
        skipped,
        words(&config.encode),
        vec!["-force_key_frames".to_owned(), keyframes],
        words("-bf 0 -flvflags no_duration_filesize -flush_packets 1 -f flv pipe:1"),
    ];
    groups.concat()
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

    #[test]
    fn options_are_in_the_order_that_ffmpeg_expects() {
        let config = TranscodeConfig {
            decode: "-decode".into(),
            encode: "-encode".into(),
            ..TranscodeConfig::default()
        };
        let all = arguments(&config, Duration::from_millis(1800));
        let at = |word: &str| all.iter().position(|argument| argument == word).unwrap();
        let order = ["-decode", "-i", "-ss", "-encode", "-bf"].map(at);
        assert!(order.is_sorted(), "{all:?}");
        assert_eq!(all[at("-ss") + 1], "1800ms");
        let limit = config.max_pixels.to_string();
        assert_eq!(all[at("-max_pixels") + 1], limit, "for the decoder");
        assert!(at("-max_pixels") < at("-i"));
        let from_the_first = arguments(&config, Duration::ZERO);
        assert!(!from_the_first.iter().any(|argument| argument == "-ss"));
    }

    /// Runs a shell script as an encoder, and returns its output.
    #[cfg(target_os = "linux")]
    async fn output_of(script: &str) -> String {
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
        let mut encoder = Encoder::start(&config, Duration::ZERO).unwrap();
        let (mut input, mut output) = (BytesMut::from(&b"F"[..]), BytesMut::new());
        while !output.ends_with(b"end\n") {
            encoder.exchange(&mut input, &mut output).await.unwrap();
        }
        encoder.end().await;
        std::fs::remove_file(file).unwrap();
        String::from_utf8(output.to_vec()).unwrap()
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn encoder_gets_only_the_path_of_the_environment() {
        assert!(std::env::vars().count() > 3, "there is an environment");
        let said = output_of("env; echo end").await;
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
        let said = output_of(script).await;
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
        let mut encoder = Encoder::start(&config, Duration::ZERO).unwrap();
        let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
        while encoder.exchange(&mut input, &mut output).await.is_ok() {}
        assert!(output.starts_with(b"-hide_banner"));
        encoder.end().await;
    }

    #[tokio::test]
    async fn encoder_that_waits_for_input_is_killed() {
        let mut encoder = Encoder::start(&TranscodeConfig::default(), Duration::ZERO).unwrap();
        let (mut input, mut output) = (BytesMut::from(&b"F"[..]), BytesMut::new());
        assert_eq!(encoder.exchange(&mut input, &mut output).await.unwrap(), 0);
        assert!(input.is_empty() && encoder.id().is_some());
        assert_eq!(encoder.end().await, None, "not by itself");
    }
}
