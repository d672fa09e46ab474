//! The version.

#![allow(unsafe_code, reason = "a call of libopus, with its reason")]

use std::ffi::CStr;

use crate::sys;

/// Returns the version of libopus, such as `libopus 1.6.1`.
#[must_use]
pub fn version() -> &'static str {
    // SAFETY: it returns a constant text.
    let text = unsafe { CStr::from_ptr(sys::opus_get_version_string()) };
    text.to_str().unwrap_or("libopus ?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_that_of_the_source() {
        let source = include_str!("../libopus/VERSION").trim();
        assert_eq!(version(), format!("libopus {source}"));
    }
}
