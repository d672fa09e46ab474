//! `distributary check`: reports everything that prevents a start.

use std::fmt;

use crate::check::{check, warnings};
use crate::config::reading::Reading;

/// The findings of a check.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The reasons why the gateway cannot start.
    pub errors: Vec<Finding>,
    /// Findings that do not prevent the start.
    pub warnings: Vec<String>,
}

/// A reason why the gateway cannot start.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// The reason, on one line.
    pub message: String,
    /// The wrong line of a file with a mark, for a person at a terminal.
    pub excerpt: Option<String>,
}

impl Findings {
    /// Checks a configuration and its sources.
    pub fn of(reading: &Reading) -> Self {
        let invalid = reading.errors.iter().map(|error| Finding {
            message: error.to_string(),
            excerpt: error.excerpt(),
        });
        let unusable = check(&reading.config).into_iter().map(|error| Finding {
            message: error.to_string(),
            excerpt: None,
        });
        let unknown = reading.unknown.iter().map(ToString::to_string);
        Self {
            errors: invalid.chain(unusable).collect(),
            warnings: unknown.chain(warnings(&reading.config)).collect(),
        }
    }
}

/// Writes a line for each finding, with the excerpt below it.
impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for warning in &self.warnings {
            writeln!(f, "distributary: warning: {warning}")?;
        }
        for Finding { message, excerpt } in &self.errors {
            writeln!(f, "distributary: {message}")?;
            if let Some(excerpt) = excerpt {
                writeln!(f, "{excerpt}")?;
            }
        }
        if self.errors.len() > 1 {
            writeln!(f, "distributary: {} errors", self.errors.len())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exact text matters: people act on it.
    #[test]
    fn findings_of_file_environment_and_rules_are_reported_together() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.toml");
        let text = "admin = 8080\nhttps = { listen = \"8443\", key = \"k.pem\" }\nlog = 5\n";
        std::fs::write(&path, text).unwrap();
        let variables = [
            ("DISTRIBUTARY_VIEWERS_MAX", "many"),
            ("DISTRIBUTARY_VIEWERS_TCP", "yes"),
            ("DISTRIBUTARY_HTPP", "1"),
            ("DISTRIBUTARY_AUTH_PLAY", "keys"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let reading = Reading::of_file(&path).with_environment(variables.into_iter());
        let path = path.display();
        assert_eq!(
            Findings::of(&reading).to_string(),
            format!(
                "distributary: warning: DISTRIBUTARY_HTPP in the environment is not a configuration key \
                 and is ignored; DISTRIBUTARY_HTTP is meant?\n\
                 distributary: {path}:3: invalid type: integer `5`, expected a string\n \
                 3 | log = 5\n   \
                   |       ^\n\
                 distributary: DISTRIBUTARY_VIEWERS_MAX in the environment: expected a whole number \
                 instead of \"many\"\n\
                 distributary: DISTRIBUTARY_VIEWERS_TCP in the environment: expected true or false \
                 instead of \"yes\"\n\
                 distributary: [[auth.key]]: there is no key for it: add match and keys\n\
                 distributary: HTTPS: set both certificate and key, or neither\n\
                 distributary: HTTP (key http, [::]:8080) and Admin API (key admin, [::]:8080) have the \
                 same TCP port: choose another for one of them\n\
                 distributary: the admin API on [::]:8080 could be used by others than this machine: \
                 set admin_token in the configuration or DISTRIBUTARY_ADMIN_TOKEN, or choose a loopback \
                 address such as 127.0.0.1:8080 with --admin HOST:PORT or the key admin\n\
                 distributary: 7 errors\n"
            )
        );
    }

    #[test]
    fn default_configuration_has_no_findings() {
        let findings = Findings::of(&Reading::default());
        assert_eq!(findings, Findings::default());
        assert_eq!(findings.to_string(), "");
    }
}
