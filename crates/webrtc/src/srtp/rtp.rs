//! Sealing RTP packets.

use super::cm::Cm;
use super::gcm::{self, Gcm};
use super::kdf::Label;
use super::profile::{MasterKey, SrtpProfile};

/// Packets that may be sealed under one key (RFC 3711 section 9.2, RFC 7714 section 14): the index
/// has 48 bits. At ten thousand packets a second that takes 892 years.
pub const MAX_PACKETS: u64 = 1 << 48;

/// Longest authentication tag that sealing appends, in bytes.
pub const MAX_TAG_LEN: usize = gcm::TAG_LEN;

/// Seals the RTP packets of one direction.
///
/// It keeps no state per stream: the caller counts packets and hands in the 48-bit index (RFC 3711
/// section 3.3.1), the low 16 bits being the sequence number in the header. Sealing the same
/// packet under the same index again gives the same bytes.
pub struct SrtpSealer(Suite);

enum Suite {
    Gcm(Gcm),
    Cm80(Box<Cm>),
    Cm32(Box<Cm>),
}

impl SrtpSealer {
    /// Returns the session keys for RTP under `master`.
    pub fn new(master: &MasterKey) -> Self {
        let cm = || {
            let labels = (
                Label::RtpEncryption,
                Label::RtpAuthentication,
                Label::RtpSalt,
            );
            Box::new(Cm::new(master, labels.0, labels.1, labels.2))
        };
        Self(match master.profile() {
            SrtpProfile::AeadAes128Gcm | SrtpProfile::AeadAes256Gcm => {
                Suite::Gcm(Gcm::new(master, Label::RtpEncryption, Label::RtpSalt))
            }
            SrtpProfile::AesCm128HmacSha1_80 => Suite::Cm80(cm()),
            SrtpProfile::AesCm128HmacSha1_32 => Suite::Cm32(cm()),
        })
    }

    /// Returns bytes of tag behind the payload.
    pub fn tag_len(&self) -> usize {
        match &self.0 {
            Suite::Gcm(_) => gcm::TAG_LEN,
            Suite::Cm80(_) => 10,
            Suite::Cm32(_) => 4,
        }
    }

    /// Seals a packet in place: `packet` is the header, of which `header_len` bytes with its
    /// extension stay readable (RFC 3711 section 3.1), the payload, and room for [`Self::tag_len`]
    /// bytes of tag.
    ///
    /// # Panics
    /// When the index is [`MAX_PACKETS`] or more, which would use a nonce twice.
    pub fn seal(&self, packet: &mut [u8], header_len: usize, ssrc: u32, index: u64) {
        assert!(index < MAX_PACKETS, "the key is used up");
        let (message, tag) = packet.split_at_mut(packet.len() - self.tag_len());
        let roc = (index >> 16) as u32;
        match &self.0 {
            Suite::Gcm(gcm) => {
                let (header, payload) = message.split_at_mut(header_len);
                tag.copy_from_slice(&gcm.seal(ssrc, index, header, payload));
            }
            Suite::Cm80(cm) => {
                cm.apply(ssrc, index, &mut message[header_len..]);
                tag.copy_from_slice(&cm.tag::<10>(message, roc));
            }
            Suite::Cm32(cm) => {
                cm.apply(ssrc, index, &mut message[header_len..]);
                tag.copy_from_slice(&cm.tag::<4>(message, roc));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{master, webrtc_context};
    use super::*;
    use crate::rtp::RtpHeader;
    use proptest::prelude::*;

    const SSRC: u32 = 0x1234_5678;

    fn seal(sealer: &SrtpSealer, index: u64, payload: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let header = RtpHeader {
            payload_type: 96,
            marker: true,
            sequence: index as u16,
            timestamp: 7,
            ssrc: SSRC,
        };
        let plain = [&header.to_bytes(), payload].concat();
        let mut sealed = plain.clone();
        sealed.resize(plain.len() + sealer.tag_len(), 0);
        sealer.seal(&mut sealed, RtpHeader::LEN, SSRC, index);
        (plain, sealed)
    }

    proptest! {
        /// Another implementation seals the same packets to the same bytes and opens them, also
        /// across the wrap of the sequence number.
        #[test]
        fn every_byte_equals_that_of_another_implementation(
            first in 0u64..0x1_8000,
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..1200), 1..8),
            profile in prop::sample::select(SrtpProfile::ALL.to_vec()),
            seed: u8,
        ) {
            let master = master(profile, seed);
            let sealer = SrtpSealer::new(&master);
            // The other side counts roll-overs by itself: it starts before the first wrap.
            let first = first & 0xffff;
            let mut other = webrtc_context(&master);
            let mut opener = webrtc_context(&master);
            for (n, payload) in payloads.iter().enumerate() {
                let (plain, sealed) = seal(&sealer, first + n as u64, payload);
                prop_assert_eq!(&other.encrypt_rtp(&plain).unwrap()[..], &sealed[..]);
                prop_assert_eq!(&opener.decrypt_rtp(&sealed).unwrap()[..], &plain[..]);
            }
        }
    }

    /// A receiver that begins shortly before the wrap, as one does that joins at a bad moment: it
    /// counts roll-overs by itself, from 0, and so must the sender (RFC 3711 section 3.3.1).
    #[test]
    fn viewer_that_joins_near_the_wrap_opens_every_packet_across_it() {
        for profile in SrtpProfile::ALL {
            let master = master(profile, 3);
            let sealer = SrtpSealer::new(&master);
            for first in [0xffff - 40, 0xffff, 0x7fff, 0x8000] {
                let mut opener = webrtc_context(&master);
                for index in first..first + 100 {
                    let (plain, sealed) = seal(&sealer, index, b"payload");
                    assert_eq!(opener.decrypt_rtp(&sealed).unwrap(), plain, "index {index}");
                }
            }
        }
    }

    /// Each packet of an hour at 30 Mbit/s would be ten million; this is one and a half turns of
    /// the sequence number, with packets that come late by as much as retransmissions do.
    #[test]
    fn every_packet_across_a_wrap_opens_also_when_it_comes_late() {
        let master = master(SrtpProfile::AeadAes128Gcm, 3);
        let sealer = SrtpSealer::new(&master);
        let mut opener = webrtc_context(&master);
        let first = 30_000u64;
        for index in first..first + 98_304 {
            // Two of three at once, the third after the next ones.
            let delivered = match index % 6 {
                3 => index + 1,
                4 => index - 1,
                _ => index,
            };
            let (plain, sealed) = seal(&sealer, delivered, b"p");
            assert_eq!(
                opener.decrypt_rtp(&sealed).unwrap(),
                plain,
                "index {delivered}"
            );
        }
    }

    #[test]
    #[should_panic(expected = "the key is used up")]
    fn nothing_is_sealed_after_the_last_index() {
        let sealer = SrtpSealer::new(&master(SrtpProfile::AeadAes128Gcm, 3));
        seal(&sealer, MAX_PACKETS - 1, b"the last");
        seal(&sealer, MAX_PACKETS, b"one more");
    }

    #[test]
    fn hour_of_packets_wraps_many_times_and_still_opens() {
        for profile in SrtpProfile::ALL {
            let master = master(profile, 3);
            let sealer = SrtpSealer::new(&master);
            let mut opener = webrtc_context(&master);
            for index in (60_000u64..400_000).step_by(2_000) {
                let (plain, sealed) = seal(&sealer, index, b"payload");
                assert_eq!(opener.decrypt_rtp(&sealed).unwrap(), plain, "index {index}");
            }
        }
    }
}
