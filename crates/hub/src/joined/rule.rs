//! The section `[[rendition]]` of the configuration.

use std::fmt;
use std::str::FromStr;

use distributary_names::{RenditionId, StreamName, StreamPattern};
use serde::{Deserialize, Serialize};

/// Stands for the name of the stream in the name of a member.
const STREAM: &str = "{stream}";

/// Maximum number of members of a stream.
const MAX_MEMBERS: usize = 8;

/// An entry of `[[rendition]]`: the streams that are renditions of another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Entry", into = "Entry")]
pub struct RenditionRule {
    stream: StreamPattern,
    from: Vec<MemberName>,
}

/// The entry as it is written.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    stream: StreamPattern,
    from: Vec<MemberName>,
}

/// The name of a member, in which `{stream}` stands for that of the stream, such as
/// `{stream}_720`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberName(String);

/// An entry of `[[rendition]]` is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemberNameError {
    /// The text cannot be the name of a stream.
    #[error("expected the name of a stream, such as \"{{stream}}_720\", instead of {0:?}")]
    NotAName(String),
    /// The text names the stream itself.
    #[error("{0:?} is the stream itself")]
    Itself(String),
    /// All streams of a pattern would have the same member.
    #[error("{0:?} needs {{stream}} in it, because the pattern matches several streams")]
    Shared(String),
    /// The same member is named twice.
    #[error("{0:?} is named twice")]
    Twice(String),
    /// No member is named.
    #[error("\"from\" is empty: name the streams that are joined, such as \"{{stream}}_720\"")]
    Empty,
    /// There are too many members.
    #[error("{0} streams are joined; {MAX_MEMBERS} is the limit")]
    TooMany(usize),
}

impl RenditionRule {
    /// Returns the stream, if it is only one.
    pub(super) fn only(&self) -> Option<StreamName> {
        let pattern = self.stream.to_string();
        StreamName::parse(&pattern)
            .ok()
            .filter(|_| !self.stream.is_wild())
    }

    /// Returns the members of the stream `name`; `None` if it does not match.
    pub(crate) fn members(&self, name: &StreamName) -> Option<Vec<(RenditionId, StreamName)>> {
        self.stream.matches(name)?;
        let members = (1..).zip(&self.from);
        let named = members.filter_map(|(number, member)| {
            let member = member.of(name.as_str())?;
            Some((RenditionId::joined(number), member))
        });
        Some(named.collect())
    }
}

impl MemberName {
    /// Returns the name of the member of a stream; `None` if it is too long.
    fn of(&self, stream: &str) -> Option<StreamName> {
        StreamName::parse(&self.0.replace(STREAM, stream)).ok()
    }
}

impl TryFrom<Entry> for RenditionRule {
    type Error = MemberNameError;

    fn try_from(Entry { stream, from }: Entry) -> Result<Self, MemberNameError> {
        if from.is_empty() {
            return Err(MemberNameError::Empty);
        }
        if from.len() > MAX_MEMBERS {
            return Err(MemberNameError::TooMany(from.len()));
        }
        for (place, member) in from.iter().enumerate() {
            let MemberName(name) = member;
            if from[..place].contains(member) {
                return Err(MemberNameError::Twice(name.clone()));
            }
            if *name == STREAM || *name == stream.to_string() {
                return Err(MemberNameError::Itself(name.clone()));
            }
            if stream.is_wild() && !name.contains(STREAM) {
                return Err(MemberNameError::Shared(name.clone()));
            }
        }
        Ok(Self { stream, from })
    }
}

impl From<RenditionRule> for Entry {
    fn from(RenditionRule { stream, from }: RenditionRule) -> Self {
        Self { stream, from }
    }
}

impl FromStr for MemberName {
    type Err = MemberNameError;

    fn from_str(text: &str) -> Result<Self, MemberNameError> {
        // A sample name shows that it can be one.
        let name = Self(text.to_owned());
        match name.of("live/test") {
            Some(_) => Ok(name),
            None => Err(MemberNameError::NotAName(text.to_owned())),
        }
    }
}

impl fmt::Display for MemberName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

distributary_config::serde_as_text!(MemberName);

#[cfg(test)]
impl RenditionRule {
    /// Returns the entry for `stream`.
    pub(super) fn parse(stream: &str, from: &[&str]) -> Result<Self, MemberNameError> {
        let from: Result<_, _> = from.iter().map(|name| name.parse()).collect();
        let entry = Entry {
            stream: stream.parse().unwrap(),
            from: from?,
        };
        entry.try_into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(stream: &str, from: &[&str]) -> Result<RenditionRule, MemberNameError> {
        RenditionRule::parse(stream, from)
    }

    #[test]
    fn members_are_named_after_their_stream() {
        let rule = rule("live/*", &["{stream}_720", "low/{stream}"]).unwrap();
        let name = StreamName::parse("live/test").unwrap();
        let members = rule.members(&name).unwrap();
        let members = members
            .iter()
            .map(|(id, name)| (id.as_str(), name.as_str()));
        let expected = [("joined1", "live/test_720"), ("joined2", "low/live/test")];
        assert!(members.eq(expected));
        let other = StreamName::parse("vod/test").unwrap();
        assert_eq!(rule.members(&other), None);
    }

    #[test]
    fn name_that_no_stream_can_have_or_that_is_ambiguous_is_refused() {
        assert!(rule("live/a", &["live/b"]).is_ok());
        for (stream, from) in [
            ("live/*", "live/b"),
            ("live/*", "{stream}"),
            ("live/a", "live/a"),
            ("live/a", "{stream}/"),
            ("live/a", ""),
        ] {
            assert!(rule(stream, &[from]).is_err(), "{stream} from {from}");
        }
        assert_eq!(
            rule("live/a", &["live/b"; 9]),
            Err(MemberNameError::TooMany(9))
        );
        assert_eq!(rule("live/a", &[]), Err(MemberNameError::Empty));
        assert_eq!(
            rule("live/*", &["{stream}_b", "{stream}_c", "{stream}_b"]),
            Err(MemberNameError::Twice("{stream}_b".into()))
        );
    }
}
