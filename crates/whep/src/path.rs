//! Stream names as parts of a URL.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// What cannot stand for itself in a path: all but `pchar` and the slash (RFC 3986 section 3.3), of the
/// characters that a name may have.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'[')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}')
    .add(b'%')
    .add(b'?')
    .add(b'#')
    .add(b'\\');

/// Text as it stands in a path; its slashes part segments.
pub(crate) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}
