//! Targets for the names of streams.

use distributary_names::StreamName;

/// Names of streams, as they come in a URL or an RTMP command: an accepted one is safe to print and
/// reads back as itself.
pub fn stream_name(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(name) = StreamName::parse(text) {
        assert_eq!(name.as_str(), text);
        assert!(!text.chars().any(char::is_control));
        let mut segments = text.split('/');
        assert!(!segments.any(|segment| segment == ".." || segment.is_empty()));
    }
}
