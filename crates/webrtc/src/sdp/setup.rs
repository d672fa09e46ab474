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
    /// Returns our role for the player's `a=setup`.
    ///
    /// Passive if there is a choice: the player learns our address from the answer and can send its
    /// ClientHello with the first pair that works, and a DTLS server with an ECDSA certificate also
    /// supports players that bring an RSA certificate or only ECDSA suites.
    pub fn answer(self) -> Self {
        match self {
            Self::ActPass | Self::Active => Self::Passive,
            Self::Passive => Self::Active,
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

    /// `holdconn` is refused with the unknown values: a session that must not connect plays nothing.
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
        for (offered, answered) in [
            ("actpass", Ok("passive")),
            ("active", Ok("passive")),
            ("passive", Ok("active")),
            ("holdconn", Err(TransportError::UnusableSetup)),
            ("", Err(TransportError::UnusableSetup)),
            ("ACTPASS", Err(TransportError::UnusableSetup)),
        ] {
            let ours = offered
                .parse::<Setup>()
                .map(|setup| setup.answer().to_string());
            assert_eq!(ours, answered.map(str::to_owned), "{offered}");
        }
    }
}
