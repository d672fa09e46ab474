//! The feedback of a viewer that waits to be acted upon.

use std::time::Instant;

use super::repairs::MAX_LOST;
use super::stats::PeerStats;
use crate::rtcp::{FirRequests, NackPairs, ReferenceTime};

/// The viewer's feedback that waits to be acted upon.
#[derive(Debug, Default)]
pub(super) struct Control {
    pub(super) stats: PeerStats,
    /// Sequence numbers of lost video packets.
    pub(super) nacks: Vec<u16>,
    wants_keyframe: bool,
    /// Number of the last full intra request.
    fir_number: Option<u8>,
    /// The viewer's reference time and its arrival, to be sent back in a DLRR block.
    pub(super) reference_time: Option<(ReferenceTime, Instant)>,
}

impl Control {
    /// Returns whether the viewer has asked for a keyframe since the last call.
    pub(super) fn take_keyframe_request(&mut self) -> bool {
        std::mem::take(&mut self.wants_keyframe)
    }

    /// Records a request for a keyframe.
    pub(super) fn note_keyframe_request(&mut self) {
        self.stats.keyframe_requests += 1;
        self.wants_keyframe = true;
    }

    /// Records a FIR. One with the number of the last one repeats it (RFC 5104 section 4.3.1.2).
    pub(super) fn note_intra_request(&mut self, requests: &FirRequests<'_>, video: u32) {
        let mut for_video = requests.iter().filter(|(ssrc, _)| *ssrc == video);
        if let Some((_, number)) = for_video.next()
            && self.fir_number.replace(number) != Some(number)
        {
            self.note_keyframe_request();
        }
    }

    /// Records lost packets.
    pub(super) fn note_nack(&mut self, pairs: &NackPairs<'_>) {
        for sequence in pairs.sequences() {
            self.stats.nacks += 1;
            if self.nacks.len() < MAX_LOST {
                self.nacks.push(sequence);
            }
        }
    }
}
