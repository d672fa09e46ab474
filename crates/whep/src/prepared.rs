//! Sessions prepared for player pages: a page that is about to be shown carries an offer of the
//! gateway, which the page answers at once by PATCH. So joining takes a round trip less than with
//! an offer of the player, and begins before the player itself has arrived.

use axum::http::{HeaderMap, Method};
use distributary_egress::engine::{CounterOffer, ViewerOptions};
use distributary_names::StreamName;
use distributary_webrtc::dtls::DtlsRole;

use crate::access::Viewer;
use crate::front_door::FrontDoor;
use crate::other_nodes::Nodes;
use crate::path::escaped;
use crate::session_segment;

/// The script that answers the offer. It is a part of the page: a file of its own would come a
/// round trip later.
pub(crate) const SCRIPT: &str = include_str!("../../../web/answer.js");

/// Headers of requests for pages that may never be shown (Prefetch specification, and the names
/// that browsers used before).
const OF_PREFETCHES: [&str; 3] = ["sec-purpose", "purpose", "x-moz"];

/// Parts of the names of programs that read pages for others, in lower case.
const READERS: [&str; 4] = ["bot", "crawl", "spider", "preview"];

/// Prepares a session for the page of the stream `name`, if the page will be shown, its player
/// starts by itself, and the viewer may watch. `None` is no error: the player asks for a session.
pub(crate) async fn prepare(
    front: &FrontDoor,
    name: &StreamName,
    viewer: &Viewer,
    options: &ViewerOptions,
) -> Option<CounterOffer> {
    let config = front.config.current();
    let mut redirects = config.redirects.iter();
    let is_elsewhere = redirects.any(|redirect| redirect.target(name, None).is_some());
    let is_elsewhere = is_elsewhere || front.nodes.takes_over(name);
    if is_elsewhere || front.admission.is_draining() || !front.is_live(name) {
        return None;
    }
    // The page waits for nobody: a webhook is asked, and a transcode started, when somebody
    // watches.
    let stream = front.hub.stream(name)?;
    if front.access.asks_others() || stream.needs_transcoding() {
        return None;
    }
    // The player explains a refusal, and asks for the token.
    let grant = front.access.authorize(viewer, name).await.ok()?;
    let prepared = front.engine.prepare(name, viewer.complete(options, grant));
    prepared
        .inspect_err(|error| tracing::debug!(stream = %name, %error, "page without an offer"))
        .ok()
}

/// Returns whether a browser requests a page in order to show it, with a player that starts by
/// itself.
pub(crate) fn is_shown(method: &Method, query: &str, headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_navigation = match text("sec-fetch-mode") {
        Some(mode) => {
            mode == "navigate" && matches!(text("sec-fetch-dest"), Some("document" | "iframe"))
        }
        // Over plain HTTP, browsers say no more than this (Upgrade Insecure Requests, section 3.2).
        None => text("upgrade-insecure-requests") == Some("1"),
    };
    let agent = text("user-agent").unwrap_or_default().to_ascii_lowercase();
    *method == Method::GET
        && is_navigation
        && !OF_PREFETCHES.iter().any(|name| headers.contains_key(*name))
        && !READERS.iter().any(|reader| agent.contains(reader))
        && !query
            .split('&')
            .any(|part| matches!(part, "autoplay=0" | "autoplay=false" | "autoplay=no"))
}

/// Opens an element around the files of a page with an offer, so that they are not loaded before
/// the script wants them.
pub(crate) const BEFORE: &str = "<template id=\"files\">";

/// Closes the element around the files.
pub(crate) const AFTER: &str = "</template>";

/// Returns the markup in the place of the video: the offer, and the script that answers it. `root`
/// is the relative path to the root of the gateway. In a cluster, the answer goes to this gateway although
/// a load balancer may send requests below the root to another one.
pub(crate) fn embedded(
    prepared: &CounterOffer,
    name: &StreamName,
    root: &str,
    nodes: &Nodes,
) -> String {
    let CounterOffer { id, offer, .. } = prepared;
    let setup = match prepared.role {
        DtlsRole::Client => "passive",
        DtlsRole::Server => "active",
    };
    let session = session_segment::of(nodes.this_name(), id);
    let node = nodes.this_url().map(|url| format!("{url}/"));
    let node = node.as_deref().unwrap_or(root);
    let stream = escaped(name.as_str()).replace('&', "&amp;");
    format!(
        "<script type=\"application/sdp\" id=\"offer\" data-session=\"{node}session/{session}\" \
         data-endpoint=\"{root}whep/{stream}\" data-setup=\"{setup}\">{offer}</script>\n      <script>{SCRIPT}</script>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn shown(headers: &[(&'static str, &'static str)]) -> bool {
        let headers = headers.iter().map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        is_shown(&Method::GET, "", &headers.collect())
    }

    const NAVIGATION: [(&str, &str); 2] = [
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];

    #[test]
    fn only_pages_that_browsers_show_are_prepared() {
        assert!(shown(&NAVIGATION));
        assert!(shown(&[
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "iframe")
        ]));
        assert!(shown(&[("upgrade-insecure-requests", "1")]));
        assert!(!shown(&[]), "a program");
        assert!(!shown(&[
            ("sec-fetch-mode", "cors"),
            ("sec-fetch-dest", "empty")
        ]));
        for other in [
            ("sec-purpose", "prefetch;prerender"),
            ("purpose", "prefetch"),
            (
                "user-agent",
                "Mozilla/5.0 (compatible; Googlebot/2.1) Chrome/156.0.0.0",
            ),
        ] {
            assert!(!shown(&[NAVIGATION[0], NAVIGATION[1], other]), "{other:?}");
        }
    }

    #[test]
    fn page_whose_player_waits_for_a_click_is_not_prepared() {
        let headers = [(
            HeaderName::from_static("upgrade-insecure-requests"),
            HeaderValue::from_static("1"),
        )];
        let headers: HeaderMap = headers.into_iter().collect();
        for (query, expected) in [("embed&stats", true), ("embed&autoplay=0", false)] {
            assert_eq!(is_shown(&Method::GET, query, &headers), expected, "{query}");
        }
        assert!(!is_shown(&Method::HEAD, "", &headers));
    }

    #[test]
    fn script_cannot_end_its_element() {
        assert!(!SCRIPT.contains("</") && !SCRIPT.contains("<!--"));
    }
}
