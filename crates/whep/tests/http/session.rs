//! The resource of a session.

use crate::front::{Answer, Front, endless, publish};
use axum::body::Body;
use axum::http::{Request, StatusCode, header};

#[tokio::test]
async fn delete_succeeds_for_open_and_just_ended_sessions() {
    let front = Front::new();
    let session = front.open().await;
    for _ in 0..2 {
        let answer = front.request("DELETE", &session).await;
        assert_eq!(answer.status, StatusCode::OK);
        let answer = front.request("GET", &session).await;
        answer.problem(StatusCode::NOT_FOUND);
    }
    let answer = patch(&front, &session, Some("*"), RESTART).await;
    answer.problem(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn delete_ends_only_its_session() {
    let front = Front::new();
    let (first, second) = (front.open().await, front.open().await);
    front.request("DELETE", &first).await;
    let answer = front.request("GET", &second).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn unknown_session_is_not_found() {
    let front = Front::new();
    for id in ["1", "abc%2F..%2Fdef", "%ff", &"a".repeat(2000)] {
        for method in ["DELETE", "GET"] {
            let answer = front.request(method, &format!("/session/{id}")).await;
            answer.problem(StatusCode::NOT_FOUND);
        }
    }
}

#[tokio::test]
async fn other_methods_are_refused_with_an_allow_header() {
    let front = Front::new();
    let session = front.open().await;
    for method in ["POST", "PUT"] {
        let answer = front.request(method, &session).await;
        answer.problem(StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(
            answer.list("allow"),
            ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH"]
        );
    }
}

#[tokio::test]
async fn paths_below_a_session_are_not_found() {
    let front = Front::new();
    let session = front.open().await;
    for path in [format!("{session}/x"), "/session/".to_owned()] {
        let answer = front.request("GET", &path).await;
        answer.problem(StatusCode::NOT_FOUND);
    }
}

const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// Returns an ICE fragment with the credentials of the offer and one more candidate.
const TRICKLED: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=end-of-candidates\r\n";

const RESTART: &str = "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
    a=ice-ufrag:next\r\na=ice-pwd:0123456789012345678901\r\n";

async fn patch(front: &Front, session: &str, if_match: Option<&str>, body: &str) -> Answer {
    let mut request = Request::patch(session).header(header::CONTENT_TYPE, FRAGMENT);
    if let Some(if_match) = if_match {
        request = request.header(header::IF_MATCH, if_match);
    }
    front
        .send(request.body(Body::from(body.to_owned())).unwrap())
        .await
}

/// Returns a new session and its ETag.
async fn open(front: &Front) -> (String, String) {
    let answer = front
        .post("/whep/live/test", "application/sdp", crate::front::OFFER)
        .await;
    let header = |name| answer.header(name).to_owned();
    (header("location"), header("etag"))
}

#[tokio::test]
async fn trickled_candidates_are_accepted_and_change_nothing() {
    let front = Front::new();
    let (session, etag) = open(&front).await;
    for _ in 0..2 {
        let answer = patch(&front, &session, Some(&etag), TRICKLED).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
        assert!(!answer.headers.contains_key("etag"));
    }
}

#[tokio::test]
async fn ice_restart_returns_credentials_candidates_and_a_new_etag() {
    let front = Front::new();
    let (session, etag) = open(&front).await;
    let answer = patch(&front, &session, Some("*"), RESTART).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.header("content-type"), FRAGMENT);
    let next = answer.header("etag");
    assert_ne!(next, etag);
    let lines: Vec<&str> = answer.text().split_terminator("\r\n").collect();
    let ufrag = format!("a=ice-ufrag:{}", next.trim_matches('"'));
    assert!(lines.contains(&ufrag.as_str()), "{lines:?}");
    assert!(lines.contains(&"a=mid:0") && lines.contains(&"a=ice-lite"));
    assert!(lines.iter().any(|line| line.starts_with("a=ice-pwd:")));
    assert!(lines.iter().any(|line| line.starts_with("a=candidate:")));

    // The same restart again changes nothing, and the former ETag is refused.
    let answer = patch(&front, &session, Some(next), RESTART).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
    let answer = patch(&front, &session, Some(&etag), TRICKLED).await;
    answer.problem(StatusCode::PRECONDITION_FAILED);
    assert_eq!(
        front.request("DELETE", &session).await.status,
        StatusCode::OK
    );
    let answer = patch(&front, &session, Some("*"), RESTART).await;
    answer.problem(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn ice_restarts_are_limited_per_session() {
    let front = Front::new();
    let (session, _) = open(&front).await;
    let restart = async |number: u32| {
        let body = RESTART.replace("ufrag:next", &format!("ufrag:next{number}"));
        patch(&front, &session, Some("*"), &body).await
    };
    for number in 0..10 {
        let answer = restart(number).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }
    let mut number = 10;
    let refused = loop {
        let answer = restart(number).await;
        if answer.status != StatusCode::OK {
            break answer;
        }
        // On a slow machine, one restart is allowed every two seconds.
        number += 1;
        assert!(number < 1000, "there is no limit");
    };
    refused.problem(StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers.contains_key("retry-after"));
    let (other, etag) = open(&front).await;
    let answer = patch(&front, &other, Some("*"), RESTART).await;
    assert_eq!(answer.status, StatusCode::OK, "others have theirs");
    // Candidates are not restarts.
    let answer = patch(&front, &other, Some(&etag), TRICKLED).await;
    assert_ne!(answer.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn patch_needs_if_match_and_the_type_of_a_fragment() {
    let front = Front::new();
    let (session, _) = open(&front).await;
    // Candidates for the current state change nothing, whatever the `If-Match`.
    let answer = patch(&front, &session, None, TRICKLED).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
    let answer = patch(&front, &session, Some("*"), "hello").await;
    answer.problem(StatusCode::BAD_REQUEST);
    let request = Request::patch(&session)
        .header(header::CONTENT_TYPE, "application/sdp")
        .header(header::IF_MATCH, "*");
    let answer = front.send(request.body(Body::from(RESTART)).unwrap()).await;
    answer.problem(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(answer.header("accept-patch"), FRAGMENT);
}

#[tokio::test]
async fn foreign_credentials_do_not_restart_a_session_that_is_not_connected() {
    let front = Front::new();
    let (session, etag) = open(&front).await;
    let ours = format!(
        "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:{}\r\n\
         a=ice-pwd:0123456789012345678901\r\n",
        etag.trim_matches('"')
    );
    for (if_match, body) in [
        (Some(&*etag), RESTART),
        (None, RESTART),
        (Some(&*etag), &*ours),
        (Some("*"), &*ours),
    ] {
        let answer = patch(&front, &session, if_match, body).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
    }
    // The state is still that of the answer.
    let answer = patch(&front, &session, Some(&etag), TRICKLED).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
}

#[tokio::test]
async fn quoted_star_matches_and_weak_etag_does_not() {
    let front = Front::new();
    let (session, etag) = open(&front).await;
    let answer = patch(&front, &session, Some("\"*\""), RESTART).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let next = answer.header("etag");
    let answer = patch(&front, &session, Some(&format!("W/{next}")), TRICKLED).await;
    answer.problem(StatusCode::PRECONDITION_FAILED);
    let list = format!("{etag}, {next}");
    let answer = patch(&front, &session, Some(&list), TRICKLED).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn session_tells_the_state_of_its_stream() {
    let mut front = Front::new();
    let session = front.open().await;
    let answer = front.request("GET", &session).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(answer.header("stream-state"), "live");
    assert!(!answer.headers.contains_key("stream-missing"));
    let reason = "it is encoded as Nellymoser".to_owned();
    let missing = distributary_hub::MissingAudio { reason };
    front.publisher().set_missing_audio(Some(missing));
    let answer = front.request("GET", &session).await;
    assert_eq!(answer.header("stream-missing"), "audio");
    front.unpublish();
    let answer = front.request("GET", &session).await;
    assert_eq!(answer.header("stream-state"), "offline");
    let mut publisher = publish(&front.hub, "live/test");
    publisher.finish();
    drop(publisher);
    let answer = front.request("GET", &session).await;
    assert_eq!(answer.header("stream-state"), "ended");
}

#[tokio::test(start_paused = true)]
async fn report_that_does_not_arrive_is_not_awaited_for_ever() {
    let front = Front::new();
    let session = front.open().await;
    let path = format!("{session}/failure");
    let answer = front.post(&path, "text/plain", endless()).await;
    answer.problem(StatusCode::REQUEST_TIMEOUT);
    // That of an unknown session is not read.
    front.request("DELETE", &session).await;
    let answer = front.post(&path, "text/plain", endless()).await;
    answer.problem(StatusCode::NOT_FOUND);
}

const REPORT: &str = r#"{"ice":"checking","seconds":10,"pairs":[{"local":"host","protocol":"udp",
    "address":"203.0.113.7","port":8189,"state":"failed","sent":12,"answered":0}]}"#;

#[tokio::test]
async fn viewer_that_is_not_reached_is_counted_with_its_report() {
    let front = Front::new();
    let admin = front.admin("");
    let session = front.open().await;
    let answer = front
        .post(&format!("{session}/failure"), "text/plain", "nonsense")
        .await;
    answer.problem(StatusCode::BAD_REQUEST);
    for _ in 0..2 {
        let answer = front
            .post(&format!("{session}/failure"), "text/plain", REPORT)
            .await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
    }
    let joins = admin.request("GET", "/api/joins").await.json();
    assert_eq!(joins["recent"]["asked"], 1);
    assert_eq!(
        joins["last_failed"],
        serde_json::json!([]),
        "it may still connect"
    );
    front.request("DELETE", &session).await;
    let joins = admin.request("GET", "/api/joins").await.json();
    let expected = serde_json::json!({
        "asked": 1,
        "connected": 0,
        "failed": { "unreachable": 1, "handshake": 0, "overload": 0 },
    });
    assert_eq!(joins["recent"], expected);
    assert_eq!(joins["total"], expected);
    let failed = &joins["last_failed"][0];
    assert_eq!(failed["stream"], "live/test");
    assert_eq!(failed["reason"], "unreachable");
    assert_eq!(
        failed["report"],
        "ICE checking after 10.0 s; tried UDP 203.0.113.7:8189 from host (failed, 12 checks, 0 answers)"
    );
    let answer = front
        .post(&format!("{session}/failure"), "text/plain", REPORT)
        .await;
    answer.problem(StatusCode::NOT_FOUND);
    let answer = front.request("GET", &format!("{session}/failure")).await;
    answer.problem(StatusCode::METHOD_NOT_ALLOWED);
}
