//! RTP header extensions (`a=extmap`, RFC 8285 section 5).

use super::direction::Direction;

/// Longest extension name that is kept.
const MAX_URI_BYTES: usize = 256;

/// Header extensions that the gateway supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HeaderExtension {
    /// The `mid` of the section a packet belongs to (RFC 9143 section 15).
    Mid,
    /// When the packet was sent, as a 24-bit fraction of 64 seconds.
    AbsSendTime,
    /// When the frame was captured, by the wall clock of the sender.
    AbsCaptureTime,
    /// Bounds for the delay between capture and rendering.
    PlayoutDelay,
    /// Sequence number over all packets of the transport, for congestion feedback.
    TransportWideCc,
}

impl HeaderExtension {
    /// Returns the name in `a=extmap`.
    pub fn uri(self) -> &'static str {
        match self {
            Self::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            Self::AbsSendTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            Self::AbsCaptureTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
            Self::PlayoutDelay => "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
            Self::TransportWideCc => {
                "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
            }
        }
    }
}

/// Id of an extension in the one-byte header form, 1 to 14 (RFC 8285 section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExtensionId(u8);

impl ExtensionId {
    /// `None` when the id does not fit the one-byte form.
    pub fn new(id: u8) -> Option<Self> {
        (1..=14).contains(&id).then_some(Self(id))
    }

    /// Returns the number.
    pub fn get(self) -> u8 {
        self.0
    }
}

/// One `a=extmap` line that we may answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionMapping {
    /// The id that the player gives it; an answer to an offer must use the same (RFC 8285 section
    /// 6).
    pub id: ExtensionId,
    /// Its name.
    pub uri: String,
    /// The direction, where the line has one; the player's view.
    pub direction: Option<Direction>,
}

impl ExtensionMapping {
    /// Reads `<id>["/"<direction>] <uri> [<attributes>]`. `None` when it cannot be read, needs the
    /// two-byte form, or is nothing the player would receive.
    pub(super) fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_whitespace();
        let (head, uri) = (words.next()?, words.next()?);
        let (id, direction) = match head.split_once('/') {
            Some((id, direction)) => (id, Some(Direction::from_name(direction)?)),
            None => (head, None),
        };
        if uri.len() > MAX_URI_BYTES || direction.is_some_and(|direction| !direction.receives()) {
            return None;
        }
        Some(Self {
            id: ExtensionId::new(id.parse().ok()?)?,
            uri: uri.to_owned(),
            direction,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extension_is_read_with_its_id_and_direction() {
        let plain = ExtensionMapping::parse("4 urn:ietf:params:rtp-hdrext:sdes:mid").unwrap();
        assert_eq!((plain.id.get(), plain.direction), (4, None));
        assert_eq!(plain.uri, HeaderExtension::Mid.uri());
        let directed = ExtensionMapping::parse("14/recvonly urn:x with attributes").unwrap();
        assert_eq!(
            (directed.id.get(), directed.direction),
            (14, Some(Direction::RecvOnly))
        );
    }

    #[test]
    fn extensions_that_cannot_be_answered_are_skipped() {
        for bad in [
            "",
            "4",
            "0 urn:x",
            "15 urn:x",
            "256 urn:x",
            "-1 urn:x",
            "4/sendonly urn:x",
            "4/inactive urn:x",
            "4/up urn:x",
        ] {
            assert_eq!(ExtensionMapping::parse(bad), None, "{bad}");
        }
    }
}
