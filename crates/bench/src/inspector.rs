//! A look into the media of a viewer: they are decrypted, and the access units checked.

use std::time::Instant;

use distributary_webrtc::rtp::RtpHeader;
use distributary_webrtc::srtp::{MasterKey, SrtpProfile};
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;

use crate::h264::{self, AccessUnitChecker, UnitCounts};
use crate::mark::{self, Mark};
use crate::offer;
use crate::rtp::read_header;

/// Decrypts the packets of one viewer, by another implementation of SRTP than the server's, and
/// checks the video.
pub struct Inspector {
    srtp: Context,
    checker: AccessUnitChecker,
    refused: u64,
    first_keyframe: Option<Instant>,
    /// The last bytes of the access unit.
    end: Vec<u8>,
    marks: Vec<(Instant, Mark)>,
}

/// Results of inspecting the media.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Counts of access units by outcome.
    pub units: UnitCounts,
    /// Packets that could not be decrypted.
    pub refused: u64,
    /// When the first keyframe was complete.
    pub first_keyframe: Option<Instant>,
}

impl Inspector {
    /// Creates an inspector of packets protected by `key`.
    ///
    /// # Errors
    /// When the SRTP library cannot be set up.
    pub fn new(key: &MasterKey) -> Result<Self, webrtc_srtp::Error> {
        let profile = match key.profile() {
            SrtpProfile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
            SrtpProfile::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
            SrtpProfile::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            SrtpProfile::AesCm128HmacSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
        };
        Ok(Self {
            srtp: Context::new(key.key(), key.salt(), profile, None, None)?,
            checker: AccessUnitChecker::default(),
            refused: 0,
            first_keyframe: None,
            end: Vec::new(),
            marks: Vec::new(),
        })
    }

    /// Returns the marks of the frames that have ended since the last call, and when they did.
    pub fn take_marks(&mut self) -> Vec<(Instant, Mark)> {
        std::mem::take(&mut self.marks)
    }

    /// Takes an SRTP packet.
    pub fn handle_packet(&mut self, now: Instant, packet: &[u8]) {
        let Ok(plain) = self.srtp.decrypt_rtp(packet) else {
            self.refused += 1;
            return;
        };
        let Some((header, begin)) = read_header(&plain) else {
            return;
        };
        if header.payload_type != offer::VIDEO {
            return;
        }
        let Some(payload) = payload(&plain, begin) else {
            self.refused += 1;
            return;
        };
        self.look_for_mark(now, header.marker, payload);
        if self.is_keyframe_complete(&header, payload) {
            self.first_keyframe.get_or_insert(now);
        }
    }

    /// Keeps the last bytes of the access unit: a mark may be in two packets.
    fn look_for_mark(&mut self, now: Instant, is_last: bool, payload: &[u8]) {
        self.end.extend_from_slice(h264::fragment(payload));
        let excess = self.end.len().saturating_sub(mark::LEN);
        self.end.drain(..excess);
        if is_last {
            self.marks
                .extend(Mark::read(&self.end).map(|mark| (now, mark)));
            self.end.clear();
        }
    }

    /// Returns the results so far.
    #[must_use]
    pub fn findings(&self) -> Findings {
        Findings {
            units: self.checker.counts(),
            refused: self.refused,
            first_keyframe: self.first_keyframe,
        }
    }

    /// Returns a packet without payload is padding, which some servers send to probe the path: it
    /// counts as received and belongs to no access unit.
    fn is_keyframe_complete(&mut self, header: &RtpHeader, payload: &[u8]) -> bool {
        match payload {
            [] => self.checker.skip(header),
            _ => return self.checker.handle_packet(header, payload),
        }
        false
    }
}

/// Returns the payload without the padding (RFC 3550 section 5.1), whose last byte is its length;
/// `None` if that is more than there is.
fn payload(packet: &[u8], begin: usize) -> Option<&[u8]> {
    let has_padding = packet.first()? & 0x20 != 0;
    let padding = if has_padding {
        usize::from(*packet.last()?)
    } else {
        0
    };
    packet.get(begin..packet.len().checked_sub(padding)?)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use distributary_webrtc::srtp::SrtpSealer;

    use super::*;

    fn key() -> MasterKey {
        MasterKey::new(SrtpProfile::AeadAes128Gcm, &[1; 16], &[2; 12]).unwrap()
    }

    /// Returns a sealed packet with `payload`, whose header has the padding bit if `padded`.
    fn packet(sequence: u16, padded: bool, payload: &[u8]) -> Vec<u8> {
        let header = RtpHeader {
            payload_type: offer::VIDEO,
            marker: !padded,
            sequence,
            timestamp: 3000,
            ssrc: 5,
        };
        let mut packet = [&header.to_bytes(), payload].concat();
        packet[0] |= u8::from(padded) << 5;
        packet.resize(packet.len() + 16, 0);
        SrtpSealer::new(&key()).seal(&mut packet, RtpHeader::LEN, 5, sequence.into());
        packet
    }

    #[test]
    fn time_of_the_first_keyframe_is_kept() {
        let mut inspector = Inspector::new(&key()).unwrap();
        let now = Instant::now();
        let keyframe = [24, 0, 1, 0x67, 0, 1, 0x68, 0, 1, 0x65];
        inspector.handle_packet(now, &packet(1, false, &keyframe));
        let later = now + std::time::Duration::from_secs(1);
        inspector.handle_packet(later, &packet(2, false, &keyframe));
        let findings = inspector.findings();
        assert_eq!(findings.first_keyframe, Some(now));
        assert_eq!(findings.units.keyframes, 2);
        assert_eq!(findings.refused, 0);
    }

    #[test]
    fn padding_alone_is_no_access_unit_and_no_loss() {
        let mut inspector = Inspector::new(&key()).unwrap();
        let now = Instant::now();
        inspector.handle_packet(now, &packet(1, false, &[0x41, 1]));
        inspector.handle_packet(now, &packet(2, true, &[0, 0, 3]));
        inspector.handle_packet(now, &packet(3, false, &[0x41, 1]));
        let units = inspector.findings().units;
        assert_eq!((units.whole, units.damaged, units.malformed), (2, 0, 0));
    }

    #[test]
    fn mark_is_found_although_it_is_in_two_packets() {
        let mut inspector = Inspector::new(&key()).unwrap();
        let mark = Mark {
            encoder: 1,
            number: 2,
            sent: 3,
        };
        let body = [0x17, 1, 0, 0, 0, 0, 0, 0, 2, 0x65, 9];
        let marked = mark.write(&body).unwrap();
        let (begin, end) = marked[10..].split_at(20);
        let now = Instant::now();
        let first = [&[0x7c, 0x85], begin].concat();
        inspector.handle_packet(now, &packet(1, true, &[&first[..], &[1]].concat()));
        inspector.handle_packet(now, &packet(2, false, &[&[0x7c, 0x45], end].concat()));
        assert_eq!(inspector.take_marks(), [(now, mark)]);
        assert!(inspector.take_marks().is_empty());
    }

    #[test]
    fn forged_packets_are_refused() {
        let mut inspector = Inspector::new(&key()).unwrap();
        let mut forged = packet(1, false, &[0x41, 1]);
        *forged.last_mut().unwrap() ^= 1;
        inspector.handle_packet(Instant::now(), &forged);
        inspector.handle_packet(Instant::now(), &packet(2, true, &[0, 99]));
        assert_eq!(inspector.findings().refused, 2);
        assert_eq!(inspector.findings().units, UnitCounts::default());
    }
}
