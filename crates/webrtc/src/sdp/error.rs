//! Why an offer cannot be answered.

use super::select::RejectedMedia;

/// Longest piece of an offer that is repeated in an error.
const MAX_QUOTE_CHARS: usize = 80;

/// Why an offer was refused. Each variant is the player's fault, and its text says what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SdpError {
    /// The offer is longer than [`MAX_OFFER_BYTES`](super::MAX_OFFER_BYTES).
    #[error("the offer has {bytes} bytes, more than the {limit} that are read")]
    TooLarge {
        /// Length of the offer.
        bytes: usize,
        /// Largest length that is read.
        limit: usize,
    },
    /// The text is not a session description (RFC 8866).
    #[error("this is not valid SDP: {expected}, found `{found}`")]
    Malformed {
        /// What the grammar wants.
        expected: &'static str,
        /// The piece of text that was there instead, shortened.
        found: String,
    },
    /// The text is a session description, but of the part that is about ICE alone (RFC 8840 section 9).
    #[error(
        "this is a candidate fragment (trickle ICE), not an offer: it goes to the session by PATCH"
    )]
    IsFragment,
    /// The text is no candidate fragment.
    #[error("the candidate fragment is not valid: {expected}, found `{found}`")]
    MalformedFragment {
        /// What the grammar wants.
        expected: &'static str,
        /// The piece of text that was there instead, shortened.
        found: String,
    },
    /// The offer is valid, but no medium of this stream can be sent to this player.
    #[error("nothing of this stream can be sent to this player{}", list(.rejected))]
    NothingToSend {
        /// Each `m=` section of the offer with the reason that speaks against it.
        rejected: Vec<RejectedMedia>,
    },
    /// The media fit, but no transport can be set up with what the offer says about it.
    #[error("no connection can be made from this offer: {0}")]
    Transport(#[from] TransportError),
}

impl SdpError {
    /// The same error about a candidate fragment.
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

/// What the offer lacks for a connection.
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
    #[error("`a=fingerprint` is missing; only DTLS-SRTP is served, not plain RTP or SDES keys")]
    MissingFingerprint,
    /// No `a=fingerprint` that can be verified.
    #[error(
        "no `a=fingerprint` can be used; sha-1, sha-224, sha-256, sha-384 and sha-512 are known"
    )]
    UnusableFingerprint,
    /// No `a=setup` (RFC 8842 section 5.1).
    #[error("`a=setup` is missing; offer `a=setup:actpass`")]
    MissingSetup,
    /// `a=setup:holdconn`, or a value that RFC 4145 section 4 does not know.
    #[error("`a=setup` must be actpass, active or passive")]
    UnusableSetup,
    /// No `a=rtcp-mux` (RFC 8858 section 4): RTP and RTCP share one port here.
    #[error("`a=rtcp-mux` is missing; RTCP on a port of its own is not served")]
    MissingRtcpMux,
}

fn list(rejected: &[RejectedMedia]) -> String {
    if rejected.is_empty() {
        return ": the offer has no m= section".to_owned();
    }
    let reasons: Vec<String> = rejected.iter().map(ToString::to_string).collect();
    format!(": {}", reasons.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_quotes_little_of_the_offer_and_no_control_characters() {
        let text = format!("\u{1b}[2J{}", "x".repeat(1000));
        let message = SdpError::malformed("a line", &text).to_string();
        assert!(message.len() < 200, "{message}");
        assert!(!message.contains('\u{1b}'), "{message:?}");
    }
}
