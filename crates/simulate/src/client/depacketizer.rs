//! Access units of H264 from their packets (RFC 6184).

use super::Played;
use super::receiver::InOrder;

const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// The access unit that is arriving.
#[derive(Debug, Default)]
pub(crate) struct Depacketizer {
    units: Vec<Vec<u8>>,
    timestamp: Option<i64>,
    /// Packets of this access unit, or before it, were lost.
    has_loss: bool,
    /// Packets of this access unit were lost, so that it is dropped.
    is_damaged: bool,
    is_fragment_open: bool,
    /// A packet has come.
    has_begun: bool,
}

impl Depacketizer {
    /// Handles the next packet. Returns the access unit that it completes.
    ///
    /// # Errors
    /// Returns the reason if packets without loss between them form no access unit.
    pub(crate) fn handle(&mut self, packet: &InOrder) -> Result<Option<Played>, String> {
        let is_new = self.timestamp != Some(packet.timestamp);
        // Packets before the first one may be lost as well.
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        if packet.after_loss || is_first {
            // Where the units of the lost packets began and ended is not known.
            self.begin(packet.timestamp);
            self.has_loss = !is_first;
            self.is_damaged = !begins_frame(&packet.payload);
        } else if is_new {
            // A viewer that is too far behind goes on at a keyframe, also from within a frame. The
            // part of it that was sent is dropped, so nothing may refer to it.
            self.begin(packet.timestamp);
        }
        if packet.payload.is_empty() {
            return Ok(None);
        }
        if !self.is_damaged && self.take(&packet.payload).is_none() {
            return Err(format!(
                "the payload of a packet does not follow the one before: {:02x?}",
                packet.payload.get(..4)
            ));
        }
        if !packet.marker {
            return Ok(None);
        }
        let units = std::mem::take(&mut self.units);
        self.timestamp = None;
        if std::mem::take(&mut self.is_damaged) {
            self.has_loss = true;
            return Ok(None);
        }
        if self.is_fragment_open {
            return Err("an access unit ends within a fragmented unit".to_owned());
        }
        Ok(Some(Played::Video {
            units,
            timestamp: packet.timestamp,
            after_loss: std::mem::take(&mut self.has_loss),
        }))
    }

    fn begin(&mut self, timestamp: i64) {
        self.units.clear();
        self.is_fragment_open = false;
        self.is_damaged = false;
        self.timestamp = Some(timestamp);
    }

    fn take(&mut self, payload: &[u8]) -> Option<()> {
        let (first, rest) = payload.split_first()?;
        match first & 0x1f {
            STAP_A => {
                let mut rest = rest;
                while let Some((len, behind)) = rest.split_first_chunk::<2>() {
                    let len = usize::from(u16::from_be_bytes(*len));
                    let (unit, behind) = behind.split_at_checked(len)?;
                    self.units.push(unit.to_vec());
                    rest = behind;
                }
                (!self.is_fragment_open).then_some(())
            }
            FU_A => {
                let (header, rest) = rest.split_first()?;
                let (is_start, is_end) = (header & 0x80 != 0, header & 0x40 != 0);
                if is_start == self.is_fragment_open {
                    return None;
                }
                if is_start {
                    self.units.push(vec![first & 0xe0 | header & 0x1f]);
                }
                self.units.last_mut()?.extend_from_slice(rest);
                self.is_fragment_open = !is_end;
                Some(())
            }
            1..=23 => {
                self.units.push(payload.to_vec());
                (!self.is_fragment_open).then_some(())
            }
            _ => None,
        }
    }
}

/// Returns whether a payload is the first one of a frame: the simulation's frames have one slice,
/// and keyframes begin with their parameter sets.
fn begins_frame(payload: &[u8]) -> bool {
    match payload {
        [first, header, ..] if first & 0x1f == FU_A => header & 0x9f == 0x81,
        [first, ..] => matches!(first & 0x1f, STAP_A | 1 | 7),
        [] => false,
    }
}
