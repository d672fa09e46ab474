//! The DTLS role.

/// Side of a DTLS association.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DtlsRole {
    /// Sends the ClientHello.
    Client,
    /// Waits for it.
    Server,
}
