//! The endpoint at the paths of other servers.

use crate::front::{Front, OFFER, publish};
use axum::http::{Method, StatusCode};
use serde_json::json;

const SDP: &str = "application/sdp";

const PATHS: [&str; 6] = [
    "/live/test/whep",
    "/rtc/v1/whep/?app=live&stream=test",
    "/rtc/v1/whip-play/?app=live&stream=test",
    "/rtc/v1/whep?stream=test&vhost=__defaultVhost__",
    "/index/api/whep?app=live&stream=test",
    "/whep?app=live&stream=test",
];

#[tokio::test]
async fn every_alias_opens_a_session() {
    let front = Front::new();
    for path in PATHS {
        let answer = front.post(path, SDP, OFFER).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{path}: {answer:?}");
        let session = answer.header("location").to_owned();
        let answer = front.request("DELETE", &session).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn every_alias_supports_all_methods_of_the_endpoint() {
    let front = Front::new();
    for path in PATHS {
        let answer = front.request("OPTIONS", path).await;
        assert_eq!(answer.header("accept-post"), SDP, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        let answer = front.request("HEAD", path).await;
        assert_eq!(answer.header("content-type"), SDP, "{path}");
        let answer = front.request("PUT", path).await;
        answer.problem(StatusCode::METHOD_NOT_ALLOWED);
    }
}

#[tokio::test]
async fn alias_supports_names_with_any_number_of_segments() {
    let front = Front::new();
    let _publishers = ["live/eu/one", "live/a b", "cam"].map(|name| publish(&front.hub, name));
    for path in [
        "/whep/cam",
        "/cam/whep",
        "/whep?app=&stream=cam",
        "/live/eu/one/whep",
        "/live/a%20b/whep/",
        "/whep?app=live/eu&stream=one",
    ] {
        let answer = front.post(path, SDP, OFFER).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn mediamtx_players_get_not_found_for_a_stream_that_is_not_live() {
    let front = Front::new();
    let answer = front.post("/live/other/whep", SDP, OFFER).await;
    answer.problem(StatusCode::NOT_FOUND);
    assert!(answer.headers.contains_key("retry-after"));
    let answer = front.post("/rtc/v1/whep/?stream=other", SDP, OFFER).await;
    answer.problem(StatusCode::CONFLICT);
    // They show the member `error` of a bad request.
    let problem = front.post("/live/test/whep", SDP, "hello").await;
    let problem = problem.problem(StatusCode::BAD_REQUEST);
    assert_eq!(problem["error"], problem["detail"]);
}

#[tokio::test]
async fn endpoint_without_a_stream_says_how_to_name_one() {
    let front = Front::new();
    for path in ["/whep", "/whep/?app=live", "/index/api/whep?stream=test"] {
        for method in [Method::POST, Method::GET] {
            let answer = front.request(method.as_str(), path).await;
            let problem = answer.problem(StatusCode::BAD_REQUEST);
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("/whep/{app}/{stream}"), "{detail}");
        }
    }
    let answer = front.post("/whep?app=live&stream=..%2fx", SDP, OFFER).await;
    answer.problem(StatusCode::BAD_REQUEST);
}

async fn srs(front: &Front, url: &str) -> serde_json::Value {
    let body = json!({ "api": "x", "tid": "1", "streamurl": url, "clientip": null, "sdp": OFFER });
    let answer = front
        .post("/rtc/v1/play/", "application/json", body.to_string())
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    answer.json()
}

#[tokio::test]
async fn srs_players_open_sessions_in_json() {
    let front = Front::new();
    let answer = srs(&front, "webrtc://gw.example:1985/live/test?token=1").await;
    assert_eq!(answer["code"], 0);
    assert!(answer["sdp"].as_str().unwrap().starts_with("v=0\r\n"));
    assert_eq!(answer["sessionid"].as_str().unwrap().len(), 8);
    assert_eq!(front.engine.sessions(), 1);

    for (url, code) in [
        ("webrtc://gw.example/live/other", 409),
        ("webrtc://gw.example/", 400),
        ("webrtc://gw.example/cam", 409),
        ("webrtc://gw.example/live/..%2f..%2fx", 400),
        ("nonsense", 400),
    ] {
        let answer = srs(&front, url).await;
        assert_eq!(answer["code"], code, "{url}");
        assert!(!answer["msg"].as_str().unwrap().is_empty());
    }
    for body in [
        "",
        "{}",
        "{\"sdp\":1,\"streamurl\":\"webrtc://a/b/c\"}",
        "[[[[",
    ] {
        let answer = front.post("/rtc/v1/play", "text/plain", body).await;
        assert_eq!(answer.json()["code"], 400, "{body}");
    }
}

#[tokio::test]
async fn zlmediakit_players_open_sessions_in_json() {
    let front = Front::new();
    let post = |path: &'static str, body: &'static str| front.post(path, "text/plain", body);
    let path = "/index/api/webrtc?app=live&stream=test&type=play";
    let answer = post(path, OFFER).await.json();
    assert_eq!(
        (&answer["code"], &answer["type"]),
        (&json!(0), &json!("answer"))
    );
    assert!(answer["sdp"].as_str().unwrap().starts_with("v=0\r\n"));
    for (path, body, code) in [
        (
            "/index/api/webrtc?app=live&stream=other&type=play",
            OFFER,
            409,
        ),
        (
            "/index/api/webrtc?app=live&stream=test&type=push",
            OFFER,
            400,
        ),
        ("/index/api/webrtc?stream=test&type=play", OFFER, 400),
        (path, "hello", 400),
    ] {
        let answer = post(path, body).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.json()["code"], code, "{path}");
    }
}
