//! The events of a session: the server-sent events extension of WHEP.

use std::time::Duration;

use crate::front::{Answer, Front, OFFER, publish};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use distributary_egress::engine::EngineConfig;
use distributary_whep::{Drain, FrontConfig, Offline, WhepConfig};
use http_body_util::BodyExt as _;

const JSON: &str = "application/json";

/// Timeout for an event that must come.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Returns a gateway where viewers wait for a stream, without a grace period for `inactive`.
fn front(whep: FrontConfig) -> Front {
    let engine = EngineConfig {
        offline_grace: None,
        ..EngineConfig::default()
    };
    let whep = FrontConfig {
        whep: WhepConfig {
            offline: Offline::Wait,
            ..whep.whep
        },
        offline_grace: Duration::ZERO,
        ..whep
    };
    Front::with(whep, engine)
}

/// Returns the path of the events, from the `Link` in the response to an offer.
fn entry(answer: &Answer) -> String {
    let links = answer.headers.get_all("link").iter();
    let mut links = links.map(|link| link.to_str().unwrap());
    let relation = "rel=\"urn:ietf:params:whep:ext:core:server-sent-events\"";
    let link = links.find(|link| link.contains(relation)).unwrap();
    assert!(link.ends_with("; events=\"active,inactive,reconnect,viewercount,layers\""));
    let (url, _) = link.strip_prefix('<').unwrap().split_once('>').unwrap();
    url.to_owned()
}

/// Opens a session of `live/test`, and an event stream for these events. Returns the paths of both.
async fn subscribe(front: &Front, events: &str) -> (String, String) {
    let answer = front
        .post("/whep/live/test", "application/sdp", OFFER)
        .await;
    let session = answer.header("location").to_owned();
    let answer = front.post(&entry(&answer), JSON, events.to_owned()).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    (session, answer.header("location").to_owned())
}

/// A player that listens to events.
struct Player(Body);

impl Player {
    async fn listen(front: &Front, path: &str) -> Self {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = front.response(request).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-cache");
        Self(response.into_body())
    }

    /// Returns the next event as sent; `None` after the last.
    async fn next(&mut self) -> Option<String> {
        loop {
            let frame = tokio::time::timeout(TIMEOUT, self.0.frame());
            let data = frame.await.unwrap()?.unwrap().into_data().unwrap();
            let text = String::from_utf8(data.to_vec()).unwrap();
            // Comments keep the connection alive and are no events.
            if !text.starts_with(':') {
                return Some(text);
            }
        }
    }

    async fn expect(&mut self, event: &str, data: &str) {
        let expected = format!("event: {event}\ndata: {data}\n\n");
        assert_eq!(self.next().await, Some(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn player_gets_inactive_active_and_the_end_of_the_session() {
    let mut front = front(FrontConfig::default());
    let (session, events) = subscribe(&front, "[\"active\",\"inactive\"]").await;
    let mut player = Player::listen(&front, &events).await;
    player.expect("active", "{}").await;
    front.unpublish();
    player.expect("inactive", "{}").await;
    let _publisher = publish(&front.hub, "live/test");
    player.expect("active", "{}").await;
    front.request("DELETE", &session).await;
    assert_eq!(player.next().await, None);
    let answer = front.request("GET", &events).await;
    answer.problem(StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn player_that_waits_for_a_stream_gets_no_inactive() {
    let mut front = front(FrontConfig::default());
    front.unpublish();
    let (_, events) = subscribe(&front, "[\"active\",\"inactive\"]").await;
    let mut player = Player::listen(&front, &events).await;
    let publisher = publish(&front.hub, "live/test");
    player.expect("active", "{}").await;
    drop(publisher);
    drop(player);
    // A new listener gets what has changed meanwhile.
    let mut player = Player::listen(&front, &events).await;
    player.expect("inactive", "{}").await;
}

#[tokio::test(start_paused = true)]
async fn viewer_count_is_sent() {
    let front = front(FrontConfig::default());
    let (_, events) = subscribe(&front, "[\"viewercount\"]").await;
    let mut player = Player::listen(&front, &events).await;
    player.expect("viewercount", "{\"viewercount\":1}").await;
    let other = front.open().await;
    player.expect("viewercount", "{\"viewercount\":2}").await;
    front.request("DELETE", &other).await;
    player.expect("viewercount", "{\"viewercount\":1}").await;
}

#[tokio::test(start_paused = true)]
async fn players_get_reconnect_when_the_gateway_drains() {
    let front = front(FrontConfig::default());
    let (_, events) = subscribe(&front, "[\"reconnect\"]").await;
    let mut player = Player::listen(&front, &events).await;
    front.admission.drain(Drain {
        reconnect: Some("https://b.example/whep/live/test".into()),
    });
    let data = "{\"url\":\"https://b.example/whep/live/test\"}";
    player.expect("reconnect", data).await;
}

#[tokio::test(start_paused = true)]
async fn all_events_are_sent_without_a_list() {
    let front = front(FrontConfig::default());
    for body in ["", " "] {
        let (_, events) = subscribe(&front, body).await;
        let mut player = Player::listen(&front, &events).await;
        player.expect("active", "{}").await;
        assert!(
            player
                .next()
                .await
                .unwrap()
                .starts_with("event: viewercount\n")
        );
    }
}

#[tokio::test]
async fn event_stream_needs_a_list_of_known_events() {
    let front = front(FrontConfig::default());
    let events = format!("{}/events", front.open().await);
    for body in [
        "[\"scte35\"]",
        "[\"active\",\"viewers\"]",
        "{}",
        "[1]",
        "[",
        "\"active\"",
    ] {
        let answer = front.post(&events, JSON, body).await;
        answer.problem(StatusCode::BAD_REQUEST);
        assert!(!answer.headers.contains_key("location"));
    }
    let answer = front.post(&events, "text/plain", "[\"active\"]").await;
    answer.problem(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let long = format!("[\"{}\"]", "a".repeat(1 << 20));
    let answer = front.post(&events, JSON, long).await;
    answer.problem(StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(start_paused = true)]
async fn deleted_event_stream_ends() {
    let front = front(FrontConfig::default());
    let (_, events) = subscribe(&front, "[\"active\"]").await;
    let mut player = Player::listen(&front, &events).await;
    player.expect("active", "{}").await;
    let answer = front.request("DELETE", &events).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(player.next().await, None);
    for method in ["GET", "DELETE"] {
        let answer = front.request(method, &events).await;
        answer.problem(StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn closed_event_streams_leave_no_task() {
    let front = front(FrontConfig::default());
    let entry = format!("{}/events", front.open().await);
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = tasks();
    for _ in 0..100 {
        let answer = front.post(&entry, JSON, "").await;
        let answer = front.request("DELETE", answer.header("location")).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    assert!(tasks() <= before + 1, "{} and then {}", before, tasks());
}

#[tokio::test(start_paused = true)]
async fn new_listener_replaces_the_former_one() {
    let front = front(FrontConfig::default());
    let (_, events) = subscribe(&front, "[\"active\"]").await;
    let mut first = Player::listen(&front, &events).await;
    first.expect("active", "{}").await;
    let mut second = Player::listen(&front, &events).await;
    second.expect("active", "{}").await;
    assert_eq!(first.next().await, None);
}

#[tokio::test]
async fn unknown_and_too_many_event_streams_are_refused() {
    let front = front(FrontConfig {
        whep: WhepConfig {
            max_event_streams: 1,
            ..WhepConfig::default()
        },
        ..FrontConfig::default()
    });
    let (session, events) = subscribe(&front, "").await;
    let (other, _) = subscribe(&front, "").await;
    let number = events.rsplit_once('/').unwrap().1;
    for path in [
        format!("{other}/events/{number}"),
        format!("{session}/events/999"),
        format!("{session}/events/-1"),
        format!("/session/{}/events/{number}", "0".repeat(32)),
    ] {
        let answer = front.request("GET", &path).await;
        answer.problem(StatusCode::NOT_FOUND);
    }
    let answer = front.post("/session/none/events", JSON, "").await;
    answer.problem(StatusCode::NOT_FOUND);

    let entry = format!("{session}/events");
    for _ in 0..3 {
        let answer = front.post(&entry, JSON, "").await;
        assert_eq!(answer.status, StatusCode::CREATED);
    }
    let answer = front.post(&entry, JSON, "").await;
    answer.problem(StatusCode::TOO_MANY_REQUESTS);

    let player = Player::listen(&front, &events).await;
    let answer = front.request("GET", &events).await;
    answer.problem(StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers.contains_key("retry-after"));
    drop(player);
    Player::listen(&front, &events).await;
}

#[tokio::test]
async fn other_methods_are_refused_with_an_allow_header() {
    let front = front(FrontConfig::default());
    let (session, events) = subscribe(&front, "").await;
    for (path, allowed) in [
        (format!("{session}/events"), vec!["OPTIONS", "POST"]),
        (events, vec!["DELETE", "GET", "HEAD", "OPTIONS"]),
    ] {
        let answer = front.request("PUT", &path).await;
        answer.problem(StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.list("allow"), allowed);
        let answer = front.request("OPTIONS", &path).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.list("access-control-allow-methods"), allowed);
    }
}
