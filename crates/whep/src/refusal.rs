//! Errors of the engine, of SDP and of authorization as problem documents: their only mapping to HTTP.
//!
//! The errors stay typed up to here. Their texts are what the client reads, unless they tell of the
//! inside of the gateway.

use axum::http::{HeaderValue, StatusCode, header};
use distributary_auth::Denied;
use distributary_egress::engine::{AcceptError, OpenError, PatchError};
use distributary_hub::{DemandError, TooManyViewers};
use distributary_names::StreamName;
use distributary_webrtc::sdp::{NegotiationError, SdpError};

use crate::problem::Problem;

/// When a player should ask again for a stream that is not live, in seconds: a publisher that comes
/// back is seen soon, and a thousand waiting pages are still a light load.
const NOT_LIVE_RETRY_SECONDS: u32 = 2;

/// When a player should ask again while every place is taken, in seconds.
const FULL_RETRY_SECONDS: u32 = 10;

/// When a player should try a restart again that came at a bad moment, in seconds.
const BUSY_RETRY_SECONDS: u32 = 1;

/// When somebody should ask again whom the webhook could not be asked about, in seconds.
const UNAVAILABLE_RETRY_SECONDS: u32 = 5;

impl From<SdpError> for Problem {
    fn from(error: SdpError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error.to_string())
    }
}

impl From<OpenError> for Problem {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Negotiation(NegotiationError::Transport(_)) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
            }
            OpenError::Negotiation(_) | OpenError::UndecodableVideo(_) => {
                Self::new(StatusCode::NOT_ACCEPTABLE, error.to_string())
            }
            OpenError::Full(TooManyViewers::Total(_)) => {
                full("This gateway serves as many viewers as it may.")
            }
            OpenError::Full(TooManyViewers::Stream(_)) => {
                full("This stream has as many viewers as it may.")
            }
            OpenError::Full(TooManyViewers::Address(_)) => {
                full("As many viewers as may watch from this address already do.")
            }
            other => {
                tracing::error!(error = %other, "session could not be opened");
                internal("The session could not be opened.")
            }
        }
    }
}

impl From<AcceptError> for Problem {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::Open(error) => error.into(),
            _ => unknown_session(),
        }
    }
}

impl From<PatchError> for Problem {
    fn from(error: PatchError) -> Self {
        match error {
            PatchError::UnknownSession => unknown_session(),
            PatchError::Busy => {
                let detail = "The gateway is too busy to restart ICE.";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(BUSY_RETRY_SECONDS)
            }
            other => {
                tracing::error!(error = %other, "ICE could not be restarted");
                internal("ICE could not be restarted.")
            }
        }
    }
}

impl From<Denied> for Problem {
    /// Maps a denial by RFC 6750 section 3.1.
    fn from(denied: Denied) -> Self {
        let (status, challenge) = match denied {
            Denied::Missing => (StatusCode::UNAUTHORIZED, Some("Bearer")),
            Denied::Invalid(_) => (
                StatusCode::UNAUTHORIZED,
                Some("Bearer error=\"invalid_token\""),
            ),
            Denied::Forbidden(_) => (StatusCode::FORBIDDEN, None),
            _ => (StatusCode::SERVICE_UNAVAILABLE, None),
        };
        let problem = Self::new(status, format!("Watching is refused: {denied}."));
        match challenge {
            Some(challenge) => problem.with(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(challenge),
            ),
            None if status == StatusCode::SERVICE_UNAVAILABLE => {
                problem.retry_after(UNAVAILABLE_RETRY_SECONDS)
            }
            None => problem,
        }
    }
}

/// A stream that cannot be watched now, and why it could not be had from elsewhere.
pub(crate) fn not_live(name: &StreamName, error: &DemandError) -> Problem {
    let detail = match error {
        DemandError::NoProvider => format!("The stream {name} is not live."),
        error => format!("The stream {name} is not live: {error}."),
    };
    Problem::new(StatusCode::CONFLICT, detail)
        .about(name)
        .retry_after(NOT_LIVE_RETRY_SECONDS)
}

/// A session that is not there.
pub(crate) fn unknown_session() -> Problem {
    let detail = "There is no such session; it may have ended.";
    Problem::new(StatusCode::NOT_FOUND, detail)
}

fn full(detail: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(FULL_RETRY_SECONDS)
}

fn internal(detail: &str) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use distributary_webrtc::sdp::{
        MediaKind, RejectedMedia, Rejection, TransportError, UndecodableVideo,
    };

    fn opened(error: impl Into<OpenError>) -> Problem {
        error.into().into()
    }

    #[test]
    fn codecs_that_are_offered_and_needed_reach_the_client() {
        let nothing = opened(NegotiationError::NothingToSend {
            rejected: vec![RejectedMedia {
                index: 0,
                kind: MediaKind::Video,
                mid: None,
                reason: Rejection::NoCodec {
                    needed: "H264",
                    offered: vec!["VP8".to_owned()],
                },
            }],
        });
        let undecodable = opened(UndecodableVideo {
            needed: "H264",
            offered: vec!["VP8".to_owned()],
        });
        for problem in [nothing, undecodable] {
            assert_eq!(problem.status(), StatusCode::NOT_ACCEPTABLE);
            let detail = problem.detail();
            assert!(
                detail.contains("H264") && detail.contains("VP8"),
                "{detail}"
            );
        }
    }

    #[test]
    fn status_says_what_kind_of_error_it_is() {
        let malformed = SdpError::TooLarge { bytes: 2, limit: 1 };
        assert_eq!(Problem::from(malformed).status(), StatusCode::BAD_REQUEST);
        let transport = NegotiationError::from(TransportError::MissingFingerprint);
        let problem = opened(transport);
        assert_eq!(problem.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert!(problem.detail().contains("a=fingerprint"));
        for full in [TooManyViewers::Total(1), TooManyViewers::Stream(1)] {
            assert_eq!(opened(full).status(), StatusCode::SERVICE_UNAVAILABLE);
        }
        let inside = opened(OpenError::NameTaken);
        assert_eq!(inside.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!inside.detail().contains("name"));
        let unknown = Problem::from(AcceptError::NoOffer);
        assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    }
}
