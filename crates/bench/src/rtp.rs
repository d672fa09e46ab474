//! RTP as a receiver sees it (RFC 3550).

use distributary_webrtc::rtp::RtpHeader;

/// Returns the header of an RTP packet and the offset of its payload, after contributing sources
/// and header extension (RFC 3550 sections 5.1 and 5.3.1). `None` if it is not RTP.
#[must_use]
pub fn read_header(packet: &[u8]) -> Option<(RtpHeader, usize)> {
    let fixed = packet.first_chunk::<{ RtpHeader::LEN }>()?;
    let &[first, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = fixed;
    if first >> 6 != 2 {
        return None;
    }
    let header = RtpHeader {
        payload_type: second & 0x7f,
        marker: second & 0x80 != 0,
        sequence: u16::from_be_bytes([s0, s1]),
        timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
        ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
    };
    let mut begin = RtpHeader::LEN + 4 * usize::from(first & 0x0f);
    if first & 0x10 != 0 {
        let &[_, _, high, low] = packet.get(begin..)?.first_chunk::<4>()?;
        begin += 4 + 4 * usize::from(u16::from_be_bytes([high, low]));
    }
    (begin <= packet.len()).then_some((header, begin))
}

/// Returns the value of a header extension in the one-byte form (RFC 8285 section 4.2), where the
/// packet has it.
#[must_use]
pub fn extension(packet: &[u8], id: u8) -> Option<&[u8]> {
    let first = packet.first()?;
    let begin = RtpHeader::LEN + 4 * usize::from(first & 0x0f);
    let &[high, low, words_high, words_low] = packet.get(begin..)?.first_chunk::<4>()?;
    if first & 0x10 == 0 || [high, low] != [0xbe, 0xde] {
        return None;
    }
    let len = 4 * usize::from(u16::from_be_bytes([words_high, words_low]));
    let mut rest = packet.get(begin + 4..)?.get(..len)?;
    while let Some((head, behind)) = rest.split_first() {
        if *head == 0 {
            rest = behind;
            continue;
        }
        let (value, behind) = behind.split_at_checked(usize::from(head & 0x0f) + 1)?;
        if head >> 4 == id {
            return Some(value);
        }
        rest = behind;
    }
    None
}

/// Counts the packets of one source (RFC 3550 appendix A.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceCounter {
    ssrc: u32,
    /// First and highest sequence number with their cycles; `None` before the first packet.
    range: Option<(u64, u64)>,
    received: u64,
}

impl SourceCounter {
    /// Takes a packet.
    pub fn handle(&mut self, header: &RtpHeader) {
        self.ssrc = header.ssrc;
        self.received += 1;
        let Some((first, highest)) = self.range else {
            // A cycle in advance, so that a packet from before the first is not negative.
            let begin = 1 << 16 | u64::from(header.sequence);
            self.range = Some((begin, begin));
            return;
        };
        let distance = header.sequence.wrapping_sub(highest as u16).cast_signed();
        let extended = highest.saturating_add_signed(distance.into());
        self.range = Some((first.min(extended), highest.max(extended)));
    }

    /// Returns the source.
    #[must_use]
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Returns packets received.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Returns packets that were sent, as far as the sequence numbers tell.
    #[must_use]
    pub fn expected(&self) -> u64 {
        self.range.map_or(0, |(first, highest)| highest - first + 1)
    }

    /// Returns packets that are missing; packets that came twice hide others.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }

    /// Highest sequence number, with its cycles, as a receiver report has it.
    #[must_use]
    pub fn highest(&self) -> u32 {
        self.range.map_or(0, |(_, highest)| highest as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(sequences: impl IntoIterator<Item = u16>) -> SourceCounter {
        let mut counter = SourceCounter::default();
        for sequence in sequences {
            counter.handle(&RtpHeader {
                payload_type: 102,
                marker: false,
                sequence,
                timestamp: 0,
                ssrc: 5,
            });
        }
        counter
    }

    #[test]
    fn written_header_is_parsed() {
        let header = RtpHeader {
            payload_type: 102,
            marker: true,
            sequence: 0xfffe,
            timestamp: 0x8000_0001,
            ssrc: 0xdead_beef,
        };
        assert_eq!(read_header(&header.to_bytes()), Some((header, 12)));
        assert_eq!(read_header(&header.to_bytes()[..11]), None);
        assert_eq!(read_header(&[0x40; 12]), None, "version 1");
    }

    #[test]
    fn sources_and_extension_are_skipped() {
        let mut packet = [0; 12 + 4 + 4 + 8 + 1];
        packet[0] = 0x80 | 0x10 | 1;
        packet[16..20].copy_from_slice(&[0xbe, 0xde, 0, 2]);
        assert_eq!(read_header(&packet).unwrap().1, 28);
        assert_eq!(read_header(&packet[..27]), None, "cut within the extension");
        assert_eq!(read_header(&packet[..18]), None, "cut before its length");
    }

    #[test]
    fn extension_is_found_by_its_id_behind_others_and_padding() {
        let mut packet = [0; 12 + 4 + 8 + 1];
        packet[0] = 0x80 | 0x10;
        packet[12..24].copy_from_slice(&[0xbe, 0xde, 0, 2, 0x10, 9, 0, 0x31, 1, 2, 0, 0]);
        assert_eq!(extension(&packet, 3), Some(&[1, 2][..]));
        assert_eq!(extension(&packet, 1), Some(&[9][..]));
        assert_eq!(extension(&packet, 4), None);
        assert_eq!(extension(&packet[..20], 3), None, "cut");
        packet[0] = 0x80;
        assert_eq!(extension(&packet, 3), None, "no extension");
    }

    #[test]
    fn missing_packets_are_counted_across_the_wrap() {
        assert_eq!(count([]).lost(), 0);
        assert_eq!(count([7]).expected(), 1);
        assert_eq!(count(0..=999).lost(), 0);
        let wrapped = count([0xfffd, 0xfffe, 1, 2]);
        assert_eq!((wrapped.expected(), wrapped.lost()), (6, 2));
        assert_eq!(
            count((0..200_000_u32).map(|n| n as u16)).expected(),
            200_000
        );
    }

    #[test]
    fn packets_out_of_order_are_not_lost() {
        assert_eq!(count([1, 0, 3, 2]).lost(), 0);
        assert_eq!(count([0, 0xffff, 1]).lost(), 0);
        assert_eq!(count([0, 0xffff, 1]).highest(), (1 << 16) + 1);
    }
}
