//! The renditions of a stream, as the event `layers` lists them.

use distributary_hub::Rendition;
use distributary_names::RenditionId;
use serde_json::{Value, json};

/// Bit rates are rounded to this many bits per second: each change is an event.
const RATE_STEP: u64 = 250_000;

/// The renditions of a stream, and the one that the viewer gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Layers(Vec<Layer>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Layer {
    id: RenditionId,
    width: u32,
    height: u32,
    bitrate: u64,
    is_live: bool,
    is_active: bool,
}

impl Layers {
    pub(super) fn new(renditions: &[Rendition], active: Option<RenditionId>) -> Self {
        let layer = |rendition: &Rendition| Layer {
            id: rendition.id,
            width: rendition.width,
            height: rendition.height,
            bitrate: rendition.bitrate.next_multiple_of(RATE_STEP),
            is_live: rendition.is_live,
            is_active: active == Some(rendition.id),
        };
        Self(renditions.iter().map(layer).collect())
    }

    /// Returns whether there is nothing to choose.
    pub(super) fn is_trivial(&self) -> bool {
        self.0.len() < 2
    }

    /// Returns the data of the event. `bitrate` is that of a layer which is there, `targetBitrate`
    /// that of one which is made on request; `active` says which of them the viewer gets (an
    /// extension of this gateway).
    pub(super) fn to_json(&self) -> Value {
        let layers = self.0.iter().map(|layer| {
            let bitrate = if layer.is_live {
                "bitrate"
            } else {
                "targetBitrate"
            };
            json!({
                "rid": layer.id.as_str(),
                "width": layer.width,
                "height": layer.height,
                bitrate: layer.bitrate,
                "active": layer.is_active,
            })
        });
        json!({ "0": layers.collect::<Vec<_>>() })
    }
}
