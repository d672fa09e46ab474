//! Writing compound packets: sender reports with source descriptions, and BYE.

use super::ntp::NtpTime;

const VERSION: u8 = 2 << 6;
const SENDER_REPORT: u8 = 200;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
const CNAME: u8 = 1;

/// What a sender reports of one source (RFC 3550 section 6.4.1).
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

/// Appends a sender report for each source, all for the same moment, and one source description
/// that gives them the same canonical name: what a receiver needs to play them in sync.
pub fn write_sender_reports(out: &mut Vec<u8>, ntp: NtpTime, sources: &[SenderInfo], cname: &str) {
    for source in sources {
        header(out, 0, SENDER_REPORT, 6);
        out.extend_from_slice(&source.ssrc.to_be_bytes());
        out.extend_from_slice(&ntp.0.to_be_bytes());
        out.extend_from_slice(&source.rtp_timestamp.to_be_bytes());
        out.extend_from_slice(&source.packets.to_be_bytes());
        out.extend_from_slice(&source.octets.to_be_bytes());
    }
    write_source_description(out, sources, cname);
}

/// Appends a BYE for the sources, behind the empty receiver report that a compound packet must begin
/// with (RFC 3550 section 6.1).
pub fn write_bye(out: &mut Vec<u8>, ssrcs: &[u32]) {
    let Some(first) = ssrcs.first() else { return };
    header(out, 0, 201, 1);
    out.extend_from_slice(&first.to_be_bytes());
    header(out, ssrcs.len(), GOODBYE, ssrcs.len());
    for ssrc in ssrcs {
        out.extend_from_slice(&ssrc.to_be_bytes());
    }
}

/// One chunk per source: SSRC, the CNAME item, and zeros up to the next word (RFC 3550 section 6.5).
fn write_source_description(out: &mut Vec<u8>, sources: &[SenderInfo], cname: &str) {
    let name = &cname.as_bytes()[..cname.len().min(255)];
    let chunk_words = 1 + (2 + name.len()) / 4 + 1;
    header(
        out,
        sources.len(),
        SOURCE_DESCRIPTION,
        sources.len() * chunk_words,
    );
    for source in sources {
        out.extend_from_slice(&source.ssrc.to_be_bytes());
        out.extend_from_slice(&[CNAME, name.len() as u8]);
        out.extend_from_slice(name);
        let item_len = 2 + name.len();
        out.resize(out.len() + 4 * (chunk_words - 1) - item_len, 0);
    }
}

/// The common header; `words` counts what follows it.
fn header(out: &mut Vec<u8>, count: usize, packet_type: u8, words: usize) {
    out.extend_from_slice(&[VERSION | count as u8 & 0x1f, packet_type]);
    out.extend_from_slice(&(words as u16).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(ssrc: u32) -> SenderInfo {
        SenderInfo {
            ssrc,
            rtp_timestamp: 0x0102_0304,
            packets: 7,
            octets: 700,
        }
    }

    #[test]
    fn reports_of_both_tracks_share_a_moment_and_a_name() {
        for cname in ["a", "ab", "abc", "abcd", "abcde", "abcdef"] {
            let mut out = Vec::new();
            write_sender_reports(
                &mut out,
                NtpTime(0x1112_1314_2122_2324),
                &[info(5), info(6)],
                cname,
            );
            assert_eq!(out.len() % 4, 0);
            assert_eq!(out[..8], [0x80, 200, 0, 6, 0, 0, 0, 5]);
            assert_eq!(out[8..16], [0x11, 0x12, 0x13, 0x14, 0x21, 0x22, 0x23, 0x24]);
            assert_eq!(out[16..28], [1, 2, 3, 4, 0, 0, 0, 7, 0, 0, 2, 188]);
            assert_eq!(out[28..36], [0x80, 200, 0, 6, 0, 0, 0, 6]);
            let sdes = &out[56..];
            assert_eq!(sdes[..2], [0x82, 202]);
            let words = usize::from(u16::from_be_bytes([sdes[2], sdes[3]]));
            assert_eq!(
                sdes.len(),
                4 * (words + 1),
                "the length field covers the packet"
            );
            assert_eq!(sdes[8..10], [1, cname.len() as u8]);
            assert_eq!(&sdes[10..10 + cname.len()], cname.as_bytes());
            let chunk = (sdes.len() - 4) / 2;
            assert_eq!(sdes[4 + chunk - 1], 0, "each chunk ends with a zero byte");
            assert_eq!(sdes[4 + chunk..][..4], [0, 0, 0, 6]);
        }
    }

    #[test]
    fn a_goodbye_names_every_source() {
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
