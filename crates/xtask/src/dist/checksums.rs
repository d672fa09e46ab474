//! `SHA256SUMS`: `sha256sum --check` verifies the files of a folder by it.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{DistError, files, io_error};

const NAME: &str = "SHA256SUMS";

/// Writes the checksums of all files of a folder.
pub(super) fn write(folder: &Path) -> Result<(), DistError> {
    let mut lines = String::new();
    for file in files(folder)? {
        let name = file.file_name().unwrap_or_default();
        if name == NAME {
            continue;
        }
        let bytes = fs::read(&file).map_err(io_error(&file))?;
        lines.push_str(&line(&bytes, &name.to_string_lossy()));
    }
    let list = folder.join(NAME);
    fs::write(&list, lines).map_err(io_error(&list))
}

/// Returns the line of a file: the digits, two spaces (which means text), the name.
fn line(bytes: &[u8], name: &str) -> String {
    let mut line = String::new();
    for byte in Sha256::digest(bytes) {
        // Writing to a text cannot fail.
        let _ = write!(line, "{byte:02x}");
    }
    line + "  " + name + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_is_that_of_sha256sum() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(
            line(b"abc", "a.deb"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a.deb\n"
        );
    }
}
