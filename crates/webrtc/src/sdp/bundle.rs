//! Groups of sections that share one transport (`a=group:BUNDLE`, RFC 9143).

use super::limits::MAX_MEDIA_SECTIONS;
use super::token::Token;

/// The `mid`s of one BUNDLE group, in the order of the description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleGroup {
    mids: Vec<Token>,
}

impl BundleGroup {
    /// Reads the value of `a=group`; `None` for groups with other semantics (RFC 5888 section 5).
    pub(super) fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_whitespace();
        if words.next()? != "BUNDLE" {
            return None;
        }
        let mut mids: Vec<Token> = Vec::new();
        for mid in words.filter_map(Token::new) {
            if mids.len() < MAX_MEDIA_SECTIONS && !mids.contains(&mid) {
                mids.push(mid);
            }
        }
        Some(Self { mids })
    }

    /// Returns the `mid`s, in the order of the description.
    pub fn mids(&self) -> &[Token] {
        &self.mids
    }

    /// Returns whether `mid` is a member.
    pub(super) fn contains(&self, mid: &Token) -> bool {
        self.mids.contains(mid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bundle_groups_are_read_and_their_order_is_kept() {
        let group = BundleGroup::parse("BUNDLE video0 audio1").unwrap();
        let mids: Vec<&str> = group.mids().iter().map(Token::as_str).collect();
        assert_eq!(mids, ["video0", "audio1"]);
        assert!(group.contains(&Token::new("audio1").unwrap()));
        assert!(!group.contains(&Token::new("BUNDLE").unwrap()));
        let repeated = BundleGroup::parse(&format!("BUNDLE{}", " 0 1".repeat(10_000)));
        assert_eq!(repeated.unwrap().mids().len(), 2);
        assert_eq!(BundleGroup::parse("LS video0 audio1"), None);
        assert_eq!(BundleGroup::parse(""), None);
    }
}
