//! Entries of `[[rendition]]` that lead in a circle.

use std::collections::HashSet;

use distributary_names::StreamName;

use super::rule::RenditionRule;

/// Most names that are followed: a configuration of any sense has fewer.
const MAX_NAMES: usize = 10_000;

/// Entries of `[[rendition]]` make a stream a rendition of itself: each of these streams is joined
/// to the one before it, and the first to the last.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("[[rendition]]: {}: remove one of these from \"from\"", describe(.0))]
pub struct RenditionCircle(Vec<StreamName>);

impl RenditionCircle {
    /// Returns a circle of some entries, if there is one.
    pub fn find(rules: &[RenditionRule]) -> Option<Self> {
        // Members that are named after their stream are longer than that. So every circle goes
        // through an entry for one stream, and through no name that is longer than all of these.
        let mut starts: Vec<StreamName> = rules.iter().filter_map(RenditionRule::only).collect();
        let longest = starts.iter().map(|name| name.as_str().len()).max()?;
        let members = |name: &StreamName| {
            let members = rules.iter().find_map(|rule| rule.members(name));
            let members = members.unwrap_or_default().into_iter();
            let is_short = |name: &StreamName| name.as_str().len() <= longest;
            members.map(|(_, member)| member).filter(is_short).rev()
        };
        let mut seen = HashSet::new();
        while let Some(start) = starts.pop() {
            let mut path: Vec<StreamName> = Vec::new();
            // Names to look at, and how many are before each on its path.
            let mut open = vec![(start, 0)];
            while let Some((name, depth)) = open.pop() {
                path.truncate(depth);
                if let Some(at) = path.iter().position(|before| *before == name) {
                    return Some(Self(path.split_off(at)));
                }
                if seen.len() < MAX_NAMES && seen.insert(name.clone()) {
                    open.extend(members(&name).map(|member| (member, depth + 1)));
                    path.push(name);
                }
            }
        }
        None
    }
}

fn describe(names: &[StreamName]) -> String {
    let following = names.iter().cycle().skip(1);
    let links = names.iter().zip(following);
    let links = links.map(|(stream, member)| format!("{member} is joined to {stream}"));
    links.collect::<Vec<_>>().join(", and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circle(rules: &[(&str, &[&str])]) -> Option<String> {
        let rules = rules.iter();
        let rules: Vec<RenditionRule> = rules
            .map(|(stream, from)| RenditionRule::parse(stream, from).unwrap())
            .collect();
        RenditionCircle::find(&rules).map(|circle| circle.to_string())
    }

    #[test]
    fn streams_that_are_joined_to_each_other_are_named() {
        assert_eq!(
            circle(&[("live/a", &["live/b"]), ("live/b", &["live/c", "live/a"])]).unwrap(),
            "[[rendition]]: live/a is joined to live/b, and live/b is joined to live/a: remove one \
             of these from \"from\""
        );
        let three: [(&str, &[&str]); 4] = [
            ("x/a", &["x/b"]),
            ("x/b", &["x/d", "x/c"]),
            ("x/c", &["x/a"]),
            ("x/d", &["x/e"]),
        ];
        let text = circle(&three).unwrap();
        let links = [
            "x/b is joined to x/a",
            "x/c is joined to x/b",
            "x/a is joined to x/c",
        ];
        assert!(links.iter().all(|link| text.contains(link)), "{text}");
    }

    #[test]
    fn circle_through_a_pattern_is_found() {
        let through = circle(&[("live/a_720", &["live/a"]), ("live/*", &["{stream}_720"])]);
        assert!(through.is_some_and(|text| text.contains("live/a_720 is joined to live/a")));
        let longer = circle(&[
            ("*_1_2", &["{stream}_3"]),
            ("a_1_2_3", &["a"]),
            ("a*", &["{stream}_1", "{stream}_2"]),
        ]);
        assert!(longer.is_some());
    }

    #[test]
    fn ladders_and_chains_are_no_circles() {
        assert_eq!(
            circle(&[("live/*", &["{stream}_720", "{stream}_360"])]),
            None
        );
        assert_eq!(
            circle(&[("*", &["{stream}_1", "x/{stream}"]), ("x", &["y"])]),
            None
        );
        assert_eq!(
            circle(&[("a", &["b", "c"]), ("b", &["d"]), ("c", &["d"])]),
            None
        );
        // The first entry that matches applies.
        assert_eq!(circle(&[("a", &["b"]), ("b", &["c"]), ("b", &["a"])]), None);
        assert_eq!(circle(&[]), None);
    }
}
