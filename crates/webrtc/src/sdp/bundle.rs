//! Groups of sections that share one transport (`a=group:BUNDLE`, RFC 9143).

use super::Token;

/// The `mid`s of one BUNDLE group, in the order of the offer.
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
        let mids = words.filter_map(Token::new).collect();
        Some(Self { mids })
    }

    /// The `mid`s, in the order of the offer.
    pub fn mids(&self) -> &[Token] {
        &self.mids
    }

    /// Place of `mid` in the group.
    pub(super) fn position(&self, mid: &Token) -> Option<usize> {
        self.mids.iter().position(|member| member == mid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bundle_groups_are_read_and_their_order_is_kept() {
        let group = BundleGroup::parse("BUNDLE video0 audio1").unwrap();
        assert_eq!(group.position(&Token::new("audio1").unwrap()), Some(1));
        assert_eq!(group.mids().len(), 2);
        assert_eq!(BundleGroup::parse("LS video0 audio1"), None);
        assert_eq!(BundleGroup::parse(""), None);
    }
}
