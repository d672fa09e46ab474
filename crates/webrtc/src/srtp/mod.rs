//! SRTP and SRTCP (RFC 3711, RFC 7714).
//!
//! RTP packets are sealed in place, in the buffer they are sent from, without an allocation.
//!
//! * [`profile`]: the protection profiles of DTLS-SRTP and their master keys.
//! * `kdf`: session keys from a master key.
//! * `gcm`: AES in Galois/counter mode.
//! * `cm`: AES in counter mode with HMAC-SHA1.
//! * [`rtp`]: sealing RTP.
//! * [`rtcp`]: sealing and opening RTCP, with replay protection.

mod cm;
mod gcm;
mod kdf;
pub mod profile;
pub mod rtcp;
pub mod rtp;
#[cfg(test)]
pub(crate) mod test_support;

pub use profile::{MasterKey, SrtpKeys, SrtpProfile};
pub use rtcp::{SrtcpError, SrtcpOpener, SrtcpSealer};
pub use rtp::SrtpSealer;
