//! Payload types of a section (`a=rtpmap`, `a=fmtp`, `a=rtcp-fb`).

use ::sdp::description::common::Attribute;

use super::token::is_token_char;

/// Longest `a=fmtp` value that is repeated in an answer; real ones have about 100 bytes.
const MAX_FMTP_BYTES: usize = 512;

/// Longest `<encoding name>/<clock rate>/<parameters>`.
const MAX_ENCODING_BYTES: usize = 64;

/// One payload type that the player can receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodecParameters {
    /// RTP payload type.
    pub payload_type: u8,
    /// `a=rtpmap` without the payload type, as written: `H264/90000`, `opus/48000/2`.
    pub encoding: String,
    /// RTP clock in Hz.
    pub clock_rate: u32,
    /// Number of channels; 1 by default (RFC 8866 section 6.6).
    pub channels: u8,
    /// Format parameters as written, when there are any (RFC 8866 section 6.15).
    pub fmtp: Option<String>,
    /// RTCP feedback that the player sends for it.
    pub feedback: Feedback,
}

impl CodecParameters {
    /// Encoding name, to be compared without case (RFC 4855 section 3).
    pub fn name(&self) -> &str {
        self.encoding.split('/').next().unwrap_or_default()
    }

    /// Returns the value of the format parameter `key`: `1` of `packetization-mode=1`.
    pub fn parameter(&self, key: &str) -> Option<&str> {
        let fmtp = self.fmtp.as_deref()?;
        fmtp.split(';').find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case(key).then(|| value.trim())
        })
    }

    /// Reads the value of `a=rtpmap`; `None` when it is none, or cannot be used.
    pub(super) fn from_rtpmap(value: &str) -> Option<Self> {
        let (payload_type, encoding) = value.trim().split_once(' ')?;
        let encoding = encoding.trim();
        let mut parts = encoding.split('/');
        let (_name, clock_rate) = (parts.next()?, parts.next()?);
        let channels = parts.next().map_or(Ok(1), str::parse).ok()?;
        // The answer repeats it, so only the grammar's characters and a limited length are
        // accepted.
        let plain = encoding
            .bytes()
            .all(|byte| is_token_char(byte) || byte == b'/');
        if !plain || encoding.len() > MAX_ENCODING_BYTES {
            return None;
        }
        Some(Self {
            payload_type: parse_payload_type(payload_type)?,
            encoding: encoding.to_owned(),
            clock_rate: clock_rate.parse().ok()?,
            channels,
            fmtp: None,
            feedback: Feedback::default(),
        })
    }
}

/// Kinds of RTCP feedback that are served (RFC 4585, RFC 5104).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Feedback {
    /// Generic NACK (RFC 4585 section 6.2.1).
    pub nack: bool,
    /// Picture Loss Indication (RFC 4585 section 6.3.1).
    pub nack_pli: bool,
    /// Full intra request (RFC 5104 section 4.3.1).
    pub ccm_fir: bool,
    /// Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01).
    pub transport_cc: bool,
    /// The player's own estimate of the bandwidth (draft-alvestrand-rmcat-remb-03).
    pub goog_remb: bool,
}

impl Feedback {
    /// Returns the feedback with one kind of congestion feedback: `transport_cc` makes REMB
    /// unnecessary.
    pub(super) fn with_transport_cc(self, transport_cc: bool) -> Self {
        Self {
            transport_cc,
            goog_remb: self.goog_remb && !transport_cc,
            ..self
        }
    }

    /// Returns the values after `a=rtcp-fb:<payload type> `.
    pub(super) fn values(self) -> impl Iterator<Item = &'static str> {
        let known = [
            (self.nack, "nack"),
            (self.nack_pli, "nack pli"),
            (self.ccm_fir, "ccm fir"),
            (self.transport_cc, "transport-cc"),
            (self.goog_remb, "goog-remb"),
        ];
        known
            .into_iter()
            .filter_map(|(on, value)| on.then_some(value))
    }

    /// Returns the kind that the value after `a=rtcp-fb:<payload type> ` names, if it is served.
    fn of(value: &str) -> Option<Self> {
        let mut one = Self::default();
        let mut words = value.split_whitespace();
        let kind = match (words.next(), words.next()) {
            (Some("nack"), None) => &mut one.nack,
            (Some("nack"), Some("pli")) => &mut one.nack_pli,
            (Some("ccm"), Some("fir")) => &mut one.ccm_fir,
            (Some("transport-cc"), None) => &mut one.transport_cc,
            (Some("goog-remb"), None) => &mut one.goog_remb,
            _ => return None,
        };
        *kind = true;
        Some(one)
    }

    fn add(&mut self, other: Self) {
        self.nack |= other.nack;
        self.nack_pli |= other.nack_pli;
        self.ccm_fir |= other.ccm_fir;
        self.transport_cc |= other.transport_cc;
        self.goog_remb |= other.goog_remb;
    }
}

/// Returns the payload types of one section, in the order of its `m=` line. Skips attribute lines
/// that cannot be read: the payload types they describe are not chosen.
pub(super) fn collect(formats: &[String], attributes: &[Attribute]) -> Vec<CodecParameters> {
    let values = |key: &'static str| {
        let of_key = attributes
            .iter()
            .filter(move |attribute| attribute.key == key);
        of_key.filter_map(|attribute| attribute.value.as_deref())
    };
    let mut codecs: Vec<CodecParameters> = Vec::new();
    for codec in values("rtpmap").filter_map(CodecParameters::from_rtpmap) {
        if codecs
            .iter()
            .all(|known| known.payload_type != codec.payload_type)
        {
            codecs.push(codec);
        }
    }
    for (payload_type, value) in values("fmtp").filter_map(|value| value.trim().split_once(' ')) {
        let payload_type = parse_payload_type(payload_type);
        let codec = codecs
            .iter_mut()
            .find(|codec| Some(codec.payload_type) == payload_type);
        if let Some(codec) = codec.filter(|codec| codec.fmtp.is_none()) {
            codec.fmtp = Some(value.trim().to_owned());
        }
    }
    for (payload_type, value) in values("rtcp-fb").filter_map(|value| value.trim().split_once(' '))
    {
        // Parsed once: a large offer has thousands of lines for more than a hundred payload types.
        let Some(feedback) = Feedback::of(value) else {
            continue;
        };
        // `*` stands for every payload type (RFC 4585 section 4.2).
        let wanted = parse_payload_type(payload_type);
        let matching = codecs
            .iter_mut()
            .filter(|codec| payload_type == "*" || Some(codec.payload_type) == wanted);
        matching.for_each(|codec| codec.feedback.add(feedback));
    }
    codecs.retain(|codec| {
        codec
            .fmtp
            .as_ref()
            .is_none_or(|fmtp| fmtp.len() <= MAX_FMTP_BYTES)
    });
    in_order(formats, codecs)
}

fn in_order(formats: &[String], mut codecs: Vec<CodecParameters>) -> Vec<CodecParameters> {
    let place = |codec: &CodecParameters| {
        let mut numbers = formats.iter().map(|format| parse_payload_type(format));
        numbers.position(|number| number == Some(codec.payload_type))
    };
    codecs.retain(|codec| place(codec).is_some());
    codecs.sort_by_cached_key(place);
    codecs
}

/// Parses a payload type that differs from RTCP on the same port. 64 to 95 do not: with the marker
/// bit set, their first bytes are those of RTCP (RFC 5761 section 4).
fn parse_payload_type(text: &str) -> Option<u8> {
    let number = text.parse::<u8>().ok()?;
    matches!(number, 0..=63 | 96..=127).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codecs(formats: &str, lines: &[&str]) -> Vec<CodecParameters> {
        let formats: Vec<String> = formats.split(' ').map(str::to_owned).collect();
        let attribute = |line: &&str| {
            let (key, value) = line.split_once(':').unwrap();
            Attribute::new(key.to_owned(), Some(value.to_owned()))
        };
        let attributes: Vec<Attribute> = lines.iter().map(attribute).collect();
        collect(&formats, &attributes)
    }

    #[test]
    fn codecs_stand_in_the_order_of_the_media_line_and_only_those_it_names() {
        let lines = [
            "rtpmap:96 VP8/90000",
            "rtpmap:97 H264/90000",
            "rtpmap:98 AV1/90000",
        ];
        let names: Vec<String> = codecs("97 96", &lines)
            .iter()
            .map(|codec| codec.name().to_owned())
            .collect();
        assert_eq!(names, ["H264", "VP8"]);
    }

    #[test]
    fn format_parameters_are_found_in_any_case_and_spacing() {
        let lines = [
            "rtpmap:97 H264/90000",
            "fmtp:97 Packetization-Mode = 1; profile-level-id=42e01f;x",
        ];
        let codec = codecs("97", &lines).remove(0);
        assert_eq!(codec.parameter("packetization-mode"), Some("1"));
        assert_eq!(codec.parameter("profile-level-id"), Some("42e01f"));
        assert_eq!(codec.parameter("x"), None);
    }

    #[test]
    fn feedback_is_read_for_one_payload_type_or_for_all() {
        let lines = [
            "rtpmap:96 H264/90000",
            "rtpmap:97 H264/90000",
            "rtcp-fb:* nack",
            "rtcp-fb:97 nack  pli",
            "rtcp-fb:97 ccm fir",
            "rtcp-fb:97 goog-remb",
            "rtcp-fb:97 nack rpsi",
        ];
        let codecs = codecs("96 97", &lines);
        let values = |index: usize| codecs[index].feedback.values().collect::<Vec<_>>();
        assert_eq!(values(0), ["nack"]);
        assert_eq!(values(1), ["nack", "nack pli", "ccm fir", "goog-remb"]);
        let with = codecs[1].feedback.with_transport_cc(true);
        let values: Vec<_> = with.values().collect();
        assert_eq!(values, ["nack", "nack pli", "ccm fir", "transport-cc"]);
    }

    #[test]
    fn payload_types_that_look_like_rtcp_are_skipped() {
        let lines = [
            "rtpmap:72 H264/90000",
            "rtpmap:35 H264/90000",
            "rtpmap:128 H264/90000",
            "rtpmap:-1 H264/90000",
        ];
        let found = codecs("72 35 128 -1", &lines);
        assert_eq!(
            found
                .iter()
                .map(|codec| codec.payload_type)
                .collect::<Vec<_>>(),
            [35]
        );
    }

    #[test]
    fn broken_or_oversized_descriptions_are_skipped() {
        let fmtp = format!("fmtp:96 {}", "x".repeat(MAX_FMTP_BYTES + 1));
        assert!(codecs("96", &["rtpmap:96 H264/90000", &fmtp]).is_empty());
        let name = format!("rtpmap:96 {}/90000", "x".repeat(MAX_ENCODING_BYTES));
        for bad in [
            "rtpmap:96",
            "rtpmap:96 H264",
            "rtpmap:96 H264/x",
            "rtpmap:96 opus/48000/999",
            "rtpmap:96 a/1/1/ä",
            &name,
        ] {
            assert!(codecs("96", &[bad]).is_empty(), "{bad}");
        }
    }
}
