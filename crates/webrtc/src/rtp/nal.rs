//! The common part of the payload formats of H.264 (RFC 6184) and H.265 (RFC 7798): NAL units
//! travel alone, several in one packet, or one in several packets.

use bytes::{BufMut, Bytes, BytesMut};

use super::payload::{Payload, equal_parts};

/// First fragment of a NAL unit, in the FU header.
pub(super) const FU_START: u8 = 0x80;
/// Last fragment of a NAL unit, in the FU header.
pub(super) const FU_END: u8 = 0x40;

/// The differences between the two formats. `LEN` is the length in bytes of a NAL unit's header and
/// of a payload's header.
pub(super) trait NalFormat<const LEN: usize> {
    /// Returns whether the unit's type is not one that RTP reserves.
    fn is_sendable(unit: &[u8]) -> bool;

    /// Returns the header of a packet that carries all of `units`.
    fn aggregation_header(units: &[Bytes]) -> [u8; LEN];

    /// Returns the header of the packets that carry a part of a unit, and the type of the unit, for
    /// the FU header.
    fn fragment_header(unit: &[u8]) -> ([u8; LEN], u8);
}

/// Cuts one access unit into payloads of at most `max_payload` bytes.
///
/// NAL units that fit together travel together, as parameter sets in front of a keyframe do; one
/// that fits alone travels as it is; a larger one is cut into fragments of equal size, the last one
/// perhaps shorter: the form that segmentation offload sends with one call. The order is kept. NAL
/// units that cannot be sent are skipped.
pub(super) fn packetize<F: NalFormat<LEN>, const LEN: usize>(
    units: &[Bytes],
    max_payload: usize,
    mut emit: impl FnMut(Payload),
) {
    let mut rest = units;
    while let Some(unit) = rest.first() {
        let together = aggregated::<F, LEN>(rest, max_payload);
        match together {
            _ if !F::is_sendable(unit) => {}
            0 | 1 if unit.len() <= max_payload => emit(Payload::whole(unit.clone())),
            0 | 1 => fragment::<F, LEN>(unit, max_payload, &mut emit),
            _ => emit(aggregate::<F, LEN>(&rest[..together])),
        }
        rest = &rest[together.max(1)..];
    }
}

/// Returns the number of leading NAL units that fit into one packet together.
fn aggregated<F: NalFormat<LEN>, const LEN: usize>(units: &[Bytes], max_payload: usize) -> usize {
    let mut len = LEN;
    units
        .iter()
        .take_while(|unit| {
            len += 2 + unit.len();
            F::is_sendable(unit) && len <= max_payload
        })
        .count()
}

/// ```text
/// +----------------+-------------------+----------+-------------------+---
/// | payload header |  size of unit 1   |  unit 1  |  size of unit 2   | ...
/// +----------------+-------------------+----------+-------------------+---
/// ```
fn aggregate<F: NalFormat<LEN>, const LEN: usize>(units: &[Bytes]) -> Payload {
    let len = units.iter().map(|unit| 2 + unit.len()).sum::<usize>();
    let mut body = BytesMut::with_capacity(LEN + len);
    body.put_slice(&F::aggregation_header(units));
    for unit in units {
        // A unit in an aggregate is shorter than a datagram.
        body.put_u16(unit.len() as u16);
        body.put_slice(unit);
    }
    Payload::whole(body.freeze())
}

/// ```text
/// +----------------+---------------+
/// | payload header |S|E|   Type    |   a part of the NAL unit behind its header
/// +----------------+---------------+
/// ```
fn fragment<F: NalFormat<LEN>, const LEN: usize>(
    unit: &Bytes,
    max_payload: usize,
    emit: &mut impl FnMut(Payload),
) {
    let (header, kind) = F::fragment_header(unit);
    // Both formats' headers, and the FU header.
    let mut prefix = [0; 3];
    prefix[..LEN].copy_from_slice(&header);
    let body = unit.slice(LEN..);
    for part in equal_parts(body.len(), max_payload.saturating_sub(LEN + 1)) {
        let mut fu_header = kind;
        if part.start == 0 {
            fu_header |= FU_START;
        }
        if part.end == body.len() {
            fu_header |= FU_END;
        }
        prefix[LEN] = fu_header;
        emit(Payload::prefixed(&prefix[..=LEN], body.slice(part)));
    }
}
