//! The DTLS roles (`a=setup`, RFC 4145, RFC 8842).

use std::fmt;
use std::str::FromStr;

use super::TransportError;
use crate::dtls::DtlsRole;

/// Value of `a=setup`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Setup {
    /// Sends the ClientHello.
    Active,
    /// Waits for the ClientHello.
    Passive,
    /// Leaves the choice to the answerer.
    ActPass,
}

impl Setup {
    /// Returns our answer to the player's `a=setup`. `open` is our role if it leaves the choice.
    ///
    /// As the client we send the ClientHello with the response to the first check and media behind
    /// our Finished, a round trip before the handshake is complete. As the server we also support
    /// players that bring an RSA certificate or only ECDSA suites.
    pub fn answer(self, open: DtlsRole) -> Self {
        match (self, open) {
            (Self::Active, _) | (Self::ActPass, DtlsRole::Server) => Self::Passive,
            (Self::Passive, _) | (Self::ActPass, DtlsRole::Client) => Self::Active,
        }
    }
}

impl DtlsRole {
    /// Returns the role of an answer with this `a=setup`. An answer never leaves it open.
    pub fn of_answer(setup: Setup) -> Self {
        match setup {
            Setup::Active => Self::Client,
            Setup::Passive | Setup::ActPass => Self::Server,
        }
    }
}

impl FromStr for Setup {
    type Err = TransportError;

    /// `holdconn` is refused with the unknown values: a session that must not connect plays
    /// nothing.
    fn from_str(value: &str) -> Result<Self, TransportError> {
        match value.trim() {
            "active" => Ok(Self::Active),
            "passive" => Ok(Self::Passive),
            "actpass" => Ok(Self::ActPass),
            _ => Err(TransportError::UnusableSetup),
        }
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::ActPass => "actpass",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_takes_the_role_that_the_offer_leaves_to_it() {
        for (offered, as_server, as_client) in [
            ("actpass", "passive", "active"),
            ("active", "passive", "passive"),
            ("passive", "active", "active"),
        ] {
            let offered: Setup = offered.parse().unwrap();
            let answer = |open| offered.answer(open).to_string();
            assert_eq!(answer(DtlsRole::Server), as_server, "{offered}");
            assert_eq!(answer(DtlsRole::Client), as_client, "{offered}");
        }
    }

    #[test]
    fn other_values_are_refused() {
        for value in ["holdconn", "", "ACTPASS"] {
            let setup: Result<Setup, _> = value.parse();
            assert_eq!(setup, Err(TransportError::UnusableSetup), "{value}");
        }
    }
}
