//! The other gateways of a cluster: where else viewers can go.

use crate::front::{Answer, Front, OFFER};
use crate::prepared::{offer, open};
use axum::http::{Request, StatusCode};
use distributary_names::StreamName;
use distributary_whep::{AllowedOrigins, Drain, FrontConfig, OtherNodes};

const SDP: &str = "application/sdp";

/// Other gateways.
struct Others {
    alternates: Vec<&'static str>,
    less_loaded: Option<&'static str>,
    this: Option<&'static str>,
}

impl OtherNodes for Others {
    fn alternates(&self) -> Vec<String> {
        self.alternates.iter().map(ToString::to_string).collect()
    }

    fn less_loaded(&self, stream: &StreamName) -> Option<String> {
        let has_less = stream.as_str().starts_with("live/");
        self.less_loaded.filter(|_| has_less).map(ToOwned::to_owned)
    }

    fn this(&self) -> Option<String> {
        self.this.map(ToOwned::to_owned)
    }

    fn are_secure(&self) -> bool {
        self.this.is_none()
    }
}

fn front(alternates: &[&'static str], less_loaded: Option<&'static str>) -> Front {
    let alternates = alternates.to_vec();
    Front::beside(Others {
        alternates,
        less_loaded,
        this: None,
    })
}

/// Returns a gateway that players reach at a URL of its own.
fn front_at(this: &'static str) -> Front {
    Front::beside(Others {
        alternates: Vec::new(),
        less_loaded: None,
        this: Some(this),
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
    let front = front(&[], Some("https://b.example"));
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
}

#[tokio::test]
async fn page_of_another_site_gets_the_endpoints_in_the_place_of_a_redirect() {
    let mut config = FrontConfig::default();
    config.whep.allowed_origins =
        AllowedOrigins::parse(&["https://www.example", "http://a.example"]).unwrap();
    let others = Others {
        alternates: vec!["https://b.example", "https://c.example"],
        less_loaded: None,
        this: None,
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
}

#[tokio::test]
async fn requests_for_a_session_go_to_the_node_that_has_it() {
    let front = front_at("https://a.example/video");
    let answer = front.post("/whep/live/test", SDP, OFFER).await;
    let location = answer.header("location").to_owned();
    let path = location.strip_prefix("https://a.example/video").unwrap();
    assert!(path.starts_with("/session/"), "{location}");
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
