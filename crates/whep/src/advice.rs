//! What a publisher should change, in words.

use distributary_hub::BFrameAdvice;
use distributary_hub::cache::{MAX_FRAMES, Overflow};
use distributary_media::VideoTrack;
use distributary_media::h264::{BFrames, Limitation};

/// What should be changed at the encoder of a stream, if there is anything that keeps viewers from
/// seeing it as it is.
pub(crate) fn of(
    b_frames: Option<BFrames>,
    video: Option<&VideoTrack>,
    overflow: Option<Overflow>,
) -> Option<String> {
    let all = [of_pictures(b_frames, video), overflow.map(of_overflow)];
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

    #[test]
    fn b_frames_are_told_with_what_they_mean_and_how_to_be_rid_of_them() {
        assert_eq!(of(None, None, None), None);
        assert_eq!(of(Some(BFrames::None), None, None), None);
        for (b_frames, meaning) in [
            (BFrames::NonReference, "left out"),
            (BFrames::Reference, "keyframes"),
        ] {
            let advice = of(Some(b_frames), None, None).unwrap();
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
            let advice = of(None, None, Some(overflow)).unwrap();
            assert!(
                advice.contains(key) && advice.contains("keyframe"),
                "{advice}"
            );
            let both = of(Some(BFrames::Reference), None, Some(overflow)).unwrap();
            assert!(both.contains("-bf 0") && both.ends_with(&advice), "{both}");
        }
    }
}
