//! The browser and the page of a viewer, from its request, for the dashboard.

use axum::http::{HeaderMap, Method, Uri, header};
use distributary_egress::engine::ViewerClient;

/// Maximum length of each text in bytes; the rest is dropped.
const MAX_LEN: usize = 200;

/// Browsers by the product in their user agent, the more specific first: Edge and Opera name
/// Chrome, and Chrome names Safari.
const BROWSERS: [(&str, &str); 10] = [
    ("Edg", "Edge"),
    ("EdgiOS", "Edge"),
    ("OPR", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("CriOS", "Chrome"),
    ("FxiOS", "Firefox"),
    ("HeadlessChrome", "Chrome"),
    ("Chrome", "Chrome"),
    ("Firefox", "Firefox"),
    ("Version", "Safari"),
];

/// Systems by a part of the user agent, the more specific first.
const SYSTEMS: [(&str, &str); 6] = [
    ("Android", "Android"),
    ("iPhone", "iOS"),
    ("iPad", "iOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
];

/// Returns what a request says about its client.
pub(crate) fn describe(method: &Method, uri: &Uri, headers: &HeaderMap) -> ViewerClient {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    ViewerClient {
        browser: text(header::USER_AGENT).map(browser),
        page: page(method, uri, text(header::REFERER), text(header::ORIGIN)),
    }
}

/// Returns browser, version and system, such as `Chrome 156 on Linux`. Other programs are named by
/// the first product of their user agent.
fn browser(agent: &str) -> String {
    let products = || {
        let parts = agent.split([' ', '(', ')', ';']);
        parts.filter_map(|part| part.split_once('/'))
    };
    let known = BROWSERS.iter().find_map(|(product, name)| {
        let (_, version) = products().find(|(found, _)| found == product)?;
        Some((*name, version.split('.').next().unwrap_or_default()))
    });
    let Some((name, version)) = known else {
        let program = agent.split_whitespace().next().unwrap_or_default();
        return shortened(program);
    };
    let system = SYSTEMS.iter().find(|(part, _)| agent.contains(part));
    match system {
        Some((_, system)) => shortened(&format!("{name} {version} on {system}")),
        None => shortened(&format!("{name} {version}")),
    }
}

/// Returns the page of the player: of our own page its path, of another page its URL without the
/// query, which may contain a secret, or as much of it as the browser says.
fn page(method: &Method, uri: &Uri, referer: Option<&str>, origin: Option<&str>) -> Option<String> {
    if *method == Method::GET {
        return Some(shortened(uri.path()));
    }
    let page = referer.map(|url| url.split(['?', '#']).next().unwrap_or_default());
    page.or(origin).map(shortened)
}

fn shortened(text: &str) -> String {
    let mut end = text.len().min(MAX_LEN);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_named_with_version_and_system() {
        for (agent, name) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
                "Chrome 156 on Linux",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 \
                 Safari/537.36 Edg/156.0.0.0",
                "Edge 156 on Windows",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                 Version/18.5 Mobile/15E148 Safari/604.1",
                "Safari 18 on iOS",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "Firefox 140 on Linux",
            ),
            ("GStreamer/1.26 libsoup/3", "GStreamer/1.26"),
            ("", ""),
        ] {
            assert_eq!(browser(agent), name);
        }
        assert_eq!(browser(&"ä".repeat(500)).len(), MAX_LEN);
    }

    #[test]
    fn page_has_no_query() {
        let uri: Uri = "/live/test?token=secret".parse().unwrap();
        assert_eq!(page(&Method::GET, &uri, None, None).unwrap(), "/live/test");
        let referer = Some("https://a.example/watch?key=secret#x");
        let origin = Some("https://a.example");
        let of_post = |referer, origin| page(&Method::POST, &uri, referer, origin);
        assert_eq!(of_post(referer, origin).unwrap(), "https://a.example/watch");
        assert_eq!(of_post(None, origin).unwrap(), "https://a.example");
        assert_eq!(of_post(None, None), None);
    }
}
