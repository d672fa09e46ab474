//! The subjects of NATS on which the nodes of a cluster talk.
//!
//! Each node sends only on subjects that have its name, or the name of a stream that it owns, so
//! that rights can be given by subject.

use std::fmt::Write as _;

use distributary_names::StreamName;

use crate::config::Label;
use crate::strand::Strand;

/// Writes a text as one token of a subject: bytes outside `[A-Za-z0-9/_-]` become `=XX`.
fn push_token(subject: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'_' | b'-' => {
                subject.push(char::from(byte));
            }
            _ => {
                // A String takes whatever is written.
                let _ = write!(subject, "={byte:02X}");
            }
        }
    }
}

/// Returns the name of a stream as a token of a subject, or a key of the arbiter's bucket.
pub(crate) fn token(stream: &StreamName) -> String {
    let mut token = String::new();
    push_token(&mut token, stream.as_str());
    token
}

/// Returns the name of the stream that a token stands for; `None` for any other text.
pub(crate) fn stream(token: &str) -> Option<StreamName> {
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'=' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let value = 16 * digit()? + digit()?;
        bytes.push(u8::try_from(value).ok()?);
    }
    let name = StreamName::parse(&String::from_utf8(bytes).ok()?).ok()?;
    (self::token(&name) == token).then_some(name)
}

/// The subjects of one cluster.
#[derive(Clone, Debug)]
pub(crate) struct Subjects {
    /// `dist.<cluster>`
    prefix: String,
    cluster: Label,
}

impl Subjects {
    pub(crate) fn new(cluster: &Label) -> Self {
        Self {
            prefix: format!("dist.{cluster}"),
            cluster: cluster.clone(),
        }
    }

    /// Returns the bucket of the arbiter.
    pub(crate) fn bucket(&self) -> String {
        format!("dist_{}", self.cluster)
    }

    /// Returns the subject on which the owner of a stream answers.
    pub(crate) fn owner(&self, stream: &StreamName) -> String {
        format!("{}.own.{}", self.prefix, token(stream))
    }

    /// Returns the subject of one strand of a stream, from one owner for one epoch.
    pub(crate) fn media(
        &self,
        node: &Label,
        epoch: u64,
        stream: &StreamName,
        strand: Strand,
    ) -> String {
        let stream = token(stream);
        format!(
            "{}.m.{node}.{epoch}.{stream}.{}",
            self.prefix,
            strand.token()
        )
    }

    /// Returns the subject of requests to join streams that a node owns.
    pub(crate) fn join(&self, node: &Label) -> String {
        format!("{}.n.{node}.join", self.prefix)
    }

    /// Returns the subject of requests for sessions of a node that reached another one.
    pub(crate) fn session(&self, node: &Label) -> String {
        format!("{}.n.{node}.session", self.prefix)
    }

    /// Returns the subject on which a node learns which of its streams are watched elsewhere.
    pub(crate) fn keep(&self, node: &Label) -> String {
        format!("{}.n.{node}.keep", self.prefix)
    }

    /// Returns the subject on which a node says that it owns a stream from now on.
    pub(crate) fn owned(&self, node: &Label) -> String {
        format!("{}.owned.{node}", self.prefix)
    }

    /// Returns the subject of all such announcements.
    pub(crate) fn all_owned(&self) -> String {
        format!("{}.owned.*", self.prefix)
    }

    /// Returns the subject of a node's beacon.
    pub(crate) fn beacon(&self, zone: &Label, node: &Label) -> String {
        format!("{}.beacon.{zone}.{node}", self.prefix)
    }

    /// Returns the subject on which a node names its streams.
    pub(crate) fn roster(&self, node: &Label) -> String {
        format!("{}.has.{node}", self.prefix)
    }

    /// Returns the subject of the streams of all nodes.
    pub(crate) fn all_rosters(&self) -> String {
        format!("{}.has.*", self.prefix)
    }

    /// Returns the subject of all beacons.
    pub(crate) fn all_beacons(&self) -> String {
        format!("{}.beacon.*.*", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn subjects() -> Subjects {
        Subjects::new(&"studio".parse().unwrap())
    }

    #[test]
    fn names_are_one_token_of_a_subject() {
        let name = StreamName::parse("live/a.b *>=ä").unwrap();
        assert_eq!(
            subjects().owner(&name),
            "dist.studio.own.live/a=2Eb=20=2A=3E=3D=C3=A4"
        );
        let node: Label = "node-1".parse().unwrap();
        let name = StreamName::parse("live/test").unwrap();
        assert_eq!(
            subjects().media(&node, 7, &name, Strand::PublishedAudio),
            "dist.studio.m.node-1.7.live/test.p"
        );
        let rung = Strand::Rendition(distributary_names::RenditionId::rung(360));
        assert_eq!(
            subjects().media(&node, 7, &name, rung),
            "dist.studio.m.node-1.7.live/test.r-360p"
        );
        assert_eq!(subjects().bucket(), "dist_studio");
    }

    #[test]
    fn other_ways_to_write_a_name_are_no_tokens() {
        assert!(stream("live/a=2Eb").is_some());
        for other in ["live/a.b", "live/a=2eb", "live/=61", "live/a b", "live/a=2"] {
            assert_eq!(stream(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn texts_that_are_no_tokens_have_no_name(token in "[a-z=./]{0,12}") {
            if let Some(name) = stream(&token) {
                prop_assert_eq!(super::token(&name), token);
            }
        }

        #[test]
        fn different_names_have_different_tokens(a in "live/.{1,20}", b in "live/.{1,20}") {
            if let (Ok(a), Ok(b)) = (StreamName::parse(&a), StreamName::parse(&b)) {
                prop_assert_eq!(a == b, token(&a) == token(&b));
                prop_assert!(!token(&a).contains(['.', '*', '>', ' ']));
                prop_assert_eq!(stream(&token(&a)), Some(a));
            }
        }
    }
}
