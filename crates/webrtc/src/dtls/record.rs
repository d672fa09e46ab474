//! Records of a datagram, as far as they have to be looked at before OpenSSL does.
//!
//! ```text
//! RFC 6347 section 4.1:
//! +--------------+-------------+-----------+----------------------+------------+---------
//! | content type | version (2) | epoch (2) | sequence number (6)  | length (2) | fragment
//! +--------------+-------------+-----------+----------------------+------------+---------
//! ```

const HEADER_LEN: usize = 13;

/// Shortest fragment of a protected record: explicit nonce (8) and tag (16) of AES-GCM (RFC 5288
/// section 3) around nothing. With the CBC ciphers none is shorter than 48.
const MIN_PROTECTED_LEN: usize = 24;

/// The records at the beginning of a datagram that are complete, and long enough to be what they
/// claim.
///
/// RFC 6347 section 4.1.2.7 wants invalid records dropped in silence, because anybody can send one
/// from a forged address. OpenSSL does so, but for protected records too short for a tag: to those it
/// answers with a fatal alert, and the association is over. So they must not reach it.
pub(super) fn usable(datagram: &[u8]) -> &[u8] {
    let mut rest = datagram;
    while let Some((header, fragment)) = rest.split_first_chunk::<HEADER_LEN>() {
        let &[_, _, _, epoch_hi, epoch_lo, .., length_hi, length_lo] = header;
        let is_protected = u16::from_be_bytes([epoch_hi, epoch_lo]) > 0;
        let length = usize::from(u16::from_be_bytes([length_hi, length_lo]));
        if is_protected && length < MIN_PROTECTED_LEN {
            break;
        }
        let Some(behind) = fragment.get(length..) else {
            break;
        };
        rest = behind;
    }
    datagram
        .get(..datagram.len() - rest.len())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(epoch: u8, length: u8) -> Vec<u8> {
        let mut record = vec![22, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 0, 0, length];
        record.resize(HEADER_LEN + usize::from(length), 0xaa);
        record
    }

    #[test]
    fn whole_records_are_let_through() {
        for datagram in [
            record(0, 0),
            record(0, 3),
            record(1, 24),
            [record(0, 1), record(1, 40), record(0, 9)].concat(),
        ] {
            assert_eq!(usable(&datagram), datagram);
        }
    }

    #[test]
    fn a_protected_record_too_short_for_its_tag_ends_the_datagram() {
        for length in 0..24 {
            assert_eq!(usable(&record(1, length)), []);
            let behind_another = [record(0, 5), record(1, length), record(0, 5)].concat();
            assert_eq!(usable(&behind_another), record(0, 5));
        }
    }

    #[test]
    fn an_incomplete_record_is_left_out() {
        let whole = record(0, 30);
        for cut in 0..whole.len() {
            assert_eq!(usable(&whole[..cut]), []);
            let behind_another = [&record(0, 1)[..], &whole[..cut]].concat();
            assert_eq!(usable(&behind_another), record(0, 1));
        }
    }
}
