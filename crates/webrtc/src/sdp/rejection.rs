//! The sections of a description that are not used, and why.

use std::fmt;

use super::direction::Direction;
use super::media_kind::MediaKind;
use super::token::Token;

/// A section of a player's description that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedMedia {
    /// Index in the description, from 0.
    pub index: usize,
    /// Its media type.
    pub kind: MediaKind,
    /// Its name.
    pub mid: Option<Token>,
    /// The reason.
    pub reason: Rejection,
}

impl fmt::Display for RejectedMedia {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "m={} (number {}): {}",
            self.kind,
            self.index + 1,
            self.reason
        )
    }
}

/// The reason why a section is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// Neither audio, video nor a data channel.
    UnsupportedKind,
    /// A data channel without anything of the stream beside it.
    DataAlone,
    /// The transport protocol is not RTP over DTLS-SRTP.
    UnsupportedProtocol(String),
    /// Port 0 and no `a=bundle-only` in a BUNDLE group: the player does not want it.
    Disabled,
    /// The player does not receive on it.
    NotReceiving(Direction),
    /// The stream has no such medium.
    NotInStream,
    /// No usable payload type of the codec that the stream has.
    NoCodec {
        /// The codec that is needed.
        needed: &'static str,
        /// The encoding names that were offered instead.
        offered: Vec<String>,
    },
    /// There is one video and one audio track, and another section carries it.
    Surplus,
    /// Not in the BUNDLE group of the section that was accepted, so that it would need a second
    /// connection.
    NotBundled,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnsupportedKind => f.write_str("only audio, video and data channels are served"),
            Self::DataAlone => f.write_str("a data channel is served beside audio or video only"),
            Self::UnsupportedProtocol(protocol) => {
                write!(f, "`{protocol}` is not served, use `UDP/TLS/RTP/SAVPF`")
            }
            Self::Disabled => f.write_str("its port is 0"),
            Self::NotReceiving(direction) => {
                write!(
                    f,
                    "it is {direction}, a player must offer recvonly or sendrecv"
                )
            }
            Self::NotInStream => f.write_str("the stream has none"),
            Self::NoCodec { needed, offered } if offered.is_empty() => {
                write!(f, "{needed} is needed, no codec is offered")
            }
            Self::NoCodec { needed, offered } => {
                write!(f, "{needed} is needed, offered are {}", offered.join(", "))
            }
            Self::Surplus => f.write_str("one section of each kind is served"),
            Self::NotBundled => f.write_str("it is not in one BUNDLE group with the other section"),
        }
    }
}
