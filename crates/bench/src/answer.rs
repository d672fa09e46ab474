//! The parts of a server's answer that a viewer needs.

use std::io::Cursor;
use std::net::{IpAddr, SocketAddr};

use distributary_webrtc::certificate::Fingerprint;
use distributary_webrtc::dtls::DtlsRole;
use distributary_webrtc::ice::{Credentials, InvalidCredentials};
use sdp::SessionDescription;
use sdp::description::media::MediaDescription;
use thiserror::Error;

/// An answer, as far as it matters to a viewer. The payload types need not be read: they are those
/// of the offer (RFC 3264 section 6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The server's UDP candidates, best first.
    pub candidates: Vec<SocketAddr>,
    /// The server's ICE credentials.
    pub credentials: Credentials,
    /// Fingerprints of the server's certificate.
    pub fingerprints: Vec<Fingerprint>,
    /// The viewer's part in the DTLS handshake.
    pub role: DtlsRole,
}

/// The reason why an answer is unusable: an error of the server.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// Not a session description.
    #[error("the answer is not SDP: {0}")]
    Malformed(sdp::Error),
    /// There is no video section, or it is rejected.
    #[error("the answer rejects the video")]
    NoVideo,
    /// An attribute is missing, or has a value that nothing can be made of.
    #[error("the answer has no usable a={0}")]
    Attribute(&'static str),
    /// The ICE credentials are none.
    #[error(transparent)]
    Credentials(#[from] InvalidCredentials),
}

impl Answer {
    /// Reads an answer.
    ///
    /// # Errors
    /// When it is not SDP, has no video, or does not say how to connect.
    pub fn parse(text: &str) -> Result<Self, AnswerError> {
        let session = SessionDescription::unmarshal(&mut Cursor::new(text))
            .map_err(AnswerError::Malformed)?;
        let video = session
            .media_descriptions
            .iter()
            .find(|media| media.media_name.media == "video" && media.media_name.port.value != 0)
            .ok_or(AnswerError::NoVideo)?;
        // Of a bundle only the first section has to carry the transport (RFC 9143 section 7.1.3).
        let first = session
            .media_descriptions
            .iter()
            .find(|media| media.media_name.port.value != 0)
            .unwrap_or(video);
        let attribute = |key: &'static str| {
            let of_media = [video, first]
                .into_iter()
                .find_map(|media| value(media, key));
            let of_session = || session.attribute(key).map(String::as_str);
            of_media
                .or_else(of_session)
                .ok_or(AnswerError::Attribute(key))
        };
        let mut candidates: Vec<_> = [first, video]
            .into_iter()
            .flat_map(|media| &media.attributes)
            .chain(&session.attributes)
            .filter(|attribute| attribute.key == "candidate")
            .filter_map(|attribute| candidate(attribute.value.as_deref()?))
            .collect();
        candidates.sort_by_key(|(priority, _)| std::cmp::Reverse(*priority));
        if candidates.is_empty() {
            return Err(AnswerError::Attribute("candidate"));
        }
        let fingerprint = attribute("fingerprint")?
            .parse()
            .map_err(|_| AnswerError::Attribute("fingerprint"))?;
        Ok(Self {
            candidates: candidates.into_iter().map(|(_, address)| address).collect(),
            credentials: Credentials::new(attribute("ice-ufrag")?, attribute("ice-pwd")?)?,
            fingerprints: vec![fingerprint],
            role: match attribute("setup")? {
                "passive" => DtlsRole::Client,
                "active" => DtlsRole::Server,
                _ => return Err(AnswerError::Attribute("setup")),
            },
        })
    }

    /// Returns the candidate to use: the one at `preferred`, where the signaling was done, if
    /// there is one of it, else the server's best.
    #[must_use]
    pub fn candidate(&self, preferred: Option<IpAddr>) -> Option<SocketAddr> {
        let mut candidates = self.candidates.iter();
        let known = candidates.find(|candidate| Some(candidate.ip()) == preferred);
        known.or(self.candidates.first()).copied()
    }
}

fn value<'a>(media: &'a MediaDescription, key: &str) -> Option<&'a str> {
    media.attribute(key).flatten()
}

/// Priority and address of a UDP candidate for RTP (RFC 8839 section 5.1):
/// `foundation component transport priority address port typ ...`. `None` for others, and for names
/// in place of addresses.
fn candidate(value: &str) -> Option<(u32, SocketAddr)> {
    let mut words = value.split_ascii_whitespace().skip(1);
    let is_rtp = words.next()? == "1";
    let is_udp = words.next()?.eq_ignore_ascii_case("udp");
    let priority = words.next()?.parse().ok()?;
    let ip: IpAddr = words.next()?.parse().ok()?;
    let port = words.next()?.parse().ok()?;
    (is_rtp && is_udp).then_some((priority, SocketAddr::new(ip, port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "v=0\r\n\
        o=- 1 1 IN IP4 0.0.0.0\r\n\
        s=-\r\n\
        t=0 0\r\n\
        a=group:BUNDLE 0 1\r\n\
        a=ice-lite\r\n\
        a=fingerprint:sha-1 A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
        c=IN IP4 0.0.0.0\r\n\
        a=candidate:1 1 udp 100 192.0.2.1 8189 typ host\r\n\
        a=candidate:2 1 UDP 200 127.0.0.1 8189 typ host generation 0\r\n\
        a=candidate:3 1 tcp 300 127.0.0.1 8189 typ host tcptype passive\r\n\
        a=candidate:4 1 udp 400 0a0b.local 8189 typ host\r\n\
        a=candidate:5 2 udp 500 127.0.0.1 8190 typ host\r\n\
        a=ice-ufrag:abcd\r\n\
        a=ice-pwd:0123456789012345678901\r\n\
        a=setup:passive\r\n\
        a=sendonly\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 102 103\r\n\
        c=IN IP4 0.0.0.0\r\n\
        a=sendonly\r\n";

    #[test]
    fn transport_is_found_in_the_first_section_and_at_session_level() {
        let answer = Answer::parse(ANSWER).unwrap();
        assert_eq!(answer.credentials.ufrag(), "abcd");
        assert_eq!(answer.fingerprints.len(), 1);
        assert_eq!(answer.role, DtlsRole::Client);
        let candidates: Vec<SocketAddr> = vec![
            "127.0.0.1:8189".parse().unwrap(),
            "192.0.2.1:8189".parse().unwrap(),
        ];
        assert_eq!(
            answer.candidates, candidates,
            "UDP, RTP, addresses, best first"
        );
    }

    #[test]
    fn address_of_the_signaling_is_preferred() {
        let answer = Answer::parse(ANSWER).unwrap();
        let at = |ip: &str| {
            answer
                .candidate(Some(ip.parse().unwrap()))
                .unwrap()
                .to_string()
        };
        assert_eq!(at("192.0.2.1"), "192.0.2.1:8189");
        assert_eq!(at("192.0.2.9"), "127.0.0.1:8189");
    }

    #[test]
    fn answer_without_a_usable_candidate_is_refused() {
        let without = |line: &str| ANSWER.replace(line, "a=x:");
        for (text, expected) in [
            (
                without("a=ice-ufrag:"),
                "the answer has no usable a=ice-ufrag",
            ),
            (
                without("a=candidate:"),
                "the answer has no usable a=candidate",
            ),
            (
                without("a=fingerprint:"),
                "the answer has no usable a=fingerprint",
            ),
            (
                ANSWER.replace("passive", "actpass"),
                "the answer has no usable a=setup",
            ),
            (
                ANSWER.replace("m=video 9", "m=video 0"),
                "the answer rejects the video",
            ),
        ] {
            assert_eq!(Answer::parse(&text).unwrap_err().to_string(), expected);
        }
        assert!(matches!(
            Answer::parse("hello"),
            Err(AnswerError::Malformed(_))
        ));
    }
}
