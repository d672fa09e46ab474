//! Authorization of viewers, and rate limits per address.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::front::{Answer, Front, OFFER};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use distributary_auth::jwt::JwtConfig;
use distributary_auth::keys::KeyRule;
use distributary_auth::rate::RateLimit;
use distributary_auth::{AuthConfig, Authorizer, Method};
use distributary_egress::engine::EngineConfig;
use distributary_hub::ViewerLimits;
use distributary_net::{TrustedProxies, parse_network};
use distributary_whep::{Access, FrontConfig};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;

const NO_LIMIT: RateLimit = RateLimit {
    burst: 1,
    per_minute: 0,
};

/// Returns a gateway where `live/*` is watched with the key `guest`.
pub(crate) fn keyed() -> Front {
    let rule = KeyRule {
        streams: "live/*".parse().unwrap(),
        publish: Vec::new(),
        play: vec!["guest".to_owned()],
    };
    let config = AuthConfig {
        play: Method::Keys,
        key: vec![rule],
        ..AuthConfig::default()
    };
    let authorizer = Authorizer::new(config).unwrap();
    let proxies = TrustedProxies::default();
    Front::guarded(Access::new(authorizer, NO_LIMIT, proxies))
}

/// Lets everybody watch, from the addresses that `X-Forwarded-For` names.
pub(crate) fn trusting() -> Access {
    let proxies = TrustedProxies(vec![parse_network("127.0.0.1").unwrap()]);
    Access::new(Authorizer::open(), NO_LIMIT, proxies)
}

async fn post(front: &Front, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::post(path).header("content-type", "application/sdp");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    front.send(request.body(Body::from(OFFER)).unwrap()).await
}

#[tokio::test]
async fn viewer_sends_its_key_in_the_header_or_in_the_query_string() {
    let front = keyed();
    for (path, headers) in [
        ("/whep/live/test", vec![("authorization", "Bearer guest")]),
        ("/whep/live/test", vec![("authorization", "guest")]),
        ("/whep/live/test?token=guest", vec![]),
        ("/whep/live/test?x=1&key=guest", vec![]),
        ("/live/test/whep?token=guest", vec![]),
        ("/whep/live/test?jwt=guest", vec![]),
        // The password of any user name.
        (
            "/whep/live/test",
            vec![("authorization", "Basic bWU6Z3Vlc3Q=")],
        ),
        // Invalid credentials do not hide valid ones.
        (
            "/whep/live/test?key=guest",
            vec![("authorization", "Bearer null")],
        ),
        (
            "/whep/live/test?key=guest",
            vec![("authorization", "Bearer")],
        ),
        (
            "/whep/live/test?key=guest",
            vec![("authorization", "Bearer old")],
        ),
        (
            "/whep/live/test?key=guest",
            vec![("authorization", "Basic bWU6b2xk")],
        ),
        ("/whep/live/test?token=old&key=guest", vec![]),
    ] {
        let answer = post(&front, path, &headers).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn viewer_without_a_valid_key_is_refused_with_the_reason() {
    let front = keyed();
    let answer = post(&front, "/whep/live/test", &[]).await;
    answer.problem(StatusCode::UNAUTHORIZED);
    let challenges = |answer: &Answer| {
        let values = answer.headers.get_all("www-authenticate").iter();
        let values = values.map(|value| value.to_str().unwrap().to_owned());
        values.collect::<Vec<_>>()
    };
    // A program may send a user and a password only after a challenge.
    let basic = "Basic realm=\"Distributary\", charset=\"UTF-8\"";
    assert_eq!(challenges(&answer), ["Bearer", basic]);
    let wrong = ("authorization", "Basic bWU6d3Jvbmc=");
    let answer = post(&front, "/whep/live/test", &[wrong]).await;
    let invalid = "Bearer error=\"invalid_token\"";
    assert_eq!(challenges(&answer), [invalid, basic]);
    // In a page, the browser would open a password dialog.
    for of_page in [
        ("origin", "https://a.example"),
        ("origin", "null"),
        ("sec-fetch-mode", "cors"),
    ] {
        let answer = post(&front, "/whep/live/test", &[of_page]).await;
        answer.problem(StatusCode::UNAUTHORIZED);
        assert_eq!(challenges(&answer), ["Bearer"], "{of_page:?}");
    }
    let answer = post(&front, "/whep/live/test", &[]).await;
    // A page of another site must be able to read it.
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    for headers in [
        ("authorization", "Bearer wrong"),
        ("authorization", "Bearer"),
    ] {
        let answer = post(&front, "/whep/live/test?x=1", &[headers]).await;
        answer.problem(StatusCode::UNAUTHORIZED);
    }
    // A refused viewer does not learn whether the stream is live.
    let answer = post(&front, "/whep/live/other", &[]).await;
    answer.problem(StatusCode::UNAUTHORIZED);
    assert_eq!(front.engine.sessions(), 0);
}

#[tokio::test]
async fn streams_are_not_listed_if_watching_needs_a_key() {
    let answer = keyed().request("GET", "/api/live").await;
    answer.problem(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn rate_limit_applies_to_each_address_separately() {
    let limit = RateLimit {
        burst: 2,
        per_minute: 6,
    };
    // Requests of these tests come from loopback, as from a proxy.
    let proxies = TrustedProxies(vec![parse_network("127.0.0.1").unwrap()]);
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
    // GET is not limited.
    let request = Request::get("/whep/live/test").header("x-forwarded-for", "203.0.113.7");
    let answer = front.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn changes_and_ends_of_sessions_have_separate_limits() {
    let limit = RateLimit {
        burst: 2,
        per_minute: 1,
    };
    let proxies = TrustedProxies(vec![parse_network("127.0.0.1").unwrap()]);
    let front = Front::guarded(Access::new(Authorizer::open(), limit, proxies));
    let unknown = format!("/session/{}", "0".repeat(32));
    for (method, path) in [
        ("POST", "/whep/live/test"),
        ("PATCH", &*unknown),
        ("DELETE", "/session/none"),
        ("OPTIONS", "/whep/live/test"),
    ] {
        let ask = async || {
            let request = Request::builder().method(method).uri(path);
            let request = request.header("x-forwarded-for", "203.0.113.7");
            front.send(request.body(Body::empty()).unwrap()).await
        };
        for _ in 0..2 {
            assert_ne!(
                ask().await.status,
                StatusCode::TOO_MANY_REQUESTS,
                "{method}"
            );
        }
        let answer = ask().await;
        answer.problem(StatusCode::TOO_MANY_REQUESTS);
        assert!(answer.headers.contains_key("retry-after"));
    }
    // A browser rejects 429 in response to a preflight.
    for _ in 0..5 {
        let request = Request::options("/whep/live/test")
            .header("x-forwarded-for", "203.0.113.7")
            .header("access-control-request-method", "POST");
        let answer = front.send(request.body(Body::empty()).unwrap()).await;
        assert!(answer.status.is_success());
    }
}

#[tokio::test]
async fn trickled_candidates_do_not_count_against_the_address_but_restarts_do() {
    let limit = RateLimit {
        burst: 2,
        per_minute: 1,
    };
    let proxies = TrustedProxies(vec![parse_network("127.0.0.1").unwrap()]);
    let front = Front::guarded(Access::new(Authorizer::open(), limit, proxies));
    let patch = async |session: &str, if_match: &str, body: String| {
        let request = Request::patch(session)
            .header("content-type", "application/trickle-ice-sdpfrag")
            .header("if-match", if_match)
            .header("x-forwarded-for", "203.0.113.7");
        front.send(request.body(Body::from(body)).unwrap()).await
    };
    let answer = front
        .post("/whep/live/test", "application/sdp", OFFER)
        .await;
    let session = answer.header("location").to_owned();
    let mut etag = answer.header("etag").to_owned();
    let candidate = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.7 4000 typ host\r\n";
    for _ in 0..50 {
        let answer = patch(&session, &etag, candidate.to_owned()).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
    }
    let restart = async |number: u32| {
        let pwd = "0123456789012345678901";
        let body = format!("{candidate}a=ice-ufrag:next{number}\r\na=ice-pwd:{pwd}\r\n");
        patch(&session, "*", body).await
    };
    for number in 0..2 {
        let answer = restart(number).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        etag = answer.header("etag").to_owned();
    }
    let answer = restart(2).await;
    answer.problem(StatusCode::TOO_MANY_REQUESTS);
    // Candidates of one session have their own limit.
    let mut allowed = 0;
    let refused = loop {
        let answer = patch(&session, &etag, candidate.to_owned()).await;
        if answer.status != StatusCode::NO_CONTENT {
            break answer;
        }
        allowed += 1;
        assert!(allowed < 10_000, "there is no limit");
    };
    refused.problem(StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn event_streams_are_limited_per_address() {
    let proxies = TrustedProxies(vec![parse_network("127.0.0.1").unwrap()]);
    let whep = FrontConfig {
        max_event_streams_per_ip: 1,
        ..FrontConfig::default()
    };
    let access = Access::new(Authorizer::open(), NO_LIMIT, proxies);
    let front = Front::build(whep, EngineConfig::default(), access);
    let session = front.open().await;
    let entry = format!("{session}/events");
    let listen = async |ip| {
        let answer = front.post(&entry, "application/json", "").await;
        let request = Request::get(answer.header("location")).header("x-forwarded-for", ip);
        front.response(request.body(Body::empty()).unwrap()).await
    };
    let first = listen("2001:db8::1").await;
    assert_eq!(first.status(), StatusCode::OK);
    let second = listen("2001:db8::2").await;
    assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(second.headers().contains_key("retry-after"));
    let other = listen("2001:db8:0:1::1").await;
    assert_eq!(other.status(), StatusCode::OK);
}

#[tokio::test]
async fn session_gets_reconnect_and_then_ends_with_its_token() {
    let front = with_tokens(false);
    let answer = post(&front, &path_with_token(60), &[]).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    let session = answer.header("location").to_owned();
    let entry = format!("{session}/events");
    let answer = front
        .post(&entry, "application/json", "[\"reconnect\"]")
        .await;
    let events = answer.header("location").to_owned();
    // The simulated clock advances when all tasks are idle.
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let request = Request::get(&events).body(Body::empty()).unwrap();
    let answer = front.send(request).await;
    let told: String = answer
        .text()
        .split_inclusive("\n\n")
        .filter(|part| !part.starts_with(':'))
        .collect();
    assert_eq!(told, "event: reconnect\ndata: {}\n\n");
    // The token is accepted for half a minute more, because clocks differ.
    let lasted = began.elapsed().as_secs();
    assert!((80..=90).contains(&lasted), "{lasted}");
    front
        .request("GET", &session)
        .await
        .problem(StatusCode::NOT_FOUND);
    assert_eq!(front.engine.sessions(), 0);
}

#[tokio::test]
async fn session_outlives_its_token_if_configured() {
    let front = with_tokens(true);
    let answer = post(&front, &path_with_token(60), &[]).await;
    let session = answer.header("location").to_owned();
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let answer = front.request("GET", &session).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
}

/// Returns a gateway that requires tokens.
pub(crate) fn with_tokens(session_outlives_token: bool) -> Front {
    let jwt = JwtConfig {
        secret: "secret".to_owned(),
        session_outlives_token,
        ..JwtConfig::default()
    };
    let config = AuthConfig {
        play: Method::Jwt,
        jwt,
        ..AuthConfig::default()
    };
    let authorizer = Authorizer::new(config).unwrap();
    Front::guarded(Access::new(authorizer, NO_LIMIT, TrustedProxies::default()))
}

/// Returns the endpoint with a token that expires after this many seconds.
#[allow(clippy::disallowed_methods, reason = "tokens expire by the wall clock")]
pub(crate) fn path_with_token(seconds: u64) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let claims = json!({ "exp": now + seconds, "stream": "live/*", "action": "play" });
    let key = EncodingKey::from_secret(b"secret");
    let token = encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
    format!("/whep/live/test?jwt={token}")
}

#[tokio::test]
async fn viewers_are_limited_per_address() {
    let limits = ViewerLimits {
        max_per_address: 2,
        ..ViewerLimits::default()
    };
    let front = Front::limited(limits, trusting());
    let ask = async |ip| post(&front, "/whep/live/test", &[("x-forwarded-for", ip)]).await;
    let first = ask("2001:db8::1").await;
    // An offer of the gateway takes a permit like an answer.
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
    // Loopback is not counted.
    for _ in 0..3 {
        front.open().await;
    }
    for left in [first, second] {
        let answer = front.request("DELETE", left.header("location")).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(ask("2001:db8::3").await.status, StatusCode::CREATED);
    }
}
