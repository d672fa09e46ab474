//! The WHEP endpoint: POST and the other methods.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::front::{Answer, Front, OFFER, publish, publish_without_tracks};
use axum::body::{Body, HttpBody};
use axum::http::{Request, StatusCode, header};
use bytes::Bytes;
use distributary_egress::ViewersConfig;
use distributary_egress::engine::EngineConfig;
use distributary_hub::{DemandError, Publisher};
use distributary_media::{VideoCodec, VideoTrack};
use distributary_names::StreamName;
use distributary_whep::{FrontConfig, MAX_OFFER_LEN, OFFER_TIMEOUT, Offline, WhepConfig};
use hyper::body::Frame;

const SDP: &str = "application/sdp";

/// A request body that never arrives.
struct Silence;

impl HttpBody for Silence {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn offer_opens_a_session() {
    let front = Front::new();
    let answer = front.post("/whep/live/test", SDP, OFFER).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    assert_eq!(answer.header("content-type"), SDP);
    assert!(answer.text().starts_with("v=0\r\n"), "{answer:?}");

    let etag = answer.header("etag");
    assert!(
        etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"'),
        "a strong entity tag: {etag}"
    );
    let id = answer.header("location").strip_prefix("/session/").unwrap();
    assert!(front.engine.contains(&id.parse().unwrap()));
}

/// Returns a stream that most browsers cannot decode.
fn publish_h265(front: &Front) -> Publisher {
    let publisher = publish(&front.hub, "live/h265");
    publisher.set_video_track(VideoTrack {
        codec: VideoCodec::H265,
        width: 1280,
        height: 720,
        profile_level_id: [1, 0, 93],
        config: Bytes::new(),
    });
    publisher
}

#[tokio::test]
async fn warning_names_audio_that_cannot_be_sent_with_the_video() {
    let front = Front::new();
    let apart: String = OFFER
        .lines()
        .filter(|line| !line.starts_with("a=group:"))
        .map(|line| format!("{line}\r\n"))
        .collect();
    let answer = front.post("/whep/live/test", SDP, apart).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let warning = answer.header("warning");
    assert!(
        warning.starts_with("299 - \"audio is not sent"),
        "{warning}"
    );
    assert!(warning.contains("a=group:BUNDLE"), "{warning}");
    let answer = front.post("/whep/live/test", SDP, OFFER).await;
    assert!(!answer.headers.contains_key("warning"));
}

#[tokio::test]
async fn error_names_the_kind_of_a_body_that_is_no_offer() {
    let front = Front::new();
    let fragment = "a=ice-ufrag:them\r\na=ice-pwd:0123456789012345678901\r\n";
    let answer = front.post("/whep/live/test", SDP, fragment).await;
    let problem = answer.problem(StatusCode::BAD_REQUEST);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("candidate fragment"), "{detail}");
    for (encoding, status) in [
        ("gzip", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("identity", StatusCode::CREATED),
    ] {
        let request = Request::post("/whep/live/test")
            .header(header::CONTENT_TYPE, SDP)
            .header(header::CONTENT_ENCODING, encoding)
            .body(Body::from(OFFER));
        let answer = front.send(request.unwrap()).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
}

#[tokio::test]
async fn player_that_cannot_decode_the_video_gets_audio_or_the_reason() {
    let required = EngineConfig {
        viewers: ViewersConfig {
            require_video: true,
            ..ViewersConfig::default()
        },
        ..EngineConfig::default()
    };
    let reason = "the video of this stream is H265, and this player supports VP8, VP9, H264, AV1";
    let front = Front::new();
    let publisher = publish_h265(&front);
    let answer = front.post("/whep/live/h265", SDP, OFFER).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let warning = format!("299 - \"{reason}: only audio is sent\"");
    assert_eq!(answer.header("warning"), warning);
    assert_eq!(answer.text().matches("a=sendonly").count(), 1);
    assert!(answer.text().contains("m=video 0 "), "{}", answer.text());
    drop((front, publisher));

    let front = Front::with(FrontConfig::default(), required);
    let _publisher = publish_h265(&front);
    let answer = front.post("/whep/live/h265", SDP, OFFER).await;
    let problem = answer.problem(StatusCode::NOT_ACCEPTABLE);
    assert_eq!(problem["detail"], reason);
    // An offer for audio alone gets it.
    let audio = include_str!("../../../webrtc/tests/fixtures/offers/chromium-audio-only.sdp");
    let answer = front.post("/whep/live/h265", SDP, audio).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
}

#[tokio::test]
async fn every_session_has_its_own_location() {
    let front = Front::new();
    assert_ne!(front.open().await, front.open().await);
}

#[tokio::test]
async fn media_type_may_have_parameters_and_any_case() {
    let front = Front::new();
    for content_type in [
        "application/sdp; charset=utf-8",
        "Application/SDP",
        "application/sdp ;x=y",
    ] {
        let answer = front.post("/whep/live/test", content_type, OFFER).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{content_type}");
    }
}

#[tokio::test]
async fn other_media_types_are_refused() {
    let front = Front::new();
    for content_type in ["application/json", "text/plain", "application/sdpx", ""] {
        let answer = front.post("/whep/live/test", content_type, OFFER).await;
        answer.problem(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert_eq!(answer.header("accept-post"), SDP);
    }
    let request = Request::post("/whep/live/test").body(Body::from(OFFER));
    let answer = front.send(request.unwrap()).await;
    answer.problem(StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn invalid_sdp_is_a_bad_request() {
    let front = Front::new();
    for body in ["hello", "{\"sdp\":1}", "v=0\r\nm="] {
        let answer = front.post("/whep/live/test", SDP, body).await;
        answer.problem(StatusCode::BAD_REQUEST);
    }
    let answer = front.post("/whep/live/test", SDP, &b"v=0\r\ns=\xff\r\n"[..]);
    answer.await.problem(StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn offer_without_a_usable_codec_is_refused_with_the_reason() {
    let front = Front::new();
    let offer = OFFER
        .replace("H264/90000", "H263/90000")
        .replace("opus/48000/2", "speex/16000");
    let answer = front.post("/whep/live/test", SDP, offer).await;
    let problem = answer.problem(StatusCode::NOT_ACCEPTABLE);
    assert_eq!(problem["stream"], "live/test");
}

#[tokio::test]
async fn offer_without_dtls_is_unprocessable() {
    let front = Front::new();
    let offer = OFFER.replace("a=fingerprint:", "a=x-fingerprint:");
    let answer = front.post("/whep/live/test", SDP, offer).await;
    answer.problem(StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn stream_that_is_not_live_is_a_conflict_with_retry_after() {
    let mut front = Front::new();
    let check = |answer: Answer, name: &str| {
        let problem = answer.problem(StatusCode::CONFLICT);
        assert_eq!(problem["stream"], name);
        assert!(problem["detail"].as_str().unwrap().contains(name));
        let seconds: u32 = answer.header("retry-after").parse().unwrap();
        assert!((1..=10).contains(&seconds));
    };
    check(
        front.post("/whep/live/other", SDP, OFFER).await,
        "live/other",
    );

    let _without_tracks = publish_without_tracks(&front.hub, "live/empty");
    check(
        front.post("/whep/live/empty", SDP, OFFER).await,
        "live/empty",
    );

    front.unpublish();
    check(front.post("/whep/live/test", SDP, OFFER).await, "live/test");
}

#[tokio::test]
async fn session_opens_before_the_stream_with_offline_wait() {
    let whep = FrontConfig {
        whep: WhepConfig {
            offline: Offline::Wait,
            ..WhepConfig::default()
        },
        ..FrontConfig::default()
    };
    let front = Front::with(whep, EngineConfig::default());
    let answer = front.post("/whep/live/later", SDP, OFFER).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    // The answer accepts both kinds: the tracks are not known yet.
    assert_eq!(answer.text().matches("a=sendonly").count(), 2);
    // The stream exists for its publisher, and ends with the last waiting viewer.
    let name = StreamName::parse("live/later").unwrap();
    assert!(
        front
            .hub
            .stream(&name)
            .is_some_and(|stream| !stream.is_live())
    );
    let list = front.admin("").request("GET", "/api/streams").await.json();
    assert_eq!(list["streams"].as_array().unwrap().len(), 1);
    let metrics = front.admin("").request("GET", "/metrics").await;
    assert!(!metrics.text().contains("live/later"));
    front.request("DELETE", answer.header("location")).await;
    assert!(front.hub.stream(&name).is_none());
}

#[tokio::test]
async fn request_waits_for_a_pulled_stream() {
    let front = Front::new();
    let mut demands = front.hub.provide(|name| name.as_str().starts_with("far/"));
    let hub = front.hub.clone();
    let provider = async {
        let demand = demands.recv().await.unwrap();
        let publisher = publish(&hub, demand.name().as_str());
        demand.answer(Ok(()));
        let demand = demands.recv().await.unwrap();
        demand.answer(Err(DemandError::Failed("the origin is down".into())));
        publisher
    };
    let viewers = async {
        let answer = front.post("/whep/far/show", SDP, OFFER).await;
        assert_eq!(answer.status, StatusCode::CREATED);
        let answer = front.post("/whep/far/other", SDP, OFFER).await;
        let problem = answer.problem(StatusCode::CONFLICT);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("the origin is down"), "{detail}");
    };
    let both = async { tokio::join!(provider, viewers) };
    let done = tokio::time::timeout(Duration::from_secs(20), both).await;
    done.expect("a demand is made for each stream");
}

#[tokio::test]
async fn stream_name_is_percent_decoded_and_may_have_more_segments() {
    let front = Front::new();
    let names = ["live/eu/one", "live/a b", "live/ä", "live/session/x"];
    let _publishers = names.map(|name| publish(&front.hub, name));
    for path in [
        "/whep/live/eu/one",
        "/whep/live%2Feu%2Fone",
        "/whep/live/a%20b",
        "/whep/live/%C3%A4",
        "/whep/live/session/x",
        "/whep/live/test/",
    ] {
        let answer = front.post(path, SDP, OFFER).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn path_that_is_no_stream_name_is_a_bad_request() {
    let front = Front::new();
    for path in [
        "/whep/..",
        "/whep/live//test",
        "/whep/live/..%2ftest",
        "/whep/live/%2e%2e/test",
        "/whep/live/a%252e",
        "/whep/live/a%0d%0aX:1",
        "/whep/live/a%5cb",
        "/whep/live/%ff",
    ] {
        let answer = front.post(path, SDP, OFFER).await;
        answer.problem(StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn offer_over_the_maximum_size_is_refused() {
    let front = Front::new();
    let padded = |len: usize| format!("{OFFER}{}", "\n".repeat(len - OFFER.len()));
    let answer = front.post("/whep/live/test", SDP, padded(MAX_OFFER_LEN + 1));
    answer.await.problem(StatusCode::PAYLOAD_TOO_LARGE);

    let answer = front.post("/whep/live/test", SDP, padded(MAX_OFFER_LEN));
    assert_ne!(answer.await.status, StatusCode::PAYLOAD_TOO_LARGE);

    // The declared length alone is enough for the refusal.
    let request = Request::post("/whep/live/test")
        .header(header::CONTENT_TYPE, SDP)
        .header(header::CONTENT_LENGTH, "104857600")
        .body(Body::from(OFFER));
    let answer = front.send(request.unwrap()).await;
    answer.problem(StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_an_offer_times_out() {
    let front = Front::new();
    let request = front.post("/whep/live/test", SDP, Body::new(Silence));
    let limit = OFFER_TIMEOUT + Duration::from_secs(1);
    let answer = tokio::time::timeout(limit, request).await;
    answer
        .expect("an answer in time")
        .problem(StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn other_methods_are_refused_with_an_allow_header() {
    let front = Front::new();
    for method in ["PUT", "DELETE", "PATCH"] {
        let answer = front.request(method, "/whep/live/test").await;
        answer.problem(StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.list("allow"), ["GET", "HEAD", "OPTIONS", "POST"]);
    }
}

#[tokio::test]
async fn endpoint_can_be_discovered() {
    let front = Front::new();
    for method in ["HEAD", "GET"] {
        let answer = front.request(method, "/whep/live/test").await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("content-type"), SDP);
        assert!(answer.body.is_empty());
    }
    let answer = front.request("OPTIONS", "/whep/live/test").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("accept-post"), SDP);
    assert_eq!(answer.list("allow"), ["GET", "HEAD", "OPTIONS", "POST"]);
}
