//! Header extensions (RFC 8285) that are written, and the header as a template.

use std::time::Duration;

use crate::sdp::ExtensionId;

use super::RtpHeader;

/// Profile of the one-byte header form (RFC 8285 section 4.2).
const ONE_BYTE_PROFILE: [u8; 2] = [0xbe, 0xde];

/// Set in the first byte of the header when an extension follows it (RFC 3550 section 5.1).
const EXTENSION_BIT: u8 = 0x10;

/// Most bytes of an extension with the word in front of it. Every packet has room for it, and
/// [`HeaderTemplate::new`] omits elements that exceed it.
pub const MAX_EXTENSION: usize = 28;

/// Longest header with its extension.
pub const MAX_HEADER: usize = RtpHeader::LEN + MAX_EXTENSION;

/// Bytes of absolute capture times: one time, and the offset to the clock of its origin.
const CAPTURE_TIME_LEN: usize = 16;

/// The header extensions of one stream, with the ids that the offer gave them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamExtensions {
    /// Name of the stream's section (RFC 9143 section 15), which ties an SSRC to it.
    pub mid: Option<(ExtensionId, Mid)>,
    /// Send time of the packet, for a receiver's own estimate of the bandwidth.
    pub abs_send_time: Option<ExtensionId>,
    /// Sequence number of the transport (draft-holmer-rmcat-transport-wide-cc-extensions-01).
    pub transport_wide_cc: Option<ExtensionId>,
    /// Bounds for the delay that the receiver adds.
    pub playout_delay: Option<ExtensionId>,
    /// Capture time of the audio or video frame, by our clock.
    pub abs_capture_time: Option<ExtensionId>,
}

/// The value of `a=mid`, at most 16 bytes: the limit of the one-byte form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mid {
    bytes: [u8; 16],
    len: u8,
}

impl Mid {
    /// `None` when it is empty or too long.
    pub fn new(mid: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        bytes.get_mut(..mid.len())?.copy_from_slice(mid.as_bytes());
        (!mid.is_empty()).then_some(Self {
            bytes,
            len: mid.len() as u8,
        })
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// Bounds for the time from capture to rendering, each 12 bits of 10 ms
/// (<http://www.webrtc.org/experiments/rtp-hdrext/playout-delay>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayoutDelay {
    min: u16,
    max: u16,
}

impl PlayoutDelay {
    /// The longest delay that can be written, in milliseconds.
    pub const MAX_MILLIS: u64 = 0xfff * 10;

    /// Frames are shown as they arrive.
    pub const NONE: Self = Self { min: 0, max: 0 };

    /// No lower bound, and an upper one of ten seconds: players take an upper bound of half a
    /// second or less as a request to show frames without any smoothing.
    pub const SMOOTH: Self = Self { min: 0, max: 1000 };

    /// Bounds in milliseconds, rounded down to tens. `None` when the lower one is above the upper
    /// one, or one is above [`Self::MAX_MILLIS`].
    pub fn from_millis(min: u64, max: u64) -> Option<Self> {
        (min <= max && max <= Self::MAX_MILLIS).then_some(Self {
            min: (min / 10) as u16,
            max: (max / 10) as u16,
        })
    }

    /// Returns the bounds with another lower one, rounded down to tens of milliseconds and at most
    /// the upper one.
    pub fn with_min(self, min: Duration) -> Self {
        let min = u16::try_from(min.as_millis() / 10).unwrap_or(u16::MAX);
        Self {
            min: min.min(self.max),
            ..self
        }
    }

    /// Returns the lower bound.
    pub fn minimum(self) -> Duration {
        Duration::from_millis(10 * u64::from(self.min))
    }

    /// Returns whether the lower bound is zero.
    pub fn has_no_minimum(self) -> bool {
        self.min == 0
    }

    fn to_bytes(self) -> [u8; 3] {
        let [_, high, middle, low] =
            (u32::from(self.min) << 12 | u32::from(self.max)).to_be_bytes();
        [high, middle, low]
    }
}

/// The extensions of a packet that not every packet has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// The mid.
    pub announcement: bool,
    /// The bounds of the playout delay.
    pub playout_delay: Option<PlayoutDelay>,
    /// The capture time.
    pub capture_time: bool,
}

impl Extras {
    /// The extensions that announce a stream until a receiver report names it.
    pub const ANNOUNCEMENT: Self = Self {
        announcement: true,
        playout_delay: None,
        capture_time: false,
    };
}

/// The header of a stream's packets with everything that stays the same already written.
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                    fixed header, X set (12 bytes)             |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |       0xBE    |    0xDE       |           length in words     |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |  ID   | L-1   |  L bytes      |  ID   | L-1   |  ...  padding
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, Debug)]
pub struct HeaderTemplate {
    bytes: [u8; MAX_HEADER],
    len: usize,
    /// Offsets of the values that change per packet; `None` if the header has none.
    abs_send_time: Option<usize>,
    transport_wide_cc: Option<usize>,
    abs_capture_time: Option<usize>,
}

/// The header fields that change per packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketFields {
    /// Set on the last packet of a frame.
    pub marker: bool,
    /// Counts the packets of the stream.
    pub sequence: u16,
    /// Media clock of the first sample.
    pub timestamp: u32,
    /// When the packet is sent, in 2^-18 s modulo 64 s.
    pub send_time: u32,
    /// Counts the packets of the transport.
    pub transport_sequence: u16,
}

impl HeaderTemplate {
    /// Returns the header of a stream with the extensions that are in every packet, and with
    /// `extras` as far as they fit into [`MAX_EXTENSION`].
    pub fn new(payload_type: u8, ssrc: u32, extensions: &StreamExtensions, extras: Extras) -> Self {
        let fixed = RtpHeader {
            payload_type,
            marker: false,
            sequence: 0,
            timestamp: 0,
            ssrc,
        };
        let mut template = Self {
            bytes: [0; MAX_HEADER],
            len: RtpHeader::LEN + ONE_BYTE_PROFILE.len() + 2,
            abs_send_time: None,
            transport_wide_cc: None,
            abs_capture_time: None,
        };
        let StreamExtensions {
            mid,
            abs_send_time,
            transport_wide_cc,
            playout_delay,
            abs_capture_time,
        } = extensions;
        template.abs_send_time = abs_send_time.and_then(|id| template.push(id, &[0; 3]));
        template.transport_wide_cc = transport_wide_cc.and_then(|id| template.push(id, &[0; 2]));
        if let Some((id, mid)) = mid.filter(|_| extras.announcement) {
            template.push(id, mid.as_bytes());
        }
        if let Some((id, delay)) = playout_delay.zip(extras.playout_delay) {
            template.push(id, &delay.to_bytes());
        }
        if let Some(id) = abs_capture_time.filter(|_| extras.capture_time) {
            template.abs_capture_time = template.push(id, &[0; CAPTURE_TIME_LEN]);
        }
        template.finish(fixed);
        template
    }

    /// Appends an element. Returns where its value is, or `None` when there is no room.
    fn push(&mut self, id: ExtensionId, value: &[u8]) -> Option<usize> {
        let at = self.len + 1;
        let element = self.bytes.get_mut(self.len..at + value.len())?;
        // The length field counts from one (RFC 8285 section 4.2).
        *element.first_mut()? = id.get() << 4 | (value.len() - 1) as u8 & 0x0f;
        element.get_mut(1..)?.copy_from_slice(value);
        self.len = at + value.len();
        Some(at)
    }

    /// Pads the elements to whole words and writes the extension's header; without an element there
    /// is no extension.
    fn finish(&mut self, fixed: RtpHeader) {
        let elements = RtpHeader::LEN + 4;
        self.bytes[..RtpHeader::LEN].copy_from_slice(&fixed.to_bytes());
        if self.len == elements {
            self.len = RtpHeader::LEN;
            return;
        }
        self.len = self.len.next_multiple_of(4);
        let words = ((self.len - elements) / 4) as u16;
        self.bytes[0] |= EXTENSION_BIT;
        self.bytes[RtpHeader::LEN..][..2].copy_from_slice(&ONE_BYTE_PROFILE);
        self.bytes[RtpHeader::LEN + 2..][..2].copy_from_slice(&words.to_be_bytes());
    }

    /// Returns bytes of the header.
    #[allow(clippy::len_without_is_empty, reason = "a header is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether packets carry a sequence number of the transport.
    pub fn has_transport_sequence(&self) -> bool {
        self.transport_wide_cc.is_some()
    }

    /// Returns whether packets carry a capture time.
    pub fn has_capture_time(&self) -> bool {
        self.abs_capture_time.is_some()
    }

    /// Sets the capture time of the packets that follow, as an NTP timestamp
    /// (<http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time>). Its clock is the one of
    /// our sender reports, so the offset between the two is zero.
    pub fn set_capture_time(&mut self, ntp: u64) {
        if let Some(value) = self
            .abs_capture_time
            .and_then(|at| self.bytes.get_mut(at..at + 8))
        {
            value.copy_from_slice(&ntp.to_be_bytes());
        }
    }

    /// Writes the header of one packet to `out`, which has room for [`Self::len`] bytes.
    pub fn write(&self, fields: PacketFields, out: &mut [u8]) {
        out[..self.len].copy_from_slice(&self.bytes[..self.len]);
        out[1] |= u8::from(fields.marker) << 7;
        out[2..4].copy_from_slice(&fields.sequence.to_be_bytes());
        out[4..8].copy_from_slice(&fields.timestamp.to_be_bytes());
        if let Some(at) = self.abs_send_time {
            out[at..at + 3].copy_from_slice(&fields.send_time.to_be_bytes()[1..]);
        }
        if let Some(at) = self.transport_wide_cc {
            out[at..at + 2].copy_from_slice(&fields.transport_sequence.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: u8) -> ExtensionId {
        ExtensionId::new(id).unwrap()
    }

    fn all(mid: &str) -> StreamExtensions {
        StreamExtensions {
            mid: Some((id(4), Mid::new(mid).unwrap())),
            abs_send_time: Some(id(2)),
            transport_wide_cc: Some(id(3)),
            playout_delay: Some(id(5)),
            abs_capture_time: Some(id(12)),
        }
    }

    const FIELDS: PacketFields = PacketFields {
        marker: true,
        sequence: 0x1234,
        timestamp: 0x89ab_cdef,
        send_time: 0x00a1_b2c3,
        transport_sequence: 0x5678,
    };

    fn written(template: &HeaderTemplate) -> Vec<u8> {
        let mut out = vec![0xff; template.len()];
        template.write(FIELDS, &mut out);
        out
    }

    #[test]
    fn without_extensions_it_is_the_fixed_header() {
        let template = HeaderTemplate::new(108, 5, &StreamExtensions::default(), Extras::default());
        let header = RtpHeader {
            payload_type: 108,
            marker: true,
            sequence: 0x1234,
            timestamp: 0x89ab_cdef,
            ssrc: 5,
        };
        assert_eq!(written(&template), header.to_bytes());
        assert!(!template.has_transport_sequence() && !template.has_capture_time());
    }

    #[test]
    fn extensions_of_every_packet_take_three_words() {
        let template = HeaderTemplate::new(108, 5, &all("0"), Extras::default());
        let bytes = written(&template);
        assert_eq!(bytes[..2], [0x90, 0xec]);
        assert_eq!(
            bytes[12..],
            [
                0xbe, 0xde, 0, 2, // two words
                0x22, 0xa1, 0xb2, 0xc3, // id 2, three bytes
                0x31, 0x56, 0x78, 0, // id 3, two bytes, padding
            ]
        );
    }

    #[test]
    fn announcement_names_the_section_and_the_delay() {
        let extras = Extras {
            announcement: true,
            playout_delay: PlayoutDelay::from_millis(0, 200),
            capture_time: false,
        };
        let bytes = written(&HeaderTemplate::new(108, 5, &all("v1"), extras));
        assert_eq!(bytes[12..16], [0xbe, 0xde, 0, 4]);
        assert_eq!(bytes[23..26], [0x41, b'v', b'1']);
        // 0 and 20 times 10 ms in 12 bits each.
        assert_eq!(bytes[26..], [0x52, 0x00, 0x00, 0x14, 0, 0]);
    }

    #[test]
    fn capture_time_comes_with_a_zero_offset() {
        let extras = Extras {
            announcement: false,
            playout_delay: None,
            capture_time: true,
        };
        let mut template = HeaderTemplate::new(108, 5, &all("0"), extras);
        template.set_capture_time(0x1112_1314_1516_1718);
        let bytes = written(&template);
        assert_eq!(bytes.len(), MAX_HEADER);
        assert_eq!(bytes[23], 0xcf);
        assert_eq!(
            bytes[24..32],
            [0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]
        );
        assert_eq!(bytes[32..40], [0; 8]);
    }

    #[test]
    fn elements_that_do_not_fit_are_omitted() {
        let extras = Extras {
            announcement: true,
            playout_delay: PlayoutDelay::from_millis(0, 200),
            capture_time: true,
        };
        for mid in ["0", "video0", "sixteen-letters-"] {
            let template = HeaderTemplate::new(108, 5, &all(mid), extras);
            assert!(template.len() <= MAX_HEADER);
            assert!(!template.has_capture_time(), "{mid}");
            let bytes = written(&template);
            let words = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
            assert_eq!(bytes.len(), 16 + 4 * words);
            assert_eq!(bytes[24..24 + mid.len()], *mid.as_bytes());
        }
        assert_eq!(Mid::new("seventeen-letters"), None);
        assert_eq!(Mid::new(""), None);
    }

    #[test]
    fn bounds_of_the_delay_are_checked() {
        assert_eq!(PlayoutDelay::from_millis(20, 10), None);
        assert_eq!(PlayoutDelay::from_millis(0, 40_960), None);
        let delay = PlayoutDelay::from_millis(40, 40_950).unwrap();
        assert_eq!(delay.to_bytes(), [0x00, 0x4f, 0xff]);
    }
}
