//! Advice to publishers: encoder settings to change.

use distributary_media::h264::Limitation;
use distributary_media::{BFrames, VideoTrack};

use crate::cache::{MAX_FRAMES, Overflow};
use crate::encoder::Encoder;
use crate::stream::StreamStats;

/// Returns how to change the encoder of a stream, if viewers do not get the stream as published.
pub fn of(stats: &StreamStats) -> Option<String> {
    let info = stats.info.as_deref();
    let encoder = Encoder::of(info.and_then(|info| info.encoder.as_deref()));
    let all = [
        stats.missing_video.as_deref().map(of_missing),
        stats.missing_audio.as_deref().map(of_missing),
        of_b_frames(stats.b_frames, stats.video.as_deref(), encoder),
        stats
            .cache_overflow
            .map(|overflow| of_overflow(overflow, encoder)),
    ];
    let all: Vec<String> = all.into_iter().flatten().collect();
    (!all.is_empty()).then(|| all.join(" "))
}

/// Returns the name of the exceeded bound of the GOP cache: its configuration key, if it has one.
pub fn bound(overflow: Overflow) -> &'static str {
    match overflow {
        Overflow::Bytes => "cache_size",
        Overflow::Duration => "cache_duration",
        Overflow::Frames => "frames",
        Overflow::Memory => "memory",
    }
}

/// Returns the message of the log as a sentence.
fn of_missing(missing: &impl ToString) -> String {
    let text = missing.to_string();
    let (first, rest) = text.split_at_checked(1).unwrap_or_default();
    format!("{}{rest}.", first.to_ascii_uppercase())
}

fn of_overflow(overflow: Overflow, encoder: Encoder) -> String {
    let bound = match overflow {
        Overflow::Memory => "the memory of the gateway allows".to_owned(),
        Overflow::Bytes | Overflow::Duration => format!("{} allows", bound(overflow)),
        Overflow::Frames => format!("{MAX_FRAMES}"),
    };
    format!(
        "New viewers wait for the next keyframe, because the GOP cache may hold no more than {bound}, \
         and the GOP is longer: {}.",
        encoder.with_keyframes()
    )
}

fn of_b_frames(
    b_frames: Option<BFrames>,
    video: Option<&VideoTrack>,
    encoder: Encoder,
) -> Option<String> {
    let consequence = match b_frames {
        None | Some(BFrames::None) => {
            let limitation = video.and_then(Limitation::of_track);
            return limitation.map(|limitation| format!("Note that {limitation}."));
        }
        Some(BFrames::NonReference) => {
            "They are dropped, so the video is less smooth than it could be"
        }
        Some(BFrames::Reference) => {
            "The gateway has to transcode the stream, or some viewers get only keyframes"
        }
    };
    Some(format!(
        "The stream has B-frames, which WebRTC does not support. {consequence}: {}.",
        encoder.without_b_frames()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{MissingAudio, MissingVideo, PublisherInfo};
    use std::sync::Arc;

    fn with_b_frames(b_frames: BFrames) -> StreamStats {
        StreamStats {
            b_frames: Some(b_frames),
            ..StreamStats::default()
        }
    }

    #[test]
    fn b_frame_advice_names_the_consequence_and_the_fix() {
        assert_eq!(of(&StreamStats::default()), None);
        assert_eq!(of(&with_b_frames(BFrames::None)), None);
        for (b_frames, meaning) in [
            (BFrames::NonReference, "dropped"),
            (BFrames::Reference, "keyframes"),
        ] {
            let advice = of(&with_b_frames(b_frames)).unwrap();
            assert!(
                advice.contains(meaning) && advice.contains("-bf 0"),
                "{advice}"
            );
        }
    }

    #[test]
    fn advice_is_in_the_words_of_the_encoder() {
        for (name, words) in [
            ("obs-output module (libobs version 30.2.0)", "Max B-frames"),
            ("Lavf61.1.100", "-bf 0 to the ffmpeg command"),
        ] {
            let stats = StreamStats {
                info: Some(Arc::new(PublisherInfo {
                    encoder: Some(name.to_owned()),
                    ..PublisherInfo::default()
                })),
                ..with_b_frames(BFrames::Reference)
            };
            let advice = of(&stats).unwrap();
            assert!(advice.contains(words), "{advice}");
        }
    }

    #[test]
    fn overflow_advice_names_the_configuration_key() {
        for (overflow, key) in [
            (Overflow::Bytes, "cache_size"),
            (Overflow::Duration, "cache_duration"),
        ] {
            let stats = StreamStats {
                cache_overflow: Some(overflow),
                ..StreamStats::default()
            };
            let advice = of(&stats).unwrap();
            assert!(
                advice.contains(key) && advice.contains("keyframe"),
                "{advice}"
            );
            let both = of(&StreamStats {
                b_frames: Some(BFrames::Reference),
                ..stats
            })
            .unwrap();
            assert!(both.contains("-bf 0") && both.ends_with(&advice), "{both}");
        }
    }

    #[test]
    fn missing_video_comes_first_as_in_the_log() {
        let missing = MissingVideo {
            has_keyframe: true,
            reason: Some("it is broken".into()),
        };
        let stats = StreamStats {
            missing_video: Some(Arc::new(missing.clone())),
            ..with_b_frames(BFrames::Reference)
        };
        let advice = of(&stats).unwrap();
        let text = missing.to_string();
        let (sentence, rest) = advice.split_once(". ").unwrap();
        assert!(
            sentence.starts_with('V') && sentence[1..] == text[1..],
            "{advice}"
        );
        assert!(
            sentence.contains("it is broken") && rest.contains("-bf 0"),
            "{advice}"
        );
    }

    #[test]
    fn missing_audio_advice_gives_the_reason() {
        let stats = StreamStats {
            missing_audio: Some(Arc::new(MissingAudio {
                reason: "it is broken".into(),
            })),
            ..StreamStats::default()
        };
        let advice = of(&stats).unwrap();
        assert!(advice.starts_with("Audio arrives"), "{advice}");
        assert!(advice.ends_with("it is broken."), "{advice}");
    }
}
