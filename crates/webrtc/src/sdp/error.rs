//! Errors of session descriptions and of negotiation.

use super::rejection::{RejectedMedia, Rejection};

/// Longest piece of a description that is repeated in an error.
const MAX_QUOTE_CHARS: usize = 80;

/// A text that is not a readable session description. The error's text says what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SdpError {
    /// The text is longer than [`MAX_SDP_BYTES`](super::limits::MAX_SDP_BYTES).
    #[error("the session description has {bytes} bytes, more than the {limit} that are read")]
    TooLarge {
        /// Length of the text.
        bytes: usize,
        /// Largest length that is read.
        limit: usize,
    },
    /// The text is not a session description (RFC 8866).
    #[error("this is not valid SDP: {expected}, found `{found}`")]
    Malformed {
        /// The form that the grammar requires.
        expected: &'static str,
        /// The piece of text that was there instead, shortened.
        found: String,
    },
    /// The text is only a candidate fragment (RFC 8840 section 9).
    #[error(
        "this is a candidate fragment (trickle ICE), not a session description: send it to the \
         session by PATCH, with the Content-Type application/trickle-ice-sdpfrag"
    )]
    IsFragment,
    /// The text is no candidate fragment.
    #[error("the candidate fragment is not valid: {expected}, found `{found}`")]
    MalformedFragment {
        /// The form that the grammar requires.
        expected: &'static str,
        /// The piece of text that was there instead, shortened.
        found: String,
    },
}

/// A valid offer or answer of a player that leads to no session. The player's side has to change
/// something, and the text says what.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NegotiationError {
    /// No medium of the stream can be sent to this player.
    #[error("nothing of this stream can be sent to this player{}", list(.rejected))]
    NothingToSend {
        /// Each `m=` section of the player's description with the reason for its rejection.
        rejected: Vec<RejectedMedia>,
    },
    /// Media could be sent, but the description lacks something for a connection.
    #[error("no connection to this player is possible: {0}")]
    Transport(#[from] TransportError),
}

impl NegotiationError {
    /// Returns whether the player may be able to answer a counter-offer: it has not told its
    /// codecs, or only in sections that cannot be answered.
    pub fn invites_counter_offer(&self) -> bool {
        match self {
            Self::NothingToSend { rejected } => !rejected.iter().any(|media| {
                matches!(
                    media.reason,
                    Rejection::NoCodec { .. } | Rejection::NotInStream
                )
            }),
            Self::Transport(_) => false,
        }
    }
}

/// The player asks for video and cannot decode that of the stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the video of this stream is {needed}, and this player supports {}", codecs(.offered))]
pub struct UndecodableVideo {
    /// The codec of the stream, with its profile if that matters.
    pub needed: &'static str,
    /// The codecs that the player names, at most eight.
    pub offered: Vec<String>,
}

impl SdpError {
    /// Returns the same error for a candidate fragment.
    pub(super) fn of_fragment(self) -> Self {
        match self {
            Self::Malformed { expected, found } => Self::MalformedFragment { expected, found },
            other => other,
        }
    }

    pub(super) fn malformed(expected: &'static str, found: &str) -> Self {
        let found = found.chars().take(MAX_QUOTE_CHARS);
        Self::Malformed {
            expected,
            found: found.flat_map(char::escape_debug).collect(),
        }
    }
}

/// The part that a player's description lacks for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// No `a=ice-ufrag` or no `a=ice-pwd` (RFC 8839 section 5.4).
    #[error("`a=ice-ufrag` and `a=ice-pwd` are needed, and at least one of them is missing")]
    MissingIceCredentials,
    /// `a=ice-ufrag` or `a=ice-pwd` breaks the rules of RFC 8839 section 5.4.
    #[error(
        "`a=ice-ufrag` must have 4 to 256 and `a=ice-pwd` 22 to 256 letters, digits, `+` or `/`"
    )]
    InvalidIceCredentials,
    /// No `a=fingerprint` (RFC 8122): without it the player's certificate cannot be verified.
    #[error("`a=fingerprint` is missing; only DTLS-SRTP is supported, not plain RTP or SDES keys")]
    MissingFingerprint,
    /// No `a=fingerprint` that can be verified.
    #[error(
        "no `a=fingerprint` can be used; sha-1, sha-224, sha-256, sha-384 and sha-512 are supported"
    )]
    UnusableFingerprint,
    /// No `a=setup` (RFC 8842 section 5.1).
    #[error("`a=setup` is missing; offer `a=setup:actpass`")]
    MissingSetup,
    /// `a=setup:holdconn`, or a value that RFC 4145 section 4 does not define.
    #[error("`a=setup` must be actpass, active or passive")]
    UnusableSetup,
    /// No `a=rtcp-mux` (RFC 8858 section 4): RTP and RTCP share one port here.
    #[error("`a=rtcp-mux` is missing; RTCP on a port of its own is not supported")]
    MissingRtcpMux,
}

fn list(rejected: &[RejectedMedia]) -> String {
    if rejected.is_empty() {
        return ": its session description has no m= section".to_owned();
    }
    let reasons: Vec<String> = rejected.iter().map(ToString::to_string).collect();
    format!(": {}", reasons.join("; "))
}

fn codecs(offered: &[String]) -> String {
    if offered.is_empty() {
        return "no video codec".to_owned();
    }
    offered.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::{Direction, MediaKind};

    #[test]
    fn error_quotes_little_of_the_text_and_no_control_characters() {
        let text = format!("\u{1b}[2J{}", "x".repeat(1000));
        let message = SdpError::malformed("a line", &text).to_string();
        assert!(message.len() < 200, "{message}");
        assert!(!message.contains('\u{1b}'), "{message:?}");
    }

    #[test]
    fn counter_offer_is_of_use_unless_codec_or_medium_is_missing() {
        let rejected = |reasons: &[Rejection]| NegotiationError::NothingToSend {
            rejected: reasons
                .iter()
                .map(|reason| RejectedMedia {
                    index: 0,
                    kind: MediaKind::Video,
                    mid: None,
                    reason: reason.clone(),
                })
                .collect(),
        };
        let no_codec = Rejection::NoCodec {
            needed: "H264",
            offered: vec!["VP8".to_owned()],
        };
        let inactive = Rejection::NotReceiving(Direction::Inactive);
        assert!(rejected(&[]).invites_counter_offer());
        assert!(rejected(&[inactive.clone(), Rejection::Disabled]).invites_counter_offer());
        assert!(!rejected(&[inactive, no_codec]).invites_counter_offer());
        assert!(!rejected(&[Rejection::NotInStream]).invites_counter_offer());
        let transport = NegotiationError::from(TransportError::MissingSetup);
        assert!(!transport.invites_counter_offer());
    }
}
