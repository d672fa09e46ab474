//! What a publisher should change, in words.

use distributary_hub::BFrameAdvice;
use distributary_media::VideoTrack;
use distributary_media::h264::{BFrames, Limitation};

/// What should be changed at the encoder of a stream, if there is anything that keeps viewers from
/// seeing it as it is.
pub(crate) fn of(b_frames: Option<BFrames>, video: Option<&VideoTrack>) -> Option<String> {
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
        assert_eq!(of(None, None), None);
        assert_eq!(of(Some(BFrames::None), None), None);
        for (b_frames, meaning) in [
            (BFrames::NonReference, "left out"),
            (BFrames::Reference, "keyframes"),
        ] {
            let advice = of(Some(b_frames), None).unwrap();
            assert!(
                advice.contains(meaning) && advice.contains("-bf 0"),
                "{advice}"
            );
        }
    }
}
