//! S1, the server's packet.

use rand::rngs::StdRng;

use super::digest::{Schema, Signer};
use super::mac::Digest;
use super::packet::{Packet, random_packet};
use super::rtmpe::KeyExchange;

/// The version in an S1 with digest. Clients look for one in S2 only where this is at least 3.
const SERVER_VERSION: [u8; 4] = [3, 5, 7, 0];

/// Returns an S1 with digest and public key.
///
/// ffmpeg as a publisher uses the key-first schema and yet looks for the server's key where the
/// other schema has it. So the key is at both positions, in a packet drawn such that digest,
/// keys and the offset bytes do not overlap.
pub(super) fn encrypted_hello(
    schema: Schema,
    exchange: &KeyExchange,
    random: &mut StdRng,
) -> (Packet, Digest) {
    loop {
        let mut packet = server_packet(random);
        let key_ranges = Schema::ALL.map(|schema| schema.key_range(&packet));
        for range in &key_ranges {
            packet[range.clone()].copy_from_slice(exchange.public());
        }
        let digest = schema.sign(&mut packet, Signer::FlashMediaServer);
        // Digest and keys are looked for again, since one may have overwritten another.
        let found = Schema::ALL.map(|schema| schema.key_range(&packet));
        let intact = found == key_ranges
            && found
                .into_iter()
                .all(|range| packet[range] == *exchange.public())
            && schema.verify(&packet, Signer::FlashMediaServer).is_some();
        if intact {
            return (packet, digest);
        }
    }
}

/// Returns an S1 that is still to be signed.
pub(super) fn server_packet(random: &mut StdRng) -> Packet {
    let mut packet = random_packet(random);
    packet[..4].fill(0);
    packet[4..8].copy_from_slice(&SERVER_VERSION);
    packet
}
