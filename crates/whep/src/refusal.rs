//! Maps errors of the engine, of SDP and of authorization to problem documents.
//!
//! The errors stay typed up to here. The client reads their messages, except those about the inside
//! of the gateway.

use axum::http::{HeaderValue, StatusCode, header};
use distributary_auth::Denied;
use distributary_egress::engine::{AcceptError, CloseError, OpenError, PatchError, QualityError};
use distributary_hub::{DemandError, TooManyViewers};
use distributary_names::StreamName;
use distributary_webrtc::sdp::{NegotiationError, SdpError};

use crate::problem::Problem;

/// Seconds after which a player should retry a stream that is not live: short, because a publisher
/// may come back soon, and a thousand waiting pages are still a light load.
const NOT_LIVE_RETRY_SECONDS: u32 = 2;

/// Seconds after which a player should retry when a limit of viewers is reached.
const FULL_RETRY_SECONDS: u32 = 10;

/// Seconds after which a client should retry a request that a busy shard could not take.
const BUSY_RETRY_SECONDS: u32 = 1;

/// Seconds after which a client should retry when the webhook does not answer.
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
                full("This gateway has reached its maximum number of viewers.")
            }
            OpenError::Full(TooManyViewers::Stream(_)) => {
                full("This stream has reached its maximum number of viewers.")
            }
            OpenError::Full(TooManyViewers::Address(_)) => {
                full("This address has reached its maximum number of viewers.")
            }
            OpenError::Full(TooManyViewers::Memory) => {
                full("The memory of this gateway is nearly used up.")
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

impl From<QualityError> for Problem {
    fn from(error: QualityError) -> Self {
        match error {
            QualityError::Busy => {
                let detail = "The gateway is too busy to change the layer.";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(BUSY_RETRY_SECONDS)
            }
            _ => unknown_session(),
        }
    }
}

impl From<CloseError> for Problem {
    fn from(error: CloseError) -> Self {
        match error {
            CloseError::Busy => {
                let detail = "The gateway is too busy to end the session.";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(BUSY_RETRY_SECONDS)
            }
            _ => unknown_session(),
        }
    }
}

impl From<Denied> for Problem {
    /// Maps a denial according to RFC 6750 section 3.1.
    fn from(denied: Denied) -> Self {
        let (status, challenge) = match denied {
            Denied::Missing => (StatusCode::UNAUTHORIZED, Some("Bearer")),
            Denied::Invalid(_) => (
                StatusCode::UNAUTHORIZED,
                Some("Bearer error=\"invalid_token\""),
            ),
            Denied::Forbidden(_) | Denied::Blocked => (StatusCode::FORBIDDEN, None),
            _ => (StatusCode::SERVICE_UNAVAILABLE, None),
        };
        let how = match denied {
            Denied::Missing => ": Authorization: Bearer ..., ?token=... or ?key=...",
            _ => ".",
        };
        let problem = Self::new(status, format!("Watching is refused: {denied}{how}"));
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

/// Creates the response for a stream that is not live, with the reason why it could not be pulled.
pub(crate) fn not_live(name: &StreamName, error: &DemandError) -> Problem {
    let detail = match error {
        DemandError::NoProvider => format!("The stream {name} is not live."),
        error => format!("The stream {name} is not live: {error}."),
    };
    Problem::new(StatusCode::CONFLICT, detail)
        .about(name)
        .retry_after(NOT_LIVE_RETRY_SECONDS)
}

/// Creates the response for an unknown session.
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
    use axum::response::IntoResponse;
    use distributary_webrtc::sdp::{
        MediaKind, RejectedMedia, Rejection, TransportError, UndecodableVideo,
    };

    fn opened(error: impl Into<OpenError>) -> Problem {
        error.into().into()
    }

    #[test]
    fn offered_and_required_codecs_reach_the_client() {
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
    fn status_depends_on_the_kind_of_error() {
        let malformed = SdpError::TooLarge { bytes: 2, limit: 1 };
        assert_eq!(Problem::from(malformed).status(), StatusCode::BAD_REQUEST);
        let transport = NegotiationError::from(TransportError::MissingFingerprint);
        let problem = opened(transport);
        assert_eq!(problem.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert!(problem.detail().contains("a=fingerprint"));
        for full in [
            TooManyViewers::Total(1),
            TooManyViewers::Stream(1),
            TooManyViewers::Memory,
        ] {
            assert_eq!(opened(full).status(), StatusCode::SERVICE_UNAVAILABLE);
        }
        let inside = opened(OpenError::NameTaken);
        assert_eq!(inside.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!inside.detail().contains("name"));
        let unknown = Problem::from(AcceptError::NoOffer);
        assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
        let unknown = Problem::from(CloseError::UnknownSession);
        assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    }

    #[test]
    fn client_of_a_busy_shard_is_told_when_to_retry() {
        for busy in [
            Problem::from(PatchError::Busy),
            Problem::from(CloseError::Busy),
        ] {
            let response = busy.into_response();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        }
    }
}
