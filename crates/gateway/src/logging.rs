//! The log, on standard error.

use std::io::IsTerminal;

use serde::{Deserialize, Serialize};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{Handle, Layer};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt};

use crate::log_format::TextLines;
use crate::log_limit::{LogLimit, WINDOW};

/// The format of the log.
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
    /// A level is none.
    #[error(
        "--log or the key log: {word:?} is not a level; levels are error, warn, info, debug, trace and \
         off, also by module: warn,distributary_rtmp=debug"
    )]
    Level {
        /// The word in place of a level.
        word: String,
    },
    /// The filter is not valid.
    #[error("--log or the key log: {filter:?}: {source}")]
    Filter {
        /// The given filter.
        filter: String,
        /// The error.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The process has a log already.
    #[error("the log is started already")]
    Started,
    /// The log is not running.
    #[error("the log does not run")]
    Ended,
}

/// Suppresses messages of libraries with which clients could fill the log: the one for data
/// channels logs an error when a viewer ends its association, those for MP3 warn of every broken
/// frame of a publisher. The one for NATS repeats what the cluster logs. A filter that names the
/// library overrides this.
const QUIET: &str = "sctp_proto=off,async_nats=off,symphonia_bundle_mp3=off,symphonia_core=off";

/// Changes the log settings at run time.
#[derive(Clone, Debug)]
pub struct LogHandle {
    levels: Handle<EnvFilter, Registry>,
    limit: LogLimit,
}

impl LogHandle {
    /// Applies a filter, and a limit of lines per client and minute.
    ///
    /// # Errors
    /// Fails when the filter is not valid.
    pub fn set(&self, filter: &str, lines_per_minute: u32) -> Result<(), LogError> {
        self.limit.set(lines_per_minute);
        let reloaded = self.levels.reload(levels(filter)?);
        reloaded.map_err(|_| LogError::Ended)
    }

    /// Returns the current levels, as comma-separated directives.
    ///
    /// # Errors
    /// Fails when the log is not running.
    pub fn levels(&self) -> Result<String, LogError> {
        let levels = self.levels.with_current(ToString::to_string);
        levels.map_err(|_| LogError::Ended)
    }

    /// Returns the limit of lines per client and minute; 0 means no limit.
    pub fn lines_per_minute(&self) -> u32 {
        self.limit.lines()
    }

    /// Logs suppressed lines every minute, while it is polled.
    pub async fn report(self) {
        loop {
            tokio::time::sleep(WINDOW).await;
            self.limit.report();
        }
    }
}

/// Starts the log with `filter`: a level (`info`), or levels by module
/// (`warn,distributary_rtmp=debug`). The limit of lines per client and minute works while
/// [`LogHandle::report`] is polled.
///
/// # Errors
/// Fails when the filter is not valid, or the log was started before.
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
        LogFormat::Text => lines.event_format(TextLines::default()).boxed(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            // Only the innermost span: no others surround it.
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

/// Checks a filter.
///
/// # Errors
/// Fails when it is not valid.
pub fn check(filter: &str) -> Result<(), LogError> {
    levels(filter).map(drop)
}

fn levels(filter: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder()
        .parse(format!("{QUIET},{}", checked(filter)?))
        .map_err(|source| LogError::Filter {
            filter: filter.to_owned(),
            source,
        })
}

/// Refuses words that are no levels: [`EnvFilter`] takes `inf` for a module, and logs nothing else.
fn checked(filter: &str) -> Result<String, LogError> {
    // A filter with fields of spans contains commas and equals signs with other meanings.
    if filter.contains(['[', '{']) {
        return Ok(filter.to_owned());
    }
    let directives = filter.split(',').map(|directive| {
        let (module, word) = match directive.split_once('=') {
            Some((module, word)) => (Some(module.trim()), word.trim()),
            None => (None, directive.trim()),
        };
        let word = level(word).ok_or_else(|| LogError::Level {
            word: word.to_owned(),
        })?;
        Ok(match module {
            Some(module) => format!("{module}={word}"),
            None => word.to_owned(),
        })
    });
    let directives = directives.collect::<Result<Vec<_>, LogError>>()?;
    Ok(directives.join(","))
}

/// Returns the level of this name.
fn level(word: &str) -> Option<&'static str> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    // As other programs name it.
    if word.eq_ignore_ascii_case("warning") {
        return Some("warn");
    }
    let mut levels = LEVELS.into_iter();
    levels.find(|level| level.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_that_is_no_level_is_refused_with_the_levels() {
        for (filter, word) in [
            ("", ""),
            ("inf", "inf"),
            ("warn,", ""),
            ("distributary_rtmp", "distributary_rtmp"),
            ("info,distributary_rtmp=loud", "loud"),
            ("distributary_rtmp=", ""),
        ] {
            assert_eq!(
                check(filter).unwrap_err().to_string(),
                format!(
                    "--log or the key log: {word:?} is not a level; levels are error, warn, info, debug, \
                     trace and off, also by module: warn,distributary_rtmp=debug"
                )
            );
        }
    }

    #[test]
    fn libraries_that_clients_make_talk_are_silent_unless_the_filter_names_them() {
        let quiet = Registry::default().with(levels("trace").unwrap());
        tracing::subscriber::with_default(quiet, || {
            assert!(!tracing::enabled!(target: "sctp_proto::association", tracing::Level::ERROR));
            assert!(!tracing::enabled!(target: "async_nats::connector", tracing::Level::ERROR));
            assert!(
                !tracing::enabled!(target: "symphonia_bundle_mp3::layer3", tracing::Level::WARN)
            );
            assert!(!tracing::enabled!(target: "symphonia_core::io", tracing::Level::WARN));
            assert!(tracing::enabled!(target: "distributary_hub", tracing::Level::TRACE));
        });
        let named = levels("info,symphonia_bundle_mp3=debug").unwrap();
        tracing::subscriber::with_default(Registry::default().with(named), || {
            assert!(
                tracing::enabled!(target: "symphonia_bundle_mp3::layer3", tracing::Level::DEBUG)
            );
            assert!(!tracing::enabled!(target: "symphonia_core::io", tracing::Level::WARN));
        });
    }

    #[test]
    fn levels_are_understood_in_any_case_and_by_module() {
        for (filter, expected) in [
            ("warning", "warn"),
            ("INFO", "info"),
            (
                "warn, distributary_rtmp = Debug",
                "warn,distributary_rtmp=debug",
            ),
            (
                "info,[viewer{stream=a}]=trace",
                "info,[viewer{stream=a}]=trace",
            ),
        ] {
            assert_eq!(checked(filter).unwrap(), expected);
            assert!(check(filter).is_ok(), "{filter}");
        }
    }
}
