//! ICE user name fragment and password (RFC 8839 section 5.4).

use std::fmt;
use std::ops::RangeInclusive;

use super::TransportError;

/// Length of `ice-ufrag` in characters.
const UFRAG_LENGTH: RangeInclusive<usize> = 4..=256;

/// Length of `ice-pwd` in characters.
const PWD_LENGTH: RangeInclusive<usize> = 22..=256;

/// One side's short-term credentials for connectivity checks.
#[derive(Clone, PartialEq, Eq)]
pub struct IceCredentials {
    ufrag: String,
    pwd: String,
}

impl IceCredentials {
    /// Checks lengths and characters.
    ///
    /// # Errors
    /// [`TransportError::InvalidIceCredentials`] when one of the two breaks RFC 8839 section 5.4.
    pub fn new(ufrag: impl Into<String>, pwd: impl Into<String>) -> Result<Self, TransportError> {
        let (ufrag, pwd) = (ufrag.into(), pwd.into());
        let valid = UFRAG_LENGTH.contains(&ufrag.len())
            && PWD_LENGTH.contains(&pwd.len())
            && ufrag.bytes().chain(pwd.bytes()).all(is_ice_char);
        if valid {
            Ok(Self { ufrag, pwd })
        } else {
            Err(TransportError::InvalidIceCredentials)
        }
    }

    /// User name fragment.
    pub fn ufrag(&self) -> &str {
        &self.ufrag
    }

    /// Password.
    pub fn pwd(&self) -> &str {
        &self.pwd
    }
}

impl fmt::Debug for IceCredentials {
    /// Leaves the password out: it is a secret, and debug output ends in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceCredentials")
            .field("ufrag", &self.ufrag)
            .finish_non_exhaustive()
    }
}

/// `ice-char` of RFC 8839 section 5.4, and `-`, `_` and `=`, which Base64 of other kinds brings:
/// libwebrtc lets them pass since some players send them, and they do no harm.
fn is_ice_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    const PWD: &str = "Et10YUA0lytuQL/yBhswHO1e";

    #[test]
    fn credentials_need_the_lengths_of_the_specification() {
        assert!(IceCredentials::new("CXKY", PWD).is_ok());
        assert!(IceCredentials::new("CXK", PWD).is_err());
        assert!(IceCredentials::new("x".repeat(256), "y".repeat(256)).is_ok());
        assert!(IceCredentials::new("x".repeat(257), PWD).is_err());
        assert!(IceCredentials::new("CXKY", &PWD[..21]).is_err());
        assert!(IceCredentials::new("CX Y", PWD).is_err());
        assert!(IceCredentials::new("CX:Y", PWD).is_err());
    }

    #[test]
    fn the_password_stays_out_of_debug_output() {
        let credentials = IceCredentials::new("CXKY", PWD).unwrap();
        let shown = format!("{credentials:?}");
        assert!(
            shown.contains("CXKY") && !shown.contains("Et10YUA0"),
            "{shown}"
        );
    }
}
