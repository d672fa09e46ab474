//! The packets of a handshake (RTMP 1.0 section 5.2).

use rand::Rng;
use rand::rngs::StdRng;

/// Length of C1, C2, S1 and S2, in bytes.
pub(super) const PACKET_LEN: usize = 1536;

/// C1, C2, S1 or S2.
pub(super) type Packet = [u8; PACKET_LEN];

/// Length of a Diffie-Hellman public key in a key block.
pub(super) const KEY_LEN: usize = 128;

/// Returns a packet of random bytes.
pub(super) fn random_packet(random: &mut StdRng) -> Packet {
    let mut packet = [0; PACKET_LEN];
    random.fill_bytes(&mut packet);
    packet
}
