//! Normalizes the text of an offer for the `sdp` crate.
//!
//! The crate enforces RFC 8866 to the letter, also in lines that no answer depends on, and supports
//! a fixed list of media types and transport protocols. Players are not that strict: they omit `s=`
//! or `t=`, end lines with LF alone, put a bandwidth with a fraction into `b=`, or write
//! `TCP/DTLS/RTP/SAVPF`. So lines without meaning for the gateway are removed, and each `m=` line
//! is parsed here and replaced by a neutral one. Attributes are kept.

use super::error::SdpError;
use super::limits::{MAX_MEDIA_SECTIONS, MAX_SDP_BYTES};
use super::token::is_token_char;

/// Longest word of an `m=` line that is repeated in the answer.
const MAX_WORD_BYTES: usize = 64;

/// Most formats of one section: there are 128 payload types.
const MAX_FORMATS: usize = 128;

/// The lines before the first attribute, on which no answer depends.
const HEAD: &str = "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n";

/// Replaces each `m=` line.
const NEUTRAL_MEDIA_LINE: &str = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n";

/// A normalized offer, which the `sdp` crate can read.
#[derive(Debug)]
pub(super) struct Normalized {
    /// The text for the crate.
    pub(super) text: String,
    /// The `m=` lines as the player wrote them, in order.
    pub(super) media_lines: Vec<MediaLine>,
}

/// `m=<media> <port>["/"<number of ports>] <proto> <fmt>...` (RFC 8866 section 5.14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MediaLine {
    pub(super) media: String,
    pub(super) port: u16,
    pub(super) proto: String,
    pub(super) formats: Vec<String>,
}

impl MediaLine {
    pub(super) fn parse(value: &str) -> Result<Self, SdpError> {
        let malformed = |expected| SdpError::malformed(expected, value);
        let mut words = value.split_whitespace();
        let (Some(media), Some(port), Some(proto)) = (words.next(), words.next(), words.next())
        else {
            return Err(malformed("`m=<media> <port> <proto> <fmt> ...`"));
        };
        let port = port.split('/').next().unwrap_or(port);
        let formats: Vec<String> = words.take(MAX_FORMATS).map(str::to_owned).collect();
        if !is_word(media) || !is_word(proto) {
            return Err(malformed("an m= line of words with 64 characters at most"));
        }
        if formats.is_empty() || !formats.iter().all(|format| is_word(format)) {
            return Err(malformed("an m= line with at least one format"));
        }
        Ok(Self {
            media: media.to_owned(),
            port: port
                .parse()
                .map_err(|_| malformed("a port from 0 to 65535"))?,
            proto: proto.to_owned(),
            formats,
        })
    }
}

/// Checks the lines of `offer`, and removes those that an answer does not depend on.
///
/// # Errors
/// [`SdpError::TooLarge`], and [`SdpError::Malformed`] when the text is not made of
/// `<type>=<value>` lines with `v=0` as the first.
pub(super) fn normalize(offer: &str) -> Result<Normalized, SdpError> {
    if offer.len() > MAX_SDP_BYTES {
        return Err(SdpError::TooLarge {
            bytes: offer.len(),
            limit: MAX_SDP_BYTES,
        });
    }
    let offer = offer.trim_start_matches('\u{feff}').trim();
    let mut lines = offer
        .split(['\n', '\r'])
        .map(str::trim)
        .filter(|line| !line.is_empty());
    match lines.next() {
        Some("v=0") => {}
        Some(first) if first.starts_with("a=") || first.starts_with("m=") => {
            return Err(SdpError::IsFragment);
        }
        first => {
            return Err(SdpError::malformed(
                "`v=0` as the first line",
                first.unwrap_or_default(),
            ));
        }
    }
    let mut text = String::from(HEAD);
    let mut media_lines = Vec::new();
    for line in lines {
        match split_line(line)? {
            ('a', _) => {
                text.push_str(line);
                text.push_str("\r\n");
            }
            ('m', value) => {
                media_lines.push(MediaLine::parse(value)?);
                text.push_str(NEUTRAL_MEDIA_LINE);
            }
            _ => {}
        }
        if media_lines.len() > MAX_MEDIA_SECTIONS {
            return Err(SdpError::malformed("16 m= lines at most", line));
        }
    }
    Ok(Normalized { text, media_lines })
}

/// Type and value of a line. A description with a type that RFC 8866 section 5 does not list must
/// be refused as a whole.
fn split_line(line: &str) -> Result<(char, &str), SdpError> {
    let mut characters = line.chars();
    let kind = characters
        .next()
        .filter(|kind| "osiuepcbtrzkam".contains(*kind));
    match (kind, characters.next()) {
        (Some(kind), Some('=')) if !line.contains(is_forbidden) => Ok((kind, characters.as_str())),
        _ => Err(SdpError::malformed("a line `<type>=<value>`", line)),
    }
}

/// Checks that a line has no control character but the tabulator (RFC 8866 section 9, `byte-string`
/// excludes only NUL, CR and LF, but the others have no use and end up in logs).
fn is_forbidden(character: char) -> bool {
    character.is_control() && character != '\t'
}

/// One word of an `m=` line: a token, or tokens with slashes between them.
fn is_word(word: &str) -> bool {
    word.len() <= MAX_WORD_BYTES && word.bytes().all(|byte| is_token_char(byte) || byte == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD_LINES: &str = "v=0\no=- 1 2 IN IP4 127.0.0.1\ns=-\nt=0 0\n";

    fn malformed(offer: &str) -> bool {
        matches!(normalize(offer), Err(SdpError::Malformed { .. }))
    }

    #[test]
    fn lines_end_with_lf_or_crlf_and_may_be_indented_or_empty() {
        for end in ["\n", "\r\n", "\r", "\n\n", "  \r\n   "] {
            let offer =
                format!("{HEAD_LINES}a=ice-lite\nm=audio 9 UDP/TLS/RTP/SAVPF 111\na=mid:0\n");
            let normalized = normalize(&offer.replace('\n', end)).unwrap();
            assert_eq!(normalized.media_lines.len(), 1, "{end:?}");
            assert!(normalized.text.ends_with("a=mid:0\r\n"), "{end:?}");
        }
    }

    #[test]
    fn lines_that_say_nothing_to_an_answer_need_not_be_right() {
        let offer =
            "v=0\no=joe\nb=AS:1.5\nc=IN\nm=video 9 TCP/DTLS/RTP/SAVPF 96\nb=X:y\nc=?\na=mid:0";
        let normalized = normalize(offer).unwrap();
        assert_eq!(normalized.media_lines[0].proto, "TCP/DTLS/RTP/SAVPF");
        let mut reader = std::io::Cursor::new(&normalized.text);
        assert!(::sdp::SessionDescription::unmarshal(&mut reader).is_ok());
    }

    #[test]
    fn text_that_is_no_session_description_is_refused() {
        assert!(malformed(""));
        assert!(malformed("hello"));
        assert!(malformed("v=1\n"));
        assert!(malformed("v=0\nhello\n"));
        assert!(malformed("v=0\nq=1\n"));
        assert!(malformed("v=0\na=x\u{0}y\n"));
        assert!(malformed("v=0\na=x\u{1b}[2Jy\n"));
        assert!(malformed("{\"type\":\"offer\",\"sdp\":\"v=0\"}"));
    }

    #[test]
    fn media_lines_are_checked() {
        let with = |line: &str| normalize(&format!("v=0\n{line}\n")).map(|offer| offer.media_lines);
        let line = with("m=video 49170/2 RTP/AVP 31 32").unwrap().remove(0);
        assert_eq!((line.media.as_str(), line.port), ("video", 49_170));
        assert_eq!(line.formats, ["31", "32"]);
        for bad in [
            "m=video",
            "m=video 9 RTP/AVP",
            "m=video 65536 RTP/AVP 96",
            "m=video -1 RTP/AVP 96",
        ] {
            assert!(with(bad).is_err(), "{bad}");
        }
        assert!(with(&format!("m=video 9 {} 96", "x".repeat(65))).is_err());
        let many = format!("m=video 9 RTP/AVP{}", " 96".repeat(1000));
        assert_eq!(with(&many).unwrap()[0].formats.len(), MAX_FORMATS);
    }

    #[test]
    fn sections_and_bytes_are_bounded() {
        let sections = |count| format!("v=0\n{}", "m=audio 9 RTP/AVP 0\n".repeat(count));
        assert_eq!(normalize(&sections(16)).unwrap().media_lines.len(), 16);
        assert!(malformed(&sections(17)));
        let limit = MAX_SDP_BYTES;
        let large = format!("v=0\na={}", "x".repeat(limit));
        assert_eq!(
            normalize(&large).unwrap_err(),
            SdpError::TooLarge {
                bytes: large.len(),
                limit
            }
        );
    }
}
