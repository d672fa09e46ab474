//! The pages, their files and the API of the front page.

use std::time::Duration;

use crate::front::{Front, publish};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use distributary_egress::engine::EngineConfig;
use distributary_whep::{FrontConfig, Redirect};

#[tokio::test(start_paused = true)]
async fn live_streams_are_listed_by_name_once_a_second() {
    let mut front = Front::new();
    let _another = publish(&front.hub, "live/another");
    let answer = front.request("GET", "/api/live").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
    let list = answer.json();
    let names = list["streams"].as_array().unwrap();
    let names: Vec<_> = names.iter().map(|stream| &stream["name"]).collect();
    assert_eq!(names, ["live/another", "live/test"]);
    assert_eq!(list["streams"][1]["video"]["width"], 1280);

    front.unpublish();
    let again = front.request("GET", "/api/live").await.json();
    assert_eq!(again, list);
    tokio::time::advance(Duration::from_secs(1)).await;
    let list = front.request("GET", "/api/live").await.json();
    assert_eq!(list["streams"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn front_page_gets_the_rtmp_port() {
    let front = Front::new();
    let facts = front.request("GET", "/api/live").await.json();
    assert_eq!(facts["version"], "1.2.3");
    assert_eq!(facts["rtmp_port"], 19350);
}

#[tokio::test]
async fn pages_have_a_strict_content_security_policy() {
    let front = Front::new();
    for path in [
        "/",
        "/live/test",
        "/live/not/there",
        "/live/a%20b",
        "/live/test/",
        "/cam",
    ] {
        let answer = front.request("GET", path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(answer.header("cache-control"), "no-cache");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(answer.text().starts_with("<!doctype html>"));
    }
}

#[tokio::test]
async fn policy_allows_redirect_targets() {
    let to = Redirect::new("vod/*".parse().unwrap(), "https://vod.example/whep/films");
    let front = Front::with(
        FrontConfig {
            redirects: vec![to.unwrap()],
            ..FrontConfig::default()
        },
        EngineConfig::default(),
    );
    for page in ["/", "/vod/film"] {
        let answer = front.request("GET", page).await;
        let policy = answer.header("content-security-policy");
        let connects = "connect-src 'self' https://vod.example;";
        assert!(policy.contains(connects), "{policy}");
    }
}

#[tokio::test]
async fn unchanged_file_is_not_sent_again() {
    let front = Front::new();
    let first = front.request("GET", "/assets/player.js").await;
    assert_eq!(first.status, StatusCode::OK);
    assert_eq!(
        first.header("content-type"),
        "text/javascript; charset=utf-8"
    );
    assert!(!first.body.is_empty());
    // Other sites embed it.
    assert_eq!(first.header("access-control-allow-origin"), "*");

    let ask = |etag: &str| {
        let request = Request::get("/assets/player.js").header("if-none-match", etag);
        front.send(request.body(Body::empty()).unwrap())
    };
    let again = ask(first.header("etag")).await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
    assert!(again.body.is_empty());
    assert_eq!(again.header("etag"), first.header("etag"));
    assert_eq!(ask("\"another\"").await.status, StatusCode::OK);
}

#[tokio::test]
async fn reserved_paths_are_not_streams() {
    let front = Front::new();
    for path in [
        "/api/nothing",
        "/assets/nothing.js",
        "/session/a/b",
        "/api/",
        "/api",
        "/metrics",
        "/dashboard/",
        "/favicon.ico",
        "/apple-touch-icon.png",
        "/sw.js",
        "/.env",
        "/.well-known/security.txt",
        "/live/",
    ] {
        let answer = front.request("GET", path).await;
        answer.problem(StatusCode::NOT_FOUND);
    }
    assert_eq!(front.request("GET", "/readyz").await.text(), "ready\n");
    for path in ["/api/live", "/assets/player.js"] {
        let answer = front.request("POST", path).await;
        answer.problem(StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.list("allow"), ["GET", "HEAD"]);
    }
}

#[tokio::test]
async fn post_to_another_path_is_told_the_endpoint() {
    let front = Front::new();
    for (path, told) in [
        ("/live/test", "/whep/live/test"),
        ("/live/a%20b/", "/whep/live/a%20b"),
        ("/", "/whep/{app}/{stream}"),
        ("/cam", "/whep/cam"),
        ("/api/nothing", "/whep/{app}/{stream}"),
        ("/live/test/whip", "RTMP"),
        ("/whip/live/test", "RTMP"),
    ] {
        for method in ["POST", "OPTIONS", "DELETE"] {
            let answer = front.request(method, path).await;
            let problem = answer.problem(StatusCode::NOT_FOUND);
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(told), "{method} {path}: {detail}");
        }
    }
}

#[tokio::test]
async fn page_finds_its_files_under_any_path_prefix() {
    let front = Front::new();
    for (path, root) in [
        ("/", "./"),
        ("/cam", "./"),
        ("/live/test", "../"),
        ("/live/eu/test/", "../../../"),
    ] {
        let page = front.request("GET", path).await;
        let icon = format!("href=\"{root}assets/icon.svg\"");
        assert!(page.text().contains(&icon), "{path}: {}", page.text());
        assert!(page.text().contains(&format!("href=\"{root}\"")), "{path}");
        for absolute in ["{root}", "href=\"/", "src=\"/"] {
            assert!(!page.text().contains(absolute), "{absolute} in {path}");
        }
    }
    let admin = front.admin("");
    let page = admin.request("GET", "/").await;
    assert!(page.text().contains("src=\"./assets/dashboard.js\""));
    // Relative paths make pages at other depths different files.
    let tags = ["/live/test", "/live/eu/test"].map(|path| front.request("GET", path));
    let [shallow, deep] = tags;
    assert_ne!(shallow.await.header("etag"), deep.await.header("etag"));
}

#[tokio::test]
async fn page_of_an_invalid_name_is_not_found() {
    let front = Front::new();
    for path in ["/live/..%2fx", "/live/a%0ab", "/live//x", "/live/%ff"] {
        let status = front.request("GET", path).await.status;
        assert!(status.is_client_error(), "{path}: {status}");
    }
}

#[tokio::test]
async fn browsers_get_a_page_that_helps_and_programs_a_problem() {
    let front = Front::new();
    let browse = |path: &str, accept: &str| {
        let request = Request::get(path).header("accept", accept);
        front.send(request.body(Body::empty()).unwrap())
    };
    const BROWSER: &str = "text/html,application/xhtml+xml,*/*;q=0.8";
    for (path, status, text) in [
        (
            "/whep/live/test",
            StatusCode::OK,
            "<a href=\"../../live/test\">",
        ),
        (
            "/live/test/whep",
            StatusCode::OK,
            "<a href=\"../../live/test\">",
        ),
        (
            "/rtc/v1/whep/?app=live&stream=a%20%22b",
            StatusCode::OK,
            "WHEP address of live/a &quot;b",
        ),
        ("/whep/cam", StatusCode::OK, "<a href=\"../cam\">"),
        ("/cam/whep", StatusCode::OK, "<a href=\"../cam\">"),
        ("/metrics/whep", StatusCode::OK, "WHEP address of metrics"),
        ("/admin", StatusCode::NOT_FOUND, "http://127.0.0.1:8180/"),
        ("/api/nothing", StatusCode::NOT_FOUND, "<a href=\"../\">"),
        (
            "/apple-touch-icon.png",
            StatusCode::NOT_FOUND,
            "There is nothing here",
        ),
        (
            "/live/",
            StatusCode::NOT_FOUND,
            "without a slash at its end",
        ),
        // The stream may begin later: the page waits for it.
        ("/cam", StatusCode::OK, "<distributary-player"),
        (
            "/live/%3Cscript%3E",
            StatusCode::OK,
            "content=\"live/&lt;script&gt;\"",
        ),
    ] {
        let page = browse(path, BROWSER).await;
        assert_eq!(page.status, status, "{path}");
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert!(
            page.header("content-security-policy")
                .contains("default-src 'none'")
        );
        assert!(page.text().contains(text), "{path}: {}", page.text());
        if status == StatusCode::NOT_FOUND {
            let answer = browse(path, "*/*").await;
            answer.problem(StatusCode::NOT_FOUND);
        }
    }
    let answer = browse("/whep/live/test", "*/*").await;
    assert_eq!(answer.header("content-type"), "application/sdp");
    let request = Request::post("/live/test").header("accept", BROWSER);
    let answer = front.send(request.body(Body::empty()).unwrap()).await;
    answer.problem(StatusCode::NOT_FOUND);
}
