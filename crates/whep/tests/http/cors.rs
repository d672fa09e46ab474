//! Players on pages of any origin can use the gateway.

use crate::front::{Answer, Front, OFFER};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use distributary_egress::engine::EngineConfig;
use distributary_whep::{AllowedOrigins, FrontConfig, WhepConfig};

async fn preflight(front: &Front, path: &str, method: &str, headers: &str) -> Answer {
    let request = Request::options(path)
        .header("origin", "https://player.example")
        .header("access-control-request-method", method)
        .header("access-control-request-headers", headers)
        .body(Body::empty());
    front.send(request.unwrap()).await
}

#[tokio::test]
async fn preflight_of_the_endpoint_allows_post() {
    let front = Front::new();
    let path = "/whep/live/test";
    let answer = preflight(&front, path, "POST", "authorization,content-type").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert!(
        answer
            .list("access-control-allow-methods")
            .contains(&"POST")
    );
    let headers = answer.list("access-control-allow-headers");
    assert_eq!(headers, ["authorization", "content-type"]);
    assert!(answer.headers.contains_key("access-control-max-age"));
}

#[tokio::test]
async fn preflight_allows_unknown_headers() {
    let front = Front::new();
    for path in ["/whep/live/test", "/session/x", "/rtc/v1/play/"] {
        let headers = "authorization,traceparent,x-request-id";
        let answer = preflight(&front, path, "POST", headers).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("access-control-allow-headers"), headers);
        let vary = answer.header("vary");
        assert_eq!(vary, "Access-Control-Request-Headers");
    }
    // A client that is not a browser.
    let answer = front.request("OPTIONS", "/whep/live/test").await;
    let headers = answer.list("access-control-allow-headers");
    assert_eq!(headers, ["Authorization", "Content-Type", "If-Match"]);
}

#[tokio::test]
async fn page_can_read_that_a_path_does_not_exist() {
    let front = Front::new();
    for path in ["/live/test", "/wehp/live/test", "/nothing", "/"] {
        let answer = preflight(&front, path, "POST", "content-type").await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        let methods = answer.list("access-control-allow-methods");
        assert!(methods.contains(&"POST"));
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        let answer = front.post(path, "application/sdp", OFFER).await;
        answer.problem(StatusCode::NOT_FOUND);
        assert_eq!(answer.header("access-control-allow-origin"), "*");
    }
}

#[tokio::test]
async fn preflight_of_a_session_allows_delete() {
    let front = Front::new();
    let session = front.open().await;
    let answer = preflight(&front, &session, "DELETE", "authorization").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(
        answer
            .list("access-control-allow-methods")
            .contains(&"DELETE")
    );
    assert_eq!(answer.header("access-control-allow-origin"), "*");
}

#[tokio::test]
async fn pages_can_read_every_response_including_errors() {
    let front = Front::new();
    let sdp = "application/sdp";
    for answer in [
        front.post("/whep/live/test", sdp, OFFER).await,
        front.post("/whep/live/other", sdp, OFFER).await,
        front.post("/whep/live/test", "text/plain", OFFER).await,
        front.request("PUT", "/whep/live/test").await,
        front.request("GET", "/api/nothing").await,
        front.request("PUT", "/api/live").await,
        front.request("GET", "/healthz").await,
        front.request("DELETE", "/session/none").await,
    ] {
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        let exposed = answer.list("access-control-expose-headers");
        let headers = [
            "Accept-Patch",
            "ETag",
            "Link",
            "Location",
            "Retry-After",
            "Stream-Missing",
            "Stream-State",
            "Warning",
        ];
        assert_eq!(exposed, headers);
    }
}

#[tokio::test]
async fn only_allowed_origins_can_read_responses() {
    let whep = FrontConfig {
        whep: WhepConfig {
            allowed_origins: AllowedOrigins::parse(&["https://www.example"]).unwrap(),
            ..WhepConfig::default()
        },
        ..FrontConfig::default()
    };
    let front = Front::with(whep, EngineConfig::default());
    let ask = |origin: &'static str| {
        let request = Request::options("/whep/live/test").header("origin", origin);
        front.send(request.body(Body::empty()).unwrap())
    };
    let allowed = ask("https://www.example").await;
    assert_eq!(
        allowed.header("access-control-allow-origin"),
        "https://www.example"
    );
    assert_eq!(allowed.header("vary"), "Origin");
    for origin in ["https://www.example.evil", "http://www.example", "null"] {
        let refused = ask(origin).await;
        let headers = &refused.headers;
        assert!(!headers.contains_key("access-control-allow-origin"));
        assert_eq!(refused.header("vary"), "Origin");
        let request = Request::get("/api/nothing").header("origin", origin);
        let refused = front.send(request.body(Body::empty()).unwrap()).await;
        let headers = &refused.headers;
        assert!(!headers.contains_key("access-control-allow-origin"));
    }
}
