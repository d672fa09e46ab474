//! The web pages, embedded in the binary: it serves them wherever it is started.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use distributary_names::StreamName;

use crate::config::FrontConfig;
use crate::problem::Problem;
use crate::router::{FrontDoor, RESERVED, method_not_allowed, nothing};

/// A file of the folder `web`, by its name.
macro_rules! file {
    ($name:literal, $type:expr) => {
        (
            $name,
            Asset::new($type, include_bytes!(concat!("../../../web/", $name))),
        )
    };
}

macro_rules! script {
    ($name:literal) => {
        file!($name, "text/javascript; charset=utf-8")
    };
}

const INDEX: Page = Page(include_str!("../../../web/index.html"));
const PLAYER: Page = Page(include_str!("../../../web/player.html"));
const DASHBOARD: Page = Page(include_str!("../../../web/dashboard.html"));

/// What stands in a page for the way from there to the root of the gateway.
const ROOT: &str = "{root}";

/// What lies under `/assets/`.
const ASSETS: [(&str, Asset); 19] = [
    script!("player.js"),
    script!("playback.js"),
    script!("session.js"),
    script!("events.js"),
    script!("figures.js"),
    script!("element.js"),
    script!("element-markup.js"),
    script!("element-style.js"),
    script!("path.js"),
    script!("words.js"),
    script!("watch.js"),
    script!("index.js"),
    script!("dashboard.js"),
    script!("stream-card.js"),
    script!("graph.js"),
    script!("admin.js"),
    file!("style.css", "text/css; charset=utf-8"),
    file!("dashboard.css", "text/css; charset=utf-8"),
    file!("icon.svg", "image/svg+xml"),
];

/// All a page may do is load the gateway's own files and ask things of it, and of where it sends viewers;
/// WebRTC is not governed by this policy.
fn policy(config: &FrontConfig) -> String {
    let elsewhere: String = config
        .redirects
        .iter()
        .map(|redirect| format!(" {}", redirect.origin()))
        .collect();
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         media-src 'self' blob: mediastream:; connect-src 'self'{elsewhere}; base-uri 'none'; \
         form-action 'none'"
    )
}

/// The policy of the dashboard, which no other page may frame: it has buttons that end things.
const DASHBOARD_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The policy of a file that somebody opens as if it were a page.
const FILE_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'";

/// The pages of the public listener.
pub(crate) fn routes() -> Router<FrontDoor> {
    let assets = Router::new()
        .route("/assets/{*file}", get(asset))
        .method_not_allowed_fallback(method_not_allowed);
    Router::new()
        .route("/", get(index))
        .route("/{app}/{*stream}", get(player))
        .method_not_allowed_fallback(nothing)
        .merge(assets)
}

/// The page of the admin listener. It shows nothing by itself; what it asks for is guarded.
pub(crate) fn dashboard_routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(dashboard))
        .route("/assets/{*file}", get(asset))
        .method_not_allowed_fallback(method_not_allowed)
}

async fn dashboard(uri: Uri, headers: HeaderMap) -> Response {
    DASHBOARD.serve(&uri, &headers, DASHBOARD_POLICY)
}

async fn index(State(front): State<FrontDoor>, uri: Uri, headers: HeaderMap) -> Response {
    INDEX.serve(&uri, &headers, &policy(&front.config.current()))
}

/// The player page: the same for every stream, live or not, since the page itself waits for it.
async fn player(
    State(front): State<FrontDoor>,
    Path((app, stream)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let refuse = |reason: String| Problem::new(StatusCode::NOT_FOUND, reason);
    if RESERVED.contains(&app.as_str()) {
        return Err(refuse("There is nothing at this path.".to_owned()));
    }
    StreamName::new(&app, stream.strip_suffix('/').unwrap_or(&stream))
        .map_err(|error| refuse(format!("The path: {error}.")))?;
    Ok(PLAYER.serve(&uri, &headers, &policy(&front.config.current())))
}

async fn asset(Path(file): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    ASSETS
        .iter()
        .find(|(name, _)| *name == file)
        .map(|(_, asset)| asset.serve(&headers, FILE_POLICY))
        .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "There is no such file."))
}

/// One embedded file.
struct Asset {
    content_type: &'static str,
    bytes: &'static [u8],
    /// Digest of the bytes, so that a browser asks for a file again only when it has changed.
    digest: u64,
}

impl Asset {
    const fn new(content_type: &'static str, bytes: &'static [u8]) -> Self {
        Self {
            content_type,
            bytes,
            digest: fnv1a(bytes),
        }
    }

    fn serve(&self, request: &HeaderMap, policy: &str) -> Response {
        serve(request, policy, self.content_type, self.digest, self.bytes)
    }
}

/// An embedded page. It finds the files of the gateway from where it is, so that it works under every path that
/// a proxy gives it.
struct Page(&'static str);

impl Page {
    /// The page as it is seen at `uri`.
    fn serve(&self, uri: &Uri, request: &HeaderMap, policy: &str) -> Response {
        let page = self.0.replace(ROOT, &root_of(uri.path()));
        let digest = fnv1a(page.as_bytes());
        serve(request, policy, "text/html; charset=utf-8", digest, page)
    }
}

/// The way from a path to the root: a browser resolves it from behind the last slash (RFC 3986 section 5.2.3).
fn root_of(path: &str) -> String {
    match path.matches('/').count() {
        0 | 1 => "./".to_owned(),
        slashes => "../".repeat(slashes - 1),
    }
}

/// A file, or 304 when the browser has this very one (RFC 9110 section 13.1.2).
///
/// Any site may use the files: the player is a module for the pages of others.
fn serve(
    request: &HeaderMap,
    policy: &str,
    content_type: &'static str,
    digest: u64,
    body: impl Into<Body>,
) -> Response {
    let etag = format!("\"{digest:016x}\"");
    let is_known = request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|tags| tags.contains(&etag));
    let headers = [
        (header::ETAG, etag.as_str()),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    if is_known {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let content_type = [(header::CONTENT_TYPE, content_type)];
    (headers, content_type, body.into()).into_response()
}

/// The FNV-1a hash: short, `const`, and enough to tell two versions of a file apart.
const fn fnv1a(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x100_0000_01b3);
        at += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv1a() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    const PAGES: [Page; 3] = [INDEX, PLAYER, DASHBOARD];

    #[test]
    fn pages_load_nothing_from_elsewhere() {
        let files = ASSETS
            .iter()
            .map(|(_, asset)| std::str::from_utf8(asset.bytes).unwrap());
        for text in PAGES.iter().map(|page| page.0).chain(files) {
            // Comments show how other sites use the player.
            let lines = text.lines().filter(|line| !line.starts_with(" *"));
            let text: String = lines.collect();
            for outside in [
                "src=\"http",
                "href=\"http",
                "@import",
                "url(http",
                "src=\"//",
            ] {
                assert!(!text.contains(outside), "{outside} in {text}");
            }
        }
    }

    #[test]
    fn nothing_is_asked_for_from_the_root_of_the_site() {
        let scripts = ASSETS.iter().filter(|(name, _)| name.ends_with(".js"));
        let files = scripts.map(|(_, asset)| std::str::from_utf8(asset.bytes).unwrap());
        for text in PAGES.iter().map(|page| page.0).chain(files) {
            for absolute in [
                "src=\"/",
                "href=\"/",
                "fetch(\"/",
                "\"/api",
                "`/api",
                "`/$",
                "`/whep",
            ] {
                assert!(!text.contains(absolute), "{absolute} in {text}");
            }
        }
    }

    #[test]
    fn the_root_is_as_far_away_as_the_path_is_long() {
        for (path, root) in [
            ("/", "./"),
            ("/live/test", "../"),
            ("/live/test/", "../../"),
            ("/live/eu/a%2Fb", "../../"),
        ] {
            assert_eq!(root_of(path), root, "{path}");
        }
    }

    #[test]
    fn every_file_a_page_asks_for_is_embedded() {
        let is_there = |file: &str| {
            let file = file.split('"').next().unwrap();
            assert!(ASSETS.iter().any(|(name, _)| *name == file), "{file}");
        };
        for Page(text) in PAGES {
            let files = text.split("\"{root}assets/").skip(1);
            assert!(files.clone().count() > 2);
            files.for_each(is_there);
        }
        for (_, script) in ASSETS.iter().filter(|(name, _)| name.ends_with(".js")) {
            let lines = std::str::from_utf8(script.bytes).unwrap().lines();
            let imports =
                lines.filter(|line| line.starts_with("import ") || line.starts_with("export {"));
            imports.for_each(|line| is_there(line.split("\"./").nth(1).unwrap()));
        }
    }
}
