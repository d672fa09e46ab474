//! Responses of the WHEP endpoint over TCP.

use distributary_tests::client::Response;
use distributary_tests::gateway::Gateway;
use distributary_tests::live::LiveGateway;

/// The offer of a Chromium that wants to watch.
const OFFER: &str = include_str!("../../crates/webrtc/tests/fixtures/offers/chromium-offer.sdp");

const SDP: &[(&str, &str)] = &[("Content-Type", "application/sdp")];

fn post(live: &LiveGateway, headers: &[(&str, &str)], body: &str) -> Response {
    live.gateway
        .request("POST", "/whep/live/test", headers, body.as_bytes())
}

#[tokio::test]
async fn offer_opens_a_session_that_delete_ends() {
    let live = LiveGateway::start().await;
    let created = post(&live, SDP, OFFER);
    assert_eq!(created.status, 201, "{}", created.text());
    assert_eq!(created.header("content-type"), Some("application/sdp"));
    let etag = created.header("etag").expect("an ETag");
    assert!(
        etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"'),
        "{etag}"
    );

    let answer = created.text();
    assert!(answer.starts_with("v=0\r\n"), "{answer}");
    let count = |prefix| {
        answer
            .lines()
            .filter(|line| line.starts_with(prefix))
            .count()
    };
    assert_eq!(
        count("m="),
        OFFER.lines().filter(|line| line.starts_with("m=")).count()
    );
    assert_eq!(count("a=sendonly"), 2, "{answer}");
    assert_eq!(count("a=ice-lite"), 1, "{answer}");
    let port = live.gateway.webrtc.port().to_string();
    let candidate = answer
        .lines()
        .find(|line| line.starts_with("a=candidate:"))
        .expect("one");
    assert!(candidate.split(' ').any(|word| word == port), "{candidate}");

    let session = created
        .header("location")
        .expect("the session's URL")
        .to_owned();
    let ask = |method| live.gateway.request(method, &session, &[], b"").status;
    assert_eq!((ask("GET"), ask("DELETE")), (204, 200));
    // The session has ended, which is what a repeated DELETE wants.
    assert_eq!((ask("GET"), ask("DELETE")), (404, 200));
}

#[tokio::test]
async fn every_offer_gets_its_own_session() {
    let live = LiveGateway::start().await;
    let (one, two) = (post(&live, SDP, OFFER), post(&live, SDP, OFFER));
    assert_ne!(one.header("location"), two.header("location"));
    assert_ne!(one.text(), two.text());
    let session = one.header("location").expect("the session's URL");
    assert_eq!(
        live.gateway.request("DELETE", session, &[], b"").status,
        200
    );
    let session = two.header("location").expect("the session's URL");
    assert_eq!(
        live.gateway.request("DELETE", session, &[], b"").status,
        200
    );
}

#[tokio::test]
async fn stream_that_is_not_live_is_a_conflict_until_it_is() {
    let gateway = Gateway::start();
    let refused = gateway.request("POST", "/whep/live/absent", SDP, OFFER.as_bytes());
    assert_eq!(refused.status, 409, "{}", refused.text());
    let seconds = refused
        .header("retry-after")
        .and_then(|value| value.parse::<u32>().ok());
    assert!(
        seconds.is_some_and(|seconds| seconds > 0),
        "{:?}",
        refused.headers
    );
    assert_eq!(
        refused.header("content-type"),
        Some("application/problem+json")
    );
    let problem = refused.json();
    assert_eq!(problem["status"], 409, "{problem}");
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|text| text.contains("live/absent"))
    );
}

#[tokio::test]
async fn unusable_offer_is_refused_with_the_reason() {
    let live = LiveGateway::start().await;
    let expect = |status: u16, headers: &[(&str, &str)], body: &str| {
        let refused = post(&live, headers, body);
        assert_eq!(refused.status, status, "{}", refused.text());
        let content_type = refused.header("content-type");
        assert_eq!(
            content_type,
            Some("application/problem+json"),
            "{}",
            refused.text()
        );
        assert!(
            refused.json()["detail"]
                .as_str()
                .is_some_and(|detail| !detail.is_empty())
        );
    };
    expect(415, &[("Content-Type", "application/json")], OFFER);
    expect(415, &[], OFFER);
    expect(400, SDP, "this is no session description");
    expect(400, SDP, &OFFER.replace("m=video 9 ", "m=video nine "));
    // Neither H264 nor Opus.
    let foreign = OFFER
        .replace("H264/90000", "VP8/90000")
        .replace("opus/48000/2", "G722/8000");
    expect(406, SDP, &foreign);
    let huge = format!("{OFFER}{}", "a=x\r\n".repeat(100_000));
    expect(413, SDP, &huge);
}

#[tokio::test]
async fn page_of_any_origin_can_watch() {
    let live = LiveGateway::start().await;
    let origin = ("Origin", "https://example.com");
    let preflight = [
        origin,
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "content-type"),
    ];
    let allowed = live
        .gateway
        .request("OPTIONS", "/whep/live/test", &preflight, b"");
    assert!((200..300).contains(&allowed.status), "{}", allowed.status);
    assert_eq!(allowed.header("access-control-allow-origin"), Some("*"));
    assert_lists(&allowed, "access-control-allow-methods", "POST");
    assert_lists(&allowed, "access-control-allow-headers", "content-type");
    assert_lists(&allowed, "accept-post", "application/sdp");

    let created = post(&live, &[SDP[0], origin], OFFER);
    assert_eq!(created.header("access-control-allow-origin"), Some("*"));
    for header in ["Location", "ETag"] {
        assert_lists(&created, "access-control-expose-headers", header);
    }
    let session = created.header("location").expect("the session's URL");
    let preflight = [origin, ("Access-Control-Request-Method", "DELETE")];
    let allowed = live.gateway.request("OPTIONS", session, &preflight, b"");
    assert!((200..300).contains(&allowed.status), "{}", allowed.status);
    assert_lists(&allowed, "access-control-allow-methods", "DELETE");
}

fn assert_lists(response: &Response, header: &str, item: &str) {
    let list = response.header(header).unwrap_or_default();
    let listed = list
        .split(',')
        .any(|listed| listed.trim().eq_ignore_ascii_case(item));
    assert!(listed, "{header}: {list:?} does not list {item}");
}
