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
        /// What the system says.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{}:{}: {}", path.display(), explanation.line, explanation.reason)]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong there, and where that is.
        explanation: Explanation,
    },
    /// A variable of the environment is not what its key wants.
    #[error("{name} in the environment: {reason}")]
    Environment {
        /// The variable.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

impl ConfigError {
    /// The place of the file that is wrong, with a mark, for a person at a terminal.
    pub fn excerpt(&self) -> Option<String> {
        match self {
            Self::Parse { explanation, .. } => Some(explanation.to_string()),
            _ => None,
        }
    }
}
