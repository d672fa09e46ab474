//! Checks that H264 access units arrive complete (RFC 6184).

use distributary_webrtc::rtp::RtpHeader;

const IDR_SLICE: u8 = 5;
const SEQUENCE_PARAMETER_SET: u8 = 7;
const PICTURE_PARAMETER_SET: u8 = 8;
/// Aggregation packet (RFC 6184 section 5.7.1).
const STAP_A: u8 = 24;
/// Fragmentation unit (RFC 6184 section 5.8).
const FU_A: u8 = 28;

/// Assembles packets to access units and counts them by outcome. Nothing is copied: only the
///
/// Packets have to come in order. One that is late counts as lost, as it would be to a decoder that
/// cannot wait.
#[derive(Debug, Default)]
pub struct AccessUnitChecker {
    unit: Option<Unit>,
    next_sequence: Option<u16>,
    counts: UnitCounts,
}

/// Counts of access units by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnitCounts {
    /// Complete ones, keyframes included.
    pub whole: u64,
    /// Those with a packet missing.
    pub damaged: u64,
    /// Those whose packets all arrived and yet form no valid sequence of NAL units: the packetizer
    /// is at fault.
    pub malformed: u64,
    /// Complete ones with an IDR picture behind its parameter sets.
    pub keyframes: u64,
    /// Complete ones with an IDR picture that has no parameter sets before it.
    pub bare_keyframes: u64,
    /// True if the first access unit was a whole keyframe; `false` before it has ended.
    pub begins_with_keyframe: bool,
}

/// The access unit that is arriving.
#[derive(Debug)]
struct Unit {
    timestamp: u32,
    is_damaged: bool,
    is_malformed: bool,
    /// Type of the NAL unit whose last fragment has not arrived.
    fragmented: Option<u8>,
    has_sps: bool,
    has_pps: bool,
    idr: Idr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Idr {
    None,
    /// Both parameter sets came before.
    Prepared,
    Bare,
}

impl AccessUnitChecker {
    /// Takes the payload of a packet. `true`: with it, a keyframe is complete.
    pub fn handle_packet(&mut self, header: &RtpHeader, payload: &[u8]) -> bool {
        let is_continuous = self
            .next_sequence
            .is_none_or(|next| next == header.sequence);
        self.next_sequence = Some(header.sequence.wrapping_add(1));
        if let Some(unit) = &mut self.unit
            && unit.timestamp != header.timestamp
        {
            // The packet with the marker is among those that are missing, or was never sent.
            unit.is_damaged |= !is_continuous;
            unit.is_malformed = true;
            self.finish_unit();
        }
        let unit = self.unit.get_or_insert_with(|| Unit::new(header.timestamp));
        unit.is_damaged |= !is_continuous;
        if unit.take_payload(payload).is_none() {
            unit.is_malformed = true;
        }
        header.marker && self.finish_unit()
    }

    /// Takes a packet that carries nothing.
    pub fn skip(&mut self, header: &RtpHeader) {
        if self.next_sequence == Some(header.sequence) {
            self.next_sequence = Some(header.sequence.wrapping_add(1));
        }
    }

    /// Returns the counts so far.
    #[must_use]
    pub fn counts(&self) -> UnitCounts {
        self.counts
    }

    /// Counts the access unit; `true` if it is a whole keyframe with its parameter sets.
    fn finish_unit(&mut self) -> bool {
        let Some(unit) = self.unit.take() else {
            return false;
        };
        let counts = &mut self.counts;
        let is_first = counts.whole + counts.damaged + counts.malformed == 0;
        if unit.is_damaged {
            counts.damaged += 1;
            return false;
        }
        if unit.is_malformed || unit.fragmented.is_some() {
            counts.malformed += 1;
            return false;
        }
        counts.whole += 1;
        match unit.idr {
            Idr::None => return false,
            Idr::Bare => {
                counts.bare_keyframes += 1;
                return false;
            }
            Idr::Prepared => counts.keyframes += 1,
        }
        counts.begins_with_keyframe |= is_first;
        true
    }
}

impl Unit {
    fn new(timestamp: u32) -> Self {
        Self {
            timestamp,
            is_damaged: false,
            is_malformed: false,
            fragmented: None,
            has_sps: false,
            has_pps: false,
            idr: Idr::None,
        }
    }

    /// `None` if the payload does not go with those before it.
    fn take_payload(&mut self, payload: &[u8]) -> Option<()> {
        let (&first, rest) = payload.split_first()?;
        match nal_type(first)? {
            FU_A => self.take_fragment(*rest.first()?, rest.len()),
            _ if self.fragmented.take().is_some() => None,
            STAP_A => self.take_aggregate(rest),
            kind @ 1..=23 => {
                self.take_nal(kind);
                Some(())
            }
            _ => None,
        }
    }

    /// Each NAL unit of an aggregate is preceded by its size.
    fn take_aggregate(&mut self, mut rest: &[u8]) -> Option<()> {
        while let Some((&[high, low], behind)) = rest.split_first_chunk::<2>() {
            let (nal, behind) = behind.split_at_checked(u16::from_be_bytes([high, low]).into())?;
            self.take_nal(nal_type(*nal.first()?)?);
            rest = behind;
        }
        rest.is_empty().then_some(())
    }

    /// `header` is the FU header: start, end, reserved bit, type (RFC 6184 section 5.8).
    fn take_fragment(&mut self, header: u8, len: usize) -> Option<()> {
        let (is_start, is_end, kind) = (header & 0x80 != 0, header & 0x40 != 0, header & 0x1f);
        let is_valid = match self.fragmented.take() {
            None => is_start,
            Some(begun) => !is_start && begun == kind,
        };
        // A NAL unit that fits into one packet must not be fragmented, nor a fragment be empty.
        if !is_valid || (is_start && is_end) || len < 2 {
            return None;
        }
        if is_start {
            self.take_nal(kind);
        }
        self.fragmented = (!is_end).then_some(kind);
        Some(())
    }

    fn take_nal(&mut self, kind: u8) {
        match kind {
            SEQUENCE_PARAMETER_SET => self.has_sps = true,
            PICTURE_PARAMETER_SET => self.has_pps = true,
            IDR_SLICE if self.idr == Idr::None => {
                self.idr = if self.has_sps && self.has_pps {
                    Idr::Prepared
                } else {
                    Idr::Bare
                };
            }
            _ => {}
        }
    }
}

/// Returns the part of a packet's payload that belongs to a fragmented NAL unit; the whole payload if
/// it is no fragment.
pub(crate) fn fragment(payload: &[u8]) -> &[u8] {
    match payload {
        [first, _, rest @ ..] if nal_type(*first) == Some(FU_A) => rest,
        _ => payload,
    }
}

/// Type in the header of a NAL unit; `None` if the forbidden bit is set.
fn nal_type(header: u8) -> Option<u8> {
    (header & 0x80 == 0).then_some(header & 0x1f)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYFRAME: [&[u8]; 4] = [
        // SPS and PPS in one packet, then an IDR slice in three.
        &[24, 0, 2, 0x67, 1, 0, 3, 0x68, 2, 3],
        &[0x7c, 0x85, 1],
        &[0x7c, 0x05, 2],
        &[0x7c, 0x45, 3],
    ];

    struct Stream {
        checker: AccessUnitChecker,
        sequence: u16,
        timestamp: u32,
    }

    impl Stream {
        fn new() -> Self {
            Self {
                checker: AccessUnitChecker::default(),
                sequence: 0xfffe,
                timestamp: 0,
            }
        }

        /// Sends an access unit without the packets at `lost`. Says whether a keyframe is complete.
        fn send(&mut self, payloads: &[&[u8]], lost: &[usize]) -> bool {
            self.timestamp = self.timestamp.wrapping_add(3000);
            let mut completes = false;
            for (at, payload) in payloads.iter().enumerate() {
                let header = RtpHeader {
                    payload_type: 102,
                    marker: at + 1 == payloads.len(),
                    sequence: self.sequence,
                    timestamp: self.timestamp,
                    ssrc: 5,
                };
                self.sequence = self.sequence.wrapping_add(1);
                if !lost.contains(&at) {
                    completes |= self.checker.handle_packet(&header, payload);
                }
            }
            completes
        }
    }

    #[test]
    fn complete_units_are_counted_and_a_keyframe_is_reported() {
        let mut stream = Stream::new();
        assert!(stream.send(&KEYFRAME, &[]));
        assert!(!stream.send(&[&[0x41, 1, 2]], &[]));
        assert!(stream.send(&[&[0x67, 1], &[0x68, 1], &[0x65, 1], &[0x65, 1]], &[]));
        let expected = UnitCounts {
            whole: 3,
            keyframes: 2,
            begins_with_keyframe: true,
            ..UnitCounts::default()
        };
        assert_eq!(stream.checker.counts(), expected);
    }

    #[test]
    fn missing_packet_damages_only_its_access_unit() {
        for lost in 0..KEYFRAME.len() {
            let mut stream = Stream::new();
            stream.send(&[&[0x41, 1]], &[]);
            assert!(!stream.send(&KEYFRAME, &[lost]));
            stream.send(&[&[0x41, 1]], &[]);
            assert!(stream.send(&KEYFRAME, &[]));
            let counts = stream.checker.counts();
            assert_eq!(counts.keyframes, 1);
            assert_eq!(counts.malformed, 0, "packet {lost}");
            // Without the marker nobody knows to which unit a missing packet belonged.
            let damaged = if lost == 3 { 2 } else { 1 };
            assert_eq!(counts.damaged, damaged, "packet {lost}");
            assert!(!counts.begins_with_keyframe);
        }
    }

    #[test]
    fn packets_without_valid_nal_units_count_as_malformed() {
        let bad: [&[&[u8]]; 8] = [
            &[&[0x7c, 0x05, 1], &[0x7c, 0x45, 1]],
            &[&[0x7c, 0x85, 1]],
            &[&[0x7c, 0x85, 1], &[0x7c, 0x41, 1]],
            &[&[0x7c, 0x85, 1], &[0x41, 1]],
            &[&[0x7c, 0xc5, 1]],
            &[&[24, 0, 9, 0x67]],
            &[&[0xe5, 1]],
            &[&[]],
        ];
        for payloads in bad {
            let mut stream = Stream::new();
            assert!(!stream.send(payloads, &[]));
            let counts = stream.checker.counts();
            assert_eq!((counts.malformed, counts.whole), (1, 0), "{payloads:?}");
        }
    }

    #[test]
    fn idr_picture_needs_parameter_sets_before_it() {
        let mut stream = Stream::new();
        assert!(!stream.send(&[&[0x65, 1], &[0x67, 1], &[0x68, 1]], &[]));
        assert_eq!(stream.checker.counts().bare_keyframes, 1);
        assert_eq!(stream.checker.counts().keyframes, 0);
    }

    #[test]
    fn unit_without_an_end_is_malformed() {
        let mut stream = Stream::new();
        stream.send(&[&[0x41, 1], &[0x41, 1]], &[1]);
        stream.sequence = stream.sequence.wrapping_sub(1);
        stream.send(&[&[0x41, 1]], &[]);
        let counts = stream.checker.counts();
        assert_eq!((counts.malformed, counts.whole), (1, 1));
    }
}
