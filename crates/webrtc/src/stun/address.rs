//! The value of XOR-MAPPED-ADDRESS (RFC 8489 section 14.2).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |0 0 0 0 0 0 0 0|    Family     |         X-Port                |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                X-Address (32 or 128 bits)
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::layout::MAGIC_COOKIE;
use super::transaction::TransactionId;

const FAMILY_V4: u8 = 1;
const FAMILY_V6: u8 = 2;

/// Returns the address in an attribute's value, or `None` if the value is malformed.
pub(super) fn read_xor_mapped(value: &[u8], transaction: TransactionId) -> Option<SocketAddr> {
    let (&[_, family, port_hi, port_lo], address) = value.split_first_chunk()?;
    let port = u16::from_be_bytes([port_hi, port_lo]) ^ PORT_MASK;
    let ip = match family {
        FAMILY_V4 => {
            let bits = u32::from_be_bytes(address.try_into().ok()?);
            IpAddr::V4(Ipv4Addr::from_bits(bits ^ MAGIC_COOKIE))
        }
        FAMILY_V6 => {
            let bits = u128::from_be_bytes(address.try_into().ok()?);
            IpAddr::V6(Ipv6Addr::from_bits(bits ^ v6_mask(transaction)))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Appends the value for `address`.
///
/// Writes an IPv4-mapped IPv6 address, as a dual-stack socket reports it, as IPv4.
pub(super) fn write_xor_mapped(
    buffer: &mut Vec<u8>,
    address: SocketAddr,
    transaction: TransactionId,
) {
    let port = (address.port() ^ PORT_MASK).to_be_bytes();
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => {
            buffer.extend_from_slice(&[0, FAMILY_V4]);
            buffer.extend_from_slice(&port);
            buffer.extend_from_slice(&(ip.to_bits() ^ MAGIC_COOKIE).to_be_bytes());
        }
        IpAddr::V6(ip) => {
            buffer.extend_from_slice(&[0, FAMILY_V6]);
            buffer.extend_from_slice(&port);
            buffer.extend_from_slice(&(ip.to_bits() ^ v6_mask(transaction)).to_be_bytes());
        }
    }
}

/// The port is covered by the upper half of the magic cookie.
const PORT_MASK: u16 = (MAGIC_COOKIE >> 16) as u16;

/// Returns an IPv6 address is covered by the magic cookie followed by the transaction id.
fn v6_mask(transaction: TransactionId) -> u128 {
    transaction
        .0
        .iter()
        .fold(u128::from(MAGIC_COOKIE), |mask, &byte| {
            mask << 8 | u128::from(byte)
        })
}
