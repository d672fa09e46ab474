//! Tables in the documentation that a command writes, each between markers with its name.

use std::fs;

use crate::load::{LoadError, io_error};

/// The file, from the root of the tree.
const FILE: &str = "docs/performance.md";

const END: &str = "<!-- end -->\n";

/// Writes the text of a command between its markers.
pub(crate) fn write(command: &str, text: &str) -> Result<(), LoadError> {
    let failed = io_error(FILE);
    let document = fs::read_to_string(FILE).map_err(&failed)?;
    let written = replaced(&document, command, text).ok_or(LoadError::NoMarkers)?;
    fs::write(FILE, written).map_err(failed)
}

/// Returns the document with another text between the markers of a command; `None` if it has none.
fn replaced(document: &str, command: &str, text: &str) -> Option<String> {
    let begin = format!("<!-- {command} -->\n");
    let (before, rest) = document.split_once(&begin)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{begin}\n{text}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_between_the_markers_is_replaced_and_the_rest_stays() {
        let other = "<!-- other -->\nkept\n<!-- end -->\n";
        let document = format!("a\n{other}<!-- it -->\nold\n{END}b\n");
        let once = replaced(&document, "it", "new\n").unwrap();
        assert_eq!(once, format!("a\n{other}<!-- it -->\n\nnew\n\n{END}b\n"));
        assert_eq!(replaced(&once, "it", "new\n").unwrap(), once);
        assert_eq!(replaced("a\n", "it", "new\n"), None);
    }

    #[test]
    fn documentation_has_the_markers() {
        let document = include_str!("../../../docs/performance.md");
        for command in [crate::bench::WRITE, crate::join::WRITE] {
            assert!(replaced(document, command, "").is_some(), "{command}");
        }
    }
}
