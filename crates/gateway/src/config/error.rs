//! Errors of the configuration.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::explanation::Explanation;

/// The configuration is not usable.
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
        /// The reason, and the line in the file.
        explanation: Explanation,
    },
    /// A variable of the environment has an invalid value.
    #[error("{name} in the environment: {reason}")]
    Environment {
        /// The variable.
        name: String,
        /// The reason.
        reason: String,
    },
}

impl ConfigError {
    /// Returns the wrong line of the file with a mark, for a person at a terminal.
    pub fn excerpt(&self) -> Option<String> {
        match self {
            Self::Parse { explanation, .. } => Some(explanation.to_string()),
            _ => None,
        }
    }
}

/// All errors of a configuration.
#[derive(Debug)]
pub struct ConfigErrors(pub Vec<ConfigError>);

/// Writes all errors on one line, for the log.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&errors.join("; "))
    }
}

impl std::error::Error for ConfigErrors {}
