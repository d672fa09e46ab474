//! The log: text on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// The log cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The level is none.
    #[error(
        "--log or the key log: {filter:?} is not a level (error, warn, info, debug, trace): {source}"
    )]
    Filter {
        /// What was given.
        filter: String,
        /// Why it is refused.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Somebody else in the process logs already.
    #[error("the log is started already")]
    Started,
}

/// What libraries say that viewers could fill the log with: the one for data channels calls it an error when
/// a viewer ends its association. A filter that names them hears them all the same.
const QUIET: &str = "sctp_proto=off";

/// Starts to log what passes `filter`: a level (`info`), or levels by part
/// (`warn,distributary_rtmp=debug`).
///
/// # Errors
/// When the filter is not valid, or the log was started before.
pub fn start(filter: &str) -> Result<(), LogError> {
    let levels = EnvFilter::builder()
        .parse(format!("{QUIET},{filter}"))
        .map_err(|source| LogError::Filter {
            filter: filter.to_owned(),
            source,
        })?;
    tracing_subscriber::fmt()
        .with_env_filter(levels)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init()
        .map_err(|_| LogError::Started)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_named_in_the_error() {
        let error = start("loud=louder").unwrap_err().to_string();
        assert!(
            error.contains("--log") && error.contains("loud=louder"),
            "{error}"
        );
    }
}
