//! The text of our descriptions: answers and counter-offers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ::sdp::SessionDescription;
use ::sdp::description::common::{Address, Attribute, ConnectionInformation};
use ::sdp::description::media::{MediaDescription, MediaName, RangedPort};
use ::sdp::description::session::{Origin, TimeDescription};

use super::description::Description;
use super::{
    CandidateTransport, CodecParameters, ExtensionId, HeaderExtension, HostCandidate,
    LocalParameters, MediaSection, NegotiatedAudio, NegotiatedVideo, Setup, Token, candidate, data,
};
use crate::data::{MAX_MESSAGE_SIZE, SCTP_PORT};

/// Address of a section without a candidate (RFC 9429 section 5.2.1).
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 9);

/// Writes a description, section by section.
pub(super) struct Writer<'a> {
    local: &'a LocalParameters,
    setup: Setup,
    session: SessionDescription,
}

impl<'a> Writer<'a> {
    pub(super) fn new(local: &'a LocalParameters, setup: Setup) -> Self {
        let session = SessionDescription {
            origin: Origin {
                username: "-".to_owned(),
                session_id: local.session_id,
                session_version: local.session_version,
                network_type: "IN".to_owned(),
                address_type: "IP4".to_owned(),
                unicast_address: "0.0.0.0".to_owned(),
            },
            session_name: "-".to_owned(),
            time_descriptions: vec![TimeDescription::default()],
            ..Default::default()
        };
        Self {
            local,
            setup,
            session,
        }
    }

    /// The session level, with the sections that share the transport.
    pub(super) fn session(&mut self, description: &Description, bundle: Option<&[usize]>) {
        let attributes = &mut self.session.attributes;
        if let Some(bundle) = bundle {
            let mids = bundle
                .iter()
                .filter_map(|index| description.media.get(*index)?.mid.as_ref());
            let mids: String = mids.map(|mid| format!(" {mid}")).collect();
            attributes.push(value("group", format!("BUNDLE{mids}")));
        }
        attributes.push(flag("ice-lite"));
        // Checks and nomination are those of RFC 8445, not of RFC 5245 (RFC 8445 section 10).
        attributes.push(value("ice-options", "ice2"));
    }

    pub(super) fn video(
        &mut self,
        media: &MediaSection,
        codec: &CodecParameters,
        video: &NegotiatedVideo,
    ) {
        let mut lines = self.track_lines(media, &self.local.video_track_id);
        lines.extend(extension_lines(media, &video.extensions));
        lines.extend(codec_lines(codec, codec.fmtp.as_deref()));
        let payload_type = codec.payload_type;
        let feedback = video.feedback.values();
        lines.extend(feedback.map(|kind| value("rtcp-fb", format!("{payload_type} {kind}"))));
        let mut formats = vec![payload_type.to_string()];
        if let Some(rtx) = video.rtx {
            let rtx_type = rtx.payload_type;
            formats.push(rtx_type.to_string());
            lines.push(value(
                "rtpmap",
                format!("{rtx_type} rtx/{}", codec.clock_rate),
            ));
            lines.push(value("fmtp", format!("{rtx_type} apt={payload_type}")));
            lines.push(value(
                "ssrc-group",
                format!("FID {} {}", video.ssrc, rtx.ssrc),
            ));
        }
        let track = &self.local.video_track_id;
        lines.extend(self.source_lines(video.ssrc, track));
        lines.extend(
            video
                .rtx
                .iter()
                .flat_map(|rtx| self.source_lines(rtx.ssrc, track)),
        );
        self.push(media, formats, lines);
    }

    pub(super) fn audio(
        &mut self,
        media: &MediaSection,
        codec: &CodecParameters,
        audio: &NegotiatedAudio,
    ) {
        let track = &self.local.audio_track_id;
        let mut lines = self.track_lines(media, track);
        lines.extend(extension_lines(media, &audio.extensions));
        lines.extend(codec_lines(codec, Some(&opus_parameters(codec))));
        if audio.transport_cc {
            lines.push(value(
                "rtcp-fb",
                format!("{} transport-cc", codec.payload_type),
            ));
        }
        let mut formats = vec![codec.payload_type.to_string()];
        let mut codecs = media.codecs.iter();
        if let Some(red) = codecs.find(|red| Some(red.payload_type) == audio.red) {
            // The first is the one that is sent.
            formats.insert(0, red.payload_type.to_string());
            lines.extend(codec_lines(red, red.fmtp.as_deref()));
        }
        lines.extend(self.source_lines(audio.ssrc, track));
        self.push(media, formats, lines);
    }

    /// Writes the attributes of a data channel: our port and the longest message (RFC 8841 sections
    /// 5 and 6).
    pub(super) fn data(&mut self, media: &MediaSection) {
        let mut lines = self.transport_lines(media);
        lines.push(value("sctp-port", SCTP_PORT.to_string()));
        lines.push(value("max-message-size", MAX_MESSAGE_SIZE.to_string()));
        self.push(media, vec![data::FORMAT.to_owned()], lines);
    }

    /// A section that is kept for its transport alone.
    pub(super) fn carrier(&mut self, media: &MediaSection, codec: &CodecParameters) {
        let mut lines = self.transport_lines(media);
        lines.push(flag("inactive"));
        lines.extend(codec_lines(codec, codec.fmtp.as_deref()));
        self.push(media, vec![codec.payload_type.to_string()], lines);
    }

    /// Port 0 says no (RFC 3264 section 6). A format must be named and means nothing, but there are
    /// players (str0m) that refuse an answer in which it is not described, and others (aiortc) that
    /// fail where a section, rejected or not, has no transport.
    pub(super) fn rejected(&mut self, media: &MediaSection) {
        let mut lines = self.transport_lines(media);
        lines.push(flag("inactive"));
        let formats: Vec<String> = media.formats.iter().take(1).cloned().collect();
        let named = |codec: &&CodecParameters| formats.contains(&codec.payload_type.to_string());
        let codec = media.codecs.iter().find(named);
        lines.extend(codec.into_iter().flat_map(|codec| codec_lines(codec, None)));
        let address = SocketAddr::new(NOWHERE.ip(), 0);
        let section = section(media, address, formats, lines);
        self.session.media_descriptions.push(section);
    }

    /// Our candidates, in the section that was written last. All of them are there, so that the
    /// player need not wait for more (RFC 8840 section 8.2).
    pub(super) fn candidates(&mut self) {
        let Some(section) = self.session.media_descriptions.last_mut() else {
            return;
        };
        let values = candidate::attribute_values(&self.local.candidates);
        section
            .attributes
            .extend(values.into_iter().map(|line| value("candidate", line)));
        section.attributes.push(flag("end-of-candidates"));
    }

    pub(super) fn finish(self) -> String {
        self.session.marshal()
    }

    fn push(&mut self, media: &MediaSection, formats: Vec<String>, lines: Vec<Attribute>) {
        let address = default_address(&self.local.candidates);
        self.session
            .media_descriptions
            .push(section(media, address, formats, lines));
    }

    /// Returns the first attributes of each section that sends a track.
    fn track_lines(&self, media: &MediaSection, track: &Token) -> Vec<Attribute> {
        let mut lines = self.transport_lines(media);
        lines.push(flag("sendonly"));
        lines.push(value("msid", format!("{} {track}", self.local.stream_id)));
        lines
    }

    /// In a group only the first section needs these lines, but browsers repeat them too, and there
    /// are players that look at each section by itself.
    fn transport_lines(&self, media: &MediaSection) -> Vec<Attribute> {
        let mut lines = Vec::new();
        lines.extend(media.mid.as_ref().map(|mid| value("mid", mid.to_string())));
        lines.push(value("ice-ufrag", self.local.ice.ufrag()));
        lines.push(value("ice-pwd", self.local.ice.password()));
        lines.push(value("fingerprint", self.local.fingerprint.to_string()));
        lines.push(value("setup", self.setup.to_string()));
        if media.data.is_some() {
            // There is no RTCP in it.
            return lines;
        }
        lines.push(flag("rtcp-mux"));
        // An offer says that there is no other way, an answer must not (RFC 8858 section 4).
        if self.setup == Setup::ActPass {
            lines.push(flag("rtcp-mux-only"));
        }
        if media.rtcp_rsize {
            lines.push(flag("rtcp-rsize"));
        }
        // Agreed on by both (RFC 3611 section 5.2): the player may ask for its round-trip time.
        if media.rtcp_xr_rcvr_rtt {
            lines.push(value("rtcp-xr", "rcvr-rtt=all"));
        }
        lines
    }

    /// Returns a source of the stream (RFC 5576 section 4.1). `msid` on it is an older form of
    /// `a=msid` that some players still read.
    fn source_lines(&self, ssrc: u32, track: &Token) -> [Attribute; 2] {
        let LocalParameters {
            cname, stream_id, ..
        } = self.local;
        [
            value("ssrc", format!("{ssrc} cname:{cname}")),
            value("ssrc", format!("{ssrc} msid:{stream_id} {track}")),
        ]
    }
}

/// Returns the encoding is repeated letter by letter: there are players that compare it as text.
fn codec_lines(codec: &CodecParameters, fmtp: Option<&str>) -> Vec<Attribute> {
    let payload_type = codec.payload_type;
    let mut lines = vec![value(
        "rtpmap",
        format!("{payload_type} {}", codec.encoding),
    )];
    lines.extend(fmtp.map(|fmtp| value("fmtp", format!("{payload_type} {fmtp}"))));
    lines
}

/// We send stereo, in-band FEC to those that can use it, and silence as any other audio: without
/// discontinuous transmission (RFC 7587 section 6.1).
fn opus_parameters(codec: &CodecParameters) -> String {
    let mut parameters = "stereo=1;sprop-stereo=1".to_owned();
    if codec.parameter("useinbandfec") == Some("1") {
        parameters.insert_str(0, "useinbandfec=1;");
    }
    // Said only to those that know the parameter: it is off when nothing is said.
    if codec.parameter("usedtx").is_some() {
        parameters.push_str(";usedtx=0");
    }
    parameters
}

/// Returns a line with a direction must be answered with one (RFC 8285 section 6).
fn extension_lines(
    media: &MediaSection,
    agreed: &[(HeaderExtension, ExtensionId)],
) -> Vec<Attribute> {
    let line = |(extension, id): &(HeaderExtension, ExtensionId)| {
        let mut offered = media.extensions.iter();
        let directed = offered.any(|line| line.id == *id && line.direction.is_some());
        let direction = if directed { "/sendonly" } else { "" };
        value(
            "extmap",
            format!("{}{direction} {}", id.get(), extension.uri()),
        )
    };
    agreed.iter().map(line).collect()
}

/// Returns the default candidate (RFC 8839 section 4.2.1.2): IPv4 first, which most can reach.
fn default_address(candidates: &[HostCandidate]) -> SocketAddr {
    let udp = || {
        let udp = candidates
            .iter()
            .filter(|candidate| candidate.transport == CandidateTransport::Udp);
        udp.map(|candidate| candidate.address)
    };
    let ipv4 = udp().find(SocketAddr::is_ipv4);
    ipv4.or_else(|| udp().next()).unwrap_or(NOWHERE)
}

fn section(
    media: &MediaSection,
    address: SocketAddr,
    formats: Vec<String>,
    attributes: Vec<Attribute>,
) -> MediaDescription {
    // Lossless: the crate counts ports in `isize`, which has at least 32 bits where this runs.
    let port = isize::try_from(address.port()).unwrap_or_default();
    MediaDescription {
        media_name: MediaName {
            media: media.kind.to_string(),
            port: RangedPort {
                value: port,
                range: None,
            },
            protos: vec![media.protocol.clone()],
            formats,
        },
        connection_information: Some(ConnectionInformation {
            network_type: "IN".to_owned(),
            address_type: if address.is_ipv4() { "IP4" } else { "IP6" }.to_owned(),
            address: Some(Address {
                address: address.ip().to_string(),
                ttl: None,
                range: None,
            }),
        }),
        attributes,
        ..Default::default()
    }
}

fn flag(key: &str) -> Attribute {
    Attribute::new(key.to_owned(), None)
}

fn value(key: &str, value: impl Into<String>) -> Attribute {
    Attribute::new(key.to_owned(), Some(value.into()))
}
