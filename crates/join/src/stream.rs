//! The published stream, from a clip that is made once.

use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use serde::Serialize;

/// Length of a clip in seconds. It is published in a loop, so keyframe intervals divide it.
pub(crate) const CLIP: u32 = 40;

/// A stream with so much noise in it that it needs its bitrate, and AAC.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Stream {
    /// Height of the video in pixels; it has the aspect 16:9.
    pub(crate) height: u32,
    /// Frames per second.
    pub(crate) rate: u32,
    /// Megabits of video per second.
    pub(crate) megabits: f64,
    /// Seconds from one keyframe to the next: a divisor of 40.
    pub(crate) gop: u32,
}

impl Stream {
    /// Returns the path of its FLV file, which lies beside this program.
    ///
    /// # Errors
    /// When ffmpeg fails, or the file cannot be written.
    pub(crate) fn clip(self) -> io::Result<PathBuf> {
        let folder = env::current_exe()?.with_file_name("");
        let name = format!(
            "join-{}p{}-{}-{}.flv",
            self.height, self.rate, self.megabits, self.gop
        );
        let path = folder.join(&name);
        if path.exists() {
            return Ok(path);
        }
        eprintln!("making {}", path.display());
        let unfinished = folder.join(format!("unfinished-{name}"));
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"]);
        ffmpeg.args(self.arguments()).arg(&unfinished);
        if !ffmpeg.status()?.success() {
            return Err(io::Error::other(format!("{ffmpeg:?} failed")));
        }
        fs::rename(&unfinished, &path)?;
        Ok(path)
    }

    fn arguments(self) -> Vec<String> {
        let bitrate = format!("{}k", 1000.0 * self.megabits);
        let (gop, length) = ((self.rate * self.gop).to_string(), CLIP.to_string());
        let (width, height, rate) = (self.height * 16 / 9, self.height, self.rate);
        let video = format!(
            "testsrc2=size={width}x{height}:rate={rate},noise=alls=12:allf=t,format=yuv420p"
        );
        let groups: [&[&str]; 6] = [
            &[
                "-f",
                "lavfi",
                "-i",
                &video,
                "-f",
                "lavfi",
                "-i",
                "sine=440:sample_rate=48000",
            ],
            &[
                "-t",
                &length,
                "-c:v",
                "libx264",
                "-profile:v",
                "baseline",
                "-preset",
                "veryfast",
            ],
            &[
                "-b:v", &bitrate, "-minrate", &bitrate, "-maxrate", &bitrate, "-bufsize", &bitrate,
            ],
            &["-g", &gop, "-keyint_min", &gop, "-sc_threshold", "0"],
            &["-c:a", "aac", "-b:a", "96k", "-ac", "2"],
            &["-f", "flv"],
        ];
        groups.concat().into_iter().map(str::to_owned).collect()
    }
}
