//! DTLS records in the clear that do not belong to a handshake.
//!
//! RFC 6347 section 4.1.2.7 wants invalid records dropped in silence: anybody can send them from a
//! forged address.

/// DTLS 1.2 (RFC 6347 section 4.1).
const VERSION: [u8; 2] = [0xfe, 0xfd];

/// Sequence number of a record that the window against replays lets in beside those of a handshake,
/// which count from 0.
const NEAR: u64 = 40;

/// The greatest sequence number but one.
const FAR: u64 = (1 << 48) - 2;

/// A record and its name in the report.
pub(super) struct Junk {
    pub(super) name: &'static str,
    pub(super) record: Vec<u8>,
}

/// One record of each wrong kind.
pub(super) fn junk() -> Vec<Junk> {
    // msg_type, length, message_seq, fragment_offset, fragment_length (RFC 6347 section 4.2.2).
    let hello_request = [0; 12];
    let garbage = [0xa5; 40];
    let kinds: [(&str, u8, u64, &[u8]); 7] = [
        ("early change cipher spec survived", 20, NEAR, &[1]),
        ("application data survived", 23, NEAR, b"early"),
        ("heartbeat survived", 24, NEAR, &[1, 0, 0]),
        ("record type 25 survived", 25, NEAR, &[0; 16]),
        ("HelloRequest survived", 22, NEAR, &hello_request),
        ("garbage handshake survived", 22, NEAR, &garbage),
        ("far sequence number survived", 23, FAR, b"early"),
    ];
    let junk = kinds.map(|(name, content_type, sequence, fragment)| Junk {
        name,
        record: record(content_type, sequence, fragment),
    });
    junk.into()
}

/// Returns a record of epoch 0.
///
/// ```text
/// content type (1)  version (2)  epoch (2)  sequence number (6)  length (2)  fragment
/// ```
fn record(content_type: u8, sequence: u64, fragment: &[u8]) -> Vec<u8> {
    let mut record = vec![content_type];
    record.extend_from_slice(&VERSION);
    // The upper 16 bits are those of the epoch.
    record.extend_from_slice(&sequence.to_be_bytes());
    record.extend_from_slice(&(fragment.len() as u16).to_be_bytes());
    record.extend_from_slice(fragment);
    record
}

#[cfg(test)]
mod tests {
    use distributary_webrtc::demux::DatagramKind;

    use super::*;

    #[test]
    fn junk_records_are_dtls_of_epoch_0() {
        for Junk { name, record } in junk() {
            // Types above 63 alone are not DTLS for the demultiplexer (RFC 7983).
            assert_eq!(DatagramKind::of(&record), DatagramKind::Dtls, "{name}");
            assert_eq!(record[3..5], [0, 0], "{name}");
            let length = usize::from(u16::from_be_bytes([record[11], record[12]]));
            assert_eq!(record.len(), 13 + length, "{name}");
        }
        assert_eq!(
            record(23, FAR, b"")[5..11],
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]
        );
        assert_eq!(record(23, NEAR, b"")[5..11], [0, 0, 0, 0, 0, 40]);
    }
}
