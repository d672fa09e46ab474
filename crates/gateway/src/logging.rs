//! The log, on standard error.

use std::io::IsTerminal;

use serde::{Deserialize, Serialize};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{Handle, Layer};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt};

use crate::log_limit::{LogLimit, WINDOW};

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object on each line, for programs.
    Json,
}

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
    /// The log has ended.
    #[error("the log does not run")]
    Ended,
}

/// What libraries say that viewers could fill the log with: the one for data channels calls it an error when
/// a viewer ends its association. A filter that names them hears them all the same.
const QUIET: &str = "sctp_proto=off";

/// Changes what is logged while the gateway runs.
#[derive(Clone, Debug)]
pub struct LogHandle {
    levels: Handle<EnvFilter, Registry>,
    limit: LogLimit,
}

impl LogHandle {
    /// Logs what passes `filter` from now on, so many lines of each client in a minute.
    ///
    /// # Errors
    /// When the filter is not valid.
    pub fn set(&self, filter: &str, lines_per_minute: u32) -> Result<(), LogError> {
        self.limit.set(lines_per_minute);
        let reloaded = self.levels.reload(levels(filter)?);
        reloaded.map_err(|_| LogError::Ended)
    }

    /// Returns the levels in force, as directives with commas between them.
    ///
    /// # Errors
    /// When the log has ended.
    pub fn levels(&self) -> Result<String, LogError> {
        let levels = self.levels.with_current(ToString::to_string);
        levels.map_err(|_| LogError::Ended)
    }

    /// Returns how many lines of each client are written in a minute; 0 means any number.
    pub fn lines_per_minute(&self) -> u32 {
        self.limit.lines()
    }

    /// Says each minute what was suppressed, for as long as it is polled.
    pub async fn report(self) {
        loop {
            tokio::time::sleep(WINDOW).await;
            self.limit.report();
        }
    }
}

/// Starts to log what passes `filter`: a level (`info`), or levels by part
/// (`warn,distributary_rtmp=debug`). Of each client so many lines are written in a minute, for as long as
/// [`LogHandle::report`] is polled.
///
/// # Errors
/// When the filter is not valid, or the log was started before.
pub fn start(
    filter: &str,
    format: LogFormat,
    lines_per_minute: u32,
) -> Result<LogHandle, LogError> {
    let limit = LogLimit::new(lines_per_minute);
    let (levels, handle) = Layer::new(levels(filter)?);
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            // The innermost span alone: there are none around it.
            .with_span_list(false)
            .boxed(),
    };
    tracing_subscriber::registry()
        .with(levels)
        .with(lines.with_filter(limit.clone()))
        .try_init()
        .map_err(|_| LogError::Started)?;
    Ok(LogHandle {
        levels: handle,
        limit,
    })
}

/// Whether a filter is valid.
///
/// # Errors
/// When it is not.
pub fn check(filter: &str) -> Result<(), LogError> {
    levels(filter).map(drop)
}

fn levels(filter: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder()
        .parse(format!("{QUIET},{filter}"))
        .map_err(|source| LogError::Filter {
            filter: filter.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_named_in_the_error() {
        let error = check("loud=louder").unwrap_err().to_string();
        assert!(
            error.contains("--log") && error.contains("loud=louder"),
            "{error}"
        );
        assert!(check("warn,distributary_rtmp=debug").is_ok());
    }
}
