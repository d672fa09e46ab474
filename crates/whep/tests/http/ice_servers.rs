//! STUN and TURN servers that players are told of (RFC 9725 section 4.6).

use std::time::Duration;

use crate::front::{Answer, Front, OFFER};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use distributary_webrtc::engine::EngineConfig;
use distributary_whep::{IceServer, TurnCredentials, WhepConfig};

const STUN: &str = "<stun:stun.example>; rel=\"ice-server\"";

fn front() -> Front {
    let secret = TurnCredentials::Shared {
        secret: "north".to_owned(),
        lifetime: Duration::from_secs(3600),
    };
    let whep = WhepConfig {
        ice_servers: vec![
            IceServer::new("stun:stun.example", None).unwrap(),
            IceServer::new("turn:turn.example?transport=udp", Some(secret)).unwrap(),
        ],
        ..WhepConfig::default()
    };
    Front::with(whep, EngineConfig::default())
}

fn links(answer: &Answer) -> Vec<&str> {
    let links = answer.headers.get_all("link").iter();
    links.map(|link| link.to_str().unwrap()).collect()
}

#[tokio::test]
async fn the_answer_names_each_server_and_credentials_for_an_hour() {
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
    // A moment of this century, not a length of time.
    assert!(until.parse::<u64>().unwrap() > 1_700_000_000);
    assert!(rest.starts_with("; credential=\""), "{rest}");
    assert!(rest.ends_with("\"; credential-type=\"password\""), "{rest}");
}

#[tokio::test]
async fn a_player_may_ask_first_and_learns_no_credentials_so() {
    let front = front();
    let answer = front.request("OPTIONS", "/whep/live/test").await;
    assert_eq!(links(&answer), [STUN]);

    // A browser's preflight is not the question of a player.
    let preflight = Request::options("/whep/live/test")
        .header("origin", "https://player.example")
        .header("access-control-request-method", "POST")
        .body(Body::empty());
    let answer = front.send(preflight.unwrap()).await;
    assert!(links(&answer).is_empty());
}

#[tokio::test]
async fn who_is_refused_is_told_of_no_server() {
    let front = front();
    let answer = front
        .post("/whep/live/other", "application/sdp", OFFER)
        .await;
    answer.problem(StatusCode::CONFLICT);
    assert!(links(&answer).is_empty());
}
