//! The body of a WHEP request: an SDP offer or answer, or an ICE fragment.

use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use distributary_webrtc::sdp::{FRAGMENT_MEDIA_TYPE, IceFragment};

use crate::problem::Problem;

/// Maximum size of an offer, in bytes. A browser's full offer has 7 KiB.
pub const MAX_OFFER_LEN: usize = 64 * 1024;

/// Maximum time in which a client has to send the body of a request.
pub const OFFER_TIMEOUT: Duration = Duration::from_secs(10);

/// The media type of an offer (RFC 8866 section 8.1).
pub(crate) const SDP: &str = "application/sdp";

/// Header with the media types that can be posted (Linked Data Platform 1.0 section 7.1, which the
/// WHEP draft cites).
pub(crate) const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// Header with the media types that a session can be changed with (RFC 5789 section 3.1).
pub(crate) const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// The body of a player's POST.
pub(crate) struct OfferBody {
    /// The text of an offer: UTF-8, of the right media type and size. It is parsed after
    /// authorization. `None` for an empty body: the player asks the gateway for an offer.
    pub(crate) sdp: Option<String>,
    /// The player accepts a counter-offer instead of an answer. Other players get an error that
    /// says what is wrong with their offer.
    pub(crate) accepts_counter_offer: bool,
}

impl<S: Send + Sync> FromRequest<S> for OfferBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let is_sdp = is_of_type(request.headers(), SDP);
        if !is_sdp && request.headers().contains_key(header::CONTENT_TYPE) {
            return Err(not_sdp());
        }
        let accepts_counter_offer = accepts_sdp(request.headers());
        let text = read_text(request).await?;
        let sdp = if text.trim().is_empty() {
            None
        } else if is_sdp {
            Some(text)
        } else {
            return Err(not_sdp());
        };
        Ok(Self {
            sdp,
            accepts_counter_offer,
        })
    }
}

/// Returns whether the player accepts SDP in a response (draft-ietf-wish-whep, "Server Sends
/// Counter-Offer").
fn accepts_sdp(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter();
    let mut types = accepts
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    types.any(|kind| {
        let essence = kind.split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case(SDP)
    })
}

fn not_sdp() -> Problem {
    let detail = format!("An offer has the Content-Type {SDP}.");
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
        .with(ACCEPT_POST, HeaderValue::from_static(SDP))
}

/// The body of a player's PATCH, of the right media type and size.
pub(crate) enum Change {
    /// Candidates, or an ICE restart.
    Ice(IceFragment),
    /// The text of an answer to an offer of the gateway. It is parsed if an offer waits for it.
    Answer(String),
}

impl<S: Send + Sync> FromRequest<S> for Change {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        if is_of_type(request.headers(), SDP) {
            return read_text(request).await.map(Self::Answer);
        }
        if !is_of_type(request.headers(), FRAGMENT_MEDIA_TYPE) {
            return Err(not_a_fragment());
        }
        let text = read_text(request).await?;
        Ok(Self::Ice(IceFragment::parse(&text)?))
    }
}

/// Refuses a body of another media type.
pub(crate) fn not_a_fragment() -> Problem {
    let detail = format!("A change of a session has the Content-Type {FRAGMENT_MEDIA_TYPE}.");
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
        .with(ACCEPT_PATCH, HeaderValue::from_static(FRAGMENT_MEDIA_TYPE))
}

/// Reads the body as text, within the limits of size and time for an offer.
pub(crate) async fn read_text(request: Request) -> Result<String, Problem> {
    let body = read(request, MAX_OFFER_LEN).await?;
    String::from_utf8(body)
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "The body is not UTF-8."))
}

/// Reads a body of at most `max` bytes within [`OFFER_TIMEOUT`].
pub(crate) async fn read(request: Request, max: usize) -> Result<Vec<u8>, Problem> {
    let is_identity = |codec: &HeaderValue| codec.as_bytes().eq_ignore_ascii_case(b"identity");
    let mut encodings = request.headers().get_all(header::CONTENT_ENCODING).iter();
    if !encodings.all(is_identity) {
        let detail = "The body is compressed; send it without Content-Encoding.";
        return Err(
            Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).with(
                header::ACCEPT_ENCODING,
                HeaderValue::from_static("identity"),
            ),
        );
    }
    if declared_length(request.headers()).is_some_and(|length| length > max) {
        return Err(too_large(max));
    }
    let body = to_bytes(request.into_body(), max);
    match tokio::time::timeout(OFFER_TIMEOUT, body).await {
        Ok(Ok(bytes)) => Ok(bytes.into()),
        // Besides the limit, only a broken connection ends here, and then nobody reads the
        // response.
        Ok(Err(_)) => Err(too_large(max)),
        Err(_) => {
            let seconds = OFFER_TIMEOUT.as_secs();
            let detail = format!("The body did not arrive within {seconds} s.");
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail))
        }
    }
}

fn too_large(max: usize) -> Problem {
    let detail = format!("The body has {max} bytes at most.");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// Returns whether the media type is `expected`. Parameters such as `charset` are ignored (RFC 9110
/// section 8.3.1).
pub(crate) fn is_of_type(headers: &HeaderMap, expected: &str) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case(expected))
}

fn declared_length(headers: &HeaderMap) -> Option<usize> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}
