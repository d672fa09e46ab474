//! The admin API: totals of the viewers of each stream.

use std::collections::HashMap;

use distributary_hub::{Rendition, Stream};
use distributary_names::StreamName;
use serde::Serialize;

use super::renditions::is_transcoded;
use super::watching::Watching;

/// Totals of the viewers of a stream.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct ViewerTotals {
    /// Viewers that receive media.
    pub(super) connected: usize,
    /// RTMP players among them.
    pub(super) rtmp: usize,
    /// Viewers among them that receive a transcoded video.
    pub(super) transcoded: usize,
    /// Viewers among them whose path is slower than the stream.
    pub(super) limited: usize,
    /// Bits of media per second that are sent to all of them together.
    pub(super) bitrate_bps: u64,
}

/// The connected viewers.
#[derive(Debug, Default)]
pub(super) struct Viewers {
    /// Totals by name of the stream, of all its renditions together, without those of transcodes.
    pub(super) totals: HashMap<String, ViewerTotals>,
    /// The number of viewers of each rendition.
    pub(super) by_rendition: HashMap<StreamName, usize>,
}

impl Viewers {
    /// Adds up the viewers of each stream and of each rendition.
    pub(super) fn of(watching: &[Watching]) -> Self {
        let mut viewers = Self::default();
        for viewer in watching.iter().filter(|viewer| viewer.is_connected()) {
            let stream = viewer.stream();
            *viewers.by_rendition.entry(stream.clone()).or_default() += 1;
            let name = stream.as_str().to_owned();
            let sum = viewers.totals.entry(name).or_default();
            sum.connected += 1;
            sum.bitrate_bps += viewer.bitrate();
            match viewer {
                Watching::Session(report) => {
                    sum.limited += usize::from(report.stats.peer.is_limited);
                }
                Watching::Player(_) => sum.rtmp += 1,
            }
        }
        viewers
    }

    /// Returns the number of viewers of a rendition.
    pub(super) fn of_rendition(&self, rendition: &Rendition) -> usize {
        let viewers = self.by_rendition.get(&rendition.stream);
        viewers.copied().unwrap_or_default()
    }

    /// Returns the totals of a stream with these renditions.
    pub(super) fn totals(&self, stream: &Stream, renditions: &[Rendition]) -> ViewerTotals {
        let totals = self.totals.get(stream.name().as_str());
        let transcodes = renditions.iter().filter(|one| is_transcoded(one));
        ViewerTotals {
            transcoded: transcodes.map(|one| self.of_rendition(one)).sum(),
            ..totals.copied().unwrap_or_default()
        }
    }
}
