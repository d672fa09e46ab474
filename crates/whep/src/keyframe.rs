//! `GET /{app}/{stream}/keyframe`: the newest keyframe, from which a page makes a picture. The
//! gateway decodes nothing.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use bytes::{BufMut, Bytes, BytesMut};
use distributary_hub::Hub;
use distributary_media::codec_string::codec_string;
use distributary_media::{Frame, VideoCodec, VideoTrack};
use distributary_names::StreamName;

use crate::access::Viewer;
use crate::cors;
use crate::front_door::FrontDoor;
use crate::name::PathStream;
use crate::problem::Problem;

const METHODS: &str = "GET, HEAD, OPTIONS";

/// Start code of a NAL unit (ITU-T H.264 annex B).
const START_CODE: &[u8] = &[0, 0, 0, 1];

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
    let headers = [
        (header::CONTENT_TYPE, media_type(&track)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
    ];
    Ok((headers, body(&frame)).into_response())
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

/// Returns the frame as a decoder takes it without further configuration: H264 and H265 in the byte
/// stream format with their parameter sets (annex B), AV1 and VP9 as they are.
fn body(frame: &Frame) -> Bytes {
    let Frame::Video(frame) = frame else {
        return Bytes::new();
    };
    let has_start_codes = matches!(frame.codec, VideoCodec::H264 | VideoCodec::H265);
    let start_codes = frame.units.len() * START_CODE.len();
    let mut body = BytesMut::with_capacity(frame.payload_len() + start_codes);
    for unit in &frame.units {
        if has_start_codes {
            body.put_slice(START_CODE);
        }
        body.put_slice(unit);
    }
    body.freeze()
}
