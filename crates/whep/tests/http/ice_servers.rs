//! Announcement of STUN and TURN servers to players (RFC 9725 section 4.6).

use std::time::Duration;

use crate::front::{Answer, Front, OFFER};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use distributary_auth::keys::KeyRule;
use distributary_auth::rate::RateLimit;
use distributary_auth::{AuthConfig, Authorizer, Method};
use distributary_egress::engine::EngineConfig;
use distributary_net::TrustedProxies;
use distributary_whep::{Access, FrontConfig, IceServer, TurnCredentials};

const STUN: &str = "<stun:stun.example>; rel=\"ice-server\"";

fn settings() -> FrontConfig {
    let secret = TurnCredentials::Shared {
        secret: "north".to_owned(),
        lifetime: Duration::from_secs(3600),
    };
    FrontConfig {
        ice_servers: vec![
            IceServer::new("stun:stun.example", None).unwrap(),
            IceServer::new("turn:turn.example?transport=udp", Some(secret)).unwrap(),
        ],
        ..FrontConfig::default()
    }
}

fn front() -> Front {
    Front::with(settings(), EngineConfig::default())
}

fn links(answer: &Answer) -> Vec<&str> {
    let links = answer.headers.get_all("link").iter();
    links.map(|link| link.to_str().unwrap()).collect()
}

#[tokio::test]
async fn answer_lists_ice_servers_with_credentials_for_an_hour() {
    let front = front();
    let answer = front
        .post("/whep/live/test", "application/sdp", OFFER)
        .await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let links = links(&answer);
    assert_eq!(links[0], STUN);
    let turn = "<turn:turn.example?transport=udp>; rel=\"ice-server\"; username=\"";
    let rest = links[1].strip_prefix(turn).unwrap();
    let (until, rest) = rest.split_once('"').unwrap();
    // An expiry time in this century, not a duration.
    assert!(until.parse::<u64>().unwrap() > 1_700_000_000);
    assert!(rest.starts_with("; credential=\""), "{rest}");
    assert!(rest.ends_with("\"; credential-type=\"password\""), "{rest}");
}

/// Returns the response to OPTIONS for a player that sends this header.
async fn asked(front: &Front, header: Option<(&str, &str)>) -> Answer {
    let mut request = Request::options("/whep/live/test");
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    front.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn options_lists_ice_servers_if_everybody_may_watch() {
    let front = front();
    let answer = asked(&front, None).await;
    let links = links(&answer);
    assert_eq!(links[0], STUN);
    assert!(links[1].contains("; credential=\""), "{links:?}");
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[tokio::test]
async fn preflight_lists_no_ice_server() {
    let front = front();
    let preflight = Request::options("/whep/live/test")
        .header("origin", "https://player.example")
        .header("access-control-request-method", "POST")
        .body(Body::empty());
    let answer = front.send(preflight.unwrap()).await;
    assert!(links(&answer).is_empty());
}

#[tokio::test]
async fn options_lists_credentials_only_for_authorized_viewers() {
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
    let no_limit = RateLimit {
        burst: 1,
        per_minute: 0,
    };
    let authorizer = Authorizer::new(config).unwrap();
    let access = Access::new(authorizer, no_limit, TrustedProxies::default());
    let front = Front::build(settings(), EngineConfig::default(), access);
    for header in [None, Some(("authorization", "Bearer wrong"))] {
        let answer = asked(&front, header).await;
        assert_eq!(links(&answer), [STUN], "{header:?}");
        assert_eq!(answer.status, StatusCode::OK);
    }
    let answer = asked(&front, Some(("authorization", "Bearer guest"))).await;
    assert_eq!(links(&answer).len(), 2);
}

#[tokio::test]
async fn refused_viewer_gets_no_ice_server() {
    let front = front();
    let answer = front
        .post("/whep/live/other", "application/sdp", OFFER)
        .await;
    answer.problem(StatusCode::CONFLICT);
    assert!(links(&answer).is_empty());
}
