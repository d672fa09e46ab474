//! The relative path to the gateway's root, so that pages work under every path that a proxy gives
//! them.

/// Returns the relative path to the root from a page. A browser resolves it from behind the last
/// slash (RFC 3986 section 5.2.3).
pub(crate) fn root_of(path: &str) -> String {
    match path.matches('/').count() {
        0 | 1 => "./".to_owned(),
        slashes => "../".repeat(slashes - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_root_depends_on_the_depth_of_the_path() {
        for (path, root) in [
            ("/", "./"),
            ("/live/test", "../"),
            ("/live/test/", "../../"),
            ("/live/eu/a%2Fb", "../../"),
        ] {
            assert_eq!(root_of(path), root, "{path}");
        }
    }
}
