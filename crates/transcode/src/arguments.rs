//! The command line of an encoder.

use std::time::Duration;

use crate::config::TranscodeConfig;
use crate::ladder::Output;

/// The file descriptor of standard output.
pub(crate) const STDOUT: i32 = 1;

/// Part of a second for which an encoder may exceed the limit of its bitrate, as a divisor: the
/// buffer of the receiver that the limit assumes. A keyframe is spread over it.
const BUFFERS_PER_SECOND: u64 = 2;

/// One run of an encoder.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// Media time at the start of the input that is decoded and not encoded.
    pub(crate) skip: Duration,
    /// The outputs to encode.
    pub(crate) outputs: Vec<Output>,
    /// Maximum number of frames from one keyframe to the next.
    pub(crate) keyframe_interval: u32,
    /// True for ffmpeg 5.1 and later, which has `-fps_mode` in place of `-vsync`.
    pub(crate) has_fps_mode: bool,
}

/// Returns the file descriptor to which the encoder writes an output.
pub(crate) fn descriptor(output: usize) -> i32 {
    match output {
        0 => STDOUT,
        // After standard error.
        n => i32::try_from(n).map_or(i32::MAX, |n| n.saturating_add(2)),
    }
}

/// Returns the arguments for ffmpeg.
pub(crate) fn arguments(config: &TranscodeConfig, run: &Run) -> Vec<String> {
    let max_pixels = match config.max_pixels {
        0 => Vec::new(),
        pixels => vec!["-max_pixels".to_owned(), pixels.to_string()],
    };
    let input = [
        words("-hide_banner -nostdin -nostats -loglevel error"),
        // The stream may declare a wrong size, and change it.
        max_pixels,
        words(&config.decode),
        // The first bytes describe the stream, so probing needs no more.
        words("-probesize 32 -analyzeduration 0 -f flv -i pipe:0 -copyts"),
    ];
    let outputs = run.outputs.iter().enumerate();
    let outputs = outputs.flat_map(|(n, output)| output_arguments(config, run, n, output));
    input.concat().into_iter().chain(outputs).collect()
}

/// Returns the arguments for one output.
fn output_arguments(
    config: &TranscodeConfig,
    run: &Run,
    number: usize,
    output: &Output,
) -> Vec<String> {
    let skipped = match run.skip.as_millis() {
        0 => Vec::new(),
        millis => vec!["-ss".to_owned(), format!("{millis}ms")],
    };
    let encode = match output.size {
        Some(size) => scaled(words(&config.encode), size),
        None => words(&config.encode),
    };
    // After the configured options, of which it replaces those of the same name.
    let limit = output.limit.map_or_else(Vec::new, |limit| {
        let buffer = limit / BUFFERS_PER_SECOND;
        words(&format!("-b:v {limit} -maxrate {limit} -bufsize {buffer}"))
    });
    // Timestamps are kept, and no frame is duplicated or dropped for a constant rate.
    let passthrough = if run.has_fps_mode {
        "-fps_mode passthrough"
    } else {
        "-vsync passthrough"
    };
    let interval = run.keyframe_interval;
    let target = descriptor(number);
    let groups: [Vec<String>; 7] = [
        words("-map 0:v:0"),
        words(passthrough),
        skipped,
        encode,
        limit,
        // Renditions have keyframes at the same times, and more if those of the source are far
        // apart: the longest wait of a viewer that has lost one.
        words(&format!("-force_key_frames source -g {interval} -bf 0")),
        words(&format!(
            "-flvflags no_duration_filesize -flush_packets 1 -f flv pipe:{target}"
        )),
    ];
    groups.concat()
}

/// Adds the scaler to the encoding options: before their own filter, if they have one, which may
/// move the frame to a hardware encoder.
fn scaled(mut encode: Vec<String>, (width, height): (u32, u32)) -> Vec<String> {
    let scale = format!("scale={width}:{height}");
    let is_filter = |option: &String| ["-vf", "-filter:v"].contains(&option.as_str());
    let filter = encode.iter().position(is_filter).map(|option| option + 1);
    match filter.and_then(|filter| encode.get_mut(filter)) {
        Some(filter) => *filter = format!("{scale},{filter}"),
        None => encode.extend(["-vf".to_owned(), scale]),
    }
    encode
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use distributary_names::RenditionId;

    #[test]
    fn options_are_in_the_order_that_ffmpeg_expects() {
        let config = TranscodeConfig {
            decode: "-decode".into(),
            encode: "-encode -maxrate 6M".into(),
            ..TranscodeConfig::default()
        };
        let mut run = Run {
            skip: Duration::from_millis(1800),
            outputs: vec![
                Output {
                    id: RenditionId::H264,
                    size: None,
                    limit: None,
                },
                Output {
                    id: RenditionId::rung(360),
                    size: Some((640, 360)),
                    limit: Some(600_000),
                },
            ],
            keyframe_interval: 60,
            has_fps_mode: true,
        };
        let text = arguments(&config, &run).join(" ");
        let limit = config.max_pixels.to_string();
        let outputs = [
            "-map 0:v:0 -fps_mode passthrough -ss 1800ms -encode -maxrate 6M \
             -force_key_frames source -g 60 -bf 0 \
             -flvflags no_duration_filesize -flush_packets 1 -f flv pipe:1",
            "-map 0:v:0 -fps_mode passthrough -ss 1800ms -encode -maxrate 6M \
             -vf scale=640:360 -b:v 600000 -maxrate 600000 -bufsize 300000 \
             -force_key_frames source -g 60 -bf 0 \
             -flvflags no_duration_filesize -flush_packets 1 -f flv pipe:3",
        ];
        let expected = format!("-i pipe:0 -copyts {} {}", outputs[0], outputs[1]);
        assert!(text.ends_with(&expected), "{text}");
        let decoder = format!("-max_pixels {limit} -decode");
        assert!(text.contains(&decoder), "for the decoder: {text}");

        let hardware = scaled(
            words("-vf format=nv12,hwupload -c:v h264_vaapi"),
            (640, 360),
        );
        let expected = "-vf scale=640:360,format=nv12,hwupload -c:v h264_vaapi";
        assert_eq!(hardware.join(" "), expected);

        run.skip = Duration::ZERO;
        run.has_fps_mode = false;
        let text = arguments(&config, &run).join(" ");
        let expected = "-copyts -map 0:v:0 -vsync passthrough -encode";
        assert!(text.contains(expected), "{text}");
    }
}
