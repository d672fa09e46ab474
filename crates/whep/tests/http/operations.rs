//! Journal, history, keyframes and blocks.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

use crate::counter_offer::answer_to;
use crate::front::{Answer, Front, OFFER, endless, publish};
use crate::prepared;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use distributary_auth::keys::KeyRule;
use distributary_auth::rate::RateLimit;
use distributary_auth::{AuthConfig, Authorizer, Method};
use distributary_hub::{JournalKind, Publisher};
use distributary_media::{Frame, FrameInfo, MediaTime, VideoCodec, VideoFrame};
use distributary_names::StreamName;
use distributary_net::TrustedProxies;
use distributary_webrtc::stun::{
    Class, IceRole, Message, MessageWriter, Method as StunMethod, TransactionId,
};
use distributary_whep::{Access, admin};
use serde_json::{Value, json};
use tokio::time::timeout;

/// Time after which a wait in these tests fails.
const TIMEOUT: Duration = Duration::from_secs(20);

const NO_LIMIT: RateLimit = RateLimit {
    burst: 1,
    per_minute: 0,
};

/// Returns access checks for which `play` decides who may watch. The proxy on this machine is
/// believed about the addresses of clients.
/// Returns an authorization that believes a proxy on this machine.
pub(crate) fn access(play: AuthConfig) -> Access {
    let authorizer = Authorizer::new(play).unwrap();
    let proxy = distributary_net::parse_network("127.0.0.1").unwrap();
    Access::new(authorizer, NO_LIMIT, TrustedProxies(vec![proxy]))
}

fn with_key() -> AuthConfig {
    AuthConfig {
        play: Method::Keys,
        key: vec![KeyRule {
            streams: "*".parse().unwrap(),
            publish: Vec::new(),
            play: vec!["secret".to_owned()],
        }],
        ..AuthConfig::default()
    }
}

#[allow(clippy::disallowed_methods, reason = "frames arrive at some time")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

fn push_keyframe(publisher: &Publisher, units: &[&'static [u8]]) {
    push_units(publisher, units.iter().map(|unit| Bytes::from_static(unit)));
}

fn push_units(publisher: &Publisher, units: impl Iterator<Item = Bytes>) {
    let frame = VideoFrame {
        codec: VideoCodec::H264,
        pts: MediaTime::ZERO,
        dts: MediaTime::ZERO,
        keyframe: true,
        info: FrameInfo::default(),
        units: units.collect(),
    };
    publisher.push(Frame::Video(frame), now()).unwrap();
}

#[tokio::test]
async fn keyframe_is_served_in_the_byte_stream_format_with_its_codec() {
    let front = Front::new();
    let path = "/live/test/keyframe";
    let answer = front.request("GET", path).await;
    answer.problem(StatusCode::NOT_FOUND);
    push_keyframe(front.publisher(), &[&[0x67, 1], &[0x68, 2], &[0x65, 3, 4]]);
    for answer in [
        front.request("GET", path).await,
        front
            .admin("")
            .request("GET", "/api/keyframes/live/test")
            .await,
    ] {
        assert_eq!(answer.status, StatusCode::OK);
        let content_type = answer.header("content-type");
        assert_eq!(content_type, "video/h264; codecs=\"avc1.42c01f\"");
        assert_eq!(answer.header("cache-control"), "no-store");
        let expected = [
            0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2, 0, 0, 0, 1, 0x65, 3, 4,
        ];
        assert_eq!(answer.header("content-length"), expected.len().to_string());
        assert_eq!(answer.body[..], expected);
    }
    let answer = front.request("HEAD", path).await;
    assert_eq!(
        (answer.status, answer.header("content-length")),
        (StatusCode::OK, "19")
    );
    assert!(answer.body.is_empty());
    let answer = front.request("GET", "/live/other/keyframe").await;
    answer.problem(StatusCode::CONFLICT);
    let answer = front.request("GET", "/live/..%2fx/keyframe").await;
    answer.problem(StatusCode::BAD_REQUEST);
    let answer = front.request("POST", path).await;
    answer.problem(StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn keyframe_above_four_mebibytes_is_not_served() {
    const MAX: usize = 4 * 1024 * 1024;
    let front = Front::new();
    let path = "/live/test/keyframe";
    // With the start code.
    let unit = |length| std::iter::once(Bytes::from(vec![0x65; length - 4]));
    push_units(front.publisher(), unit(MAX));
    let answer = front.request("GET", path).await;
    assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, MAX));
    push_units(front.publisher(), unit(MAX + 1));
    let problem = front
        .request("GET", path)
        .await
        .problem(StatusCode::NOT_FOUND);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("4194305 bytes"), "{detail}");
}

#[tokio::test]
async fn keyframe_needs_the_same_permission_as_watching() {
    let front = Front::guarded(access(with_key()));
    push_keyframe(front.publisher(), &[&[0x65]]);
    let answer = front.request("GET", "/live/test/keyframe").await;
    answer.problem(StatusCode::UNAUTHORIZED);
    let answer = front
        .request("GET", "/live/test/keyframe?token=secret")
        .await;
    assert_eq!(answer.status, StatusCode::OK);
}

/// Sends a request from this address.
pub(crate) async fn from_address(
    front: &Front,
    method: &str,
    path: &str,
    address: &str,
) -> StatusCode {
    let body = if method == "POST" { OFFER } else { "" };
    send(front, (method, path), address, body).await.status
}

/// Sends SDP from this address.
async fn send(front: &Front, (method, path): (&str, &str), address: &str, sdp: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("x-forwarded-for", address)
        .header("content-type", "application/sdp");
    let request = request.body(Body::from(sdp.to_owned()));
    front.send(request.unwrap()).await
}

#[tokio::test]
async fn keyframes_are_limited_by_address() {
    let front = Front::guarded(access(AuthConfig::default()));
    push_keyframe(front.publisher(), &[&[0x65]]);
    let ask = |address| from_address(&front, "GET", "/live/test/keyframe", address);
    let mut served = 0;
    while ask("192.0.2.1").await == StatusCode::OK {
        served += 1;
        assert!(served < 1000);
    }
    assert!(served >= 60, "{served}");
    assert_eq!(ask("192.0.2.1").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(ask("192.0.2.2").await, StatusCode::OK);
}

async fn post(front: &Front, path: &str, body: Value) -> (StatusCode, Value) {
    let request = Request::post(path)
        .header("host", "localhost")
        .header("content-type", "application/json");
    let request = request.body(Body::from(body.to_string())).unwrap();
    let answer = front.admin("").send(request).await;
    (answer.status, answer.json())
}

#[tokio::test]
async fn blocked_viewer_is_refused_until_the_block_is_removed() {
    let front = Front::guarded(access(AuthConfig::default()));
    let open = |address| from_address(&front, "POST", "/whep/live/test", address);
    assert_eq!(open("192.0.2.1").await, StatusCode::CREATED);
    let wanted = json!({ "viewer": "192.0.2.1", "seconds": 600 });
    let (status, block) = post(&front, "/api/blocks", wanted).await;
    assert_eq!(status, StatusCode::CREATED, "{block}");
    assert_eq!(block["viewer"], "192.0.2.1");
    assert_eq!(open("192.0.2.1").await, StatusCode::FORBIDDEN);
    assert_eq!(open("192.0.2.2").await, StatusCode::CREATED);

    let admin = front.admin("");
    let list = admin.request("GET", "/api/blocks").await.json();
    assert_eq!(list["blocks"][0]["id"], block["id"]);
    let seconds = list["blocks"][0]["seconds"].as_u64().unwrap();
    assert!((1..=600).contains(&seconds), "{seconds}");
    let path = format!("/api/blocks/{}", block["id"]);
    let answer = admin.request("DELETE", &path).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let answer = admin.request("DELETE", &path).await;
    answer.problem(StatusCode::NOT_FOUND);
    assert_eq!(open("192.0.2.1").await, StatusCode::CREATED);
}

async fn block_viewer(front: &Front, address: &str) {
    let wanted = json!({ "viewer": address, "seconds": 600 });
    let (status, block) = post(front, "/api/blocks", wanted).await;
    assert_eq!(status, StatusCode::CREATED, "{block}");
}

/// Returns a first check of the viewer that got this answer.
fn check(answer: &Answer, transaction: TransactionId) -> Vec<u8> {
    let value = |key: &str| {
        let mut lines = answer.text().lines();
        lines.find_map(|line| line.strip_prefix(key)).unwrap()
    };
    let (ufrag, password) = (value("a=ice-ufrag:"), value("a=ice-pwd:"));
    let theirs = OFFER
        .lines()
        .find_map(|line| line.strip_prefix("a=ice-ufrag:"));
    let mut check = Vec::new();
    MessageWriter::new(&mut check, Class::Request, StunMethod::BINDING, transaction)
        .username(&format!("{ufrag}:{}", theirs.unwrap()))
        .ice_role(IceRole::Controlling(1))
        .message_integrity(password.as_bytes())
        .finish();
    check
}

#[tokio::test]
async fn block_ends_a_session_before_its_first_check() {
    let front = Front::guarded(access(AuthConfig::default()));
    let open = |address| send(&front, ("POST", "/whep/live/test"), address, OFFER);
    let blocked = open("192.0.2.1").await;
    let other = open("192.0.2.2").await;
    block_viewer(&front, "192.0.2.1").await;
    let session = blocked.header("location");
    let answer = front.request("GET", session).await;
    answer.problem(StatusCode::NOT_FOUND);
    assert_eq!(front.engine.sessions(), 1);

    // Like that of an unknown session, its check is not answered; the one behind it is.
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    let (first, second) = (TransactionId([1; 12]), TransactionId([2; 12]));
    for check in [check(&blocked, first), check(&other, second)] {
        socket.send_to(&check, front.engine.local_addr()).unwrap();
    }
    let answered = loop {
        let mut datagram = [0; 2000];
        let length = socket.recv(&mut datagram).expect("a check is answered");
        if let Ok(message) = Message::parse(&datagram[..length])
            && matches!(message.class, Class::Success | Class::Error)
        {
            break message.transaction;
        }
    };
    assert_eq!(answered, second);
}

#[tokio::test]
async fn block_reaches_prepared_pages() {
    let front = Front::guarded(access(AuthConfig::default()));
    let page = async |address| {
        let page = prepared::open(&front, "/live/test", &[("x-forwarded-for", address)]).await;
        prepared::offer(&page).unwrap()
    };
    let answer = async |session: &str, offer: &str, address| {
        send(&front, ("PATCH", session), address, &answer_to(offer)).await
    };
    let (blocked, offer) = page("192.0.2.1").await;
    let (other, others_offer) = page("192.0.2.2").await;
    block_viewer(&front, "192.0.2.1").await;
    let refused = answer(&blocked, &offer, "192.0.2.1").await;
    refused.problem(StatusCode::NOT_FOUND);
    // A page that another address was sent does not help.
    let refused = answer(&other, &others_offer, "192.0.2.1").await;
    let problem = refused.problem(StatusCode::FORBIDDEN);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("blocked by an administrator"), "{detail}");
    let accepted = answer(&other, &others_offer, "192.0.2.2").await;
    assert_eq!(accepted.status, StatusCode::NO_CONTENT);
    assert_eq!(front.engine.sessions(), 1);
}

#[tokio::test]
async fn blocking_a_publisher_ends_it() {
    let front = Front::new();
    let wanted = json!({ "publisher": "live/test", "seconds": 60 });
    let (status, _) = post(&front, "/api/blocks", wanted).await;
    assert_eq!(status, StatusCode::CREATED);
    let dismissal = timeout(TIMEOUT, front.publisher().dismissed()).await;
    let dismissal = dismissal.expect("the publisher is told");
    assert_eq!(dismissal, distributary_hub::Dismissal::Removed);
}

#[tokio::test]
async fn unusable_blocks_are_refused_with_the_reason() {
    let front = Front::new();
    for (wanted, reason) in [
        (json!({ "seconds": 60 }), "a publisher"),
        (json!({ "viewer": "x", "seconds": 60 }), "not an IP address"),
        (
            json!({ "publisher": "x//y", "seconds": 60 }),
            "The publisher",
        ),
        (json!({ "publisher": "live/x", "seconds": 0 }), "30 days"),
        (json!({ "publisher": "live/x" }), "seconds"),
        (
            json!({ "publisher": "live/x", "seconds": 1.5 }),
            "no whole number",
        ),
        (
            json!({ "publisher": "live/x", "seconds": -1 }),
            "no whole number",
        ),
        (
            json!({ "publisher": "live/x", "viewer": null, "seconds": 60 }),
            "null",
        ),
        (json!([]), "invalid length"),
    ] {
        let (status, problem) = post(&front, "/api/blocks", wanted.clone()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{wanted}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(reason), "{detail}");
    }
}

#[tokio::test]
async fn whole_number_may_have_a_point() {
    let front = Front::new();
    let wanted = json!({ "publisher": "live/x", "seconds": 60.0 });
    let (status, block) = post(&front, "/api/blocks", wanted).await;
    assert_eq!(status, StatusCode::CREATED, "{block}");
}

#[tokio::test(start_paused = true)]
async fn block_is_read_within_limits_of_type_size_and_time() {
    let front = Front::new();
    let send = async |kind: &str, body: Body| {
        let request = Request::post("/api/blocks")
            .header("host", "localhost")
            .header("content-type", kind);
        let answer = front.admin("").send(request.body(body).unwrap()).await;
        answer.status
    };
    let wanted = r#"{"publisher":"live/x","seconds":60}"#;
    let status = send("text/plain", Body::from(wanted)).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let status = send("application/json", Body::from(" ".repeat(5000))).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let status = send("application/json", endless()).await;
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
    let status = send("application/json; charset=utf-8", Body::from(wanted)).await;
    assert_eq!(status, StatusCode::CREATED);
}

#[tokio::test]
async fn journal_lists_refusals_and_what_publishers_did() {
    let front = Front::guarded(access(with_key()));
    front
        .publisher()
        .note_begin(Some(IpAddr::from(Ipv4Addr::LOCALHOST)), now());
    let status = from_address(&front, "POST", "/whep/live/test", "192.0.2.1").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    from_address(&front, "POST", "/whep/live/test", "192.0.2.1").await;
    front.publisher().note_end(&"closed by the client", now());
    let admin = front.admin("");
    let list = admin.request("GET", "/api/journal").await.json();
    let entries = list["entries"].as_array().unwrap();
    let kinds: Vec<_> = entries.iter().map(|entry| &entry["kind"]).collect();
    assert_eq!(kinds, ["published", "refused", "ended"]);
    assert_eq!(entries[1]["count"], 2);
    assert_eq!(entries[1]["address"], "192.0.2.1");
    assert_eq!(entries[1]["stream"], "live/test");
    assert!(!entries[1]["detail"].as_str().unwrap().is_empty());
    assert!(entries[2]["time"].as_f64() > Some(1.7e9));
    let after = format!("/api/journal?after={}", entries[1]["number"]);
    let later = admin.request("GET", &after).await.json();
    // Their times are computed anew from two clocks, and may differ by a millisecond.
    let later: Vec<_> = later["entries"].as_array().unwrap().iter().collect();
    let numbers: Vec<_> = later.iter().map(|entry| &entry["number"]).collect();
    assert_eq!(numbers, [&entries[2]["number"]]);
}

#[tokio::test(start_paused = true)]
async fn recorder_fills_the_history_and_keeps_streams_that_have_ended() {
    let mut front = Front::new();
    let recorder = tokio::spawn(admin::record(front.door.clone()));
    let seconds = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
    seconds(12).await;
    let admin = front.admin("");
    let history = admin.request("GET", "/api/history/live/test").await.json();
    assert_eq!(history["interval_seconds"], 1);
    let viewers = history["viewers"].as_array().unwrap();
    assert!(viewers.len() >= 10, "{history}");
    assert!(viewers.iter().all(|viewers| *viewers == 0));
    let total = admin.request("GET", "/api/history").await.json();
    assert_eq!(total["streams"].as_array().unwrap().last().unwrap(), 1);

    let name = StreamName::parse("live/test").unwrap();
    front
        .hub
        .journal()
        .record(JournalKind::Ended, Some(&name), None, &"closed", now());
    front.unpublish();
    seconds(2).await;
    let ended = admin.request("GET", "/api/ended").await.json();
    assert_eq!(ended["streams"][0]["name"], "live/test");
    assert_eq!(ended["streams"][0]["reason"], "closed");
    let history = admin.request("GET", "/api/history/live/test").await.json();
    assert!(history["age_seconds"].as_u64() >= Some(1), "{history}");
    seconds(15 * 60).await;
    let answer = admin.request("GET", "/api/history/live/test").await;
    answer.problem(StatusCode::NOT_FOUND);

    let _again = publish(&front.hub, "live/test");
    seconds(2).await;
    let ended = admin.request("GET", "/api/ended").await.json();
    assert_eq!(ended["streams"], json!([]));
    recorder.abort();
}
