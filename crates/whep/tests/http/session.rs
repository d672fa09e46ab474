//! The rules of a session's own resource.

use crate::front::Front;
use axum::http::StatusCode;

#[tokio::test]
async fn delete_ends_the_session_once() {
    let front = Front::new();
    let session = front.open().await;
    let answer = front.request("DELETE", &session).await;
    assert_eq!(answer.status, StatusCode::OK);
    let answer = front.request("DELETE", &session).await;
    answer.problem(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn delete_ends_no_other_session() {
    let front = Front::new();
    let (first, second) = (front.open().await, front.open().await);
    front.request("DELETE", &first).await;
    let answer = front.request("GET", &second).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_session_that_never_was_is_not_found() {
    let front = Front::new();
    for id in ["1", "abc%2F..%2Fdef", "%ff", &"a".repeat(2000)] {
        for method in ["DELETE", "GET"] {
            let answer = front.request(method, &format!("/session/{id}")).await;
            answer.problem(StatusCode::NOT_FOUND);
        }
    }
}

#[tokio::test]
async fn other_methods_are_refused_with_those_allowed() {
    let front = Front::new();
    let session = front.open().await;
    for method in ["POST", "PUT", "PATCH"] {
        let answer = front.request(method, &session).await;
        answer.problem(StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.list("allow"), ["DELETE", "GET", "HEAD", "OPTIONS"]);
    }
}

#[tokio::test]
async fn what_lies_below_a_session_is_not_found() {
    let front = Front::new();
    let session = front.open().await;
    for path in [format!("{session}/x"), "/session/".to_owned()] {
        let answer = front.request("GET", &path).await;
        answer.problem(StatusCode::NOT_FOUND);
    }
}
