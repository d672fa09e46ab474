//! Receiver reports (RFC 3550 section 6.4.2).

use crate::rtp::SourceCounter;

const RECEIVER_REPORT: u8 = 201;

/// The state at the last report of a source, from which the next one computes the difference.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReportState {
    expected: u64,
    received: u64,
}

/// Writes a receiver report on the sources that were heard of. Jitter and the times of sender
/// reports are left at 0, which says that they are not known.
#[must_use]
pub fn receiver_report(ssrc: u32, sources: &mut [(&SourceCounter, &mut ReportState)]) -> Vec<u8> {
    let blocks: Vec<[u8; 24]> = sources
        .iter_mut()
        .filter(|(source, _)| source.received() > 0)
        .map(|(source, state)| report_block(source, state))
        .collect();
    let mut packet = Vec::with_capacity(8 + 24 * blocks.len());
    packet.extend_from_slice(&[2 << 6 | blocks.len() as u8 & 0x1f, RECEIVER_REPORT]);
    packet.extend_from_slice(&(1 + 6 * blocks.len() as u16).to_be_bytes());
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend(blocks.into_iter().flatten());
    packet
}

fn report_block(source: &SourceCounter, state: &mut ReportState) -> [u8; 24] {
    let expected = source.expected() - state.expected;
    let received = source.received() - state.received;
    let lost = expected.saturating_sub(received);
    let fraction = (lost * 256).checked_div(expected).unwrap_or(0).min(255);
    *state = ReportState {
        expected: source.expected(),
        received: source.received(),
    };
    let loss = (fraction as u32) << 24 | source.lost().min(0x7f_ffff) as u32;
    let mut block = [0; 24];
    block[..4].copy_from_slice(&source.ssrc().to_be_bytes());
    block[4..8].copy_from_slice(&loss.to_be_bytes());
    block[8..12].copy_from_slice(&source.highest().to_be_bytes());
    block
}

#[cfg(test)]
mod tests {
    use distributary_webrtc::rtcp::{Packet, ReportBlock, packets};
    use distributary_webrtc::rtp::RtpHeader;

    use super::*;

    fn handle(source: &mut SourceCounter, sequences: impl IntoIterator<Item = u16>) {
        for sequence in sequences {
            source.handle(&RtpHeader {
                payload_type: 102,
                marker: false,
                sequence,
                timestamp: 0,
                ssrc: 5,
            });
        }
    }

    #[track_caller]
    fn blocks(report: &[u8]) -> Vec<ReportBlock> {
        match packets(report).next() {
            Some(Packet::Report(blocks)) => blocks.iter().collect(),
            other => panic!("not a report: {other:?}"),
        }
    }

    #[test]
    fn report_has_the_loss_since_the_previous_one() {
        let (mut video, mut state) = (SourceCounter::default(), ReportState::default());
        handle(&mut video, [0, 1, 2, 5, 6, 7]);
        let first = blocks(&receiver_report(9, &mut [(&video, &mut state)]));
        assert_eq!(first.len(), 1);
        assert_eq!(first[0].ssrc, 5);
        assert_eq!((first[0].fraction_lost, first[0].cumulative_lost), (64, 2));
        assert_eq!(first[0].highest_sequence as u16, 7);
        handle(&mut video, [8, 9]);
        let second = blocks(&receiver_report(9, &mut [(&video, &mut state)]));
        assert_eq!((second[0].fraction_lost, second[0].cumulative_lost), (0, 2));
    }

    #[test]
    fn unknown_source_is_not_reported() {
        let (video, mut state) = (SourceCounter::default(), ReportState::default());
        let report = receiver_report(9, &mut [(&video, &mut state)]);
        assert_eq!(report, [0x80, 201, 0, 1, 0, 0, 0, 9]);
        assert!(blocks(&report).is_empty());
    }
}
