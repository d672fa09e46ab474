//! The place of the table in the documentation.

/// The file, from the root of the tree.
pub(super) const FILE: &str = "docs/performance.md";

const BEGIN: &str = "<!-- cargo xtask bench --write -->\n";
const END: &str = "<!-- end -->\n";

/// Returns the document with another text between its markers; `None` if it has no markers.
pub(super) fn replaced(document: &str, text: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{text}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_between_the_markers_is_replaced_and_the_rest_stays() {
        let document = format!("a\n{BEGIN}old\n{END}b\n");
        let once = replaced(&document, "new\n").unwrap();
        assert_eq!(once, format!("a\n{BEGIN}\nnew\n\n{END}b\n"));
        assert_eq!(replaced(&once, "new\n").unwrap(), once);
        assert_eq!(replaced("a\n", "new\n"), None);
    }

    #[test]
    fn documentation_has_the_markers() {
        let document = include_str!("../../../../docs/performance.md");
        assert!(replaced(document, "").is_some());
    }
}
