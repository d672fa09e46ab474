//! One `m=` section of a player's session description.

use ::sdp::description::common::Attribute;

use super::attributes::{value_of, values_of};
use super::direction::Direction;
use super::media_kind::MediaKind;
use super::normalize::MediaLine;
use super::{
    CodecParameters, ExtensionMapping, SdpError, Setup, Token, TransportError, codec, data,
};
use crate::certificate::Fingerprint;
use crate::data::DataConfig;
use crate::ice::Credentials;

/// Most fingerprints of one section; players send one to three.
const MAX_FINGERPRINTS: usize = 8;

/// One `m=` section of a player's session description, with the session-level attributes that apply
/// to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaSection {
    /// Media type.
    pub kind: MediaKind,
    /// Port of the `m=` line: 0 when the section is disabled, or has no transport of its own
    /// (`bundle_only`).
    pub port: u16,
    /// Transport protocol as written: `UDP/TLS/RTP/SAVPF`.
    pub protocol: String,
    /// Formats of the `m=` line, never empty.
    pub formats: Vec<String>,
    /// Name of the section.
    pub mid: Option<Token>,
    /// The player's view: `RecvOnly` for one that wants to watch.
    pub direction: Direction,
    /// The section is to be used only as a member of its BUNDLE group (RFC 9143 section 6).
    pub bundle_only: bool,
    /// RTP and RTCP on one port (RFC 5761, RFC 8858).
    pub rtcp_mux: bool,
    /// RTCP packets of reduced size (RFC 5506).
    pub rtcp_rsize: bool,
    /// The player sends its reference time to learn the round-trip time (RFC 3611 section 5.1).
    pub rtcp_xr_rcvr_rtt: bool,
    /// Payload types that were described in full, in order of preference.
    pub codecs: Vec<CodecParameters>,
    /// Header extensions.
    pub extensions: Vec<ExtensionMapping>,
    /// The SCTP association, where the section is that of a data channel.
    pub data: Option<DataConfig>,
    /// The player's end of the connection, or the part that the section lacks for it.
    pub transport: Result<RemoteTransport, TransportError>,
}

/// The player's end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteTransport {
    /// The player's credentials.
    pub ice: Credentials,
    /// Fingerprints of the player's certificate, at least one.
    pub fingerprints: Vec<Fingerprint>,
    /// The player's DTLS role.
    pub setup: Setup,
}

impl MediaSection {
    /// Returns the payload type of the retransmissions of `payload_type` (RFC 4588 section 8.6).
    pub fn rtx_payload_type(&self, payload_type: u8) -> Option<u8> {
        let apt = payload_type.to_string();
        let mut rtx = self
            .codecs
            .iter()
            .filter(|codec| codec.name().eq_ignore_ascii_case("rtx"));
        rtx.find(|codec| codec.parameter("apt") == Some(&apt))
            .map(|codec| codec.payload_type)
    }

    /// Returns the payload type of RED packets with blocks of `payload_type` only (RFC 2198 section
    /// 5: `a=fmtp:<RED> 111/111`).
    pub fn red_payload_type(&self, payload_type: u8) -> Option<u8> {
        let block = payload_type.to_string();
        let is_of_blocks = |fmtp: &str| fmtp.split('/').all(|number| number.trim() == block);
        let mut codecs = self.codecs.iter();
        let red = codecs.find(|codec| {
            codec.name().eq_ignore_ascii_case("red")
                && codec.clock_rate == 48_000
                && codec.fmtp.as_deref().is_some_and(is_of_blocks)
        });
        red.map(|codec| codec.payload_type)
    }

    /// Returns whether `protocol` is one of those that RFC 9429 section 5.1.2 treats as
    /// `UDP/TLS/RTP/SAVPF`: all of them mean DTLS-SRTP.
    pub(super) fn is_rtp(&self) -> bool {
        let mut words = self.protocol.rsplit('/');
        let profile = matches!(words.next(), Some("AVP" | "AVPF" | "SAVP" | "SAVPF"));
        let rtp = words.next() == Some("RTP");
        let security = matches!(words.next(), None | Some("TLS" | "DTLS"));
        let transport = matches!(words.next(), None | Some("UDP" | "TCP"));
        profile && rtp && security && transport && words.next().is_none()
    }

    pub(super) fn parse(
        line: MediaLine,
        attributes: &[Attribute],
        session: &SessionDefaults,
    ) -> Result<Self, SdpError> {
        let has = |key: &str| attributes.iter().any(|attribute| attribute.key == key);
        let mid = match value_of(attributes, "mid") {
            Some(mid) => Some(Token::new(mid.trim()).ok_or_else(|| {
                SdpError::malformed("`a=mid` with a token of 64 characters at most", mid)
            })?),
            None => None,
        };
        let extensions = values_of(attributes, "extmap").filter_map(ExtensionMapping::parse);
        Ok(Self {
            kind: MediaKind::from_name(&line.media),
            port: line.port,
            mid,
            direction: Direction::of(attributes).unwrap_or(session.direction),
            bundle_only: has("bundle-only"),
            rtcp_mux: session.rtcp_mux || has("rtcp-mux") || has("rtcp-mux-only"),
            rtcp_rsize: session.rtcp_rsize || has("rtcp-rsize"),
            rtcp_xr_rcvr_rtt: values_of(attributes, "rtcp-xr")
                .flat_map(str::split_whitespace)
                .any(|format| format == "rcvr-rtt=all"),
            codecs: codec::collect(&line.formats, attributes),
            extensions: extensions.collect(),
            data: data::parse(&line, attributes),
            transport: TransportLines::of(attributes)
                .or(&session.transport)
                .parse(),
            protocol: line.proto,
            formats: line.formats,
        })
    }
}

/// Session-level attributes, which apply to sections without their own.
#[derive(Debug)]
pub(super) struct SessionDefaults<'a> {
    direction: Direction,
    rtcp_mux: bool,
    rtcp_rsize: bool,
    transport: TransportLines<'a>,
}

impl<'a> SessionDefaults<'a> {
    /// `rtcp-mux` and `rtcp-rsize` belong into sections (RFC 5761 section 5.1.1, RFC 5506 section
    /// 5); at the session level they can only mean all sections.
    pub(super) fn of(attributes: &'a [Attribute]) -> Self {
        let has = |key: &str| attributes.iter().any(|attribute| attribute.key == key);
        Self {
            direction: Direction::of(attributes).unwrap_or_default(),
            rtcp_mux: has("rtcp-mux") || has("rtcp-mux-only"),
            rtcp_rsize: has("rtcp-rsize"),
            transport: TransportLines::of(attributes),
        }
    }
}

/// The transport attributes of one level, not yet checked.
#[derive(Debug)]
struct TransportLines<'a> {
    ufrag: Option<&'a str>,
    pwd: Option<&'a str>,
    fingerprints: Vec<&'a str>,
    setup: Option<&'a str>,
}

impl<'a> TransportLines<'a> {
    fn of(attributes: &'a [Attribute]) -> Self {
        Self {
            ufrag: value_of(attributes, "ice-ufrag"),
            pwd: value_of(attributes, "ice-pwd"),
            fingerprints: values_of(attributes, "fingerprint")
                .take(MAX_FINGERPRINTS)
                .collect(),
            setup: value_of(attributes, "setup"),
        }
    }

    /// Combines the levels: a section's own lines win over those of the session level (RFC 8839
    /// section 5.4, RFC 8122 section 5, RFC 4145 section 4).
    fn or(self, session: &Self) -> Self {
        let own = !self.fingerprints.is_empty();
        Self {
            ufrag: self.ufrag.or(session.ufrag),
            pwd: self.pwd.or(session.pwd),
            fingerprints: if own {
                self.fingerprints
            } else {
                session.fingerprints.clone()
            },
            setup: self.setup.or(session.setup),
        }
    }

    fn parse(&self) -> Result<RemoteTransport, TransportError> {
        let (Some(ufrag), Some(pwd)) = (self.ufrag, self.pwd) else {
            return Err(TransportError::MissingIceCredentials);
        };
        let ice = Credentials::new(ufrag.trim(), pwd.trim())
            .map_err(|_| TransportError::InvalidIceCredentials)?;
        if self.fingerprints.is_empty() {
            return Err(TransportError::MissingFingerprint);
        }
        let readable = self
            .fingerprints
            .iter()
            .filter_map(|value| value.parse().ok());
        let fingerprints: Vec<Fingerprint> = readable.collect();
        if fingerprints.is_empty() {
            return Err(TransportError::UnusableFingerprint);
        }
        let setup = self.setup.ok_or(TransportError::MissingSetup)?.parse()?;
        Ok(RemoteTransport {
            ice,
            fingerprints,
            setup,
        })
    }
}
