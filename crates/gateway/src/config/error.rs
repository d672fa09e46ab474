//! Why a configuration cannot be used.

use std::io;
use std::path::PathBuf;

use super::explanation::Explanation;

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("--config {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The file is not valid.
    #[error("{}:{}: {}", path.display(), explanation.line, explanation.reason)]
    Parse {
        /// The file.
        path: PathBuf,
        /// The reason and the place.
        explanation: Explanation,
    },
    /// A variable of the environment does not have a value of its key.
    #[error("{name} in the environment: {reason}")]
    Environment {
        /// The variable.
        name: String,
        /// The reason.
        reason: String,
    },
}

impl ConfigError {
    /// Returns the line of the file that is wrong, with a mark, for a person at a terminal.
    pub fn excerpt(&self) -> Option<String> {
        match self {
            Self::Parse { explanation, .. } => Some(explanation.to_string()),
            _ => None,
        }
    }
}
