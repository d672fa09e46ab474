//! Sessions prepared for player pages.

use crate::access::{keyed, trusting, with_tokens};
use crate::counter_offer::{answer_to, patch};
use crate::front::{Answer, Front};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use distributary_egress::engine::{EngineConfig, PreparedStats};
use distributary_hub::ViewerLimits;
use distributary_whep::{Drain, FrontConfig, Redirect};

/// Header of a browser that opens a page over plain HTTP.
const NAVIGATION: (&str, &str) = ("upgrade-insecure-requests", "1");

/// Maximum number of prepared sessions of one address.
const MAX_PER_ADDRESS: usize = 50;

/// Opens a page as a browser does.
pub(crate) async fn open(front: &Front, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(path).header(NAVIGATION.0, NAVIGATION.1);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = front.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer
}

/// Returns the path of the session and the offer of a page.
pub(crate) fn offer(page: &Answer) -> Option<(String, String)> {
    let (_, element) = page.text().split_once("id=\"offer\"")?;
    let between = |start: &str, end: &str| {
        let (_, rest) = element.split_once(start).unwrap();
        rest.split_once(end).unwrap().0.to_owned()
    };
    let session = between("data-session=\"..", "\"");
    Some((session, between(">", "</script>")))
}

#[tokio::test]
async fn page_that_is_shown_carries_an_offer_that_it_answers_by_patch() {
    let front = Front::new();
    let page = open(&front, "/live/test", &[]).await;
    assert_eq!(page.header("cache-control"), "no-store");
    assert!(!page.headers.contains_key("etag"));
    let policy = page.header("content-security-policy");
    assert!(policy.contains("script-src 'self' 'sha256-"), "{policy}");
    assert!(page.text().contains("data-endpoint=\"../whep/live/test\""));
    let (session, offer) = offer(&page).unwrap();
    assert_eq!(front.engine.sessions(), 0);
    assert_eq!(front.hub.viewers().count(), 0, "a page is no viewer yet");

    let answer = patch(&front, &session, &answer_to(&offer)).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
    assert!(
        answer
            .link("server-sent-events")
            .contains(&format!("<{session}/events>"))
    );
    assert_eq!(front.engine.sessions(), 1);
    assert_eq!(front.hub.viewers().count(), 1);
    // A cache that kept the page has sent it to somebody else, too.
    let again = patch(&front, &session, &answer_to(&offer)).await;
    again.problem(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let stats = front.engine.prepared();
    let expected = PreparedStats {
        made: 1,
        answered: 1,
        expired: 0,
    };
    assert_eq!(stats, expected);
    let metrics = front.admin("").request("GET", "/metrics").await;
    for line in [
        "distributary_prepared_sessions_total 1",
        "distributary_prepared_sessions_answered_total 1",
        "distributary_prepared_sessions_expired_total 0",
    ] {
        assert!(metrics.text().contains(line), "{line}");
    }
}

#[tokio::test]
async fn page_that_nobody_sees_or_plays_has_no_offer() {
    let mut front = Front::new();
    for (path, headers) in [
        ("/live/other", vec![]),
        ("/live/test?autoplay=0", vec![]),
        ("/live/test", vec![("sec-purpose", "prefetch")]),
        ("/live/test", vec![("user-agent", "ExampleBot/1.0")]),
    ] {
        let page = open(&front, path, &headers).await;
        assert_eq!(offer(&page), None, "{path} {headers:?}");
        assert_eq!(page.header("cache-control"), "no-cache");
    }
    let page = front.request("GET", "/live/test").await;
    assert_eq!(offer(&page), None, "a program asks");
    front.admission.drain(Drain::default());
    assert_eq!(offer(&open(&front, "/live/test", &[]).await), None);
    front.admission.resume();
    assert!(offer(&open(&front, "/live/test", &[]).await).is_some());
    front.unpublish();
    assert_eq!(offer(&open(&front, "/live/test", &[]).await), None);
}

#[tokio::test]
async fn page_of_a_redirected_stream_has_no_offer() {
    let to = Redirect::new("live/*".parse().unwrap(), "https://edge.example/whep/live");
    let config = FrontConfig {
        redirects: vec![to.unwrap()],
        ..FrontConfig::default()
    };
    let front = Front::with(config, EngineConfig::default());
    assert_eq!(offer(&open(&front, "/live/test", &[]).await), None);
}

#[tokio::test]
async fn page_has_an_offer_only_for_those_who_may_watch() {
    let front = keyed();
    assert_eq!(offer(&open(&front, "/live/test", &[]).await), None);
    let page = open(&front, "/live/test?token=wrong", &[]).await;
    assert_eq!(offer(&page), None);
    let page = open(&front, "/live/test?token=guest", &[]).await;
    assert!(offer(&page).is_some());
}

#[tokio::test]
async fn session_of_a_page_ends_with_its_token() {
    let front = with_tokens(false);
    let path = crate::access::path_with_token(60).replace("/whep", "");
    let (session, offer) = offer(&open(&front, &path, &[]).await).unwrap();
    let answer = patch(&front, &session, &answer_to(&offer)).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    // The simulated clock advances when all tasks are idle. The token is accepted for half a minute
    // more, because clocks differ.
    tokio::time::pause();
    tokio::time::sleep(std::time::Duration::from_secs(100)).await;
    assert_eq!(front.engine.sessions(), 0);
}

#[tokio::test]
async fn address_has_a_bounded_number_of_prepared_sessions() {
    let front = Front::guarded(trusting());
    let page = async |ip| {
        let page = open(&front, "/live/test", &[("x-forwarded-for", ip)]).await;
        offer(&page)
    };
    for _ in 0..MAX_PER_ADDRESS {
        assert!(page("203.0.113.7").await.is_some());
    }
    assert_eq!(page("203.0.113.7").await, None);
    let (session, offer) = page("203.0.113.8").await.unwrap();
    patch(&front, &session, &answer_to(&offer)).await;
    assert_eq!(front.engine.prepared().made, MAX_PER_ADDRESS as u64 + 1);
}

#[tokio::test]
async fn answer_of_a_page_is_refused_if_there_are_too_many_viewers_by_then() {
    let limits = ViewerLimits {
        max: 1,
        ..ViewerLimits::default()
    };
    let front = Front::limited(limits, distributary_whep::Access::default());
    let (session, offer) = offer(&open(&front, "/live/test", &[]).await).unwrap();
    front.open().await;
    let answer = patch(&front, &session, &answer_to(&offer)).await;
    answer.problem(StatusCode::SERVICE_UNAVAILABLE);
}
