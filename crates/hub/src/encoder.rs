//! Names of encoder settings in OBS, ffmpeg and others.

/// The program that publishes a stream, by the name in its metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoder {
    /// OBS Studio and programs made of it.
    Obs,
    /// ffmpeg, and programs that use its library for RTMP.
    Ffmpeg,
    /// GStreamer.
    Gstreamer,
    /// Any other, or an unknown one.
    Other,
}

impl Encoder {
    /// Recognizes the encoder by the name in its metadata, such as
    /// `obs-output module (libobs version 30.2.0)`, `Lavf61.1.100` or `GStreamer FLV muxer`.
    pub(crate) fn of(name: Option<&str>) -> Self {
        let name = name.unwrap_or_default().to_ascii_lowercase();
        if name.contains("libobs") || name.starts_with("obs") {
            Self::Obs
        } else if name.starts_with("lavf") || name.starts_with("ffmpeg") {
            Self::Ffmpeg
        } else if name.contains("gstreamer") {
            Self::Gstreamer
        } else {
            Self::Other
        }
    }

    /// Returns how to encode without B-frames, as the end of a sentence.
    pub(crate) fn without_b_frames(self) -> &'static str {
        match self {
            Self::Obs => {
                "in OBS under Settings, Output (mode Advanced), set \"Max B-frames\" to 0, or with x264 \
                 the tune to \"zerolatency\""
            }
            Self::Ffmpeg => {
                "add -bf 0 to the ffmpeg command; in a program that runs ffmpeg, such as vMix, turn \
                 B-frames off, or choose the profile Baseline"
            }
            Self::Gstreamer => {
                "set bframes=0 or tune=zerolatency of x264enc, or the same of your encoder, in the \
                 pipeline"
            }
            Self::Other => {
                "set the encoder to none (OBS: tune \"zerolatency\", or x264 option \"bframes=0\"; \
                 ffmpeg: -bf 0)"
            }
        }
    }

    /// Returns how to send a keyframe every two seconds, as the end of a sentence.
    pub(crate) fn with_keyframes(self) -> &'static str {
        match self {
            Self::Obs => {
                "in OBS under Settings, Output (mode Advanced), set \"Keyframe Interval\" to 2 s"
            }
            Self::Ffmpeg => {
                "add -force_key_frames \"expr:gte(t,n_forced*2)\" to the ffmpeg command, which sends \
                 a keyframe every two seconds"
            }
            Self::Gstreamer => {
                "set key-int-max of x264enc, or the same of your encoder, in the pipeline to the \
                 frames of two seconds"
            }
            Self::Other => "configure the encoder to send a keyframe every two seconds",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoders_are_recognized_by_their_metadata() {
        for (name, encoder) in [
            ("obs-output module (libobs version 29.0.2)", Encoder::Obs),
            ("Lavf59.27.100", Encoder::Ffmpeg),
            ("GStreamer FLV muxer", Encoder::Gstreamer),
            ("FMLE/3.0 (compatible; FMSc/1.0)", Encoder::Other),
            ("", Encoder::Other),
        ] {
            assert_eq!(Encoder::of(Some(name)), encoder, "{name}");
        }
        assert_eq!(Encoder::of(None), Encoder::Other);
    }

    #[test]
    fn users_of_gstreamer_are_told_to_set_whichever_encoder_they_have() {
        assert_eq!(
            Encoder::Gstreamer.without_b_frames(),
            "set bframes=0 or tune=zerolatency of x264enc, or the same of your encoder, in the pipeline"
        );
        assert_eq!(
            Encoder::Gstreamer.with_keyframes(),
            "set key-int-max of x264enc, or the same of your encoder, in the pipeline to the frames of \
             two seconds"
        );
    }
}
