//! The body of a WHEP request: an SDP offer or answer, or the part of one that is about ICE.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use distributary_webrtc::sdp::{FRAGMENT_MEDIA_TYPE, IceFragment};

use crate::problem::Problem;
use crate::session::ACCEPT_PATCH;

/// Longest offer, in bytes. A browser's full offer has 7 KiB.
pub const MAX_OFFER_LEN: usize = 64 * 1024;

/// How long a client may take to send its offer.
pub const OFFER_TIMEOUT: Duration = Duration::from_secs(10);

/// The media type of an offer (RFC 8866 section 8.1).
pub(crate) const SDP: &str = "application/sdp";

/// Names the media types that can be posted (Linked Data Platform 1.0 section 7.1, which the WHEP
/// draft refers to).
pub(crate) const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// What a player posts to watch.
pub(crate) struct OfferBody {
    /// The text of an offer, of the right media type, within bounds and UTF-8. It is parsed for those who
    /// may watch. `None`: the body is empty, by which a player asks for an offer of ours.
    pub(crate) sdp: Option<String>,
    /// Whether the player accepts a counter-offer in place of an answer. Others want to know what is wrong
    /// with their offer.
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
        let sdp = match text.trim().is_empty() {
            true => None,
            false if is_sdp => Some(text),
            false => return Err(not_sdp()),
        };
        Ok(Self {
            sdp,
            accepts_counter_offer,
        })
    }
}

/// Whether a player names SDP among what it accepts (draft-ietf-wish-whep, "Server Sends Counter-Offer").
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

/// What a session is changed by, of the right media type and within bounds.
pub(crate) enum Change {
    /// Candidates, or an ICE restart.
    Ice(IceFragment),
    /// The text of an answer to an offer of ours. It is parsed where an offer waits for it.
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

/// Refuses what a session cannot be changed by.
pub(crate) fn not_a_fragment() -> Problem {
    let detail =
        format!("What a session is changed by has the Content-Type {FRAGMENT_MEDIA_TYPE}.");
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
        .with(ACCEPT_PATCH, HeaderValue::from_static(FRAGMENT_MEDIA_TYPE))
}

/// The body as text, within the limits of size and time.
pub(crate) async fn read_text(request: Request) -> Result<String, Problem> {
    let is_plain = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"identity");
    let mut codings = request.headers().get_all(header::CONTENT_ENCODING).iter();
    if !codings.all(is_plain) {
        let detail = "The body is compressed; send it as it is, without Content-Encoding.";
        return Err(
            Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).with(
                header::ACCEPT_ENCODING,
                HeaderValue::from_static("identity"),
            ),
        );
    }
    if declared_length(request.headers()).is_some_and(|length| length > MAX_OFFER_LEN) {
        return Err(too_large());
    }
    let body = read(request.into_body()).await?;
    String::from_utf8(body)
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "The body is not UTF-8."))
}

/// Reads the body up to the limits of size and time.
async fn read(body: Body) -> Result<Vec<u8>, Problem> {
    match tokio::time::timeout(OFFER_TIMEOUT, to_bytes(body, MAX_OFFER_LEN)).await {
        Ok(Ok(bytes)) => Ok(bytes.into()),
        // Besides the limit only a broken connection ends here, and then nobody reads the answer.
        Ok(Err(_)) => Err(too_large()),
        Err(_) => {
            let seconds = OFFER_TIMEOUT.as_secs();
            let detail = format!("The offer did not arrive within {seconds} s.");
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail))
        }
    }
}

fn too_large() -> Problem {
    let detail = format!("An offer has {MAX_OFFER_LEN} bytes at most.");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// Whether the media type is `expected`; parameters such as `charset` do not matter (RFC 9110 section 8.3.1).
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
