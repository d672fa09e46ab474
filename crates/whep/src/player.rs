//! The capabilities of a player, from its request.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use distributary_egress::engine::ViewerOptions;
use distributary_hub::BFrameChoice;
use distributary_webrtc::quality::Preference;

/// Query parameter that chooses how a player gets a stream with B-frames.
const B_FRAMES: &str = "bframes";

/// Query parameters that choose the rendition, or bound its height.
const LAYER: &str = "layer";
const MAX_HEIGHT: &str = "max_height";

/// The options of a player, from its request for a session.
///
/// If a stream's B-frames cannot be dropped, browsers built on Chromium get all frames, because
/// their decoder can be made to reorder them; other players get keyframes. A player that knows its
/// decoder says `?bframes=reorder` or `?bframes=keyframes`, and gets the stream in this form even
/// where it is transcoded for others.
///
/// `?layer=720p` asks for a rendition, `?max_height=720` for none that is higher.
pub(crate) struct Player(pub(crate) ViewerOptions);

impl<S: Send + Sync> FromRequestParts<S> for Player {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let agent = parts.headers.get(header::USER_AGENT);
        let agent = agent.and_then(|agent| agent.to_str().ok());
        Ok(Self(options(
            parts.uri.query().unwrap_or_default(),
            agent.unwrap_or_default(),
        )))
    }
}

/// Lowest major versions of the browsers that are known to play media right behind our DTLS
/// Finished and to support AES-128-GCM for SRTP (RFC 7714), by the product in their user agent.
/// Both have done so for long; the versions are the oldest that are still maintained somewhere.
/// Chrome without a window names itself HeadlessChrome.
const EARLY_MEDIA: [(&str, u32); 3] = [("Chrome", 128), ("Chromium", 128), ("Firefox", 128)];

/// Returns whether the player of this user agent is known to support early media.
fn supports_early_media(agent: &str) -> bool {
    let version = |product: &str| {
        let mut products = agent.split(' ').filter_map(|part| part.split_once('/'));
        let (_, version) = products.find(|(name, _)| name.ends_with(product))?;
        version.split('.').next()?.parse::<u32>().ok()
    };
    let mut known = EARLY_MEDIA.into_iter();
    known.any(|(product, least)| version(product).is_some_and(|version| version >= least))
}

fn options(query: &str, agent: &str) -> ViewerOptions {
    let parameter = |name: &str| {
        let mut parameters = query.split('&').filter_map(|part| part.split_once('='));
        let found = parameters.find(|(key, _)| *key == name);
        found.map(|(_, value)| value)
    };
    let chosen = match parameter(B_FRAMES) {
        Some("reorder") => Some(true),
        Some("keyframes") => Some(false),
        _ => None,
    };
    // An unknown rendition has no effect: the list of them changes.
    let quality = Preference {
        fixed: parameter(LAYER).and_then(|layer| layer.parse().ok()),
        max_height: parameter(MAX_HEIGHT).and_then(|height| height.parse().ok()),
        shown_height: None,
    };
    ViewerOptions {
        reorders: chosen
            .unwrap_or_else(|| agent.contains("Chrome/") || agent.contains("Chromium/")),
        early_media: supports_early_media(agent),
        b_frames: match chosen {
            Some(_) => BFrameChoice::Player,
            None => BFrameChoice::Policy,
        },
        quality,
        ..ViewerOptions::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use distributary_names::RenditionId;

    const CHROME: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
                          Chrome/156.0.0.0 Safari/537.36";
    const SAFARI: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 \
                          (KHTML, like Gecko) Version/18.5 Safari/605.1.15";
    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    /// Chrome's name, WebKit's decoder.
    const CHROME_ON_IOS: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) \
                                 AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/138.0.7204.53 \
                                 Mobile/15E148 Safari/604.1";

    #[test]
    fn chromium_browsers_are_recognized_by_user_agent() {
        assert!(options("", CHROME).reorders);
        for agent in [SAFARI, FIREFOX, CHROME_ON_IOS, "GStreamer/1.26", ""] {
            assert!(!options("", agent).reorders, "{agent}");
        }
    }

    #[test]
    fn early_media_is_known_of_current_chromium_and_firefox() {
        let headless = CHROME.replace("Chrome", "HeadlessChrome");
        for agent in [CHROME, FIREFOX, &headless, "x Chromium/128.0"] {
            assert!(options("", agent).early_media, "{agent}");
        }
        let old = CHROME.replace("156", "127");
        for agent in [
            SAFARI,
            CHROME_ON_IOS,
            &old,
            "Chrome/x",
            "Firefox",
            "GStreamer/1.26",
            "",
        ] {
            assert!(!options("", agent).early_media, "{agent}");
        }
    }

    #[test]
    fn query_parameter_overrides_the_user_agent() {
        let of = |query, agent| {
            let options = options(query, agent);
            (options.reorders, options.b_frames)
        };
        let player = BFrameChoice::Player;
        assert_eq!(of("bframes=reorder", SAFARI), (true, player));
        assert_eq!(of("token=1&bframes=keyframes", CHROME), (false, player));
        let policy = BFrameChoice::Policy;
        assert_eq!(of("bframes=other", CHROME), (true, policy));
        assert_eq!(of("", SAFARI), (false, policy));
    }

    #[test]
    fn rendition_and_height_can_be_asked_for() {
        let of = |query| {
            let Preference {
                fixed, max_height, ..
            } = options(query, SAFARI).quality;
            (fixed, max_height)
        };
        assert_eq!(of("layer=720p"), (Some(RenditionId::rung(720)), None));
        assert_eq!(of("token=1&max_height=480"), (None, Some(480)));
        assert_eq!(of("layer=%20&max_height=high"), (None, None));
    }
}
