//! The admin API: authorization, responses and actions.

use std::time::{Duration, Instant};

use crate::front::{Admin, Answer, Front, OFFER};
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use distributary_hub::{Dismissal, Permit};
use distributary_media::Frame;
use distributary_media::test_util::video_frame;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

async fn with_headers(admin: &Admin, method: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri("/api/drain");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    admin.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn admin_api_requires_its_token() {
    let front = Front::new();
    let admin = front.admin("secret");
    for path in [
        "/api/streams",
        "/api/events",
        "/api/openapi.json",
        "/metrics",
    ] {
        let answer = admin.request("GET", path).await;
        answer.problem(StatusCode::UNAUTHORIZED);
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    for wrong in [
        "Bearer secre",
        "Bearer secret2",
        "Basic secret",
        "Bearer",
        "",
    ] {
        let answer = with_headers(&admin, "POST", &[("authorization", wrong)]).await;
        answer.problem(StatusCode::UNAUTHORIZED);
    }
    assert!(!front.admission.is_draining());
    let answer = with_headers(&admin, "GET", &[("authorization", "bearer secret")]).await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn pages_of_other_sites_are_refused_without_a_token() {
    let front = Front::new();
    let admin = front.admin("");
    let host = ("host", "127.0.0.1:8180");
    for foreign in [
        vec![host, ("origin", "http://evil.example")],
        vec![host, ("origin", "null")],
        vec![host, ("sec-fetch-site", "cross-site")],
        // A name that an attacker resolves to this address.
        vec![("host", "evil.example:8180")],
        vec![],
    ] {
        let answer = with_headers(&admin, "POST", &foreign).await;
        answer.problem(StatusCode::FORBIDDEN);
    }
    assert!(!front.admission.is_draining());
    let own = [host, ("origin", "http://127.0.0.1:8180")];
    let answer = with_headers(&admin, "POST", &own).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(
        answer
            .headers
            .get(header::ACCESS_CONTROL_ALLOW_ORIGIN)
            .is_none()
    );
}

#[tokio::test]
async fn public_listener_has_no_admin_api() {
    let front = Front::new();
    for path in ["/api/streams", "/api/viewers", "/api/server", "/metrics"] {
        front
            .request("GET", path)
            .await
            .problem(StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn admin_api_ends_a_publisher() {
    let front = Front::new();
    let admin = front.admin("");
    let answer = admin.request("DELETE", "/api/publishers/live/test").await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let dismissal = front.publisher().dismissed().await;
    assert_eq!(dismissal, Dismissal::Removed);
    let answer = admin.request("DELETE", "/api/publishers/live/other").await;
    answer.problem(StatusCode::NOT_FOUND);
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "a publisher comes at some time")]
async fn admin_api_lets_a_standby_take_over_and_ends_it() {
    let front = Front::new();
    let admin = front.admin("");
    let path = "/api/publishers/live/test";
    let answer = admin.request("POST", path).await;
    answer.problem(StatusCode::NOT_FOUND);
    let (name, now) = (front.publisher().stream().name(), Instant::now());
    let second = front.hub.stand_by(name, Permit::default(), now).unwrap();
    let third = front.hub.stand_by(name, Permit::default(), now).unwrap();
    for wrong in ["?id=0", "?id=7"] {
        let answer = admin.request("POST", &format!("{path}{wrong}")).await;
        answer.problem(StatusCode::NOT_FOUND);
    }
    for wrong in ["?id=x", "?other=1"] {
        let answer = admin.request("POST", &format!("{path}{wrong}")).await;
        answer.problem(StatusCode::BAD_REQUEST);
    }
    let answer = admin.request("POST", path).await;
    let problem = answer.problem(StatusCode::CONFLICT);
    assert_eq!(
        problem["detail"],
        "No standby of live/test sends frames: check the encoders."
    );
    let delta = || Frame::Video(video_frame(0, false, 10));
    second.push(delta(), now).unwrap();
    let answer = admin.request("POST", &format!("{path}?id=2")).await;
    answer.problem(StatusCode::CONFLICT);
    assert_eq!(
        admin.request("POST", path).await.status,
        StatusCode::ACCEPTED
    );
    for (id, is_next) in [(1, true), (2, false)] {
        let stream = admin.request("GET", "/api/streams/live/test").await.json();
        assert_eq!(stream["publisher"]["id"], 0);
        let standby = &stream["standbys"][id - 1];
        assert_eq!(
            (&standby["id"], &standby["next"]),
            (&id.into(), &is_next.into())
        );
    }
    let keyframe = || Frame::Video(video_frame(0, true, 10));
    third.push(keyframe(), now).unwrap();
    assert!(!third.is_active());
    second.push(keyframe(), now).unwrap();
    assert!(second.is_active());
    let answer = admin.request("GET", "/metrics").await;
    let metrics = answer.text();
    for line in [
        "distributary_publisher_standbys{stream=\"live/test\"} 2",
        "distributary_publisher_takeovers_total{reason=\"api\"} 1",
        "distributary_publisher_takeovers_total{reason=\"gone\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    let answer = admin.request("DELETE", &format!("{path}?id=2")).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(third.dismissed().await, Dismissal::Removed);
    assert!(second.is_active());
    let answer = admin.request("DELETE", &format!("{path}?id=9")).await;
    answer.problem(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn ending_an_unknown_viewer_is_not_found() {
    let front = Front::new();
    let admin = front.admin("");
    for id in ["01234567", "x", "+1234567"] {
        let answer = admin.request("DELETE", &format!("/api/viewers/{id}")).await;
        answer.problem(StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn draining_gateway_refuses_viewers_until_the_drain_ends() {
    let front = Front::new();
    let admin = front.admin("");
    assert_eq!(front.request("GET", "/readyz").await.text(), "ready\n");
    let answer = admin.request("POST", "/api/drain").await.json();
    assert_eq!(answer["draining"], true);

    let answer = front.request("GET", "/readyz").await;
    answer.problem(StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
    assert_eq!(front.request("GET", "/healthz").await.text(), "ok\n");
    let answer = front
        .post("/whep/live/test", "application/sdp", OFFER)
        .await;
    answer.problem(StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);

    let answer = admin.request("DELETE", "/api/drain").await.json();
    assert_eq!(answer["draining"], false);
    front.open().await;
}

#[tokio::test(start_paused = true)]
async fn snapshots_come_every_second_and_match_the_openapi_document() {
    let front = Front::new();
    let admin = front.admin("");
    let document = admin.request("GET", "/api/openapi.json").await.json();
    let request = Request::get("/api/events").header("host", "localhost");
    let request = request.body(Body::empty()).unwrap();
    let mut body = admin.0.oneshot(request).await.unwrap().into_body();
    let began = tokio::time::Instant::now();
    for _ in 0..3 {
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let text = std::str::from_utf8(&frame).unwrap();
        let data = text.strip_prefix("event: snapshot\ndata: ").unwrap();
        let snapshot: Value = serde_json::from_str(data.trim_end()).unwrap();
        assert_eq!(snapshot["streams"][0]["name"], "live/test");
        conforms(
            &snapshot,
            &document["components"]["schemas"]["Snapshot"],
            &document,
        );
    }
    assert_eq!(began.elapsed(), Duration::from_secs(2));
}

#[tokio::test]
async fn every_documented_route_responds_as_documented() {
    let front = Front::new();
    let document = front
        .admin("")
        .request("GET", "/api/openapi.json")
        .await
        .json();
    let paths = document["paths"].as_object().unwrap();
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().unwrap() {
            if path == "/api/events" {
                continue;
            }
            let path = path
                .replace("{name}", "live/test")
                .replace("{id}", "01234567");
            let answer = front.admin("").request(&method.to_uppercase(), &path).await;
            let described = &operation["responses"][answer.status.as_str()];
            assert!(!described.is_null(), "{method} {path}: {answer:?}");
            let Some(content) = described["content"].as_object() else {
                assert!(answer.body.is_empty(), "{method} {path}: {answer:?}");
                continue;
            };
            let content_type = answer.header("content-type");
            let mut content = content.iter();
            let documented = content.find(|(expected, _)| content_type.starts_with(*expected));
            let (expected, media) = documented.unwrap_or_else(|| panic!("{path}: {content_type}"));
            if expected.ends_with("json") {
                conforms(&answer.json(), &media["schema"], &document);
            }
        }
    }
}

#[tokio::test]
async fn documented_stream_names_are_the_same_everywhere() {
    let front = Front::new();
    let admin = front.admin("");
    let document = admin.request("GET", "/api/openapi.json").await.json();
    let operations = document["paths"].as_object().unwrap().values();
    let operations = operations.flat_map(|path| path.as_object().unwrap().values());
    let parameters = operations.filter_map(|operation| operation["parameters"].as_array());
    let names: Vec<_> = parameters
        .flatten()
        .filter(|parameter| parameter["name"] == "name")
        .collect();
    assert!(names.len() > 4);
    for name in &names {
        assert_eq!(name, &names[0]);
    }
}

#[tokio::test]
async fn undocumented_methods_are_refused() {
    let front = Front::new();
    let admin = front.admin("");
    let document = admin.request("GET", "/api/openapi.json").await.json();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let path = path
            .replace("{name}", "live/test")
            .replace("{id}", "01234567");
        for method in ["get", "post", "put", "patch", "delete"] {
            if operations.get(method).is_none() {
                let answer = admin.request(&method.to_uppercase(), &path).await;
                answer.problem(StatusCode::METHOD_NOT_ALLOWED);
            }
        }
    }
}

/// Validates a value against a schema, for the schema features that the document uses.
fn conforms(value: &Value, schema: &Value, document: &Value) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#')).unwrap();
        return conforms(value, target, document);
    }
    if let Some(one_of) = schema["oneOf"].as_array() {
        // The second type is null.
        return if value.is_null() {
            assert_eq!(one_of[1]["type"], "null");
        } else {
            conforms(value, &one_of[0], document);
        };
    }
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(allowed.contains(value), "{value}: {schema}");
    }
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other}"),
    };
    let fits = match &schema["type"] {
        Value::Array(types) => types.iter().any(|name| is(name.as_str().unwrap())),
        Value::String(name) => is(name),
        _ => true,
    };
    assert!(fits, "{value}: {schema}");
    for item in value.as_array().into_iter().flatten() {
        conforms(item, &schema["items"], document);
    }
    if let (Some(members), Some(properties)) = (value.as_object(), schema["properties"].as_object())
    {
        for (name, member) in members {
            let schema = properties.get(name);
            conforms(
                member,
                schema.unwrap_or_else(|| panic!("{name}: {value}")),
                document,
            );
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            assert!(
                members.contains_key(name.as_str().unwrap()),
                "{name}: {value}"
            );
        }
    }
}

#[tokio::test]
async fn dashboard_needs_no_token_and_cannot_be_framed() {
    let front = Front::new();
    let admin = front.admin("secret");
    let page = admin.request("GET", "/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let policy = page.header("content-security-policy");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    for file in ["dashboard.js", "dashboard.css", "style.css"] {
        let answer = admin.request("GET", &format!("/assets/{file}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{file}");
    }
    assert_eq!(
        front.request("GET", "/dashboard").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn every_refused_parameter_is_a_problem_document() {
    let front = Front::new();
    let admin = front.admin("");
    for (path, status) in [
        ("/api/viewers?limit=x", StatusCode::BAD_REQUEST),
        ("/api/viewers?limit=-1", StatusCode::BAD_REQUEST),
        (
            "/api/viewers?offset=99999999999999999999",
            StatusCode::BAD_REQUEST,
        ),
        ("/api/viewers?limit=1&limit=2", StatusCode::BAD_REQUEST),
        ("/api/viewers?sort=name", StatusCode::BAD_REQUEST),
        ("/api/viewers?stream=..", StatusCode::BAD_REQUEST),
        ("/api/streams/%ff", StatusCode::BAD_REQUEST),
        ("/api/streams/", StatusCode::NOT_FOUND),
        ("/api/nothing", StatusCode::NOT_FOUND),
    ] {
        admin.request("GET", path).await.problem(status);
    }
    admin
        .request("DELETE", "/api/viewers/%ff")
        .await
        .problem(StatusCode::NOT_FOUND);
}
