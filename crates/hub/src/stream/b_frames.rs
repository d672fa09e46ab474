//! The policy for a stream's B-frames, and the log lines about them.

use distributary_media::h264::BFrames;
use tracing::warn;

use super::{State, Stream};
use crate::policy::{BFrameAdvice, BFramePolicy};

/// Describes what viewers get of a stream with reference B-frames that is not transcoded.
const IN_ORDER_OR_KEYFRAMES: &str =
    "all frames if their player can reorder them, otherwise only keyframes";

/// Advice on how to get a transcoder.
const INSTALL_FFMPEG: &str = "Install ffmpeg (the default container image has it), see [transcode]";

impl Stream {
    /// Returns the policy for its B-frames. A rendition has none to transcode.
    pub fn b_frame_policy(&self) -> BFramePolicy {
        if self.name.is_rendition() {
            BFramePolicy::Drop
        } else {
            self.config.b_frames(&self.name)
        }
    }

    /// Returns whether it has, or is expected to have, B-frames for which its policy is to
    /// transcode it.
    pub fn needs_transcoding(&self) -> bool {
        let b_frames = self.lock().b_frames.b_frames();
        match self.b_frame_policy() {
            BFramePolicy::Auto => b_frames == BFrames::Reference,
            BFramePolicy::Transcode => b_frames != BFrames::None,
            BFramePolicy::Drop | BFramePolicy::Reorder | BFramePolicy::Refuse => false,
        }
    }

    /// Logs, once per publisher, that viewers need a transcode and there is no transcoder, and what
    /// they get instead. `supports_codec`: the viewers support the codec, but not its B-frames.
    /// Returns whether it was logged now.
    pub(crate) fn note_no_transcoder(&self, supports_codec: bool) -> bool {
        let logged = &mut self.lock().logged_no_transcoder[usize::from(supports_codec)];
        if std::mem::replace(logged, true) {
            return false;
        }
        let get = if supports_codec {
            IN_ORDER_OR_KEYFRAMES
        } else {
            "no video"
        };
        warn!(
            stream = %self.name,
            "viewers need a transcode of the stream, but ffmpeg is not installed: they get {get}. {INSTALL_FFMPEG}, or let \
             the encoder send H264 without B-frames"
        );
        true
    }

    /// Logs that the video has B-frames, or another kind of them, and what viewers get. The line
    /// includes that there is no transcoder, so that no other line needs to.
    pub(super) fn log_b_frames(&self, state: &mut State, b_frames: BFrames, has_transcoder: bool) {
        let policy = self.b_frame_policy();
        let needs_transcode = match policy {
            BFramePolicy::Auto => b_frames == BFrames::Reference,
            BFramePolicy::Transcode => true,
            BFramePolicy::Drop | BFramePolicy::Reorder | BFramePolicy::Refuse => false,
        };
        let get = match (needs_transcode, has_transcoder) {
            (true, true) => "viewers get a transcode of it".to_owned(),
            (true, false) => {
                state.logged_no_transcoder[1] = true;
                format!(
                    "ffmpeg is not installed for a transcode, so viewers get {IN_ORDER_OR_KEYFRAMES}. {INSTALL_FFMPEG}"
                )
            }
            (false, _) if b_frames == BFrames::NonReference && policy != BFramePolicy::Reorder => {
                "they are dropped, so that video is less smooth".to_owned()
            }
            (false, _) => format!("viewers get {IN_ORDER_OR_KEYFRAMES}"),
        };
        warn!(
            stream = %self.name, %b_frames, ?policy,
            "the stream has B-frames, which WebRTC players cannot show as they are: {get}. Best is to send none: \
             {BFrameAdvice}"
        );
    }
}
