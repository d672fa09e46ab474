//! The licenses of Rust's standard library, which is built in and comes with the compiler.

use std::fs;
use std::path::Path;

use super::ThirdPartyError;

/// The file of a toolchain with the licenses of the library and of the crates in it.
const NOTICES: &str = "share/doc/rust/COPYRIGHT-library.html";

/// The references to characters that the file has; the one for & last, because it begins the others.
const CHARACTERS: [(&str, &str); 5] = [
    ("&#34;", "\""),
    ("&#39;", "'"),
    ("&#60;", "<"),
    ("&#62;", ">"),
    ("&#38;", "&"),
];

/// Returns the licenses of the standard library of the toolchain in `sysroot`.
pub(super) fn notices(sysroot: &Path) -> Result<String, ThirdPartyError> {
    let path = sysroot.join(NOTICES);
    match fs::read_to_string(&path) {
        Ok(page) => Ok(text_of(body(&page))),
        Err(source) => Err(ThirdPartyError::Io { path, source }),
    }
}

fn body(page: &str) -> &str {
    page.find("<body").map_or(page, |begin| &page[begin..])
}

/// Returns the text of a page in HTML, with one empty line between its paragraphs.
fn text_of(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    let mut parts = page.split('<');
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        text.push_str(part.split_once('>').map_or("", |(_, after)| after));
    }
    for (reference, character) in CHARACTERS {
        text = text.replace(reference, character);
    }
    let mut lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.dedup_by(|line, before| line.is_empty() && before.is_empty());
    lines.join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_becomes_text() {
        let page = "<html><title>x</title><body>\n<h1>Notices</h1>\n\n \n<p><b>Of:</b> &#34;A&#34; \
                    &#60;a@b&#62;</p>\n</body>";
        assert_eq!(text_of(body(page)), "Notices\n\nOf: \"A\" <a@b>");
    }
}
