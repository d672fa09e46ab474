//! Records of a datagram, as far as they are in the clear.

/// One record.
///
/// ```text
/// RFC 6347 section 4.1:
/// +--------------+-------------+-----------+---------------------+------------+----------
/// | content type | version (2) | epoch (2) | sequence number (6) | length (2) | fragment
/// +--------------+-------------+-----------+---------------------+------------+----------
/// ```
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) content_type: u8,
    /// 0 in the clear, 1 under the keys of the handshake.
    pub(super) epoch: u16,
    /// 48 bits.
    pub(super) sequence: u64,
    pub(super) fragment: &'a [u8],
}

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
    let mut records = Records(datagram);
    records.by_ref().for_each(drop);
    let Records(unusable) = records;
    datagram
        .get(..datagram.len() - unusable.len())
        .unwrap_or_default()
}

/// Walks over the usable records of a datagram; what is left in it after that is not usable.
#[derive(Debug)]
pub(super) struct Records<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let (header, rest) = self.0.split_first_chunk::<HEADER_LEN>()?;
        let &[content_type, _, _, e0, e1, s0, s1, s2, s3, s4, s5, l0, l1] = header;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let (fragment, behind) = rest.split_at_checked(length)?;
        let epoch = u16::from_be_bytes([e0, e1]);
        if epoch > 0 && length < MIN_PROTECTED_LEN {
            return None;
        }
        self.0 = behind;
        Some(Record {
            content_type,
            epoch,
            sequence: u64::from_be_bytes([0, 0, s0, s1, s2, s3, s4, s5]),
            fragment,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(epoch: u8, length: u8) -> Vec<u8> {
        let mut record = vec![22, 0xfe, 0xfd, 0, epoch, 1, 2, 3, 4, 5, 6, 0, length];
        record.resize(HEADER_LEN + usize::from(length), 0xaa);
        record
    }

    #[test]
    fn the_fields_of_a_record_are_read() {
        let datagram = [record(1, 30), record(0, 2)].concat();
        let mut records = Records(&datagram);
        let first = records.next().unwrap();
        assert_eq!((first.content_type, first.epoch), (22, 1));
        assert_eq!(first.sequence, 0x0102_0304_0506);
        assert_eq!(first.fragment, [0xaa; 30]);
        assert_eq!(records.next().unwrap().fragment, [0xaa; 2]);
        assert!(records.next().is_none());
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
            assert!(usable(&record(1, length)).is_empty());
            let behind_another = [record(0, 5), record(1, length), record(0, 5)].concat();
            assert_eq!(usable(&behind_another), record(0, 5));
        }
    }

    #[test]
    fn an_incomplete_record_is_left_out() {
        let whole = record(0, 30);
        for cut in 0..whole.len() {
            assert!(usable(&whole[..cut]).is_empty());
            let behind_another = [&record(0, 1)[..], &whole[..cut]].concat();
            assert_eq!(usable(&behind_another), record(0, 1));
        }
    }
}
