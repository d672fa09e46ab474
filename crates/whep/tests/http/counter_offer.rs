//! Offers of the gateway, and the answers of players to them (draft-ietf-wish-whep, "Server Sends
//! Counter-Offer").

use crate::front::{Answer, Front, OFFER};
use axum::body::Body;
use axum::http::{Request, StatusCode, header};

const SDP: &str = "application/sdp";

/// The offer of a player that wants to send.
fn sends() -> String {
    OFFER.replace("a=recvonly", "a=sendonly")
}

/// Returns a browser's answer to this offer: the other direction, and its own transport.
pub(crate) fn answer_to(offer: &str) -> String {
    let line = |start: &str| OFFER.lines().find(|line| line.starts_with(start)).unwrap();
    let lines = offer
        .lines()
        .filter(|line| !line.starts_with("a=candidate"));
    let lines = lines.map(|ours| match ours.split_once(':') {
        Some(("a=ice-ufrag", _)) => line("a=ice-ufrag:"),
        Some(("a=ice-pwd", _)) => line("a=ice-pwd:"),
        Some(("a=fingerprint", _)) => line("a=fingerprint:"),
        Some(("a=setup", _)) => "a=setup:active",
        None if ours == "a=sendonly" => "a=recvonly",
        _ => ours,
    });
    lines.map(|line| format!("{line}\r\n")).collect()
}

pub(crate) async fn patch(front: &Front, session: &str, answer: &str) -> Answer {
    let request = Request::patch(session).header(header::CONTENT_TYPE, SDP);
    let request = request.body(Body::from(answer.to_owned()));
    front.send(request.unwrap()).await
}

/// Returns the session and the offer in a response of the gateway.
fn offered(answer: &Answer) -> (String, String) {
    assert_eq!(answer.header("content-type"), SDP);
    let offer = answer.text().to_owned();
    assert_eq!(offer.matches("a=sendonly").count(), 2, "{offer}");
    assert_eq!(offer.matches("a=setup:actpass").count(), 2, "{offer}");
    assert!(answer.header("etag").starts_with('"'));
    (answer.header("location").to_owned(), offer)
}

#[tokio::test]
async fn counter_offer_is_sent_if_an_offer_cannot_be_answered() {
    let front = Front::new();
    // Only a player that accepts SDP gets an offer; another one learns what is wrong with its own.
    let answer = front.post("/whep/live/test", SDP, sends()).await;
    let problem = answer.problem(StatusCode::NOT_ACCEPTABLE);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("must offer recvonly"), "{detail}");
    let request = Request::post("/whep/live/test")
        .header(header::CONTENT_TYPE, SDP)
        .header(header::ACCEPT, "text/html, Application/SDP;q=0.9")
        .body(Body::from(sends()));
    let answer = front.send(request.unwrap()).await;
    assert_eq!(answer.status, StatusCode::NOT_ACCEPTABLE);
    let (session, offer) = offered(&answer);
    assert_eq!(front.engine.sessions(), 0);
    let there = front.request("GET", &session).await;
    assert_eq!(there.status, StatusCode::NO_CONTENT);

    let accepted = patch(&front, &session, &answer_to(&offer)).await;
    assert_eq!(accepted.status, StatusCode::NO_CONTENT, "{accepted:?}");
    assert_eq!(front.engine.sessions(), 1);
    // The session is like any other now, and is negotiated once.
    let again = patch(&front, &session, &answer_to(&offer)).await;
    again.problem(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let trickled = Request::patch(&session)
        .header(header::CONTENT_TYPE, "application/trickle-ice-sdpfrag")
        .header(header::IF_MATCH, answer.header("etag"))
        .body(Body::from("m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"));
    let answer = front.send(trickled.unwrap()).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
    let answer = front.request("DELETE", &session).await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn player_without_an_offer_gets_one_from_the_gateway() {
    let front = Front::new();
    for content_type in [Some(SDP), None] {
        let mut request = Request::post("/whep/live/test").header(header::CONTENT_LENGTH, "0");
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let answer = front.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::CREATED);
        let (session, offer) = offered(&answer);
        let answer = patch(&front, &session, &answer_to(&offer)).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
    }
    assert_eq!(front.engine.sessions(), 2);
}

#[tokio::test]
async fn valid_answer_is_accepted_after_an_invalid_one() {
    let front = Front::new();
    let answer = front.post("/whep/live/test", SDP, "").await;
    let (session, offer) = offered(&answer);
    let good = answer_to(&offer);
    for (bad, status) in [
        ("hello".to_owned(), StatusCode::BAD_REQUEST),
        (String::new(), StatusCode::BAD_REQUEST),
        (
            good.replace("a=recvonly", "a=inactive"),
            StatusCode::NOT_ACCEPTABLE,
        ),
        (
            good.replace("a=fingerprint:", "a=x:"),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            good.replace("a=setup:active", "a=setup:holdconn"),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
    ] {
        patch(&front, &session, &bad).await.problem(status);
    }
    let answer = patch(&front, &session, &good).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn counter_offer_can_be_declined_and_unknown_sessions_have_none() {
    let front = Front::new();
    let answer = front.post("/whep/live/test", SDP, "").await;
    let (session, offer) = offered(&answer);
    let answer = front.request("DELETE", &session).await;
    assert_eq!(answer.status, StatusCode::OK);
    for session in [session, format!("/session/{}", "0".repeat(32))] {
        let answer = patch(&front, &session, &answer_to(&offer)).await;
        answer.problem(StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn stream_that_is_not_live_is_not_offered() {
    let front = Front::new();
    let answer = front.post("/whep/live/other", SDP, "").await;
    answer.problem(StatusCode::CONFLICT);
}

#[tokio::test]
async fn player_that_cannot_decode_the_stream_gets_the_reason() {
    let front = Front::new();
    let offer = OFFER
        .replace("H264/90000", "H263/90000")
        .replace("opus/48000/2", "speex/16000");
    let answer = front.post("/whep/live/test", SDP, offer).await;
    let problem = answer.problem(StatusCode::NOT_ACCEPTABLE);
    assert!(problem["detail"].as_str().unwrap().contains("H264"));
}
