//! Stream names as parts of a URL.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// First path segments that never begin the path of a player page. WHEP works for streams of such
/// an application all the same.
pub(crate) const RESERVED: [&str; 6] = ["api", "assets", "index", "rtc", "session", "whep"];

/// Characters that are percent-encoded in a path: all that a name may have except `pchar` and the
/// slash (RFC 3986 section 3.3).
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

/// Percent-encodes text for a path. Its slashes separate segments.
pub(crate) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}
