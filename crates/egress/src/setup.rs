//! Our DTLS role towards viewers that leave it open.

use distributary_webrtc::dtls::DtlsRole;
use serde::{Deserialize, Serialize};

use crate::session::ViewerOptions;

/// The DTLS role (`a=setup`, RFC 8842) in the answer to an offer that leaves it open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SetupChoice {
    /// Active towards players that are known to support early media, else passive.
    #[default]
    Auto,
    /// The player sends the ClientHello.
    Passive,
    /// We send it.
    Active,
}

impl SetupChoice {
    /// Returns our role towards a viewer that leaves it open.
    pub(crate) fn role(self, options: &ViewerOptions) -> DtlsRole {
        let is_active = match self {
            Self::Auto => options.early_media,
            Self::Passive => false,
            Self::Active => true,
        };
        if is_active {
            DtlsRole::Client
        } else {
            DtlsRole::Server
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_is_active_where_early_media_is_supported_or_configured() {
        let role = |choice: SetupChoice, early_media| {
            choice.role(&ViewerOptions {
                early_media,
                ..ViewerOptions::default()
            })
        };
        for (choice, supported, unknown) in [
            (SetupChoice::Auto, DtlsRole::Client, DtlsRole::Server),
            (SetupChoice::Passive, DtlsRole::Server, DtlsRole::Server),
            (SetupChoice::Active, DtlsRole::Client, DtlsRole::Client),
        ] {
            assert_eq!(role(choice, true), supported);
            assert_eq!(role(choice, false), unknown);
        }
    }
}
