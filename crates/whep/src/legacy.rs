//! Offer and answer in JSON, as SRS and ZLMediaKit had them before WHEP, and as many of their
//! players still do.
//!
//! These players read errors only from a `code` in the body that is not 0. Their sessions end when
//! the viewer leaves.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use distributary_names::StreamName;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::access::Viewer;
use crate::cors;
use crate::endpoint;
use crate::front_door::FrontDoor;
use crate::offer::read_text;
use crate::player::Player;
use crate::problem::Problem;

const METHODS: &str = "OPTIONS, POST";

/// Routes `POST /rtc/v1/play/`, for players of SRS.
pub(crate) fn srs() -> MethodRouter<FrontDoor> {
    post(play_srs).options(options)
}

/// Routes `POST /index/api/webrtc?app=&stream=&type=play`, for players of ZLMediaKit.
pub(crate) fn zlmediakit() -> MethodRouter<FrontDoor> {
    post(play_zlmediakit).options(options)
}

async fn options() -> Response {
    cors::options(METHODS)
}

/// The request body of a player of SRS.
#[derive(Deserialize)]
struct SrsRequest {
    /// `webrtc://{host}/{app}/{stream}`
    streamurl: String,
    /// The offer.
    sdp: String,
}

/// The response to a player of SRS.
#[derive(Serialize)]
struct SrsAnswer {
    code: u16,
    server: &'static str,
    sdp: String,
    sessionid: String,
}

/// The query string of a player of ZLMediaKit.
#[derive(Deserialize)]
struct ZlmRequest {
    app: String,
    stream: String,
    #[serde(default)]
    r#type: String,
}

/// The response to a player of ZLMediaKit.
#[derive(Serialize)]
struct ZlmAnswer {
    code: u16,
    id: String,
    sdp: String,
    r#type: &'static str,
}

/// An error for players of either.
#[derive(Serialize)]
struct Refusal {
    code: u16,
    msg: String,
}

async fn play_srs(
    State(front): State<FrontDoor>,
    viewer: Viewer,
    Player(options): Player,
    request: Request,
) -> Response {
    answer(async {
        let body = read_text(request).await?;
        let SrsRequest { streamurl, sdp } = serde_json::from_str(&body)
            .map_err(|error| bad_request(format!("The body is not valid: {error}.")))?;
        let name = name_of(&streamurl)?;
        let session = endpoint::play(&front, &viewer, &name, &sdp, options).await?;
        Ok(SrsAnswer {
            code: 0,
            server: "distributary",
            sdp: session.answer,
            sessionid: session.id.short().to_string(),
        })
    })
    .await
}

async fn play_zlmediakit(
    State(front): State<FrontDoor>,
    query: Result<Query<ZlmRequest>, QueryRejection>,
    viewer: Viewer,
    Player(options): Player,
    request: Request,
) -> Response {
    answer(async {
        let Query(ZlmRequest {
            app,
            stream,
            r#type,
        }) = query.map_err(|error| bad_request(error.body_text()))?;
        if r#type != "play" {
            return Err(bad_request(
                "Only type=play is supported; publish over RTMP.",
            ));
        }
        let name =
            StreamName::new(&app, &stream).map_err(|error| bad_request(error.to_string()))?;
        let offer = read_text(request).await?;
        let session = endpoint::play(&front, &viewer, &name, &offer, options).await?;
        Ok(ZlmAnswer {
            code: 0,
            id: session.id.short().to_string(),
            sdp: session.answer,
            r#type: "answer",
        })
    })
    .await
}

/// Returns the stream name in `webrtc://{host}/{app}/{stream}`.
fn name_of(url: &str) -> Result<StreamName, Problem> {
    let url = Url::parse(url).map_err(|error| bad_request(format!("streamurl: {error}.")))?;
    let path = percent_encoding::percent_decode_str(url.path()).decode_utf8_lossy();
    StreamName::parse(path.trim_matches('/'))
        .map_err(|error| bad_request(format!("streamurl: {error}.")))
}

async fn answer<T: Serialize>(played: impl Future<Output = Result<T, Problem>>) -> Response {
    match played.await {
        Ok(answer) => Json(answer).into_response(),
        Err(problem) => Json(Refusal {
            code: problem.status().as_u16(),
            msg: problem.detail().to_owned(),
        })
        .into_response(),
    }
}

fn bad_request(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}
