//! The layers of a session: the video layer selection extension of WHEP.

use crate::front::Front;
use axum::http::StatusCode;

const JSON: &str = "application/json";

#[tokio::test]
async fn answer_links_to_the_layer_which_takes_selections() {
    let front = Front::new();
    let session = front.open().await;
    let answer = front
        .post("/whep/live/test", "application/sdp", crate::front::OFFER)
        .await;
    let links = answer.headers.get_all("link").iter();
    let mut links = links.map(|link| link.to_str().unwrap().to_owned());
    let relation = "rel=\"urn:ietf:params:whep:ext:core:layer\"";
    assert!(links.any(|link| link.contains(relation) && link.contains("/layer>")));

    let layer = format!("{session}/layer");
    for selection in [
        "",
        "{}",
        "{\"mediaId\":\"0\",\"rid\":\"source\"}",
        "{\"encodingId\":\"source\"}",
        "{\"maxHeight\":720,\"shownHeight\":360}",
    ] {
        let answer = front.post(&layer, JSON, selection.to_owned()).await;
        assert_eq!(answer.status, StatusCode::OK, "{selection}: {answer:?}");
    }
}

#[tokio::test]
async fn selection_that_makes_no_sense_is_refused_with_a_reason() {
    let front = Front::new();
    let layer = format!("{}/layer", front.open().await);
    for (selection, reason) in [
        ("{\"rid\":\"4k\"}", "it has source"),
        ("{\"maxHeight\":\"high\"}", "expected u32"),
        ("[1]", "expected"),
        ("{", "expected"),
    ] {
        let answer = front.post(&layer, JSON, selection.to_owned()).await;
        let problem = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(problem.contains(reason), "{selection}: {problem}");
        answer.problem(StatusCode::BAD_REQUEST);
    }
    let answer = front.post(&layer, "text/plain", "{}".to_owned()).await;
    answer.problem(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let answer = front.request("GET", &layer).await;
    answer.problem(StatusCode::METHOD_NOT_ALLOWED);
    let unknown = format!("/session/{}/layer", "0".repeat(32));
    let answer = front.post(&unknown, JSON, "{}".to_owned()).await;
    answer.problem(StatusCode::NOT_FOUND);
}
