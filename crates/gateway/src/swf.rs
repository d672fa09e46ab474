//! The Flash program of SWF verification, as the configuration names it.

use std::path::PathBuf;

use distributary_rtmp::Swf;
use serde::{Deserialize, Serialize};

use crate::config::ConfigError;

/// A Flash program: its file, or what is known of it. An empty path is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected the path of an SWF file, or { hash = \"64 hexadecimal digits\", size = bytes }"
)]
pub enum SwfSource {
    /// The path of the file.
    File(PathBuf),
    /// What is known of it.
    Known(KnownSwf),
}

/// What is known of a program whose file is not here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownSwf {
    /// The HMAC-SHA256 of the program, in hexadecimal digits.
    pub hash: String,
    /// Bytes of the program without its compression.
    pub size: u32,
}

impl Default for SwfSource {
    fn default() -> Self {
        Self::File(PathBuf::new())
    }
}

impl SwfSource {
    /// Reads the program; `None` where none is wanted. `table` is where the key stands.
    ///
    /// # Errors
    /// When it cannot be read or is no program.
    pub fn load(&self, table: &str) -> Result<Option<Swf>, ConfigError> {
        let (loaded, given) = match self {
            Self::File(path) if path.as_os_str().is_empty() => return Ok(None),
            Self::File(path) => (Swf::open(path), format!("{:?}", path.display().to_string())),
            Self::Known(KnownSwf { hash, size }) => {
                (Swf::new(hash, *size), format!("{{ hash = {hash:?} }}"))
            }
        };
        loaded.map(Some).map_err(|error| {
            ConfigError::entry(format!("{table} swf = {given}"), error.to_string())
        })
    }
}
