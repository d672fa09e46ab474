//! The web pages, embedded in the binary.

use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use distributary_names::StreamName;
use sha2::{Digest, Sha256};

use crate::access::Viewer;
use crate::fallback::{method_not_allowed, nothing};
use crate::front_door::FrontDoor;
use crate::help::escaped;
use crate::name::PathStream;
use crate::path::has_page;
use crate::player::Player;
use crate::prepared::{AFTER, BEFORE, SCRIPT, embedded, is_shown, prepare};
use crate::problem::Problem;
use crate::public_path::PublicPath;
use crate::relative_root::root_of;

/// Includes a file of the folder `web`.
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

/// The media type of a page.
const HTML: &str = "text/html; charset=utf-8";

/// The style of the pages. The player page has it inside: a file of its own would come a round trip
/// later, and the video of an answered offer is shown before.
const STYLE: &str = include_str!("../../../web/style.css");

/// Placeholder in the player page for its style.
const STYLE_PLACEHOLDER: &str = "{style}";

/// Placeholders in the player page: before and after its files, for an offer of the gateway, and
/// for the name of the stream. The name is filled in last, because it may look like a placeholder.
const PLACEHOLDERS: [&str; 4] = ["{before}", "{after}", "{offer}", "{name}"];

/// Placeholder in a page for the relative path to the root of the gateway.
const ROOT: &str = "{root}";

/// The files under `/assets/`.
const ASSETS: [(&str, Asset); 44] = [
    script!("player.js"),
    script!("playback.js"),
    script!("session.js"),
    script!("failover.js"),
    script!("handover.js"),
    script!("progress.js"),
    script!("backoff.js"),
    script!("loading.js"),
    script!("endpoint.js"),
    script!("prepared.js"),
    script!("events.js"),
    script!("layer.js"),
    script!("quality.js"),
    script!("stats.js"),
    script!("element.js"),
    script!("element-markup.js"),
    script!("controls.js"),
    script!("fit.js"),
    script!("idle.js"),
    script!("preferences.js"),
    script!("element-style.js"),
    script!("path.js"),
    script!("words.js"),
    script!("watch.js"),
    script!("index.js"),
    script!("dashboard.js"),
    script!("cluster-panel.js"),
    script!("doctor.js"),
    script!("stream-card.js"),
    script!("stream-table.js"),
    script!("viewer-table.js"),
    script!("rendition-list.js"),
    script!("standby-list.js"),
    script!("obs-config.js"),
    script!("activity.js"),
    script!("elements.js"),
    script!("thumbnail.js"),
    script!("media-session.js"),
    script!("graph.js"),
    script!("admin.js"),
    file!("style.css", "text/css; charset=utf-8"),
    file!("index.css", "text/css; charset=utf-8"),
    file!("dashboard.css", "text/css; charset=utf-8"),
    file!("icon.svg", "image/svg+xml"),
];

/// Returns the policy of the public pages: they load only the gateway's own files, and connect only
/// to the gateway, to redirect targets and to the other gateways of the cluster. The policy does not apply to WebRTC.
fn policy(front: &FrontDoor) -> String {
    let config = front.config.current();
    let elsewhere: String = config
        .redirects
        .iter()
        .map(|redirect| format!(" {}", redirect.origin()))
        .collect();
    format!(
        "default-src 'none'; script-src 'self' {}; style-src 'self' {}; img-src 'self'; \
         media-src 'self' blob: mediastream:; connect-src 'self'{elsewhere}{}; base-uri 'none'; \
         form-action 'none'",
        SOURCES[0],
        SOURCES[1],
        front.nodes.sources()
    )
}

/// The sources of the script and of the style inside the player page in a content security policy
/// (Content Security Policy Level 3, section 2.3.1).
static SOURCES: LazyLock<[String; 2]> = LazyLock::new(|| {
    [SCRIPT, STYLE].map(|text| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text))))
});

/// The policy of the dashboard. No other page may frame it, because its buttons end publishers and
/// viewers.
const DASHBOARD_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The policy of a file that is opened as a page.
const FILE_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'";

/// Returns the routes of the public pages.
pub(crate) fn routes() -> Router<FrontDoor> {
    let assets = Router::new()
        .route("/assets/{*file}", get(asset))
        .method_not_allowed_fallback(method_not_allowed);
    Router::new()
        .route("/", get(index))
        .route("/{*stream}", get(player))
        .method_not_allowed_fallback(nothing)
        .merge(assets)
}

/// Returns the routes of the dashboard. The page contains no data; the API that it uses is guarded.
pub(crate) fn dashboard_routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(dashboard))
        .route("/assets/{*file}", get(asset))
        .method_not_allowed_fallback(method_not_allowed)
}

async fn dashboard(uri: Uri, headers: HeaderMap) -> Response {
    DASHBOARD.serve(&uri, &headers, DASHBOARD_POLICY, "")
}

async fn index(State(front): State<FrontDoor>, uri: Uri, headers: HeaderMap) -> Response {
    INDEX.serve(&uri, &headers, &policy(&front), "")
}

/// Serves the player page. It is the same for every stream, live or not: the page itself waits for
/// the stream. Only a page that is about to be shown has an offer, for a stream that is live.
async fn player(
    State(front): State<FrontDoor>,
    PageStream(name): PageStream,
    viewer: Viewer,
    Player(options): Player,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let policy = policy(&front);
    if is_shown(&method, viewer.query(), &headers)
        && let Some(prepared) = prepare(&front, &name, &viewer, &options).await
    {
        let offer = embedded(&prepared, &name, &root_of(uri.path()), &front.nodes);
        return Ok(PLAYER.serve_once(&uri, &policy, &offer, name.as_str()));
    }
    Ok(PLAYER.serve(&uri, &headers, &policy, name.as_str()))
}

/// The stream whose page a path is.
struct PageStream(StreamName);

impl FromRequestParts<FrontDoor> for PageStream {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, front: &FrontDoor) -> Result<Self, Problem> {
        let PathStream(name) = PathStream::from_request_parts(parts, front).await?;
        // With a slash at its end, a name without application is rather the folder of one.
        let is_folder = !name.as_str().contains('/') && parts.uri.path().ends_with('/');
        if has_page(&name) && !is_folder {
            return Ok(Self(name));
        }
        let Ok(public) = PublicPath::from_request_parts(parts, front).await;
        Err(nothing(public, parts.method.clone(), parts.uri.clone()).await)
    }
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
    /// Digest of the bytes, for the ETag.
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

/// An embedded page. It refers to the gateway's files by relative paths, so that it works under
/// every path that a proxy gives it.
struct Page(&'static str);

impl Page {
    /// Serves the page for a request to `uri`, with the name of its stream if it has one.
    fn serve(&self, uri: &Uri, request: &HeaderMap, policy: &str, name: &str) -> Response {
        let page = self.filled(uri, ["", "", "", &escaped(name)]);
        let digest = fnv1a(page.as_bytes());
        serve(request, policy, HTML, digest, page)
    }

    /// Serves the page for one request to `uri`, with an offer. No cache may keep it: an offer is
    /// answered once.
    fn serve_once(&self, uri: &Uri, policy: &str, offer: &str, name: &str) -> Response {
        let page = self.filled(uri, [BEFORE, AFTER, offer, &escaped(name)]);
        let headers = [
            (header::CONTENT_TYPE, HTML),
            (header::CACHE_CONTROL, "no-store"),
        ];
        (safety(policy), headers, page).into_response()
    }

    /// Returns the page for a request to `uri`, with its style, and these texts in the places of
    /// [`PLACEHOLDERS`].
    fn filled(&self, uri: &Uri, texts: [&str; 4]) -> String {
        let root = root_of(uri.path());
        let page = self
            .0
            .replace(ROOT, &root)
            .replace(STYLE_PLACEHOLDER, STYLE);
        let texts = PLACEHOLDERS.into_iter().zip(texts);
        texts.fold(page, |page, (placeholder, text)| {
            page.replace(placeholder, text)
        })
    }
}

/// Responds with a file, or with 304 when the browser has the current version (RFC 9110 section
/// 13.1.2).
///
/// Any site may use the files: the player is a module for other pages, too.
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
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    if is_known {
        return (StatusCode::NOT_MODIFIED, safety(policy), headers).into_response();
    }
    let content_type = [(header::CONTENT_TYPE, content_type)];
    (safety(policy), headers, content_type, body.into()).into_response()
}

/// Returns the headers that restrict a file or page in the browser.
fn safety(policy: &str) -> [(HeaderName, &str); 3] {
    [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ]
}

/// Returns the FNV-1a hash: short, `const`, and enough to tell two versions of a file apart.
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
    fn hash_is_fnv1a() {
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
    fn style_fits_into_the_player_page() {
        assert!(!STYLE.contains("</"), "it would end its element");
        let page = PLAYER.filled(&Uri::from_static("/live/test"), ["", "", "", ""]);
        assert!(page.contains(STYLE) && !page.contains(ROOT));
        assert!(
            PLACEHOLDERS
                .iter()
                .all(|placeholder| !page.contains(placeholder))
        );
    }

    #[test]
    fn pages_use_no_absolute_paths() {
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
    fn every_file_that_a_page_loads_is_embedded() {
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
