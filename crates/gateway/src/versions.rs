//! The versions of the program and of the libraries in C that are built into it.

use std::ffi::CStr;
use std::sync::LazyLock;

use aws_lc_sys::AWSLC_VERSION_NUMBER_STRING;

/// Returns the output of `--version` after the program's name: its own version, then a line for
/// each library whose security advisories concern it.
pub(crate) fn long() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let own = env!("CARGO_PKG_VERSION");
        let openssl = openssl::version::version();
        let opus = distributary_opus::version();
        format!("{own}\n{openssl}\nAWS-LC {}\n{opus}", aws_lc())
    });
    &TEXT
}

/// Returns the version of AWS-LC, such as `5.12.0`.
fn aws_lc() -> &'static str {
    let text = CStr::from_bytes_with_nul(AWSLC_VERSION_NUMBER_STRING);
    text.ok().and_then(|text| text.to_str().ok()).unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the version of a package in the lock file.
    fn locked(package: &str) -> &'static str {
        let lock = include_str!("../../../Cargo.lock");
        let entry = lock
            .split(&format!("name = \"{package}\"\nversion = \""))
            .nth(1);
        entry.unwrap().split('"').next().unwrap()
    }

    #[test]
    fn long_version_names_the_libraries_that_are_built_in() {
        let lines: Vec<_> = long().lines().collect();
        let [own, openssl, aws_lc, opus] = lines[..] else {
            panic!("{lines:?}");
        };
        assert_eq!(own, env!("CARGO_PKG_VERSION"));
        // Such as 300.6.1+3.6.3: after the sign the version of OpenSSL.
        let (_, built_in) = locked("openssl-src").split_once('+').unwrap();
        assert!(
            openssl.starts_with(&format!("OpenSSL {built_in} ")),
            "{openssl}"
        );
        let numbers = aws_lc.strip_prefix("AWS-LC ").unwrap().split('.');
        assert!(
            numbers.clone().all(|number| number.parse::<u32>().is_ok()),
            "{aws_lc}"
        );
        assert_eq!(numbers.count(), 3, "{aws_lc}");
        let built_in = include_str!("../../opus/libopus/VERSION").trim();
        assert_eq!(opus, format!("libopus {built_in}"));
    }
}
