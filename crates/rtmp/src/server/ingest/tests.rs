//! Tests of the media of one publisher.

#![allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]

mod held;
mod missing;
mod tracks;

use super::*;
use bytes::Bytes;
use distributary_hub::{Hub, HubConfig};
use distributary_names::StreamName;

/// Returns the ingest of a stream of its own.
fn ingest(start: Instant) -> Ingest {
    let hub = Hub::new(HubConfig::default());
    let name = StreamName::parse("live/test").unwrap();
    Ingest::new(hub.clone(), hub.publish(&name, start).unwrap(), None, start)
}

impl Ingest {
    fn send_video(&mut self, millis: u64, body: &[u8], start: Instant) {
        let message = MediaMessage::Video {
            timestamp: MediaTime::from_millis(millis as i64),
            body: Bytes::copy_from_slice(body),
        };
        let now = start + Duration::from_millis(millis);
        self.handle(message, now).unwrap();
    }
}

/// H264 Constrained Baseline, 640x360.
const VIDEO_HEADER: &[u8] = &[
    0x17, 0, 0, 0, 0, 1, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0, 25, 0x67, 0x42, 0xc0, 0x1e, 0xd9, 0,
    0xa0, 0x2f, 0xf9, 0x70, 0x11, 0, 0, 3, 0, 1, 0, 0, 3, 0, 0x3c, 0x0f, 0x16, 0x2e, 0x48, 1, 0, 5,
    0x68, 0xcb, 0x83, 0xcb, 0x20,
];
const KEYFRAME: &[u8] = &[0x17, 1, 0, 0, 0, 0, 0, 0, 3, 0x65, 0x88, 0x80];
const FRAME: &[u8] = &[0x27, 1, 0, 0, 0, 0, 0, 0, 3, 0x41, 0x9a, 0x80];
