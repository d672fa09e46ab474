//! Extended reports for a receiver's round-trip time (RFC 3611 sections 4.4 and 4.5).
//!
//! A viewer that sends no media gets no report blocks, and so cannot tell the round-trip time from
//! sender reports. It sends its clock instead, and gets it back.

use super::compound::header;
use super::word::word;

const EXTENDED_REPORT: u8 = 207;
/// Receiver Reference Time Report Block.
const RRTR: u8 = 4;
/// DLRR Report Block.
const DLRR: u8 = 5;

/// A receiver's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReferenceTime {
    /// SSRC of the sender.
    pub ssrc: u32,
    /// The middle 32 bits of its NTP time.
    pub middle: u32,
}

/// Returns the receiver reference time of an extended report; `body` starts after the common
/// header.
pub(super) fn reference_time(body: &[u8]) -> Option<ReferenceTime> {
    let ssrc = word(body, 0)?;
    let mut rest = body.get(4..)?;
    loop {
        let [kind, _, high, low, ..] = *rest else {
            return None;
        };
        let len = 4 + 4 * usize::from(u16::from_be_bytes([high, low]));
        let block = rest.get(..len)?;
        if kind == RRTR {
            let middle = word(block, 4)? << 16 | word(block, 8)? >> 16;
            return Some(ReferenceTime { ssrc, middle });
        }
        rest = rest.get(len..)?;
    }
}

/// Appends an extended report of `sender` that sends a receiver's clock back, with the time since
/// it came in 65536ths of a second.
///
/// ```text
/// |V=2|P|reserved |   PT=XR=207   |             length = 5        |
/// |                              SSRC                             |
/// |     BT=5      |   reserved    |         block length = 3      |
/// |                 SSRC_1 (SSRC of first receiver)               |
/// |                         last RR (LRR)                         |
/// |                   delay since last RR (DLRR)                  |
/// ```
pub fn write_dlrr(out: &mut Vec<u8>, sender: u32, time: ReferenceTime, delay: u32) {
    header(out, 0, EXTENDED_REPORT, 5);
    out.extend_from_slice(&sender.to_be_bytes());
    out.extend_from_slice(&[DLRR, 0, 0, 3]);
    out.extend_from_slice(&time.ssrc.to_be_bytes());
    out.extend_from_slice(&time.middle.to_be_bytes());
    out.extend_from_slice(&delay.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_of_a_receiver_is_found_among_other_blocks() {
        let mut body = vec![0, 0, 0, 9];
        body.extend([7, 0, 0, 1, 1, 2, 3, 4]);
        body.extend([4, 0, 0, 2, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]);
        let expected = ReferenceTime {
            ssrc: 9,
            middle: 0x1314_1516,
        };
        assert_eq!(reference_time(&body), Some(expected));
        for len in 0..body.len() {
            assert_eq!(reference_time(&body[..len]), None, "cut at {len}");
        }
    }

    #[test]
    fn answer_quotes_the_clock_and_the_time_since() {
        let mut out = Vec::new();
        let time = ReferenceTime {
            ssrc: 9,
            middle: 0x1314_1516,
        };
        write_dlrr(&mut out, 5, time, 65_536);
        assert_eq!(
            out,
            [
                0x80, 207, 0, 5, 0, 0, 0, 5, 5, 0, 0, 3, 0, 0, 0, 9, 0x13, 0x14, 0x15, 0x16, 0, 1,
                0, 0
            ]
        );
    }
}
