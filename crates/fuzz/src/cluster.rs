//! Targets for what nodes of a cluster send each other.

use bytes::Bytes;
use distributary_cluster::content::Content;
use distributary_cluster::control;
use distributary_cluster::message::{MAX_BODY, Part};
use distributary_cluster::reassembly::Reassembly;
use distributary_cluster::tracks::MAX_OFFERS;
use distributary_media::Frame;

use crate::pieces;

/// Control messages: an accepted one reads back as itself.
pub fn cluster_control(data: &[u8]) {
    control::fuzz(data);
}

/// Media messages, one after the other: whatever arrives, only whole frames within the limit come
/// out, whose units have bytes.
pub fn cluster_message(data: &[u8]) {
    let mut reassembly = Reassembly::default();
    for piece in pieces(data) {
        let Ok(part) = Part::decode(&Bytes::copy_from_slice(piece)) else {
            continue;
        };
        let Some(whole) = reassembly.handle(&part).whole else {
            continue;
        };
        assert!(whole.body.len() <= MAX_BODY);
        let len = whole.body.len();
        match Content::read(&whole.header, whole.body) {
            Ok(Content::Frame(Frame::Video(video))) => {
                assert!(!video.units.is_empty());
                assert!(video.units.iter().all(|unit| !unit.is_empty()));
                assert!(video.payload_len() < len);
            }
            Ok(Content::Tracks(tracks)) => {
                let _ = (tracks.video(), tracks.audio());
                let renditions = tracks.renditions();
                assert!(renditions.len() <= MAX_OFFERS);
                for one in renditions {
                    // What is computed with them does not overflow.
                    let pixels = u64::from(one.width) * u64::from(one.height);
                    assert!(one.bitrate.checked_mul(1000).is_some() && pixels < 1 << 40);
                }
            }
            _ => {}
        }
    }
}
