//! Reception reports (RFC 3550 section 6.4).

use super::word::word;

/// Bytes of a report block.
const BLOCK_LEN: usize = 24;

/// The report blocks of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportBlocks<'a>(&'a [u8]);

impl<'a> ReportBlocks<'a> {
    /// Returns the first `count` blocks of `bytes`, or as many as there are.
    pub(super) fn new(count: u8, bytes: &'a [u8]) -> Self {
        let len = bytes.len().min(usize::from(count) * BLOCK_LEN);
        Self(bytes.get(..len).unwrap_or_default())
    }

    /// Returns the blocks, in the order of the packet.
    pub fn iter(&self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        self.0
            .chunks_exact(BLOCK_LEN)
            .filter_map(ReportBlock::parse)
    }
}

/// A report block: reception statistics of one source (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source reported on.
    pub ssrc: u32,
    /// Loss since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Packets lost since the beginning; 24 bits, signed.
    pub cumulative_lost: i32,
    /// Highest sequence number received, extended by its cycles.
    pub highest_sequence: u32,
    /// Interarrival jitter in ticks of the media clock.
    pub jitter: u32,
    /// The middle of the last sender report's NTP time; 0 before the first.
    pub last_sender_report: u32,
    /// Time since that report came, in 65536ths of a second.
    pub delay: u32,
}

impl ReportBlock {
    fn parse(block: &[u8]) -> Option<Self> {
        let lost = word(block, 4)?;
        Some(Self {
            ssrc: word(block, 0)?,
            fraction_lost: (lost >> 24) as u8,
            // Shifted up and down again, so that the 24-bit sign is extended.
            cumulative_lost: (lost << 8).cast_signed() >> 8,
            highest_sequence: word(block, 8)?,
            jitter: word(block, 12)?,
            last_sender_report: word(block, 16)?,
            delay: word(block, 20)?,
        })
    }
}
