//! Keys in the configuration.

use std::borrow::Cow;
use std::fmt;
use std::ops::BitOr;

use distributary_names::StreamPattern;
use serde::{Deserialize, Serialize};
use subtle::{Choice, ConstantTimeEq};

use crate::access::{AccessRequest, Action, Denied};

/// Keys for the streams of a pattern. Debug output omits them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRule {
    /// The streams.
    #[serde(rename = "match")]
    pub streams: StreamPattern,
    /// Keys that allow publishing.
    #[serde(default)]
    pub publish: Vec<String>,
    /// Keys that allow watching.
    #[serde(default)]
    pub play: Vec<String>,
}

impl KeyRule {
    fn keys(&self, action: Action) -> &[String] {
        match action {
            Action::Publish => &self.publish,
            Action::Play => &self.play,
        }
    }

    /// Returns whether any key allows the action.
    pub(crate) fn allows(&self, action: Action) -> bool {
        !self.keys(action).is_empty()
    }
}

impl fmt::Debug for KeyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRule")
            .field("streams", &self.streams)
            .field("publish", &self.publish.len())
            .field("play", &self.play.len())
            .finish()
    }
}

/// Checks whether a credential is a key of any rule for the stream.
pub(crate) fn check(rules: &[KeyRule], request: &AccessRequest<'_>) -> Result<(), Denied> {
    let shown = request.credentials();
    if shown.is_empty() {
        return Err(Denied::Missing);
    }
    let keys = rules
        .iter()
        .filter(|rule| rule.streams.matches(request.stream).is_some())
        .flat_map(|rule| rule.keys(request.action));
    // Every key is compared in constant time, so that the duration reveals nothing.
    let equal = keys.fold(Choice::from(0), |equal, key| {
        let is_shown = |shown: &Cow<'_, str>| key.as_bytes().ct_eq(shown.as_bytes());
        shown.iter().map(is_shown).fold(equal, BitOr::bitor)
    });
    if equal.into() {
        Ok(())
    } else {
        Err(Denied::Invalid("this key is not valid for this stream"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::tests::{asking, name};

    fn rules() -> Vec<KeyRule> {
        let rule = |streams: &str, publish: &[&str], play: &[&str]| KeyRule {
            streams: streams.parse().unwrap(),
            publish: publish.iter().map(|key| (*key).to_owned()).collect(),
            play: play.iter().map(|key| (*key).to_owned()).collect(),
        };
        vec![
            rule("live/*", &["studio"], &["guest", "press"]),
            rule("live/vip", &["vip-studio"], &[]),
        ]
    }

    fn checked(action: Action, stream: &str, query: &str) -> Result<(), Denied> {
        check(&rules(), &asking(action, &name(stream), query))
    }

    #[test]
    fn key_is_valid_for_its_streams_and_action() {
        use Action::{Play, Publish};
        assert_eq!(checked(Publish, "live/a", "key=studio"), Ok(()));
        assert_eq!(checked(Play, "live/a", "token=press"), Ok(()));
        assert_eq!(checked(Play, "live/a", "token=null&key=press"), Ok(()));
        // All matching rules apply.
        assert_eq!(checked(Publish, "live/vip", "key=vip-studio"), Ok(()));
        assert_eq!(checked(Publish, "live/vip", "key=studio"), Ok(()));
        for (action, stream, query) in [
            (Publish, "live/a", "key=guest"),
            (Play, "live/a", "key=studio"),
            (Publish, "live/a", "key=vip-studio"),
            (Publish, "other/a", "key=studio"),
            (Publish, "live/a", "key=studi"),
            (Publish, "live/a", "key=studioo"),
            (Publish, "live/a", "key=x&token=y&jwt=z"),
        ] {
            let denied = checked(action, stream, query);
            assert!(matches!(denied, Err(Denied::Invalid(_))), "{query}");
        }
        assert_eq!(checked(Publish, "live/a", ""), Err(Denied::Missing));
    }

    #[test]
    fn debug_output_has_no_keys() {
        assert!(!format!("{:?}", rules()).contains("studio"));
    }
}
