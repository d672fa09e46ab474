//! The transcoder: whether ffmpeg is there, and has the configured encoder.

use std::process::{Command, Stdio};

use distributary_transcode::TranscodeConfig;
use distributary_whep::admin::Finding;

use super::listed;

const CHECK: &str = "ffmpeg";

/// The H264 encoders of ffmpeg, software first.
const ENCODERS: [&str; 8] = [
    "libx264",
    "libopenh264",
    "h264_nvenc",
    "h264_vaapi",
    "h264_qsv",
    "h264_amf",
    "h264_v4l2m2m",
    "h264_videotoolbox",
];

pub(super) fn findings(config: &TranscodeConfig) -> Vec<Finding> {
    if config.command.is_empty() {
        return vec![Finding::ok(
            CHECK,
            "transcoding is off (command under [transcode] is empty)",
        )];
    }
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&config.command);
        let output = command.args(arguments).stdin(Stdio::null()).output()?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let said = run(&["-hide_banner", "-version"])
        .and_then(|version| Ok((version, run(&["-hide_banner", "-encoders"])?)));
    let said = said.map_err(|error| error.to_string());
    vec![judge(
        config,
        said.as_ref()
            .map(|(version, encoders)| (version.as_str(), encoders.as_str()))
            .map_err(String::as_str),
    )]
}

/// Judges what the program says of its version and its encoders.
fn judge(config: &TranscodeConfig, said: Result<(&str, &str), &str>) -> Finding {
    let command = &config.command;
    let (version, encoders) = match said {
        Ok(said) => said,
        Err(error) => {
            return Finding::warning(CHECK, format!("{command} cannot be started: {error}")).advise(
                "Install ffmpeg, or set command under [transcode] to its path. Without it, viewers of streams \
                 that browsers cannot decode, such as those with B-frames, get only some of the frames.",
            );
        }
    };
    let version = version.lines().next().unwrap_or_default();
    let version: Vec<_> = version.split(' ').take(3).collect();
    // " V....D libx264   libx264 H.264 / AVC (codec h264)"
    let names = || {
        encoders
            .lines()
            .filter_map(|line| line.split_whitespace().nth(1))
    };
    let found: Vec<_> = ENCODERS
        .into_iter()
        .filter(|encoder| names().any(|name| name == *encoder))
        .collect();
    let mut words = config.encode.split_whitespace();
    let wanted = words
        .find(|word| ["-c:v", "-codec:v", "-vcodec"].contains(word))
        .and_then(|_| words.next());
    let text = format!(
        "{} with the H264 encoders {}",
        version.join(" "),
        listed(&found)
    );
    match wanted {
        Some(wanted) if !names().any(|name| name == wanted) => Finding::error(
            CHECK,
            format!("{text}; encode under [transcode] asks for {wanted}, which it does not have"),
        )
        .advise("Install an ffmpeg with this encoder, or choose another in encode."),
        _ => Finding::ok(CHECK, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::text;

    const VERSION: &str =
        "ffmpeg version 7.1.1 Copyright (c) 2000-2025 the FFmpeg developers\nbuilt\n";

    #[test]
    fn encoders_are_listed_and_a_missing_one_is_an_error() {
        let config = TranscodeConfig::default();
        let encoders = " V....D libx264  libx264 H.264\n V....D h264_vaapi  H.264/AVC (VAAPI)\n A....D aac  AAC\n";
        assert_eq!(
            text(&[judge(&config, Ok((VERSION, encoders)))]),
            "ok       ffmpeg        ffmpeg version 7.1.1 with the H264 encoders libx264 and h264_vaapi\n"
        );
        assert_eq!(
            text(&[judge(&config, Ok((VERSION, " A....D aac  AAC\n")))]),
            "error    ffmpeg        ffmpeg version 7.1.1 with the H264 encoders none; encode under [transcode]\n\
             \x20                       asks for libx264, which it does not have\n\
             \x20                       Install an ffmpeg with this encoder, or choose another in encode.\n"
        );
    }

    #[test]
    fn missing_program_is_a_warning() {
        let config = TranscodeConfig {
            command: "/nowhere/ffmpeg".to_owned(),
            ..TranscodeConfig::default()
        };
        assert_eq!(
            text(&findings(&config)),
            "warning  ffmpeg        /nowhere/ffmpeg cannot be started: No such file or directory (os error 2)\n\
             \x20                       Install ffmpeg, or set command under [transcode] to its path. Without it,\n\
             \x20                       viewers of streams that browsers cannot decode, such as those with B-frames,\n\
             \x20                       get only some of the frames.\n"
        );
        let off = TranscodeConfig {
            command: String::new(),
            ..config
        };
        assert!(text(&findings(&off)).starts_with("ok       ffmpeg        transcoding is off"));
    }
}
