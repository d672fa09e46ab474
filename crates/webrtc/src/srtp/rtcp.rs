//! Sealing and opening RTCP packets.

use super::cm::Cm;
use super::gcm::{self, Gcm};
use super::kdf::Label;
use super::profile::{MasterKey, SrtpProfile};
use crate::replay_window::ReplayWindow;

/// The part of the first RTCP packet that stays in the clear: header and SSRC.
const HEADER_LEN: usize = 8;
/// The word with the E bit and the 31-bit index.
const INDEX_LEN: usize = 4;
/// Packets that may be sealed under one key (RFC 3711 section 9.2, RFC 7714 section 14): one more
/// would use a nonce twice.
const MAX_PACKETS: u32 = 1 << 31;
/// Set when the packet is encrypted (RFC 3711 section 3.4).
const E_BIT: u32 = 1 << 31;
/// Bytes of the HMAC-SHA1 tag; 10 for both counter-mode profiles (RFC 5764 section 4.1.2).
const CM_TAG_LEN: usize = 10;
/// Sources of RTCP that a peer may have.
const MAX_SOURCES: usize = 16;

/// The reason why an SRTCP packet is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SrtcpError {
    /// Shorter than its fixed parts.
    #[error("an SRTCP packet of {0} bytes is too short")]
    TooShort(usize),
    /// The tag is wrong.
    #[error("the SRTCP packet is not authentic")]
    NotAuthentic,
    /// The index was seen before or is too old.
    #[error("the SRTCP packet with index {0} is a replay")]
    Replayed(u32),
    /// More sources than a peer can have.
    #[error("the peer sends RTCP from more than {MAX_SOURCES} sources")]
    TooManySources,
}

enum Suite {
    Gcm(Gcm),
    Cm(Box<Cm>),
}

impl Suite {
    fn new(master: &MasterKey) -> Self {
        match master.profile() {
            SrtpProfile::AeadAes128Gcm | SrtpProfile::AeadAes256Gcm => {
                Self::Gcm(Gcm::new(master, Label::RtcpEncryption, Label::RtcpSalt))
            }
            SrtpProfile::AesCm128HmacSha1_80 | SrtpProfile::AesCm128HmacSha1_32 => {
                let labels = (
                    Label::RtcpEncryption,
                    Label::RtcpAuthentication,
                    Label::RtcpSalt,
                );
                Self::Cm(Box::new(Cm::new(master, labels.0, labels.1, labels.2)))
            }
        }
    }

    fn tag_len(&self) -> usize {
        match self {
            Self::Gcm(_) => gcm::TAG_LEN,
            Self::Cm(_) => CM_TAG_LEN,
        }
    }
}

/// Seals the RTCP packets of one direction.
pub struct SrtcpSealer {
    suite: Suite,
    index: u32,
}

impl SrtcpSealer {
    /// Returns the session keys for RTCP under `master`.
    pub fn new(master: &MasterKey) -> Self {
        Self {
            suite: Suite::new(master),
            index: 0,
        }
    }

    /// Returns whether the key has reached its limit of packets. At a packet a second
    /// that takes 68 years; a session ends then, and its viewer begins another with other keys.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.index >= MAX_PACKETS - 1
    }

    /// Seals a compound packet in place; it grows by the tag and the index. Once the key is used up
    /// the packet is left empty: there is nothing to send.
    ///
    /// # Panics
    /// When `packet` is shorter than an RTCP header with its SSRC.
    pub fn seal(&mut self, packet: &mut Vec<u8>) {
        let ssrc = ssrc(packet).expect("an RTCP packet begins with its header and SSRC");
        if self.is_used_up() {
            packet.clear();
            return;
        }
        self.index += 1;
        let (index, word) = (u64::from(self.index), E_BIT | self.index);
        match &self.suite {
            Suite::Gcm(gcm) => {
                // header | ciphertext | tag | index (RFC 7714 section 9.2)
                let aad = associated_data(packet, word);
                let tag = gcm.seal(ssrc, index, &aad, &mut packet[HEADER_LEN..]);
                packet.extend_from_slice(&tag);
                packet.extend_from_slice(&word.to_be_bytes());
            }
            Suite::Cm(cm) => {
                // header | ciphertext | index | tag (RFC 3711 section 3.4)
                cm.apply(ssrc, index, &mut packet[HEADER_LEN..]);
                let tag = cm.tag::<CM_TAG_LEN>(packet, word);
                packet.extend_from_slice(&word.to_be_bytes());
                packet.extend_from_slice(&tag);
            }
        }
    }
}

/// Opens the RTCP packets of one direction, each of them once.
pub struct SrtcpOpener {
    suite: Suite,
    replay: Vec<(u32, ReplayWindow)>,
}

impl SrtcpOpener {
    /// Returns the session keys for RTCP under `master`.
    pub fn new(master: &MasterKey) -> Self {
        Self {
            suite: Suite::new(master),
            replay: Vec::new(),
        }
    }

    /// Opens a packet in place and returns the compound packet.
    ///
    /// # Errors
    /// If it is too short, not authentic or a replay. Such a packet changes no state.
    pub fn open<'a>(&mut self, packet: &'a mut [u8]) -> Result<&'a [u8], SrtcpError> {
        let len = packet.len();
        if len < HEADER_LEN + INDEX_LEN + self.suite.tag_len() {
            return Err(SrtcpError::TooShort(len));
        }
        let ssrc = ssrc(packet).ok_or(SrtcpError::TooShort(len))?;
        let (index, plain) = match &self.suite {
            Suite::Gcm(gcm) => {
                let (message, word) = packet.split_at_mut(len - INDEX_LEN);
                let word = be_word(word);
                let index = word & !E_BIT;
                self.check_replay(ssrc, index)?;
                let plain_len = message.len() - gcm::TAG_LEN;
                let aad = associated_data(message, word);
                if word & E_BIT == 0 {
                    // Authenticated only (RFC 7714 section 9.3): no WebRTC peer sends that.
                    return Err(SrtcpError::NotAuthentic);
                }
                gcm.open(ssrc, u64::from(index), &aad, &mut message[HEADER_LEN..])
                    .ok_or(SrtcpError::NotAuthentic)?;
                (index, &message[..plain_len])
            }
            Suite::Cm(cm) => {
                let (rest, tag) = packet.split_at_mut(len - CM_TAG_LEN);
                let (message, word) = rest.split_at_mut(rest.len() - INDEX_LEN);
                let word = be_word(word);
                let index = word & !E_BIT;
                self.check_replay(ssrc, index)?;
                if !cm.verify::<CM_TAG_LEN>(message, word, tag) {
                    return Err(SrtcpError::NotAuthentic);
                }
                if word & E_BIT != 0 {
                    cm.apply(ssrc, u64::from(index), &mut message[HEADER_LEN..]);
                }
                (index, &*message)
            }
        };
        match self.replay.iter_mut().find(|(source, _)| *source == ssrc) {
            Some((_, window)) => window.accept(index.into()),
            None => {
                let mut window = ReplayWindow::default();
                window.accept(index.into());
                self.replay.push((ssrc, window));
            }
        }
        Ok(plain)
    }

    fn check_replay(&self, ssrc: u32, index: u32) -> Result<(), SrtcpError> {
        match self.replay.iter().find(|(source, _)| *source == ssrc) {
            Some((_, window)) if !window.is_new(index.into()) => Err(SrtcpError::Replayed(index)),
            None if self.replay.len() >= MAX_SOURCES => Err(SrtcpError::TooManySources),
            _ => Ok(()),
        }
    }
}

/// Returns the additional authenticated data of an encrypted SRTCP packet: header, SSRC and index
/// word (RFC 7714 section 9.2).
fn associated_data(packet: &[u8], word: u32) -> [u8; HEADER_LEN + INDEX_LEN] {
    let mut aad = [0; HEADER_LEN + INDEX_LEN];
    aad[..HEADER_LEN].copy_from_slice(&packet[..HEADER_LEN]);
    aad[HEADER_LEN..].copy_from_slice(&word.to_be_bytes());
    aad
}

/// Returns the SSRC of the first packet of a compound packet.
fn ssrc(packet: &[u8]) -> Option<u32> {
    packet.get(4..HEADER_LEN).map(be_word)
}

fn be_word(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0, |word, byte| word << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{master, webrtc_context};
    use super::*;
    use proptest::prelude::*;

    /// Returns a receiver report without blocks, and an SDES-like tail.
    fn report(ssrc: u32, words: u8) -> Vec<u8> {
        let mut packet = vec![0x80, 201, 0, 1 + words];
        packet.extend_from_slice(&ssrc.to_be_bytes());
        packet.extend((0..4 * words).map(|n| n ^ 0x5a));
        packet
    }

    proptest! {
        #[test]
        fn every_byte_equals_that_of_another_implementation(
            words in prop::collection::vec(0u8..60, 1..6),
            profile in prop::sample::select(SrtpProfile::ALL.to_vec()),
            seed: u8,
        ) {
            let master = master(profile, seed);
            let mut sealer = SrtcpSealer::new(&master);
            let mut opener = SrtcpOpener::new(&master);
            let mut other = webrtc_context(&master);
            for words in words {
                let plain = report(77, words);
                let mut sealed = plain.clone();
                sealer.seal(&mut sealed);
                prop_assert_eq!(&other.encrypt_rtcp(&plain).unwrap()[..], &sealed[..]);
                prop_assert_eq!(opener.open(&mut sealed).unwrap(), &plain[..]);
            }
        }

        #[test]
        fn garbage_is_refused_and_leaves_nothing_behind(
            mut packet in prop::collection::vec(any::<u8>(), 0..200),
            profile in prop::sample::select(SrtpProfile::ALL.to_vec()),
        ) {
            let mut opener = SrtcpOpener::new(&master(profile, 1));
            prop_assert!(opener.open(&mut packet).is_err());
            prop_assert!(opener.replay.is_empty());
        }
    }

    #[test]
    fn packet_is_accepted_once_and_in_any_order_within_the_window() {
        for profile in SrtpProfile::ALL {
            let master = master(profile, 9);
            let mut sealer = SrtcpSealer::new(&master);
            let sealed: Vec<Vec<u8>> = (0..100)
                .map(|_| {
                    let mut packet = report(5, 2);
                    sealer.seal(&mut packet);
                    packet
                })
                .collect();
            let mut opener = SrtcpOpener::new(&master);
            let mut open = |n: usize| opener.open(&mut sealed[n].clone()).map(<[u8]>::len);
            assert!(open(50).is_ok());
            assert!(open(49).is_ok());
            assert_eq!(open(50), Err(SrtcpError::Replayed(51)));
            assert_eq!(open(49), Err(SrtcpError::Replayed(50)));
            assert!(open(99).is_ok());
            assert_eq!(
                open(20),
                Err(SrtcpError::Replayed(21)),
                "older than the window"
            );
            assert!(open(98).is_ok());
        }
    }

    #[test]
    fn nothing_is_sealed_after_the_last_index() {
        for profile in SrtpProfile::ALL {
            let master = master(profile, 6);
            let mut sealer = SrtcpSealer::new(&master);
            sealer.index = MAX_PACKETS - 2;
            let mut last = report(5, 1);
            sealer.seal(&mut last);
            assert!(SrtcpOpener::new(&master).open(&mut last).is_ok());
            assert!(sealer.is_used_up());
            let mut more = report(5, 1);
            sealer.seal(&mut more);
            assert!(more.is_empty());
        }
    }

    #[test]
    fn indices_count_up_by_one_and_stand_in_each_packet() {
        for profile in SrtpProfile::ALL {
            let master = master(profile, 6);
            let mut sealer = SrtcpSealer::new(&master);
            for index in 1..100u32 {
                let mut packet = report(5, 1);
                sealer.seal(&mut packet);
                let tag = match &sealer.suite {
                    Suite::Gcm(_) => 0,
                    Suite::Cm(_) => CM_TAG_LEN,
                };
                let word = &packet[packet.len() - tag - INDEX_LEN..][..INDEX_LEN];
                assert_eq!(be_word(word), E_BIT | index);
            }
        }
    }

    #[test]
    fn flipped_bit_anywhere_is_detected() {
        for profile in SrtpProfile::ALL {
            let master = master(profile, 4);
            let mut sealed = report(5, 2);
            SrtcpSealer::new(&master).seal(&mut sealed);
            for bit in 0..sealed.len() * 8 {
                let mut forged = sealed.clone();
                forged[bit / 8] ^= 1 << (bit % 8);
                assert!(
                    SrtcpOpener::new(&master).open(&mut forged).is_err(),
                    "{profile:?} {bit}"
                );
            }
        }
    }

    #[test]
    fn number_of_sources_is_bounded() {
        let master = master(SrtpProfile::AeadAes128Gcm, 2);
        let mut sealer = SrtcpSealer::new(&master);
        let mut opener = SrtcpOpener::new(&master);
        for ssrc in 0..=MAX_SOURCES as u32 {
            let mut packet = report(ssrc, 1);
            sealer.seal(&mut packet);
            let opened = opener.open(&mut packet).is_ok();
            assert_eq!(opened, ssrc < MAX_SOURCES as u32);
        }
    }
}
