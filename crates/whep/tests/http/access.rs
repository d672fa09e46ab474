//! Who may watch, and how often an address may ask.

use crate::front::{Answer, Front, OFFER};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use distributary_auth::keys::KeyRule;
use distributary_auth::network::{self, TrustedProxies};
use distributary_auth::rate::RateLimit;
use distributary_auth::{AuthConfig, Authorizer, Method};
use distributary_webrtc::engine::EngineConfig;
use distributary_whep::{Access, WhepConfig};

const NO_LIMIT: RateLimit = RateLimit {
    burst: 1,
    per_minute: 0,
};

/// A gateway where `live/*` is watched with the key `guest`.
fn keyed() -> Front {
    let rule = KeyRule {
        streams: "live/*".parse().unwrap(),
        publish: Vec::new(),
        play: vec!["guest".to_owned()],
    };
    let config = AuthConfig {
        publish: Method::Open,
        play: Method::Keys(vec![rule]),
    };
    let authorizer = Authorizer::new(config).unwrap();
    let proxies = TrustedProxies::default();
    Front::guarded(Access::new(authorizer, NO_LIMIT, proxies))
}

async fn post(front: &Front, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::post(path).header("content-type", "application/sdp");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    front.send(request.body(Body::from(OFFER)).unwrap()).await
}

#[tokio::test]
async fn a_viewer_shows_its_key_in_the_header_or_in_the_query() {
    let front = keyed();
    for (path, headers) in [
        ("/whep/live/test", vec![("authorization", "Bearer guest")]),
        ("/whep/live/test", vec![("authorization", "guest")]),
        ("/whep/live/test?token=guest", vec![]),
        ("/whep/live/test?x=1&key=guest", vec![]),
        ("/live/test/whep?token=guest", vec![]),
    ] {
        let answer = post(&front, path, &headers).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn a_viewer_without_a_key_or_with_a_wrong_one_is_told_so() {
    let front = keyed();
    let answer = post(&front, "/whep/live/test", &[]).await;
    answer.problem(StatusCode::UNAUTHORIZED);
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    // A page of another site must be able to read it.
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    for headers in [
        ("authorization", "Bearer wrong"),
        ("authorization", "Bearer"),
    ] {
        let answer = post(&front, "/whep/live/test?x=1", &[headers]).await;
        answer.problem(StatusCode::UNAUTHORIZED);
    }
    // Whether it is live is not told either.
    let answer = post(&front, "/whep/live/other", &[]).await;
    answer.problem(StatusCode::UNAUTHORIZED);
    assert_eq!(front.engine.sessions(), 0);
}

#[tokio::test]
async fn where_watching_needs_a_key_nothing_is_listed() {
    let answer = keyed().request("GET", "/api/live").await;
    answer.problem(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_address_that_asks_too_often_has_to_wait_and_others_do_not() {
    let limit = RateLimit {
        burst: 2,
        per_minute: 6,
    };
    // Requests of these tests come from this machine, as from a proxy.
    let proxies = TrustedProxies(vec![network::parse("127.0.0.1").unwrap()]);
    let front = Front::guarded(Access::new(Authorizer::open(), limit, proxies));
    let ask = async |ip| post(&front, "/whep/live/test", &[("x-forwarded-for", ip)]).await;
    for _ in 0..2 {
        assert_eq!(ask("203.0.113.7").await.status, StatusCode::CREATED);
    }
    let answer = ask("203.0.113.7").await;
    answer.problem(StatusCode::TOO_MANY_REQUESTS);
    let pause: u32 = answer.header("retry-after").parse().unwrap();
    assert!((1..=10).contains(&pause), "{pause}");
    assert_eq!(ask("203.0.113.8").await.status, StatusCode::CREATED);
    // Looking is free.
    let request = Request::get("/whep/live/test").header("x-forwarded-for", "203.0.113.7");
    let answer = front.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn an_address_with_all_its_viewers_has_to_wait_and_others_do_not() {
    let proxies = TrustedProxies(vec![network::parse("127.0.0.1").unwrap()]);
    let access = Access::new(Authorizer::open(), NO_LIMIT, proxies);
    let engine = EngineConfig {
        max_sessions_per_address: 2,
        ..EngineConfig::default()
    };
    let front = Front::build(WhepConfig::default(), engine, access);
    let ask = async |ip| post(&front, "/whep/live/test", &[("x-forwarded-for", ip)]).await;
    let first = ask("2001:db8::1").await;
    // An offer of ours takes a place as well as an answer.
    let request = Request::post("/whep/live/test").header("x-forwarded-for", "2001:db8::2");
    let second = front.send(request.body(Body::empty()).unwrap()).await;
    for answer in [&first, &second] {
        assert_eq!(answer.status, StatusCode::CREATED);
    }
    let answer = ask("2001:db8::3").await;
    let problem = answer.problem(StatusCode::SERVICE_UNAVAILABLE);
    assert!(problem["detail"].as_str().unwrap().contains("address"));
    let pause: u32 = answer.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&pause), "{pause}");
    assert_eq!(ask("2001:db8:0:1::1").await.status, StatusCode::CREATED);
    // This machine is not counted.
    for _ in 0..3 {
        front.open().await;
    }
    for left in [first, second] {
        let answer = front.request("DELETE", left.header("location")).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(ask("2001:db8::3").await.status, StatusCode::CREATED);
    }
}
