//! What a publisher should change, in words.

use distributary_hub::cache::{MAX_FRAMES, Overflow};
use distributary_hub::{BFrameAdvice, StreamStats};
use distributary_media::VideoTrack;
use distributary_media::h264::{BFrames, Limitation};

/// What should be changed at the encoder of a stream, if there is anything that keeps viewers from
/// seeing it as it is.
pub(crate) fn of(stats: &StreamStats) -> Option<String> {
    let all = [
        stats.missing_video.as_deref().map(of_missing),
        stats.missing_audio.as_deref().map(of_missing),
        of_pictures(stats.b_frames, stats.video.as_deref()),
        stats.cache_overflow.map(of_overflow),
    ];
    let all: Vec<String> = all.into_iter().flatten().collect();
    (!all.is_empty()).then(|| all.join(" "))
}

/// The key of the configuration that sets a bound of what is kept for newcomers; of the bound that none
/// sets, its name.
pub(crate) fn bound(overflow: Overflow) -> &'static str {
    match overflow {
        Overflow::Bytes => "cache_size",
        Overflow::Duration => "cache_duration",
        Overflow::Frames => "frames",
    }
}

/// Says it as the log does.
fn of_missing(missing: &impl ToString) -> String {
    let text = missing.to_string();
    let (first, rest) = text.split_at_checked(1).unwrap_or_default();
    format!("{}{rest}.", first.to_ascii_uppercase())
}

fn of_overflow(overflow: Overflow) -> String {
    let bound = match overflow {
        Overflow::Bytes | Overflow::Duration => format!("{} allows", bound(overflow)),
        Overflow::Frames => format!("{MAX_FRAMES}"),
    };
    format!(
        "Newcomers wait for the next keyframe, since the pictures from one to the next are more than \
         {bound}: let the encoder make a keyframe every two seconds."
    )
}

fn of_pictures(b_frames: Option<BFrames>, video: Option<&VideoTrack>) -> Option<String> {
    let consequence = match b_frames {
        None | Some(BFrames::None) => {
            let limitation = video.and_then(Limitation::of_track);
            return limitation.map(|limitation| format!("Know that {limitation}."));
        }
        Some(BFrames::NonReference) => {
            "They are left out, so the picture is less smooth than it could be"
        }
        Some(BFrames::Reference) => {
            "They cost an encoder here, or else some viewers see no more than the keyframes"
        }
    };
    Some(format!(
        "The stream has B-frames, which WebRTC has no place for. {consequence}: {BFrameAdvice}."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use distributary_hub::{MissingAudio, MissingVideo};
    use std::sync::Arc;

    fn with_b_frames(b_frames: BFrames) -> StreamStats {
        StreamStats {
            b_frames: Some(b_frames),
            ..StreamStats::default()
        }
    }

    #[test]
    fn b_frames_are_told_with_what_they_mean_and_how_to_be_rid_of_them() {
        assert_eq!(of(&StreamStats::default()), None);
        assert_eq!(of(&with_b_frames(BFrames::None)), None);
        for (b_frames, meaning) in [
            (BFrames::NonReference, "left out"),
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
    fn it_is_told_why_newcomers_wait() {
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
    fn missing_audio_is_told_with_its_reason() {
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

    #[test]
    fn missing_video_is_told_first_in_the_words_of_the_log() {
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
}
