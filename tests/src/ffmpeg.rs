//! ffmpeg: generates a clip with frame numbers, and publishes it over RTMP.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use crate::flv;
use crate::process::{Process, Stream};

/// Video frames per second of a clip.
pub const FRAME_RATE: u32 = 30;

/// Video frames in a clip: a minute. It is published in a loop.
pub const CLIP_FRAMES: u32 = 60 * FRAME_RATE;

/// A FLV file: H264 Constrained Baseline (no B-frames) with a number in each frame, and a tone as
/// AAC-LC.
///
/// The upper quarter of a frame has 16 columns, the bits of its number with the least significant
/// one on the left: white is 1. Below each block is its inverse, which proves that the column was
/// read correctly. The rest is a moving test pattern.
#[derive(Clone, Debug)]
pub struct Clip {
    path: PathBuf,
    /// Width of the video.
    pub width: u32,
    /// Height of the video.
    pub height: u32,
    /// Frames from one keyframe to the next.
    pub gop: u32,
}

impl Clip {
    /// Returns a clip with a keyframe every `gop` frames. It is generated once and kept beside the
    /// build.
    ///
    /// # Panics
    /// When ffmpeg fails.
    #[must_use]
    pub fn with_gop(gop: u32) -> Self {
        Self::new(640, 360, gop, Encoding::InOrder)
    }

    /// Returns a clip with this encoding.
    ///
    /// # Panics
    /// When ffmpeg fails.
    #[must_use]
    pub fn encoded(gop: u32, encoding: Encoding) -> Self {
        Self::new(640, 360, gop, encoding)
    }

    /// Returns a clip with a keyframe every `gop` frames, and audio that differs from other clips:
    /// mono, at 44.1 kHz.
    ///
    /// # Panics
    /// When ffmpeg fails.
    #[must_use]
    pub fn with_mono_audio(gop: u32) -> Self {
        let (width, height) = (640, 360);
        let mut arguments = clip_arguments(width, height, gop, Encoding::InOrder);
        let format = arguments.len() - 2;
        let audio = ["-ar", "44100", "-ac", "1"].map(str::to_owned);
        arguments.splice(format..format, audio);
        Self::made_with(&arguments, width, height, gop)
    }

    /// Returns a small clip, for transcoders that have to keep up with it.
    ///
    /// # Panics
    /// When ffmpeg fails.
    #[must_use]
    pub fn small() -> Self {
        Self::new(320, 240, 2 * FRAME_RATE, Encoding::InOrder)
    }

    /// Returns a clip of another size: `width` is a multiple of 16, and `height` of 8.
    ///
    /// # Panics
    /// When ffmpeg fails.
    #[must_use]
    pub fn new(width: u32, height: u32, gop: u32, encoding: Encoding) -> Self {
        Self::made_with(
            &clip_arguments(width, height, gop, encoding),
            width,
            height,
            gop,
        )
    }

    /// Returns a clip of another size, as [`Clip::new`], with about this bitrate in kbit/s. Clips with
    /// the same GOP have the same frames.
    ///
    /// # Panics
    /// When ffmpeg fails.
    #[must_use]
    pub fn of_bitrate(width: u32, height: u32, gop: u32, kilobits: u32) -> Self {
        let mut arguments = clip_arguments(width, height, gop, Encoding::InOrder);
        let format = arguments.len() - 2;
        let rate = format!("{kilobits}k");
        let limits = ["-b:v", &rate, "-maxrate", &rate, "-bufsize", &rate];
        arguments.splice(format..format, limits.map(str::to_owned));
        Self::made_with(&arguments, width, height, gop)
    }

    fn made_with(arguments: &[String], width: u32, height: u32, gop: u32) -> Self {
        let mut hash = DefaultHasher::new();
        arguments.hash(&mut hash);
        let folder = scratch_folder();
        let path = folder.join(format!(
            "clip-{width}x{height}-{gop}-{:016x}.flv",
            hash.finish()
        ));
        if !path.exists() {
            generate(arguments, &folder, &path);
        }
        Self {
            path,
            width,
            height,
            gop,
        }
    }

    /// Cuts each track to a part of it: times in milliseconds.
    ///
    /// # Panics
    /// When the file cannot be read or written.
    #[must_use]
    pub fn cut(&self, video: RangeInclusive<u32>, audio: RangeInclusive<u32>) -> Self {
        let file = fs::read(&self.path).expect("the clip can be read");
        let name = format!("cut-{video:?}-{audio:?}.flv");
        let path = self.path.with_extension(name);
        fs::write(&path, flv::cut(&file, video, audio)).expect("the build folder can be written");
        Self {
            path,
            ..self.clone()
        }
    }

    /// Returns a clip of a minute and a half, with black frames that are white for a tenth of each
    /// second while a tone of 1 kHz plays.
    ///
    /// # Panics
    /// When ffmpeg fails.
    #[must_use]
    pub fn flash_and_beep(encoding: Encoding) -> Self {
        Self::flash_and_beep_of(320, 240, encoding)
    }

    /// Returns the same in another size.
    ///
    /// # Panics
    /// When ffmpeg fails.
    #[must_use]
    pub fn flash_and_beep_of(width: u32, height: u32, encoding: Encoding) -> Self {
        let frame = format!(
            "color=c=black:s={width}x{height}:r={FRAME_RATE},\
             drawbox=c=white:t=fill:enable='lt(mod(t+0.001,1),0.1)',format=yuv420p"
        );
        let audio = "aevalsrc='if(lt(mod(t,1),0.1),0.5*sin(2*PI*1000*t),0)':s=48000";
        let inputs: [&[&str]; 5] = [
            &["-f", "lavfi", "-i", &frame, "-f", "lavfi", "-i", audio],
            &["-t", "90", "-c:v", "libx264", "-preset", "ultrafast"],
            encoding.arguments(),
            &["-g", "30", "-sc_threshold", "0", "-c:a", "aac", "-ac", "2"],
            &["-f", "flv"],
        ];
        let arguments: Vec<String> = inputs.concat().into_iter().map(str::to_owned).collect();
        Self::made_with(&arguments, width, height, 30)
    }

    /// Returns the path of the FLV file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Order and kinds of the encoded frames of a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// In display order: Constrained Baseline.
    InOrder,
    /// In display order with intra refresh, column by column: no keyframe but the first.
    IntraRefresh,
    /// With three consecutive B-frames that no frame references.
    BFrames,
    /// With B-frames that other frames reference, the default of x264 and OBS.
    Pyramid,
}

impl Encoding {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::InOrder => &["-profile:v", "baseline"],
            Self::IntraRefresh => &["-profile:v", "baseline", "-x264-params", "intra-refresh=1"],
            Self::BFrames => &[
                "-bf",
                "3",
                "-b_strategy",
                "0",
                "-x264-params",
                "b-pyramid=none",
            ],
            Self::Pyramid => &[
                "-bf",
                "3",
                "-b_strategy",
                "0",
                "-x264-params",
                "b-pyramid=normal",
            ],
        }
    }
}

fn clip_arguments(width: u32, height: u32, gop: u32, encoding: Encoding) -> Vec<String> {
    let (bits_height, picture_height) = (height / 4, height - height / 4);
    let filter = format!(
        "color=c=black:s=16x2:r={FRAME_RATE},format=gray,\
         geq=lum='255*mod(floor(N/pow(2,X))+Y,2)',\
         scale={width}:{bits_height}:flags=neighbor,setsar=1,format=yuv420p[bits];\
         testsrc2=s={width}x{picture_height}:r={FRAME_RATE},format=yuv420p[picture];\
         [bits][picture]vstack[video]"
    );
    let (duration, gop) = ((CLIP_FRAMES / FRAME_RATE).to_string(), gop.to_string());
    let groups: [&[&str]; 8] = [
        &["-filter_complex", &filter],
        &["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"],
        &["-map", "[video]", "-map", "0:a", "-t", &duration],
        &["-c:v", "libx264", "-preset", "ultrafast", "-b:v", "1M"],
        encoding.arguments(),
        &["-g", &gop, "-keyint_min", &gop, "-sc_threshold", "0"],
        &["-c:a", "aac", "-b:a", "96k", "-ac", "2"],
        &["-f", "flv"],
    ];
    groups.concat().into_iter().map(str::to_owned).collect()
}

fn generate(arguments: &[String], folder: &Path, path: &Path) {
    fs::create_dir_all(folder).expect("the build folder can be written");
    // Another test may be making the same clip: each writes a file of its own, and the last wins.
    let unfinished = tempfile::Builder::new()
        .prefix("clip-")
        .suffix(".flv")
        .tempfile_in(folder);
    let unfinished = unfinished
        .expect("the build folder can be written")
        .into_temp_path();
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"])
        .args(arguments)
        .arg(&unfinished)
        .output()
        .expect("ffmpeg can be run");
    assert!(
        output.status.success(),
        "ffmpeg: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    unfinished
        .persist(path)
        .expect("a file can be renamed in its folder");
}

/// Returns a folder beside the build, which `cargo clean` removes.
pub(crate) fn scratch_folder() -> PathBuf {
    let executable = env::current_exe().expect("the path of the test is known");
    // The test is target/<profile>/deps/<name>.
    let target = executable
        .ancestors()
        .nth(3)
        .expect("a test lies in the target folder");
    target.join("tmp")
}

/// Returns the path of a program from PyPI.
///
/// # Panics
/// When `cargo xtask test` has not installed it.
#[must_use]
pub fn tool_script(name: &str) -> PathBuf {
    let script = tool_python().with_file_name(name);
    assert!(
        script.exists(),
        "{} is missing: `cargo xtask test` installs it",
        script.display()
    );
    script
}

/// Returns the folder of what `cargo xtask test` installs for the tests.
pub(crate) fn tools_folder() -> PathBuf {
    scratch_folder().with_file_name("tools")
}

/// Returns the subfolder for one package registry.
pub(crate) fn tool_folder(registry: &str) -> PathBuf {
    tools_folder().join(registry)
}

/// Returns the Python interpreter with the packages from PyPI.
pub(crate) fn tool_python() -> PathBuf {
    tool_folder("python").join("bin/python")
}

/// A publisher: `ffmpeg -re -i clip.flv -c copy -f flv rtmp://...`, in a loop. It is killed when
/// this is dropped.
#[derive(Debug)]
pub struct Publisher {
    process: Process,
}

impl Publisher {
    /// Begins to publish `clip` to an RTMP URL.
    ///
    /// # Panics
    /// When ffmpeg cannot be run.
    #[must_use]
    pub fn start(clip: &Clip, url: &str) -> Self {
        let mut command = Command::new("ffmpeg");
        command
            .args(["-hide_banner", "-loglevel", "info", "-nostats", "-nostdin"])
            .args(["-re", "-stream_loop", "-1", "-i"])
            .arg(clip.path())
            .args(["-c", "copy", "-f", "flv", url]);
        Self {
            process: Process::start("ffmpeg", command),
        }
    }

    /// Begins to publish what ffmpeg makes of these arguments, its inputs and its encoding.
    ///
    /// # Panics
    /// When ffmpeg cannot be run.
    #[must_use]
    pub fn encoding(arguments: &[&str], url: &str) -> Self {
        let mut command = Command::new("ffmpeg");
        command
            .args(["-hide_banner", "-loglevel", "info", "-nostats", "-nostdin"])
            .args(arguments)
            .args(["-f", "flv", url]);
        Self {
            process: Process::start("ffmpeg", command),
        }
    }

    /// Ends the stream in the way of a publisher that is stopped by its user: the stream is
    /// unpublished before the connection closes.
    ///
    /// # Panics
    /// When ffmpeg does not end.
    pub fn stop(mut self) {
        self.process.signal("INT");
        self.process.wait();
    }

    /// Sends a signal to ffmpeg, such as `STOP`.
    ///
    /// # Panics
    /// When that fails.
    pub fn signal(&self, signal: &str) {
        self.process.signal(signal);
    }

    /// Waits until ffmpeg exits. Returns its status and its output.
    ///
    /// # Panics
    /// When it does not end.
    pub fn wait(&mut self) -> (ExitStatus, String) {
        let status = self.process.wait();
        (status, self.process.printed(Stream::Stderr).join("\n"))
    }

    /// Returns whether it still publishes.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }
}

/// Starts ffmpeg as a player of an RTMP URL, until the stream ends.
///
/// # Panics
/// When ffmpeg cannot be run.
#[must_use]
pub fn play(url: &str) -> Process {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostdin", "-loglevel", "warning"]);
    command.args(["-i", url, "-c", "copy", "-f", "null", "-"]);
    Process::start("ffmpeg", command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_of_the_clip_has_its_number() {
        let clip = Clip::with_gop(FRAME_RATE);
        let output = Command::new("ffmpeg")
            .args(["-loglevel", "error", "-nostdin", "-i"])
            .arg(clip.path())
            .args([
                "-vf",
                "crop=iw:ih/4:0:0,scale=16:2:flags=neighbor,format=gray",
            ])
            .args(["-fps_mode", "passthrough", "-f", "rawvideo", "-"])
            .output()
            .unwrap();
        assert!(output.status.success());
        let frames = output.stdout.chunks(32).map(|rows| {
            let (plain, inverted) = rows.split_at(16);
            plain
                .iter()
                .zip(inverted)
                .enumerate()
                .fold(0, |number, (bit, (plain, inverted))| {
                    assert!(plain.abs_diff(*inverted) > 100, "{plain} {inverted}");
                    number | u32::from(plain > inverted) << bit
                })
        });
        assert!(frames.eq(0..CLIP_FRAMES));
    }
}
