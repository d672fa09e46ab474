//! What each fuzz target does with its input.
//!
//! A target is a function from bytes to nothing that panics when a promise is broken. The binaries
//! in `fuzz_targets` hand them to libFuzzer; the tests of this crate run them over the seeds, so
//! that a finding, once kept as a seed, stays fixed.

/// A target.
pub type Target = fn(&[u8]);

/// All targets, by the name of their binary and of their folder in `seeds`.
pub const TARGETS: &[(&str, Target)] = &[("stream_name", stream_name)];

/// Names of streams, as they come in a URL or an RTMP command: an accepted one is safe to print and
/// reads back as itself.
pub fn stream_name(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(name) = distributary_hub::StreamName::parse(text) {
        assert_eq!(name.as_str(), text);
        assert!(!text.chars().any(char::is_control));
        assert!(!text.split('/').any(|segment| segment == ".." || segment.is_empty()));
    }
}
