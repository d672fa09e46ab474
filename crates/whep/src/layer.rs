//! The layer of a session: `/session/{id}/layer`, the video layer selection extension of WHEP
//! (draft-ietf-wish-whep, "WebRTC-HTTP Egress Protocol Core Extensions").
//!
//! A layer is a rendition of the stream. The event `layers` lists them.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::routing::{MethodRouter, post};
use distributary_names::RenditionId;
use distributary_webrtc::quality::Preference;
use serde::Deserialize;

use crate::access::Viewer;
use crate::cors;
use crate::front_door::FrontDoor;
use crate::offer::{is_of_type, read_text};
use crate::problem::Problem;
use crate::refusal::unknown_session;
use crate::session::PathSession;

const JSON: &str = "application/json";

const METHODS: &str = "OPTIONS, POST";

/// Returns the routes of `/session/{id}/layer`.
pub(crate) fn methods() -> MethodRouter<FrontDoor> {
    post(select).options(async || cors::options(METHODS))
}

/// A player's request for a layer. Each request replaces the one before; an empty object leaves the choice
/// to the gateway. Members that name layers of scalable codecs have no effect.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
struct Selection {
    /// The id of a layer. Older versions of the draft call it `encodingId`.
    #[serde(alias = "encodingId")]
    rid: Option<String>,
    /// Most pixels of height.
    max_height: Option<u32>,
    /// Pixels of height at which the player shows the video: the next layer above it is enough. An
    /// extension of this gateway.
    shown_height: Option<u32>,
}

/// Selects a layer, or bounds the choice of the gateway. Counts as a change of the session.
async fn select(
    State(front): State<FrontDoor>,
    PathSession(id): PathSession,
    viewer: Viewer,
    request: Request,
) -> Result<StatusCode, Problem> {
    let limits = front.access.limits();
    let Some(session) = front.engine.watch(&id) else {
        limits.change(viewer.counts_as())?;
        return Err(unknown_session());
    };
    limits.patch(id)?;
    let selection = selection(request).await?;
    let fixed = match &selection.rid {
        None => None,
        Some(rid) => Some(known_layer(rid, &front.layers(session.stream()))?),
    };
    front.engine.set_quality(
        &id,
        Preference {
            fixed,
            max_height: selection.max_height,
            shown_height: selection.shown_height,
        },
    )?;
    Ok(StatusCode::OK)
}

/// Reads the body of a request.
async fn selection(request: Request) -> Result<Selection, Problem> {
    let is_json = is_of_type(request.headers(), JSON);
    let body = read_text(request).await?;
    if body.trim().is_empty() {
        return Ok(Selection::default());
    }
    if !is_json {
        let detail = format!("The selection of a layer has the Content-Type {JSON}.");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    serde_json::from_str(&body).map_err(|error| {
        let detail = format!("The selection of a layer was expected: {error}.");
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })
}

/// Returns the id of a layer that exists.
fn known_layer(rid: &str, layers: &[RenditionId]) -> Result<RenditionId, Problem> {
    let id = rid.parse().ok().filter(|id| layers.contains(id));
    id.ok_or_else(|| {
        let known: Vec<&str> = layers.iter().map(RenditionId::as_str).collect();
        let detail = format!("The stream has no such layer; it has {}.", known.join(", "));
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selection_has_the_members_of_both_versions_of_the_draft() {
        let parse = |text: &str| serde_json::from_str::<Selection>(text).unwrap();
        let fixed = |rid: &str| Selection {
            rid: Some(rid.to_owned()),
            ..Selection::default()
        };
        assert_eq!(parse("{\"mediaId\":\"0\",\"rid\":\"720p\"}"), fixed("720p"));
        assert_eq!(parse("{\"encodingId\":\"720p\"}"), fixed("720p"));
        assert_eq!(parse("{\"mediaId\":\"0\"}"), Selection::default());
        let bounded = parse("{\"maxHeight\":720,\"shownHeight\":300,\"spatialLayerId\":1}");
        assert_eq!(
            (bounded.max_height, bounded.shown_height),
            (Some(720), Some(300))
        );
        assert!(serde_json::from_str::<Selection>("{\"maxHeight\":-1}").is_err());
    }

    #[test]
    fn only_layers_of_the_stream_can_be_selected() {
        let layers = [RenditionId::SOURCE, RenditionId::rung(360)];
        assert_eq!(
            known_layer("360p", &layers).unwrap(),
            RenditionId::rung(360)
        );
        for unknown in ["720p", "", "360P", "x y"] {
            assert!(known_layer(unknown, &layers).is_err(), "{unknown}");
        }
    }
}
