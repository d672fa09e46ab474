//! Stream names as parts of a URL.

use distributary_names::StreamName;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// First path segments that never begin the path of a player page. WHEP works for streams of such
/// an application all the same.
pub(crate) const RESERVED: [&str; 6] = ["api", "assets", "index", "rtc", "session", "whep"];

/// Paths of one segment that are no player page either: those of this gateway, and those that
/// people who look for the dashboard or for WHIP ask for.
const RESERVED_ALONE: [&str; 6] = ["admin", "dashboard", "healthz", "metrics", "readyz", "whip"];

/// Extensions of the files that browsers, robots and scanners expect in the root of a site.
const FILES: [&str; 26] = [
    "asp",
    "aspx",
    "bak",
    "cfg",
    "cgi",
    "conf",
    "css",
    "gz",
    "htm",
    "html",
    "ico",
    "ini",
    "jpg",
    "js",
    "json",
    "jsp",
    "log",
    "map",
    "php",
    "png",
    "sql",
    "svg",
    "txt",
    "webmanifest",
    "xml",
    "zip",
];

/// Last path segments that follow the name of a stream.
pub(crate) const WHEP_SUFFIX: &str = "whep";
pub(crate) const KEYFRAME_SUFFIX: &str = "keyframe";

/// Returns whether the path that is a stream's name is its player page.
pub(crate) fn has_page(name: &StreamName) -> bool {
    let (app, stream) = name.parts();
    let first = name.as_str().split('/').next().unwrap_or_default();
    let is_taken = match app {
        "" => RESERVED_ALONE.contains(&stream) || is_file(stream),
        _ => [WHEP_SUFFIX, KEYFRAME_SUFFIX].contains(&stream),
    };
    // Neither `.env` nor `.well-known` is an application.
    !is_taken && !first.starts_with('.') && !RESERVED.contains(&first)
}

/// Returns whether the name is that of a file which sites have in their root.
fn is_file(name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    extension.is_some_and(|extension| {
        FILES
            .iter()
            .any(|known| known.eq_ignore_ascii_case(extension))
    })
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_paths_of_something_else_have_no_page() {
        let has_page = |name| has_page(&StreamName::parse(name).unwrap());
        for name in [
            "cam",
            "cam.2",
            "live/test",
            "live/api",
            "live/test.json",
            "live/.test",
            "keyframe",
            "admin/cam",
        ] {
            assert!(has_page(name), "{name}");
        }
        for name in [
            "api",
            "api/test",
            "whep",
            "metrics",
            "cam/whep",
            "live/test/keyframe",
            "favicon.ico",
            "apple-touch-icon.png",
            "Sitemap.XML",
            "wp-login.php",
            ".env",
            ".git/config",
            ".well-known/security.txt",
        ] {
            assert!(!has_page(name), "{name}");
        }
    }
}
