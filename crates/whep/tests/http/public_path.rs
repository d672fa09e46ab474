//! A gateway behind a proxy that serves it under a path prefix.

use crate::front::{Answer, Front, OFFER};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use distributary_auth::Authorizer;
use distributary_auth::rate::RateLimit;
use distributary_egress::engine::EngineConfig;
use distributary_net::{TrustedProxies, parse_network};
use distributary_whep::{Access, FrontConfig, WhepConfig};

/// Returns a gateway with this `public_path`, which trusts proxies at these addresses.
fn front(public_path: &str, proxies: &[&str]) -> Front {
    let whep = FrontConfig {
        whep: WhepConfig {
            public_path: public_path.parse().unwrap(),
            ..WhepConfig::default()
        },
        ..FrontConfig::default()
    };
    let no_limit = RateLimit {
        burst: 1,
        per_minute: 0,
    };
    let proxies = proxies.iter().map(|proxy| parse_network(proxy).unwrap());
    let access = Access::new(
        Authorizer::open(),
        no_limit,
        TrustedProxies(proxies.collect()),
    );
    Front::build(whep, EngineConfig::default(), access)
}

async fn open(front: &Front, prefixes: &[&str]) -> Answer {
    let mut request = Request::post("/whep/live/test").header("content-type", "application/sdp");
    for prefix in prefixes {
        request = request.header("x-forwarded-prefix", *prefix);
    }
    let answer = front.send(request.body(Body::from(OFFER)).unwrap()).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    answer
}

/// Returns the prefix of the session's path; the other URLs must have the same.
async fn prefix_of(front: &Front, prefixes: &[&str]) -> String {
    let answer = open(front, prefixes).await;
    let location = answer.header("location");
    let (prefix, id) = location.split_once("/session/").unwrap();
    let link = answer.link("server-sent-events");
    assert!(link.starts_with(&format!("<{location}/events>")), "{link}");
    // The proxy removes the prefix.
    let mut request = Request::post(format!("/session/{id}/events"));
    for prefix in prefixes {
        request = request.header("x-forwarded-prefix", *prefix);
    }
    let events = front.send(request.body(Body::empty()).unwrap()).await;
    let location_of_events = events.header("location");
    assert!(location_of_events.starts_with(&format!("{location}/events/")));
    let answer = front.request("DELETE", &format!("/session/{id}")).await;
    assert_eq!(answer.status, StatusCode::OK);
    prefix.to_owned()
}

#[tokio::test]
async fn addresses_begin_with_the_prefix_of_a_trusted_proxy() {
    let front = front("", &["127.0.0.1"]);
    assert_eq!(prefix_of(&front, &[]).await, "");
    assert_eq!(prefix_of(&front, &["/video/"]).await, "/video");
    assert_eq!(prefix_of(&front, &["/a", "/b"]).await, "/a/b");
    for evil in [
        "//evil.example",
        "https://evil.example",
        "/a/../..",
        "video",
    ] {
        assert_eq!(prefix_of(&front, &[evil]).await, "", "{evil}");
    }
}

#[tokio::test]
async fn prefix_of_an_untrusted_client_is_ignored() {
    let front = front("/video", &["192.0.2.1"]);
    assert_eq!(prefix_of(&front, &[]).await, "/video");
    assert_eq!(prefix_of(&front, &["/other"]).await, "/video");
}

#[tokio::test]
async fn prefix_of_a_trusted_proxy_overrides_the_configuration() {
    let front = front("/video", &["127.0.0.1"]);
    assert_eq!(prefix_of(&front, &["/other"]).await, "/other");
    assert_eq!(prefix_of(&front, &["/"]).await, "");
    assert_eq!(prefix_of(&front, &["//evil.example"]).await, "/video");
}

#[tokio::test]
async fn error_names_the_endpoint_with_the_prefix() {
    let front = front("/video", &[]);
    let answer = front.request("POST", "/live/test").await;
    let problem = answer.problem(StatusCode::NOT_FOUND);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("/video/whep/live/test"), "{detail}");
}
