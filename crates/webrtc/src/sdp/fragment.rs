//! Candidate fragments (RFC 8840 section 9), which players send by PATCH to add candidates or to
//! restart ICE (RFC 9725 section 4.3).

use super::normalize::MediaLine;
use super::{BundleGroup, HostCandidate, SdpError, Token, candidate};
use crate::ice::Credentials;

/// Media type of a fragment (RFC 8840 section 9).
pub const FRAGMENT_MEDIA_TYPE: &str = "application/trickle-ice-sdpfrag";

/// A fragment as a player sends it.
///
/// Its candidates are not read: a lite agent learns the player's address from its checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceFragment {
    /// The player's credentials. Others than before mean an ICE restart (RFC 8839 section
    /// 4.4.1.1.1).
    pub ice: Option<Credentials>,
    group: Option<BundleGroup>,
    section: Option<MediaLine>,
    mid: Option<Token>,
}

impl IceFragment {
    /// Returns whether it restarts ICE for a player with the user name fragment `known`: a change
    /// of it makes a restart (RFC 8839 section 4.4.1.1.1).
    pub fn restarts(&self, known: &str) -> bool {
        self.ice.as_ref().is_some_and(|ice| ice.ufrag() != known)
    }

    /// Reads a fragment. Of several sections the first counts: all share one transport.
    ///
    /// # Errors
    /// [`SdpError::MalformedFragment`], when a line is not of the form `<type>=<value>`, or the
    /// credentials break the rules of RFC 8839 section 5.4.
    pub fn parse(text: &str) -> Result<Self, SdpError> {
        Self::read(text).map_err(SdpError::of_fragment)
    }

    fn read(text: &str) -> Result<Self, SdpError> {
        let (mut group, mut section, mut mid) = (None, None, None);
        let (mut ufrag, mut password) = (None, None);
        let lines = text.split(['\n', '\r']).map(str::trim);
        for line in lines.filter(|line| !line.is_empty()) {
            let (kind, value) = line
                .split_once('=')
                .filter(|(kind, _)| kind.len() == 1)
                .ok_or_else(|| SdpError::malformed("a line `<type>=<value>`", line))?;
            if kind == "m" {
                if section.is_some() {
                    break;
                }
                section = Some(MediaLine::parse(value)?);
            }
            if kind != "a" {
                continue;
            }
            match value.split_once(':') {
                Some(("group", value)) => group = group.or_else(|| BundleGroup::parse(value)),
                Some(("mid", value)) => mid = mid.or_else(|| Token::new(value.trim())),
                Some(("ice-ufrag", value)) => ufrag = ufrag.or(Some(value.trim())),
                Some(("ice-pwd", value)) => password = password.or(Some(value.trim())),
                _ => {}
            }
        }
        let ice = ufrag
            .zip(password)
            .map(|(ufrag, password)| Credentials::new(ufrag, password))
            .transpose()
            .map_err(|error| SdpError::malformed("ICE credentials", &error.to_string()))?;
        Ok(Self {
            ice,
            group,
            section,
            mid,
        })
    }

    /// Returns the fragment that answers an ICE restart: our new credentials and, all at once, our
    /// candidates, for the section that the player named (RFC 9725 section 4.3.3).
    #[must_use]
    pub fn answer(&self, ice: &Credentials, candidates: &[HostCandidate]) -> String {
        let mut lines = vec!["a=ice-lite".to_owned(), "a=ice-options:ice2".to_owned()];
        if let Some(group) = &self.group {
            let mids: String = group.mids().iter().map(|mid| format!(" {mid}")).collect();
            lines.push(format!("a=group:BUNDLE{mids}"));
        }
        if let Some(MediaLine {
            media,
            proto,
            formats,
            ..
        }) = &self.section
        {
            lines.push(format!("m={media} 9 {proto} {}", formats.join(" ")));
            lines.extend(self.mid.as_ref().map(|mid| format!("a=mid:{mid}")));
        }
        lines.push(format!("a=ice-ufrag:{}", ice.ufrag()));
        lines.push(format!("a=ice-pwd:{}", ice.password()));
        let candidates = candidate::attribute_values(candidates);
        lines.extend(
            candidates
                .iter()
                .map(|value| format!("a=candidate:{value}")),
        );
        lines.push("a=end-of-candidates".to_owned());
        lines.iter().map(|line| format!("{line}\r\n")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The restart of RFC 9725 section 4.3.3, with line ends as that has them.
    const RESTART: &str = "a=ice-options:trickle ice2\r\n\
        a=group:BUNDLE 0 1\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
        a=mid:0\r\n\
        a=ice-ufrag:ysXw\r\n\
        a=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k\r\n\
        a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag ysXw network-id 1\r\n";

    #[test]
    fn credentials_of_a_restart_are_read_and_answered_for_its_section() {
        let fragment = IceFragment::parse(RESTART).unwrap();
        let theirs = Credentials::new("ysXw", "vw5LmwG4y/e6dPP/zAP9Gp5k").unwrap();
        assert_eq!(fragment.ice, Some(theirs));
        let ours = Credentials::new("ours", "0123456789012345678901").unwrap();
        let candidate = HostCandidate::udp("198.51.100.1:8189".parse().unwrap());
        assert_eq!(
            fragment.answer(&ours, &[candidate]),
            "a=ice-lite\r\n\
             a=ice-options:ice2\r\n\
             a=group:BUNDLE 0 1\r\n\
             m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
             a=mid:0\r\n\
             a=ice-ufrag:ours\r\n\
             a=ice-pwd:0123456789012345678901\r\n\
             a=candidate:1 1 udp 2130706431 198.51.100.1 8189 typ host\r\n\
             a=end-of-candidates\r\n"
        );
    }

    #[test]
    fn credentials_may_stand_at_the_top_and_of_several_sections_the_first_counts() {
        let fragment = IceFragment::parse(
            "a=ice-ufrag:ysXw\na=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k\nm=video 9 RTP/AVP 96\na=mid:v\n\
             m=audio 9 RTP/AVP 0\na=mid:a\na=ice-ufrag:other\n",
        )
        .unwrap();
        assert_eq!(fragment.ice.as_ref().unwrap().ufrag(), "ysXw");
        assert_eq!(fragment.mid.as_ref().unwrap().as_str(), "v");
    }

    #[test]
    fn candidates_alone_are_no_restart() {
        let trickled = "m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=end-of-candidates\r\n";
        assert_eq!(IceFragment::parse(trickled).unwrap().ice, None);
        assert_eq!(IceFragment::parse("").unwrap().ice, None);
    }

    #[test]
    fn malformed_fragments_are_refused() {
        for text in [
            "hello",
            "{\"candidate\":\"a=b\"}",
            "a=ice-ufrag:x\na=ice-pwd:short\n",
            "m=audio\n",
        ] {
            assert!(IceFragment::parse(text).is_err(), "{text}");
        }
    }
}
