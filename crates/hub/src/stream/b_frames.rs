//! The B-frames of a stream's publisher, and the log lines about what viewers get of them.

use distributary_media::{BFrameVerdict, BFrames};
use distributary_names::StreamName;
use tracing::warn;

use crate::policy::{BFrameAdvice, BFramePolicy};

/// Describes what viewers get of a stream with reference B-frames that is not transcoded.
const IN_ORDER_OR_KEYFRAMES: &str =
    "all frames if their player can reorder them, otherwise only keyframes";

/// Advice on how to get a transcoder.
const INSTALL_FFMPEG: &str = "Install ffmpeg (the default container image has it), see [transcode]";

/// The B-frames of one publisher, and the lines about them that were logged.
#[derive(Debug, Default)]
pub(super) struct PublisherBFrames {
    /// The verdict up to the newest frame.
    pub(super) verdict: BFrameVerdict,
    /// Set when B-frames were found that are not logged yet.
    is_log_due: bool,
    /// True after a line about the missing transcoder was logged, for viewers that do not support
    /// the codec and for those that do.
    logged_no_transcoder: [bool; 2],
}

impl PublisherBFrames {
    /// Sets the verdict of the newest frame. Returns whether B-frames were found, or a kind of them
    /// with a greater effect.
    pub(super) fn update(&mut self, verdict: BFrameVerdict) -> bool {
        let is_news = verdict.kind > self.verdict.kind;
        self.verdict = verdict;
        self.is_log_due |= is_news;
        is_news
    }

    /// Returns whether [`Self::log`] is due.
    pub(super) fn is_log_due(&self) -> bool {
        self.is_log_due
    }

    /// Logs the B-frames that were found, and what viewers get. The line includes that there is no
    /// transcoder, so that no other line needs to.
    pub(super) fn log(&mut self, stream: &StreamName, policy: BFramePolicy, has_transcoder: bool) {
        self.is_log_due = false;
        let kind = self.verdict.kind;
        let get = match (policy.transcodes(kind), has_transcoder) {
            (true, true) => "viewers get a transcode of it".to_owned(),
            (true, false) => {
                self.logged_no_transcoder[1] = true;
                format!(
                    "ffmpeg is not installed for a transcode, so viewers get {IN_ORDER_OR_KEYFRAMES}. {INSTALL_FFMPEG}"
                )
            }
            (false, _) if kind == BFrames::NonReference && policy != BFramePolicy::Reorder => {
                "they are dropped, so that video is less smooth".to_owned()
            }
            (false, _) => format!("viewers get {IN_ORDER_OR_KEYFRAMES}"),
        };
        warn!(
            %stream, b_frames = %kind, %policy,
            "the stream has B-frames, which WebRTC players cannot show as they are: {get}. Better send none: \
             {BFrameAdvice}"
        );
    }

    /// Logs, once, that viewers need a transcode and there is no transcoder, and what they get
    /// instead. `supports_codec`: the viewers support the codec, but not its B-frames. Returns
    /// whether it was logged now.
    pub(super) fn log_no_transcoder(&mut self, stream: &StreamName, supports_codec: bool) -> bool {
        let logged = &mut self.logged_no_transcoder[usize::from(supports_codec)];
        if std::mem::replace(logged, true) {
            return false;
        }
        let get = if supports_codec {
            IN_ORDER_OR_KEYFRAMES
        } else {
            "no video"
        };
        warn!(
            %stream,
            "viewers need a transcode of the stream, but ffmpeg is not installed: they get {get}. {INSTALL_FFMPEG}, or let \
             the encoder send H264 without B-frames"
        );
        true
    }
}
