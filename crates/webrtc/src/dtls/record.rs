//! Records of a datagram, as far as they are in the clear.

use super::DtlsRole;
use super::handshake_message;

/// Content types (RFC 5246 section 6.2.1).
pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;

/// The epoch after the one handshake there is.
pub(super) const EPOCH: u16 = 1;

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
    /// All of it, with the header.
    pub(super) bytes: &'a [u8],
    pub(super) content_type: u8,
    /// 0 in the clear, 1 under the keys of the handshake.
    pub(super) epoch: u16,
    /// 48 bits.
    pub(super) sequence: u64,
    pub(super) fragment: &'a [u8],
}

const HEADER_LEN: usize = 13;

/// First byte of the version: 1 in one's complement, for all versions of DTLS.
const MAJOR_VERSION: u8 = 0xfe;

/// Shortest fragment of a protected record: explicit nonce (8) and tag (16) of AES-GCM (RFC 5288
/// section 3) around nothing. With the CBC ciphers none is shorter than 48.
const MIN_PROTECTED_LEN: usize = 24;

/// The parts of a datagram that reach the handshake.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sifted {
    /// The records that may be part of it.
    pub(super) records: Vec<u8>,
    /// The description of a plaintext alert that ends the handshake, sent by the peer or forged.
    pub(super) alert: Option<u8>,
}

/// Filters a datagram received during the handshake: the records that `accepts` admits, and alerts
/// under the keys.
///
/// RFC 6347 section 4.1.2.7 requires to drop invalid records silently, because anybody can send one
/// from a forged address. OpenSSL answers many of them with a fatal alert, which ends the
/// association: records of another type, incomplete messages or those that do not belong to a
/// handshake, and protected records too short for a tag. So they must not reach it.
pub(super) fn sift(datagram: &[u8], accepts: impl Fn(&Record<'_>) -> bool) -> Sifted {
    let mut sifted = Sifted::default();
    for record in Records(datagram) {
        if accepts(&record) || (record.epoch, record.content_type) == (EPOCH, ALERT) {
            sifted.records.extend_from_slice(record.bytes);
        }
        // A fatal one, or a close_notify.
        if let (0, ALERT, &([2, description] | [_, description @ 0])) =
            (record.epoch, record.content_type, record.fragment)
        {
            sifted.alert = Some(description);
        }
    }
    sifted
}

impl Record<'_> {
    /// Returns whether it may belong to the handshake, in which we have this role.
    pub(super) fn is_of_handshake(&self, role: DtlsRole) -> bool {
        match (self.epoch, self.content_type) {
            (0, HANDSHAKE) => handshake_message::is_plausible(self.fragment, role),
            _ => self.is_of_last_flight(),
        }
    }

    /// Returns whether it may belong to a last flight: ChangeCipherSpec and Finished. A plaintext
    /// message that comes instead is a repetition, or forged, and could end the handshake.
    pub(super) fn is_of_last_flight(&self) -> bool {
        match (self.epoch, self.content_type) {
            (0, CHANGE_CIPHER_SPEC) => self.fragment == [1],
            (EPOCH, HANDSHAKE) => true,
            _ => false,
        }
    }
}

/// Iterates over the usable records of a datagram, up to the first unusable one.
#[derive(Debug)]
pub(super) struct Records<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let (header, rest) = self.0.split_first_chunk::<HEADER_LEN>()?;
        let &[
            content_type,
            major,
            _,
            e0,
            e1,
            s0,
            s1,
            s2,
            s3,
            s4,
            s5,
            l0,
            l1,
        ] = header;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let (fragment, behind) = rest.split_at_checked(length)?;
        let epoch = u16::from_be_bytes([e0, e1]);
        if epoch > 0 && length < MIN_PROTECTED_LEN || major != MAJOR_VERSION {
            return None;
        }
        let bytes = self.0.get(..HEADER_LEN + length)?;
        self.0 = behind;
        Some(Record {
            bytes,
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
    fn fields_of_a_record_are_read() {
        let datagram = [record(1, 30), record(0, 2)].concat();
        let mut records = Records(&datagram);
        let first = records.next().unwrap();
        assert_eq!((first.content_type, first.epoch), (22, 1));
        assert_eq!(first.sequence, 0x0102_0304_0506);
        assert_eq!(first.fragment, [0xaa; 30]);
        assert_eq!(records.next().unwrap().fragment, [0xaa; 2]);
        assert!(records.next().is_none());
    }

    /// Returns all records of a datagram that are usable.
    fn usable(datagram: &[u8]) -> Vec<u8> {
        let records = Records(datagram);
        records.flat_map(|record| record.bytes.to_vec()).collect()
    }

    #[test]
    fn complete_records_pass_the_filter() {
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
    fn protected_record_too_short_for_its_tag_ends_the_datagram() {
        for length in 0..24 {
            assert!(usable(&record(1, length)).is_empty());
            let behind_another = [record(0, 5), record(1, length), record(0, 5)].concat();
            assert_eq!(usable(&behind_another), record(0, 5));
        }
    }

    #[test]
    fn incomplete_record_is_dropped() {
        let whole = record(0, 30);
        for cut in 0..whole.len() {
            assert!(usable(&whole[..cut]).is_empty());
            let behind_another = [&record(0, 1)[..], &whole[..cut]].concat();
            assert_eq!(usable(&behind_another), record(0, 1));
        }
    }

    #[test]
    fn only_plausible_handshake_records_pass_the_filter() {
        let of = |content_type: u8, epoch: u8, fragment: &[u8]| {
            let mut record = vec![content_type, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 7, 0];
            record.push(fragment.len() as u8);
            record.extend_from_slice(fragment);
            record
        };
        let finished = of(HANDSHAKE, 1, &[0xaa; 40]);
        let spec = of(CHANGE_CIPHER_SPEC, 0, &[1]);
        let good = [&spec[..], &finished].concat();
        let junk = [
            of(APPLICATION_DATA, 0, b"data"),
            of(24, 0, &[1, 0, 1, 0]),
            of(25, 0, &[0; 30]),
            of(CHANGE_CIPHER_SPEC, 0, &[2]),
            of(HANDSHAKE, 0, &[0; 12]),
            of(HANDSHAKE, 0, &[0xaa; 40]),
            of(HANDSHAKE, 2, &[0xaa; 40]),
            of(APPLICATION_DATA, 1, &[0xaa; 40]),
            of(ALERT, 0, &[1, 90]),
        ];
        for role in [DtlsRole::Client, DtlsRole::Server] {
            for junk in &junk {
                let sifted = sift(&[&spec[..], junk, &finished].concat(), |record| {
                    record.is_of_handshake(role)
                });
                assert_eq!(sifted.records, good, "{junk:?}");
                assert_eq!(sifted.alert, None);
            }
            for (fragment, alert) in [(&[2, 40], Some(40)), (&[1, 0], Some(0))] {
                let sifted = sift(&of(ALERT, 0, fragment), |record| {
                    record.is_of_handshake(role)
                });
                assert_eq!((sifted.records.len(), sifted.alert), (0, alert));
            }
        }
    }
}
