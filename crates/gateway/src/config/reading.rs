//! A configuration together with everything that is wrong with its sources.

use std::path::Path;

use super::environment::{self, UnknownVariable};
use super::error::ConfigErrors;
use super::{Config, ConfigError, document};

/// A configuration, and every error in the sources that it was read from.
#[derive(Debug, Default)]
pub struct Reading {
    /// The configuration. A key with an invalid value has its default; if the syntax of the file is
    /// wrong, so have all its keys.
    pub config: Config,
    /// The errors.
    pub errors: Vec<ConfigError>,
    /// Environment variables that look like keys and are none.
    pub unknown: Vec<UnknownVariable>,
}

impl Reading {
    /// Reads the file at `path`.
    pub fn of_file(path: &Path) -> Self {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::of_text(path, &text),
            Err(source) => {
                let path = path.to_owned();
                Self {
                    errors: vec![ConfigError::Read { path, source }],
                    ..Self::default()
                }
            }
        }
    }

    /// Reads the text of the file at `path`.
    pub fn of_text(path: &Path, text: &str) -> Self {
        let (config, explanations) = document::parse(text);
        let errors = explanations.into_iter().map(|explanation| {
            let path = path.to_owned();
            ConfigError::Parse { path, explanation }
        });
        Self {
            config,
            errors: errors.collect(),
            unknown: Vec::new(),
        }
    }

    /// Overrides keys by environment variables. Orchestrators set variables of their own, such as
    /// `DISTRIBUTARY_SERVICE_HOST`, so one that is no key is not an error.
    #[must_use]
    pub fn with_environment(mut self, variables: impl Iterator<Item = (String, String)>) -> Self {
        let applied = environment::apply(self.config, variables);
        self.config = applied.config;
        self.errors.extend(applied.errors);
        self.unknown.extend(applied.unknown);
        self
    }

    /// Returns the configuration if nothing is wrong with it.
    ///
    /// # Errors
    /// Returns all errors.
    pub fn result(self) -> Result<Config, ConfigErrors> {
        if self.errors.is_empty() {
            return Ok(self.config);
        }
        Err(ConfigErrors(self.errors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_file_is_reported_by_name() {
        let error = Reading::of_file(Path::new("/nowhere/x.toml")).result();
        assert_eq!(
            error.unwrap_err().to_string(),
            "--config /nowhere/x.toml: No such file or directory (os error 2)"
        );
    }
}
