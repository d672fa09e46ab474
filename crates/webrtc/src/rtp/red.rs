//! Redundant audio (RFC 2198): each packet carries the previous one as well.

use bytes::{BufMut, BytesMut};

use super::Payload;

/// Set in a block's header when another block follows.
const FOLLOWED: u8 = 0x80;

/// Bytes of the header of a redundant block.
const HEADER_LEN: usize = 4;

/// Farthest back, in ticks of the media clock, that a redundant block can be (14 bits).
const MAX_OFFSET: u32 = 0x3fff;

/// Longest redundant block (10 bits).
const MAX_BLOCK: usize = 0x3ff;

/// Returns the payload of a packet with `block`, and with the block before it if that fits into
/// `max_payload` bytes; `before` is how many ticks earlier it begins, and itself. The payload types
/// are left zero, as each viewer has its own: see [`set_payload_type`].
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |1|   block PT  |  timestamp offset         |   block length    |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |0|   block PT  |  redundant block ...   |  block ...
/// +-+-+-+-+-+-+-+-+
/// ```
pub fn payload(block: &[u8], before: Option<(u32, &[u8])>, max_payload: usize) -> Payload {
    let fits = |(offset, older): &(u32, &[u8])| {
        *offset <= MAX_OFFSET
            && (1..=MAX_BLOCK).contains(&older.len())
            && HEADER_LEN + 1 + older.len() + block.len() <= max_payload
    };
    let Some((offset, older)) = before.filter(fits) else {
        let mut body = BytesMut::with_capacity(1 + block.len());
        body.put_u8(0);
        body.put_slice(block);
        return Payload::whole(body.freeze());
    };
    let mut body = BytesMut::with_capacity(HEADER_LEN + 1 + older.len() + block.len());
    body.put_u32(u32::from(FOLLOWED) << 24 | offset << 10 | older.len() as u32);
    body.put_u8(0);
    body.put_slice(older);
    body.put_slice(block);
    Payload::whole(body.freeze())
}

/// Writes the payload type of the blocks into a payload.
pub fn set_payload_type(payload: &mut [u8], payload_type: u8) {
    let has_redundancy = payload.first().is_some_and(|first| first & FOLLOWED != 0);
    let headers = if has_redundancy {
        [0, HEADER_LEN]
    } else {
        [0, 0]
    };
    for at in headers {
        if let Some(header) = payload.get_mut(at) {
            *header |= payload_type & 0x7f;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(block: &[u8], before: Option<(u32, &[u8])>, max: usize) -> Vec<u8> {
        let payload = payload(block, before, max);
        let mut bytes = vec![0; payload.len()];
        payload.copy_to(&mut bytes);
        set_payload_type(&mut bytes, 111);
        bytes
    }

    #[test]
    fn previous_frame_is_in_front_with_its_offset_and_length() {
        // 960 << 10 | 3, behind the bit and the payload type.
        assert_eq!(
            bytes(&[7, 8], Some((960, &[4, 5, 6])), 100),
            [0x80 | 111, 0x0f, 0x00, 0x03, 111, 4, 5, 6, 7, 8]
        );
    }

    #[test]
    fn previous_frame_that_does_not_fit_is_omitted() {
        let alone = [111, 7, 8];
        assert_eq!(bytes(&[7, 8], None, 100), alone);
        assert_eq!(bytes(&[7, 8], Some((960, &[4, 5, 6])), 9), alone);
        assert_eq!(bytes(&[7, 8], Some((16_384, &[4])), 100), alone);
        assert_eq!(bytes(&[7, 8], Some((960, &[4; 1024])), 2000), alone);
        assert_eq!(bytes(&[7, 8], Some((960, &[])), 2000), alone);
    }
}
