//! A finding of the connection doctor.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Width of a line, in characters.
const WIDTH: usize = 100;

/// Column at which texts begin, and that at which their continuation and the advice do.
const TEXT: usize = 23;
const CONTINUATION: usize = 24;

/// One thing that was examined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The subject: `addresses`, `ports`, `reachability`.
    pub check: String,
    /// Severity.
    pub level: Level,
    /// The observation, without a full stop.
    pub text: String,
    /// The remedy, in sentences.
    pub advice: Option<String>,
}

/// Severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing to do.
    Ok,
    /// Some viewers or features do not work, or not for long.
    Warning,
    /// The gateway cannot work like this.
    Error,
}

impl Finding {
    /// Creates a finding that needs no action.
    pub fn ok(check: &str, text: impl Into<String>) -> Self {
        Self::new(check, Level::Ok, text.into())
    }

    /// Creates a finding about something that works only in part.
    pub fn warning(check: &str, text: impl Into<String>) -> Self {
        Self::new(check, Level::Warning, text.into())
    }

    /// Creates a finding about something that does not work.
    pub fn error(check: &str, text: impl Into<String>) -> Self {
        Self::new(check, Level::Error, text.into())
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn advise(self, advice: impl Into<String>) -> Self {
        Self {
            advice: Some(advice.into()),
            ..self
        }
    }

    fn new(check: &str, level: Level, text: String) -> Self {
        Self {
            check: check.to_owned(),
            level,
            text,
            advice: None,
        }
    }
}

impl Level {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Writes a finding and its advice as lines of at most 100 columns.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            check,
            level,
            text,
            advice,
        } = self;
        write!(f, "{:<9}{check:<14}", level.as_str())?;
        write_wrapped(f, text, TEXT)?;
        if let Some(advice) = advice {
            write!(f, "{:CONTINUATION$}", "")?;
            write_wrapped(f, advice, CONTINUATION)?;
        }
        Ok(())
    }
}

/// Writes words from column `at` on, with a line end after the last.
fn write_wrapped(f: &mut fmt::Formatter<'_>, text: &str, mut at: usize) -> fmt::Result {
    let mut is_first = true;
    for word in text.split_whitespace() {
        let len = word.chars().count();
        if is_first {
            at += len;
        } else if at + 1 + len > WIDTH {
            write!(f, "\n{:CONTINUATION$}", "")?;
            at = CONTINUATION + len;
        } else {
            f.write_str(" ")?;
            at += 1 + len;
        }
        f.write_str(word)?;
        is_first = false;
    }
    f.write_str("\n")
}
