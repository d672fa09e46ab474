//! Who begins the handshake (RFC 4145 section 4, RFC 5763 section 5, RFC 8842 section 5).

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Side of a DTLS association.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DtlsRole {
    /// Sends the ClientHello.
    Client,
    /// Waits for it.
    Server,
}

/// The value of `a=setup` (RFC 4145 section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Setup {
    /// The endpoint will begin.
    Active,
    /// The endpoint will wait.
    Passive,
    /// The endpoint does either, the answerer decides: what offers ought to say.
    ActPass,
    /// No association for now.
    HoldConn,
}

/// Why no role follows from an offer. The offerer is at fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SetupError {
    /// No `a=setup`, though RFC 8842 section 5.2 requires one.
    #[error("the offer has no a=setup")]
    Missing,
    /// `holdconn`: no association is wanted (RFC 8842 section 5.2 forbids it).
    #[error("the offer says a=setup:holdconn")]
    HoldConn,
    /// None of the four values.
    #[error("the value of a=setup is none of active, passive, actpass, holdconn")]
    Unknown,
}

impl DtlsRole {
    /// The role of the answerer, and the `a=setup` that says so (RFC 8842 section 5.3).
    ///
    /// Where there is a choice the answerer is `passive`. RFC 5763 recommends `active`, to save half
    /// a round trip; but then a server would have to take RSA certificates of all kinds, and browsers
    /// begin at once when they have got a response to their first check.
    pub fn answer(offer: Option<Setup>) -> Result<(Self, Setup), SetupError> {
        match offer {
            Some(Setup::ActPass | Setup::Active) => Ok((Self::Server, Setup::Passive)),
            Some(Setup::Passive) => Ok((Self::Client, Setup::Active)),
            Some(Setup::HoldConn) => Err(SetupError::HoldConn),
            None => Err(SetupError::Missing),
        }
    }
}

impl Setup {
    /// Its name in SDP.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::ActPass => "actpass",
            Self::HoldConn => "holdconn",
        }
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Setup {
    type Err = SetupError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Active, Self::Passive, Self::ActPass, Self::HoldConn]
            .into_iter()
            .find(|setup| setup.name() == text)
            .ok_or(SetupError::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_follows_from_the_offer() {
        let rows = [
            (Some("actpass"), Ok((DtlsRole::Server, "passive"))),
            (Some("active"), Ok((DtlsRole::Server, "passive"))),
            (Some("passive"), Ok((DtlsRole::Client, "active"))),
            (Some("holdconn"), Err(SetupError::HoldConn)),
            (None, Err(SetupError::Missing)),
        ];
        for (offer, expected) in rows {
            let offer = offer.map(|text| text.parse().unwrap());
            let answer = DtlsRole::answer(offer).map(|(role, setup)| (role, setup.name()));
            assert_eq!(answer, expected, "{offer:?}");
        }
    }

    #[test]
    fn other_values_of_setup_are_refused() {
        for text in ["", "Active", "both", "active "] {
            assert_eq!(text.parse::<Setup>(), Err(SetupError::Unknown));
        }
    }
}
