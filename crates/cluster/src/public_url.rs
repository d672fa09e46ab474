//! URLs at which players reach the HTTP listeners of nodes.

use url::Url;

/// Maximum length of a URL, in bytes.
const MAX_LEN: usize = 256;

/// Returns whether a text is an `http` or `https` URL with a host, perhaps a port and a path, and
/// nothing else. Such a text can stand in a header as it is, and every browser can parse it.
pub(crate) fn is_public_url(text: &str) -> bool {
    let rest = ["http://", "https://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let Some(rest) = rest else { return false };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let is_of_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    let is_of_path = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let has_host = authority.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[');
    text.len() <= MAX_LEN
        && has_host
        && authority.bytes().all(is_of_host)
        && path.bytes().all(is_of_path)
        && Url::parse(text).is_ok()
}

/// Returns a URL without the slash at its end.
pub(crate) fn base(url: &str) -> &str {
    url.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_that_can_stand_in_a_header_are_accepted() {
        for url in [
            "http://10.0.0.1:8080",
            "https://node1.example",
            "https://node1.example/video/",
            "http://[2001:db8::1]:8080/a/b",
        ] {
            assert!(is_public_url(url), "{url}");
        }
        for other in [
            "",
            "node1.example",
            "rtmp://node1.example",
            "https://",
            "https:///a",
            "https://user:secret@node1.example",
            "https://node1.example/?a=b",
            "https://node1.example/#a",
            "https://node1.example/a>; rel=\"x\"",
            "https://node1.example\r\nX: y",
            "https://node1.example/ä",
            "https://node1.example:84433",
            "http://10.0.0.256",
            "http://a:b",
            "http://[::1",
            "http://[fe80::1::2]:8080",
            &format!("https://node1.example/{}", "a".repeat(MAX_LEN)),
        ] {
            assert!(!is_public_url(other), "{other}");
        }
    }

    #[test]
    fn slash_at_the_end_is_removed() {
        assert_eq!(base("https://a.example/x/"), "https://a.example/x");
    }
}
