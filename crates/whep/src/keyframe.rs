//! `GET /{app}/{stream}/keyframe` and `GET /{stream}/keyframe`: the newest keyframe, from which a page draws a thumbnail. The
//! gateway decodes nothing.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use bytes::Bytes;
use distributary_hub::Hub;
use distributary_media::codec_string::codec_string;
use distributary_media::{Frame, VideoCodec, VideoTrack};
use distributary_names::StreamName;
use futures_util::stream;

use crate::access::Viewer;
use crate::cors;
use crate::front_door::FrontDoor;
use crate::name::PathStream;
use crate::problem::Problem;

const METHODS: &str = "GET, HEAD, OPTIONS";

/// Start code of a NAL unit (ITU-T H.264 annex B).
const START_CODE: &[u8] = &[0, 0, 0, 1];

/// Maximum size of a keyframe that is served, in bytes. A slow client keeps it in memory.
const MAX_LEN: usize = 4 * 1024 * 1024;

/// Seconds after which a page should ask again for a keyframe that is not there yet.
const RETRY_SECONDS: u32 = 2;

pub(crate) fn methods() -> MethodRouter<FrontDoor> {
    get(keyframe).options(async || cors::options(METHODS))
}

/// Sends the keyframe to whoever may watch the stream.
async fn keyframe(
    State(front): State<FrontDoor>,
    PathStream(name): PathStream,
    viewer: Viewer,
) -> Result<Response, Problem> {
    if let Some(address) = viewer.counts_as() {
        front.access.limits().keyframe(address)?;
    }
    front.access.check(&viewer, &name).await?;
    response(&front.hub, &name)
}

/// Returns the keyframe of a stream as a response.
pub(crate) fn response(hub: &Hub, name: &StreamName) -> Result<Response, Problem> {
    let stream = hub.stream(name).filter(|stream| stream.is_live());
    let stream = stream.ok_or_else(|| {
        let detail = format!("The stream {name} is not live.");
        Problem::new(StatusCode::CONFLICT, detail)
            .about(name)
            .retry_after(RETRY_SECONDS)
    })?;
    let keyframe = stream.keyframe().ok_or_else(|| {
        let detail = format!("The stream {name} has no keyframe yet, or too long a GOP.");
        Problem::new(StatusCode::NOT_FOUND, detail)
            .about(name)
            .retry_after(RETRY_SECONDS)
    })?;
    let (frame, track) = keyframe;
    let length = length(&frame);
    if length > MAX_LEN {
        let detail = format!(
            "The keyframe of the stream {name} has {length} bytes; none above {MAX_LEN} is served."
        );
        return Err(Problem::new(StatusCode::NOT_FOUND, detail).about(name));
    }
    let headers = [
        (header::CONTENT_TYPE, media_type(&track)),
        (header::CONTENT_LENGTH, HeaderValue::from(length)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
    ];
    Ok((headers, body(frame)).into_response())
}

/// Returns the media type with the name of the codec, which a decoder is configured with.
fn media_type(track: &VideoTrack) -> HeaderValue {
    let subtype = match track.codec {
        VideoCodec::H264 => "video/h264",
        VideoCodec::H265 => "video/h265",
        VideoCodec::Av1 => "video/av1",
        VideoCodec::Vp9 => "video/vp9",
        _ => "application/octet-stream",
    };
    let named = codec_string(track).map(|name| format!("{subtype}; codecs=\"{name}\""));
    named
        .and_then(|named| HeaderValue::from_str(&named).ok())
        .unwrap_or(HeaderValue::from_static(subtype))
}

/// Returns the size of [`body`].
fn length(frame: &Frame) -> usize {
    let Frame::Video(frame) = frame else {
        return 0;
    };
    let start_code = start_code(frame.codec).map_or(0, |code| code.len());
    frame.payload_len() + frame.units.len() * start_code
}

/// Returns the frame as a decoder takes it without further configuration: H264 and H265 in the byte
/// stream format with their parameter sets (annex B), AV1 and VP9 as they are. The units are not
/// copied, and not touched before the body is read.
fn body(frame: Arc<Frame>) -> Body {
    let start_code = match &*frame {
        Frame::Video(frame) => start_code(frame.codec),
        Frame::Audio(_) => None,
    };
    let units = (0..).map_while(move |at| match &*frame {
        Frame::Video(frame) => frame.units.get(at).cloned(),
        Frame::Audio(_) => None,
    });
    let parts = units.flat_map(move |unit| start_code.clone().into_iter().chain([unit]));
    Body::from_stream(stream::iter(parts.map(Ok::<_, Infallible>)))
}

/// Returns the bytes before each unit.
fn start_code(codec: VideoCodec) -> Option<Bytes> {
    let has_start_codes = matches!(codec, VideoCodec::H264 | VideoCodec::H265);
    has_start_codes.then_some(Bytes::from_static(START_CODE))
}
