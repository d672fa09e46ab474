//! The record layer of an association after the handshake (RFC 6347 section 4.1, RFC 5288).
//!
//! After the handshake, DTLS only carries a viewer's data channel, if it has one, and close_notify
//! in both directions. OpenSSL keeps some 70 KiB per association for that, most of it buffers for
//! another handshake; the keys, counters and replay window kept here are about one.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::tls_prf::{self, P_SHA256, P_SHA384};

use super::DtlsRole;
use super::record::{ALERT, APPLICATION_DATA, EPOCH, Record};
use crate::replay_window::ReplayWindow;

const VERSION: [u8; 2] = [0xfe, 0xfd];

/// The last sequence number: 48 bits (RFC 6347 section 4.1). Nothing is sent after it.
const MAX_SEQUENCE: u64 = (1 << 48) - 1;

const TAG_LEN: usize = 16;
const EXPLICIT_NONCE_LEN: usize = 8;
const IMPLICIT_NONCE_LEN: usize = 4;

/// Seals and opens records under the keys of a handshake of OpenSSL's.
pub(super) struct RecordLayer {
    write: Direction,
    read: Direction,
    /// The last record that was sealed, by OpenSSL or here.
    last_sealed: Sealed,
    /// Starts empty after the handshake: OpenSSL has seen only records of the handshake, which are
    /// not accepted here.
    replay: ReplayWindow,
}

/// The values that must not be used twice under one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sealed {
    /// Sequence number of a record.
    pub(super) sequence: u64,
    /// Its explicit nonce (RFC 5288 section 3). OpenSSL counts it up from a random start.
    pub(super) explicit_nonce: u64,
}

/// The negotiated parameters of a handshake.
pub(super) struct Secrets<'a> {
    /// Cipher, as OpenSSL names it.
    pub(super) cipher: &'a str,
    pub(super) master_secret: &'a [u8],
    pub(super) client_random: &'a [u8],
    pub(super) server_random: &'a [u8],
}

/// An alert (RFC 5246 section 7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Alert {
    pub(super) level: u8,
    pub(super) description: u8,
}

impl RecordLayer {
    /// Creates the record layer that replaces OpenSSL; `None` for ciphers other than AES-GCM.
    pub(super) fn new(secrets: &Secrets<'_>, role: DtlsRole, last_sealed: Sealed) -> Option<Self> {
        let (aead, prf): (&'static Algorithm, &'static tls_prf::Algorithm) =
            match secrets.cipher.rsplit_once("-AES")?.1 {
                "128-GCM-SHA256" => (&AES_128_GCM, &P_SHA256),
                "256-GCM-SHA384" => (&AES_256_GCM, &P_SHA384),
                _ => return None,
            };
        // RFC 5246 section 6.3: client key, server key, client IV, server IV.
        let block_len = 2 * (aead.key_len() + IMPLICIT_NONCE_LEN);
        let block = tls_prf::Secret::new(prf, secrets.master_secret)
            .and_then(|master| {
                master.derive_with_seed_concatination(
                    b"key expansion",
                    secrets.server_random,
                    secrets.client_random,
                    block_len,
                )
            })
            .ok()?;
        let (client_key, rest) = block.as_ref().split_at_checked(aead.key_len())?;
        let (server_key, ivs) = rest.split_at_checked(aead.key_len())?;
        let (client_iv, server_iv) = ivs.split_at_checked(IMPLICIT_NONCE_LEN)?;
        let client = Direction::new(aead, client_key, client_iv)?;
        let server = Direction::new(aead, server_key, server_iv)?;
        let (write, read) = match role {
            DtlsRole::Client => (client, server),
            DtlsRole::Server => (server, client),
        };
        Some(Self {
            write,
            read,
            last_sealed,
            replay: ReplayWindow::default(),
        })
    }

    /// Continues after the last record that OpenSSL has sealed.
    pub(super) fn take_over(&mut self, last_sealed: Sealed) {
        self.last_sealed = last_sealed;
    }

    /// Returns the content of a record; `None` if it is not supported, not authentic, or a replay.
    pub(super) fn open(&mut self, record: &Record<'_>) -> Option<Opened> {
        let is_new = self.replay.is_new(record.sequence);
        let is_of_use = matches!(record.content_type, ALERT | APPLICATION_DATA);
        if record.epoch != EPOCH || !is_of_use || !is_new {
            return None;
        }
        let plaintext = self.read.open(record)?;
        self.replay.accept(record.sequence);
        match (record.content_type, plaintext.as_slice()) {
            (APPLICATION_DATA, _) => Some(Opened::ApplicationData(plaintext)),
            (_, &[level, description]) => Some(Opened::Alert(Alert { level, description })),
            _ => None,
        }
    }

    /// Returns a datagram with an alert; `None` when the sequence numbers are used up.
    pub(super) fn seal_alert(&mut self, alert: Alert) -> Option<Vec<u8>> {
        self.seal(ALERT, &[alert.level, alert.description])
    }

    /// Returns a datagram with application data; `None` when the sequence numbers are used up.
    pub(super) fn seal_application_data(&mut self, data: &[u8]) -> Option<Vec<u8>> {
        self.seal(APPLICATION_DATA, data)
    }

    /// Returns a record that this side has sealed, sealed once more.
    pub(super) fn seal_again(&mut self, record: &Record<'_>) -> Option<Vec<u8>> {
        let plaintext = self.write.open(record)?;
        self.seal(record.content_type, &plaintext)
    }

    /// Returns the content of a record that this side has sealed.
    #[cfg(test)]
    pub(super) fn unseal(&self, record: &Record<'_>) -> Option<Vec<u8>> {
        self.write.open(record)
    }

    /// Returns a datagram with a handshake message, as a peer sends to renegotiate.
    #[cfg(test)]
    pub(super) fn seal_handshake(&mut self, message: &[u8]) -> Vec<u8> {
        self.seal(22, message)
            .expect("there are sequence numbers left")
    }

    fn seal(&mut self, content_type: u8, plaintext: &[u8]) -> Option<Vec<u8>> {
        if self.last_sealed.sequence >= MAX_SEQUENCE {
            return None;
        }
        self.last_sealed.sequence += 1;
        self.last_sealed.explicit_nonce = self.last_sealed.explicit_nonce.wrapping_add(1);
        Some(self.write.seal(content_type, self.last_sealed, plaintext))
    }
}

/// The content of a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// An alert.
    Alert(Alert),
    /// A packet of the data channel.
    ApplicationData(Vec<u8>),
}

impl Alert {
    /// The close_notify alert.
    pub(super) const CLOSE_NOTIFY: Self = Self {
        level: 1,
        description: 0,
    };

    /// The decrypt_error alert: Finished could not be verified.
    pub(super) const DECRYPT_ERROR: Self = Self {
        level: 2,
        description: 51,
    };

    /// Returns whether it ends the association.
    pub(super) fn is_fatal(self) -> bool {
        self.level == 2
    }
}

/// Keys of one direction.
struct Direction {
    key: LessSafeKey,
    implicit_nonce: [u8; IMPLICIT_NONCE_LEN],
}

impl Direction {
    fn new(aead: &'static Algorithm, key: &[u8], iv: &[u8]) -> Option<Self> {
        Some(Self {
            key: LessSafeKey::new(UnboundKey::new(aead, key).ok()?),
            implicit_nonce: iv.try_into().ok()?,
        })
    }

    /// Returns the nonce (RFC 5288 section 3): the IV of the handshake, then the record's explicit
    /// part.
    fn nonce(&self, explicit: [u8; EXPLICIT_NONCE_LEN]) -> Nonce {
        let mut nonce = [0; IMPLICIT_NONCE_LEN + EXPLICIT_NONCE_LEN];
        let (implicit_part, explicit_part) = nonce.split_at_mut(IMPLICIT_NONCE_LEN);
        implicit_part.copy_from_slice(&self.implicit_nonce);
        explicit_part.copy_from_slice(&explicit);
        Nonce::assume_unique_for_key(nonce)
    }

    fn open(&self, record: &Record<'_>) -> Option<Vec<u8>> {
        let (explicit_nonce, sealed) = record.fragment.split_first_chunk()?;
        let length = sealed.len().checked_sub(TAG_LEN)?;
        let aad = associated_data(record.content_type, record.sequence, length);
        let mut buffer = sealed.to_vec();
        self.key
            .open_in_place(self.nonce(*explicit_nonce), Aad::from(aad), &mut buffer)
            .ok()?;
        buffer.truncate(length);
        Some(buffer)
    }

    fn seal(&self, content_type: u8, sealed: Sealed, plaintext: &[u8]) -> Vec<u8> {
        let aad = associated_data(content_type, sealed.sequence, plaintext.len());
        let explicit_nonce = sealed.explicit_nonce.to_be_bytes();
        let mut fragment = plaintext.to_vec();
        self.key
            .seal_in_place_append_tag(self.nonce(explicit_nonce), Aad::from(aad), &mut fragment)
            .expect("a record is far shorter than the cipher's limit");
        let length = EXPLICIT_NONCE_LEN + fragment.len();
        let mut record = vec![content_type, VERSION[0], VERSION[1]];
        record.extend_from_slice(&epoch_and_sequence(sealed.sequence));
        record.extend_from_slice(&(length as u16).to_be_bytes());
        record.extend_from_slice(&explicit_nonce);
        record.extend_from_slice(&fragment);
        record
    }
}

/// Epoch and sequence number as they stand in a record: 16 and 48 bits.
fn epoch_and_sequence(sequence: u64) -> [u8; 8] {
    (u64::from(EPOCH) << 48 | sequence).to_be_bytes()
}

/// Returns the additional authenticated data (RFC 5246 section 6.2.3.3, with epoch and sequence
/// number by RFC 6347 section 4.1.2.1).
fn associated_data(content_type: u8, sequence: u64, length: usize) -> [u8; 13] {
    let [e0, e1, s0, s1, s2, s3, s4, s5] = epoch_and_sequence(sequence);
    let [v0, v1] = VERSION;
    let [l0, l1] = (length as u16).to_be_bytes();
    [e0, e1, s0, s1, s2, s3, s4, s5, content_type, v0, v1, l0, l1]
}

#[cfg(test)]
mod tests {
    use super::super::record::Records;
    use super::*;

    fn layer(role: DtlsRole, cipher: &str) -> Option<RecordLayer> {
        let secrets = Secrets {
            cipher,
            master_secret: &[1; 48],
            client_random: &[2; 32],
            server_random: &[3; 32],
        };
        let last_sealed = Sealed {
            sequence: 0,
            explicit_nonce: u64::MAX,
        };
        RecordLayer::new(&secrets, role, last_sealed)
    }

    fn open(layer: &mut RecordLayer, datagram: &[u8]) -> Option<Opened> {
        layer.open(&Records(datagram).next()?)
    }

    #[test]
    fn sealed_records_are_opened_by_the_other_side() {
        for cipher in [
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "ECDHE-RSA-AES256-GCM-SHA384",
        ] {
            let mut client = layer(DtlsRole::Client, cipher).unwrap();
            let mut server = layer(DtlsRole::Server, cipher).unwrap();
            let alert = client.seal_alert(Alert::CLOSE_NOTIFY).unwrap();
            assert_eq!(open(&mut client, &alert), None, "its own");
            let opened = Some(Opened::Alert(Alert::CLOSE_NOTIFY));
            assert_eq!(open(&mut server, &alert), opened);
            assert_eq!(open(&mut server, &alert), None, "a replay");
            let data = server.seal_application_data(b"packet").unwrap();
            let opened = Some(Opened::ApplicationData(b"packet".to_vec()));
            assert_eq!(open(&mut client, &data), opened);
            assert_eq!(open(&mut client, &data), None, "a replay");
        }
    }

    #[test]
    fn other_ciphers_stay_with_openssl() {
        assert!(layer(DtlsRole::Server, "ECDHE-ECDSA-AES128-SHA").is_none());
        assert!(layer(DtlsRole::Server, "").is_none());
    }

    #[test]
    fn record_sealed_again_is_new_to_the_peer_and_has_the_same_content() {
        let cipher = "ECDHE-ECDSA-AES128-GCM-SHA256";
        let mut client = layer(DtlsRole::Client, cipher).unwrap();
        let mut server = layer(DtlsRole::Server, cipher).unwrap();
        let first = client.seal_application_data(b"packet").unwrap();
        let record = Records(&first).next().unwrap();
        let second = client.seal_again(&record).unwrap();
        let opened = || Some(Opened::ApplicationData(b"packet".to_vec()));
        assert_eq!(open(&mut server, &first), opened());
        assert_eq!(open(&mut server, &second), opened());
        assert_eq!(open(&mut server, &second), None, "a replay");
        assert_eq!(server.seal_again(&record), None, "the peer's");
    }

    #[test]
    fn neither_sequence_number_nor_nonce_is_used_twice() {
        let mut layer = layer(DtlsRole::Server, "ECDHE-ECDSA-AES128-GCM-SHA256").unwrap();
        for sequence in 1..5 {
            let datagram = layer.seal_alert(Alert::CLOSE_NOTIFY).unwrap();
            let record = Records(&datagram).next().unwrap();
            assert_eq!((record.epoch, record.sequence), (1, sequence));
            let nonce = record.fragment.first_chunk().copied();
            assert_eq!(nonce.map(u64::from_be_bytes), Some(sequence - 1));
        }
    }

    #[test]
    fn nothing_is_sent_after_the_last_sequence_number() {
        let mut layer = layer(DtlsRole::Server, "ECDHE-ECDSA-AES128-GCM-SHA256").unwrap();
        layer.last_sealed.sequence = MAX_SEQUENCE - 1;
        assert!(layer.seal_application_data(b"last").is_some());
        assert_eq!(layer.seal_application_data(b"one more"), None);
        assert_eq!(layer.seal_alert(Alert::CLOSE_NOTIFY), None);
    }

    #[test]
    fn changed_bit_outside_the_version_is_detected() {
        let cipher = "ECDHE-ECDSA-AES128-GCM-SHA256";
        let alert = layer(DtlsRole::Client, cipher)
            .unwrap()
            .seal_alert(Alert::CLOSE_NOTIFY)
            .unwrap();
        for bit in (0..8).chain(24..alert.len() * 8) {
            let mut changed = alert.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let mut server = layer(DtlsRole::Server, cipher).unwrap();
            assert_eq!(open(&mut server, &changed), None, "bit {bit}");
            assert!(open(&mut server, &alert).is_some(), "nothing is remembered");
        }
    }
}
