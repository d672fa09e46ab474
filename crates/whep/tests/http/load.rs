//! Limits of viewers, draining and redirects.

use crate::front::{Front, OFFER, publish};
use axum::http::StatusCode;
use distributary_egress::engine::EngineConfig;
use distributary_hub::ViewerLimits;
use distributary_names::StreamName;
use distributary_whep::{Access, Drain, FrontConfig, Redirect};

const SDP: &str = "application/sdp";

fn front(max: usize, max_per_stream: usize) -> Front {
    let limits = ViewerLimits {
        max,
        max_per_stream,
        ..ViewerLimits::default()
    };
    Front::limited(limits, Access::default())
}

/// Requests a session, and checks that the gateway refuses it with `Retry-After`. Returns the
/// detail.
async fn is_full(front: &Front, path: &str) -> String {
    let answer = front.post(path, SDP, OFFER).await;
    let problem = answer.problem(StatusCode::SERVICE_UNAVAILABLE);
    let seconds: u32 = answer.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&seconds));
    problem["detail"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn full_gateway_responds_with_retry_after() {
    let front = front(1, 10);
    let session = front.open().await;
    assert!(is_full(&front, "/whep/live/test").await.contains("gateway"));
    front.request("DELETE", &session).await;
    front.open().await;
}

#[tokio::test]
async fn full_stream_does_not_affect_other_streams() {
    let front = front(10, 1);
    let _other = publish(&front.hub, "live/other");
    front.open().await;
    assert!(is_full(&front, "/whep/live/test").await.contains("stream"));
    let answer = front.post("/whep/live/other", SDP, OFFER).await;
    assert_eq!(answer.status, StatusCode::CREATED);
}

#[tokio::test]
async fn rtmp_players_count_as_viewers() {
    let front = front(10, 1);
    let name = StreamName::parse("live/test").unwrap();
    let player = front.hub.viewers().admit(&name, None).unwrap();
    assert!(is_full(&front, "/whep/live/test").await.contains("stream"));
    drop(player);
    front.open().await;
    assert!(front.hub.viewers().admit(&name, None).is_err());
}

#[tokio::test]
async fn draining_gateway_refuses_new_sessions_and_keeps_open_ones() {
    let front = Front::new();
    let session = front.open().await;
    front.admission.drain(Drain::default());
    assert!(
        is_full(&front, "/whep/live/test")
            .await
            .contains("shutting down")
    );
    let answer = front.request("GET", &session).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let answer = front.request("DELETE", &session).await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn redirect_keeps_method_and_query_string() {
    let to = Redirect::new("vod/*".parse().unwrap(), "https://vod.example/whep/films");
    let whep = FrontConfig {
        redirects: vec![to.unwrap()],
        ..FrontConfig::default()
    };
    let front = Front::with(whep, EngineConfig::default());
    for path in [
        "/whep/vod/a%20b?token=x",
        "/rtc/v1/whep/?app=vod&stream=a%20b&token=x",
        "/vod/a%20b/whep?token=x",
    ] {
        let answer = front.post(path, SDP, OFFER).await;
        assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT, "{path}");
        let location = "https://vod.example/whep/films/a%20b?token=x";
        assert_eq!(answer.header("location"), location);
        assert_eq!(answer.header("access-control-allow-origin"), "*");
    }
    front.open().await;
}
