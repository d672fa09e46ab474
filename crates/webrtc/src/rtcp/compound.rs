//! Writing compound packets: sender reports with source descriptions, and BYE.

use super::ntp::NtpTime;

const VERSION: u8 = 2 << 6;
const SENDER_REPORT: u8 = 200;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
const CNAME: u8 = 1;

/// Sender information of one source (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderInfo {
    /// The source.
    pub ssrc: u32,
    /// The media clock at the report's wall-clock time.
    pub rtp_timestamp: u32,
    /// Packets sent since the beginning, modulo 2^32.
    pub packets: u32,
    /// Payload bytes sent since the beginning, modulo 2^32.
    pub octets: u32,
}

/// Appends a sender report for a source, and the source description that ties it to the others by
/// its canonical name, so that a receiver can play them in sync.
///
/// Each source has a compound packet of its own. RFC 3550 section 6.1 would allow several sender
/// reports in one, but there are receivers (GStreamer's jitter buffer) that look at the first
/// alone.
pub fn write_sender_report(out: &mut Vec<u8>, ntp: NtpTime, source: &SenderInfo, cname: &str) {
    header(out, 0, SENDER_REPORT, 6);
    out.extend_from_slice(&source.ssrc.to_be_bytes());
    out.extend_from_slice(&ntp.0.to_be_bytes());
    out.extend_from_slice(&source.rtp_timestamp.to_be_bytes());
    out.extend_from_slice(&source.packets.to_be_bytes());
    out.extend_from_slice(&source.octets.to_be_bytes());
    write_source_description(out, source.ssrc, cname);
}

/// Appends a BYE for the sources, behind the empty receiver report that a compound packet must
/// begin with (RFC 3550 section 6.1).
pub fn write_bye(out: &mut Vec<u8>, ssrcs: &[u32]) {
    let Some(first) = ssrcs.first() else { return };
    header(out, 0, 201, 1);
    out.extend_from_slice(&first.to_be_bytes());
    header(out, ssrcs.len(), GOODBYE, ssrcs.len());
    for ssrc in ssrcs {
        out.extend_from_slice(&ssrc.to_be_bytes());
    }
}

/// A chunk: SSRC, the CNAME item, and zeros up to the next word (RFC 3550 section 6.5).
fn write_source_description(out: &mut Vec<u8>, ssrc: u32, cname: &str) {
    let name = &cname.as_bytes()[..cname.len().min(255)];
    let chunk_words = 1 + (2 + name.len()) / 4 + 1;
    header(out, 1, SOURCE_DESCRIPTION, chunk_words);
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.extend_from_slice(&[CNAME, name.len() as u8]);
    out.extend_from_slice(name);
    let item_len = 2 + name.len();
    out.resize(out.len() + 4 * (chunk_words - 1) - item_len, 0);
}

/// Writes the common header; `words` counts the 32-bit words after it.
pub(super) fn header(out: &mut Vec<u8>, count: usize, packet_type: u8, words: usize) {
    out.extend_from_slice(&[VERSION | count as u8 & 0x1f, packet_type]);
    out.extend_from_slice(&(words as u16).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sender_report_has_time_counters_and_cname() {
        let info = SenderInfo {
            ssrc: 5,
            rtp_timestamp: 0x0102_0304,
            packets: 7,
            octets: 700,
        };
        for cname in ["a", "ab", "abc", "abcd", "abcde", "abcdef"] {
            let mut out = Vec::new();
            write_sender_report(&mut out, NtpTime(0x1112_1314_2122_2324), &info, cname);
            assert_eq!(out.len() % 4, 0);
            assert_eq!(out[..8], [0x80, 200, 0, 6, 0, 0, 0, 5]);
            assert_eq!(out[8..16], [0x11, 0x12, 0x13, 0x14, 0x21, 0x22, 0x23, 0x24]);
            assert_eq!(out[16..28], [1, 2, 3, 4, 0, 0, 0, 7, 0, 0, 2, 188]);
            let sdes = &out[28..];
            assert_eq!(sdes[..2], [0x81, 202]);
            let words = usize::from(u16::from_be_bytes([sdes[2], sdes[3]]));
            assert_eq!(
                sdes.len(),
                4 * (words + 1),
                "the length field covers the packet"
            );
            assert_eq!(sdes[4..10], [0, 0, 0, 5, 1, cname.len() as u8]);
            assert_eq!(&sdes[10..10 + cname.len()], cname.as_bytes());
            assert_eq!(sdes[sdes.len() - 1], 0, "the chunk ends with a zero byte");
        }
    }

    #[test]
    fn bye_names_every_source() {
        let mut out = Vec::new();
        write_bye(&mut out, &[5, 6]);
        assert_eq!(
            out,
            [
                0x80, 201, 0, 1, 0, 0, 0, 5, 0x82, 203, 0, 2, 0, 0, 0, 5, 0, 0, 0, 6
            ]
        );
    }
}
