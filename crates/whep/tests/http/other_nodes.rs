//! The other gateways of a cluster: where else viewers can go.

use std::sync::{Arc, Mutex};

use crate::front::{Answer, Front, OFFER};
use crate::operations::{access, from_address};
use crate::prepared::{offer, open};
use axum::Router;
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use distributary_auth::AuthConfig;
use distributary_names::StreamName;
use distributary_whep::{
    AllowedOrigins, Drain, FrontConfig, NotForwarded, OtherNodes, RedirectReason, answer_forwarded,
};
use futures_util::future::BoxFuture;

const SDP: &str = "application/sdp";

/// Other gateways.
#[derive(Default)]
struct Others {
    alternates: Vec<&'static str>,
    less_loaded: Option<&'static str>,
    this_url: Option<&'static str>,
    /// The viewers that were redirected to other gateways.
    redirects: Arc<Mutex<Vec<RedirectReason>>>,
    /// The routes of the gateway b.
    b: Option<Router>,
}

impl OtherNodes for Others {
    fn alternates(&self) -> Vec<String> {
        self.alternates.iter().map(ToString::to_string).collect()
    }

    fn less_loaded(&self, stream: &StreamName) -> Option<String> {
        let has_less = stream.as_str().starts_with("live/");
        self.less_loaded.filter(|_| has_less).map(ToOwned::to_owned)
    }

    fn note_redirect(&self, reason: RedirectReason) {
        self.redirects.lock().unwrap().push(reason);
    }

    fn this_name(&self) -> &'static str {
        "a"
    }

    fn this_url(&self) -> Option<String> {
        self.this_url.map(ToOwned::to_owned)
    }

    fn are_secure(&self) -> bool {
        self.this_url.is_none()
    }

    fn url_of(&self, node: &str) -> Option<String> {
        (node == "b").then(|| "https://b.example".to_owned())
    }

    fn forward(&self, node: &str, request: Bytes) -> BoxFuture<'_, Result<Bytes, NotForwarded>> {
        let router = self.b.clone().filter(|_| node == "b");
        let error = match node {
            "dead" => NotForwarded::Silent,
            "busy" => NotForwarded::Busy,
            "small" => NotForwarded::Large,
            _ => NotForwarded::Unknown,
        };
        Box::pin(async move {
            let router = router.ok_or(error)?;
            answer_forwarded(router, request)
                .await
                .ok_or(NotForwarded::Silent)
        })
    }
}

fn front(alternates: &[&'static str], less_loaded: Option<&'static str>) -> Front {
    let alternates = alternates.to_vec();
    Front::beside(Others {
        alternates,
        less_loaded,
        ..Others::default()
    })
}

/// Returns a gateway that players reach at a URL of its own.
fn front_at(this: &'static str) -> Front {
    Front::beside(Others {
        this_url: Some(this),
        ..Others::default()
    })
}

fn alternates(answer: &Answer) -> Vec<String> {
    let links = answer.headers.get_all("link").iter();
    let links = links.map(|link| link.to_str().unwrap());
    let alternates = links.filter(|link| link.ends_with("; rel=\"alternate\""));
    alternates.map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn answer_names_the_endpoints_of_the_stream_at_other_gateways() {
    let front = front(&["https://b.example", "https://c.example/video"], None);
    let answer = front.post("/whep/live/test", SDP, OFFER).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(
        alternates(&answer),
        [
            "<https://b.example/whep/live/test>; rel=\"alternate\"",
            "<https://c.example/video/whep/live/test>; rel=\"alternate\""
        ]
    );
    let exposed = answer.header("access-control-expose-headers");
    assert!(exposed.contains("Link"), "{exposed}");

    let alone = Front::new().post("/whep/live/test", SDP, OFFER).await;
    assert!(alternates(&alone).is_empty());
}

#[tokio::test]
async fn page_may_connect_to_gateways_that_join_later() {
    let policy = |page: Answer| page.header("content-security-policy").to_owned();
    let page = front(&[], None).request("GET", "/live/test").await;
    assert!(policy(page).contains("connect-src 'self' https:;"));
    // Not all nodes have HTTPS, but a page that has it cannot connect to the others.
    let page = |this| async move { front_at(this).request("GET", "/live/test").await };
    let secure = policy(page("https://a.example").await);
    assert!(secure.contains("connect-src 'self' https:;"));
    let plain = policy(page("http://a.example").await);
    assert!(plain.contains("connect-src 'self' https: http:;"));
    let alone = Front::new().request("GET", "/live/test").await;
    assert!(policy(alone).contains("connect-src 'self';"));
}

#[tokio::test]
async fn loaded_gateway_redirects_new_viewers_once() {
    let redirects = Arc::<Mutex<Vec<_>>>::default();
    let front = Front::beside(Others {
        less_loaded: Some("https://b.example"),
        redirects: Arc::clone(&redirects),
        ..Others::default()
    });
    let answer = front.post("/whep/live/test?token=x", SDP, OFFER).await;
    assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT);
    let location = "https://b.example/whep/live/test?token=x&redirected=1";
    assert_eq!(answer.header("location"), location);
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    let answer = front.post("/whep/live/test", SDP, OFFER).await;
    let location = "https://b.example/whep/live/test?redirected=1";
    assert_eq!(answer.header("location"), location);

    let answer = front.post("/whep/live/test?redirected=1", SDP, OFFER).await;
    assert_eq!(answer.status, StatusCode::CREATED, "one hop only");
    assert_eq!(*redirects.lock().unwrap(), [RedirectReason::Load; 2]);
}

#[tokio::test]
async fn page_of_another_site_gets_the_endpoints_in_the_place_of_a_redirect() {
    let mut config = FrontConfig::default();
    config.whep.allowed_origins =
        AllowedOrigins::parse(&["https://www.example", "http://a.example"]).unwrap();
    let redirects = Arc::<Mutex<Vec<_>>>::default();
    let others = Others {
        alternates: vec!["https://b.example", "https://c.example"],
        redirects: Arc::clone(&redirects),
        ..Others::default()
    };
    let front = Front::configured_beside(others, config);
    front.admission.drain(Drain::default());
    let post = async |origin: &str| {
        let request = Request::post("/whep/live/test").header("content-type", SDP);
        let request = request.header("origin", origin).header("host", "a.example");
        front.send(request.body(OFFER.into()).unwrap()).await
    };
    let answer = post("https://www.example").await;
    assert_eq!(
        alternates(&answer),
        [
            "<https://b.example/whep/live/test>; rel=\"alternate\"",
            "<https://c.example/whep/live/test>; rel=\"alternate\""
        ]
    );
    assert_eq!(answer.header("retry-after"), "5");
    answer.problem(StatusCode::SERVICE_UNAVAILABLE);
    // A browser follows a redirect from the gateway's own page with this page's origin.
    let answer = post("http://a.example").await;
    assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT);
    let counted = &*redirects.lock().unwrap();
    assert_eq!(counted, &[RedirectReason::Drain], "one was redirected");
}

#[tokio::test]
async fn requests_for_a_session_go_to_the_node_that_has_it() {
    let front = front_at("https://a.example/video");
    let answer = front.post("/whep/live/test", SDP, OFFER).await;
    let location = answer.header("location").to_owned();
    let path = location.strip_prefix("https://a.example/video").unwrap();
    assert!(path.starts_with("/session/"), "{location}");
    assert!(path.ends_with(".a"), "{location}");
    let links = answer.headers.get_all("link").iter();
    let links: Vec<_> = links.map(|link| link.to_str().unwrap()).collect();
    for part in ["events", "layer"] {
        let start = format!("<{location}/{part}>; ");
        assert!(
            links.iter().any(|link| link.starts_with(&start)),
            "{links:?}"
        );
    }
    let events = front
        .post(&format!("{path}/events"), "application/json", "[]")
        .await;
    let url = events.header("location");
    assert!(url.starts_with(&format!("{location}/events/")), "{url}");

    let page = open(&front, "/live/test", &[]).await;
    let session = "data-session=\"https://a.example/video/session/";
    assert!(page.text().contains(session));
}

#[tokio::test]
async fn page_of_a_loaded_gateway_has_no_offer() {
    let page = open(&front(&[], Some("https://b.example")), "/live/test", &[]).await;
    assert_eq!(offer(&page), None);
    let page = open(&front(&["https://b.example"], None), "/live/test", &[]).await;
    assert!(offer(&page).is_some());
}

#[tokio::test]
async fn draining_gateway_sends_new_viewers_to_another_one() {
    let front = front(&["https://b.example"], None);
    front.admission.drain(Drain::default());
    let answer = front.post("/whep/live/test", SDP, OFFER).await;
    assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT);
    let location = "https://b.example/whep/live/test?redirected=1";
    assert_eq!(answer.header("location"), location);
    let answer = front.post("/whep/live/test?redirected=1", SDP, OFFER).await;
    answer.problem(StatusCode::SERVICE_UNAVAILABLE);
}

/// Returns a gateway a, whose cluster has the gateway b, and a session of b as a's clients name it.
async fn beside(b: &Front) -> (Front, String) {
    let session = b.open().await;
    assert!(!session.contains('.'), "b is not configured as a node");
    let a = Front::beside(Others {
        b: Some(b.router()),
        ..Others::default()
    });
    (a, format!("{session}.b"))
}

#[tokio::test]
async fn session_carries_the_name_of_its_gateway_and_is_found_by_it() {
    let front = front(&[], None);
    let answer = front.post("/whep/live/test", SDP, OFFER).await;
    let session = answer.header("location");
    assert!(session.ends_with(".a"), "{session}");
    let events = answer.link("server-sent-events");
    assert!(events.contains(&format!("<{session}/events>")), "{events}");
    let answer = front.request("GET", session).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let answer = front.request("DELETE", session).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(front.engine.sessions(), 0);
}

#[tokio::test]
async fn requests_for_a_session_of_another_gateway_reach_it() {
    let b = Front::new();
    let (a, session) = beside(&b).await;
    let answer = a.request("GET", &session).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(answer.header("stream-state"), "live");
    let json = "application/json";
    let answer = a
        .post(&format!("{session}/events"), json, "[\"active\"]")
        .await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert!(answer.header("location").contains("/events/"));
    let answer = a
        .post(&format!("{session}/layer"), json, "{\"rid\":\"9p\"}")
        .await;
    answer.problem(StatusCode::BAD_REQUEST);
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    let answer = a.request("DELETE", &session).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(b.engine.sessions(), 0);
}

#[tokio::test]
async fn event_stream_of_another_gateway_is_redirected_there() {
    let b = Front::new();
    let (a, session) = beside(&b).await;
    let answer = a.request("GET", &format!("{session}/events/1")).await;
    assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT);
    let location = format!("https://b.example{session}/events/1");
    assert_eq!(answer.header("location"), location);
}

#[tokio::test]
async fn one_address_cannot_have_any_number_of_requests_forwarded() {
    let access = access(AuthConfig::default());
    let front = Front::guarded_beside(Others::default(), FrontConfig::default(), access);
    let session = format!("/session/{}.gone", "0".repeat(32));
    let mut answered = 0;
    while from_address(&front, "GET", &session, "192.0.2.1").await == StatusCode::NOT_FOUND {
        answered += 1;
        assert!(answered < 10_000);
    }
    assert!(answered >= 1000, "{answered}");
    let status = from_address(&front, "GET", &session, "192.0.2.1").await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    let status = from_address(&front, "GET", &session, "198.51.100.1").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn request_that_another_gateway_does_not_answer_is_refused() {
    let front = front(&[], None);
    let session = format!("/session/{}", "0".repeat(32));
    for (node, status) in [
        ("gone", StatusCode::NOT_FOUND),
        ("dead", StatusCode::SERVICE_UNAVAILABLE),
        ("busy", StatusCode::SERVICE_UNAVAILABLE),
        ("small", StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let answer = front.request("DELETE", &format!("{session}.{node}")).await;
        answer.problem(status);
    }
    let events = format!("{session}.gone/events/1");
    front
        .request("GET", &events)
        .await
        .problem(StatusCode::NOT_FOUND);
}
