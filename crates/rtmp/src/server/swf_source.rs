//! The Flash program of SWF verification in the configuration.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::proto::swf::{Swf, SwfError};

/// A Flash program: its file, or its hash and size. An empty path stands for none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected the path of an SWF file, or { hash = \"64 hexadecimal digits\", size = bytes }"
)]
pub enum SwfSource {
    /// The path of the file.
    File(PathBuf),
    /// Its hash and size.
    Known(KnownSwf),
}

/// The hash and size of a program without its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownSwf {
    /// The HMAC-SHA256 of the program, in hexadecimal digits.
    pub hash: String,
    /// The uncompressed size of the program, in bytes.
    pub size: u32,
}

impl Default for SwfSource {
    fn default() -> Self {
        Self::File(PathBuf::new())
    }
}

impl SwfSource {
    /// Reads the program; `None` if there is none.
    ///
    /// # Errors
    /// Returns [`SwfError`] if it cannot be read or is not a program that can be verified.
    pub fn load(&self) -> Result<Option<Swf>, SwfError> {
        match self {
            Self::File(path) if path.as_os_str().is_empty() => Ok(None),
            Self::File(path) => Swf::read(File::open(path)?).map(Some),
            Self::Known(KnownSwf { hash, size }) => Swf::new(hash, *size).map(Some),
        }
    }
}

impl fmt::Display for SwfSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{:?}", path.display().to_string()),
            Self::Known(KnownSwf { hash, .. }) => write!(f, "{{ hash = {hash:?} }}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_is_a_file_or_its_hash_and_size() {
        let load = |text: &str| serde_json::from_str::<SwfSource>(text).unwrap().load();
        assert_eq!(load("\"\"").unwrap(), None);
        let hash = "5a".repeat(32);
        let known = load(&format!("{{\"hash\": \"{hash}\", \"size\": 1000}}")).unwrap();
        assert_eq!(known, Swf::new(&hash, 1000).ok());
        assert!(matches!(load("\"/nowhere/a.swf\""), Err(SwfError::Io(_))));
        let error = serde_json::from_str::<SwfSource>("5")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("expected the path of an SWF file"),
            "{error}"
        );
    }
}
