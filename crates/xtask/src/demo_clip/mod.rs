//! `cargo xtask demo-clip`: makes the clip that `distributary --demo` publishes.
//!
//! The clip is played in a loop, so its end must match its start: in video, audio and timestamps.
//! It therefore lasts a whole number of video frames, of AAC frames and of milliseconds, and its
//! content is periodic. Video and audio are generated here; ffmpeg draws the name on them and
//! encodes them.

mod audio;
mod flv;
mod video;

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, thread};

use clap::Args;

/// Length of the clip: 336 video frames at 30 per second, and 525 AAC frames of 1024 samples at 48
/// kHz.
const MILLIS: u64 = 11_200;
const FRAMES: usize = 336;
const AAC_FRAMES: usize = 525;
const AAC_SAMPLES: usize = 1024;

/// Video frames per GOP: a divisor of [`FRAMES`], so that the interval holds across the loop.
const KEYFRAME_INTERVAL: &str = "56";

/// The audio is encoded three times in a row, and the clip contains the AAC frames of the second
/// time: they overlap with their neighbors as in an endless loop. The encoder writes one frame of
/// silence first.
const FIRST_AAC_FRAME: usize = AAC_FRAMES + 1;

/// The clip is part of the binary; it should not be most of it.
const MAX_LEN: usize = 400 << 10;

/// Path of the clip.
#[derive(Args)]
pub(crate) struct Options {
    /// The file to write.
    #[arg(long, default_value_os_t = default_output())]
    output: PathBuf,
}

fn default_output() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/assets/demo.flv")
}

/// The reason why there is no clip.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoClipError {
    /// ffmpeg could not be run, or a file not be written.
    #[error("{what}: {source}")]
    Io {
        what: String,
        #[source]
        source: io::Error,
    },
    /// ffmpeg ended with an error; it has said which.
    #[error("ffmpeg failed: {status}")]
    Ffmpeg { status: std::process::ExitStatus },
    /// The output of ffmpeg does not meet the clip's requirements.
    #[error("ffmpeg made {got} {what}, not {wanted}")]
    Count {
        what: &'static str,
        got: usize,
        wanted: usize,
    },
    /// The clip is too large to be a part of the binary.
    #[error("the clip has {len} bytes, more than {MAX_LEN}")]
    TooLarge { len: usize },
}

/// Makes the clip.
pub(crate) fn run(options: &Options) -> Result<(), DemoClipError> {
    let video = encode_video()?;
    let audio = encode_audio()?;
    let clip = assemble(&video, &audio)?;
    if clip.len() > MAX_LEN {
        return Err(DemoClipError::TooLarge { len: clip.len() });
    }
    let output = &options.output;
    let write = || {
        fs::create_dir_all(output.parent().unwrap_or(Path::new(".")))?;
        fs::write(output, &clip)
    };
    write().map_err(|source| io_error(format!("cannot write {}", output.display()), source))?;
    println!("{}: {MILLIS} ms, {} bytes", output.display(), clip.len());
    Ok(())
}

fn encode_video() -> Result<Vec<u8>, DemoClipError> {
    let size = format!("{}x{}", video::WIDTH, video::HEIGHT);
    let filter = format!(
        "{},{},scale=out_color_matrix=bt709:out_range=tv,format=yuv420p",
        "drawtext=font=Sans:text=Distributary:fontsize=46:fontcolor=white@0.92:x=34:y=h-104",
        "drawtext=font=Sans:text='one stream in, a delta of viewers out':fontsize=17\
         :fontcolor=white@0.6:x=37:y=h-48",
    );
    #[rustfmt::skip]
    let arguments = [
        "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", &size, "-r", "30", "-i", "pipe:0",
        "-vf", &filter,
        "-c:v", "libx264", "-profile:v", "baseline", "-level", "3.0", "-preset", "veryslow",
        "-crf", "27", "-bf", "0", "-g", KEYFRAME_INTERVAL, "-keyint_min", KEYFRAME_INTERVAL,
        "-sc_threshold", "0", "-color_primaries", "bt709", "-color_trc", "bt709",
        "-colorspace", "bt709", "-flvflags", "no_duration_filesize", "-f", "flv", "pipe:1",
    ];
    ffmpeg(&arguments, |input| {
        let mut canvas = video::Canvas::new();
        for n in 0..FRAMES {
            input.write_all(canvas.draw(n as f32 / FRAMES as f32))?;
        }
        Ok(())
    })
}

fn encode_audio() -> Result<Vec<u8>, DemoClipError> {
    // The default coder of ffmpeg adds noise that is heard beside soft tones.
    #[rustfmt::skip]
    let arguments = [
        "-f", "f32le", "-ar", "48000", "-ac", "2", "-i", "pipe:0",
        "-c:a", "aac", "-aac_coder", "fast", "-b:a", "64k",
        "-flvflags", "no_duration_filesize", "-f", "flv", "pipe:1",
    ];
    let samples: Vec<u8> = audio::samples(AAC_FRAMES * AAC_SAMPLES)
        .into_iter()
        .flatten()
        .flat_map(f32::to_le_bytes)
        .collect();
    ffmpeg(&arguments, |input| {
        (0..3).try_for_each(|_| input.write_all(&samples))
    })
}

/// Runs ffmpeg with the output of `feed` as its input, and returns its output.
fn ffmpeg(
    arguments: &[&str],
    feed: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send,
) -> Result<Vec<u8>, DemoClipError> {
    let failed = |source| {
        io_error(
            "cannot run ffmpeg (Debian: apt-get install ffmpeg)".into(),
            source,
        )
    };
    let mut child = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-bitexact"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let input = child.stdin.take();
    let output = thread::scope(|scope| {
        // When ffmpeg ends early, its status says more than the broken pipe.
        scope.spawn(move || input.map(|input| feed(&mut BufWriter::new(input))));
        child.wait_with_output()
    })
    .map_err(failed)?;
    if !output.status.success() {
        return Err(DemoClipError::Ffmpeg {
            status: output.status,
        });
    }
    Ok(output.stdout)
}

/// Writes the video frames and the chosen AAC frames to one file, each at its exact time.
fn assemble(video: &[u8], audio: &[u8]) -> Result<Vec<u8>, DemoClipError> {
    let (video_header, frames) = flv::media(video, flv::VIDEO);
    let (audio_header, blocks) = flv::media(audio, flv::AUDIO);
    check_count("video frames", frames.len(), FRAMES)?;
    let blocks = blocks
        .get(FIRST_AAC_FRAME..FIRST_AAC_FRAME + AAC_FRAMES)
        .unwrap_or_default();
    check_count("AAC frames in the middle", blocks.len(), AAC_FRAMES)?;

    let mut tags = vec![(0, flv::VIDEO, video_header), (0, flv::AUDIO, audio_header)];
    let at = |n: usize, of: usize| (n as u64 * MILLIS + of as u64 / 2) / of as u64;
    tags.extend(
        frames
            .iter()
            .enumerate()
            .map(|(n, body)| (at(n, FRAMES), flv::VIDEO, *body)),
    );
    tags.extend(
        blocks
            .iter()
            .enumerate()
            .map(|(n, body)| (at(n, AAC_FRAMES), flv::AUDIO, *body)),
    );
    tags.sort_by_key(|(time, ..)| *time);
    Ok(flv::file(&tags))
}

fn check_count(what: &'static str, got: usize, wanted: usize) -> Result<(), DemoClipError> {
    if got == wanted {
        return Ok(());
    }
    Err(DemoClipError::Count { what, got, wanted })
}

fn io_error(what: String, source: io::Error) -> DemoClipError {
    DemoClipError::Io { what, source }
}
