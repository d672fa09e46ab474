//! Reading the configuration again while the gateway runs.

use distributary_auth::Authorizer;
use toml::{Table, Value};

use crate::check::check;
use crate::cli::Cli;
use crate::config::Config;
use crate::logging::LogHandle;

/// What can change without a new start: the tables and keys that begin so.
const LIVE: [&str; 2] = ["auth.", "log"];

/// Puts what can change into force when it is told to.
pub struct Reload {
    cli: Cli,
    current: Config,
    authorizer: Authorizer,
    log: LogHandle,
}

impl Reload {
    /// For a gateway that runs with `current`, which `cli` gave.
    pub fn new(cli: Cli, current: Config, authorizer: Authorizer, log: LogHandle) -> Self {
        Self {
            cli,
            current,
            authorizer,
            log,
        }
    }

    /// Reads the configuration again. One that cannot be used changes nothing; what happened is logged.
    pub fn reload(&mut self) {
        let config = match self.cli.config() {
            Ok(config) => config,
            Err(error) => {
                tracing::error!(%error, "the configuration stays as it was");
                return;
            }
        };
        if let Err(error) = self.apply(&config) {
            tracing::error!(%error, "the configuration stays as it was");
            return;
        }
        let (live, waiting) = changes(&self.current, &config);
        tracing::info!(
            changed = live.join(", "),
            "the configuration was read again"
        );
        if !waiting.is_empty() {
            let keys = waiting.join(", ");
            tracing::warn!(keys, "these changes wait for a new start");
        }
        // What waits is told again each time, because it is not in force.
        self.current.auth = config.auth;
        self.current.log = config.log;
    }

    fn apply(&self, config: &Config) -> Result<(), Box<dyn std::error::Error>> {
        check(config)?;
        self.authorizer.replace(config.auth.rules()?)?;
        self.log.set(&config.log)?;
        Ok(())
    }
}

/// The keys that differ: those that can change now, and those that cannot.
fn changes(old: &Config, new: &Config) -> (Vec<String>, Vec<String>) {
    let table = |config| Table::try_from(config).unwrap_or_default();
    let mut keys = Vec::new();
    differences(&table(old), &table(new), "", &mut keys);
    let is_live = |key: &String| {
        LIVE.iter()
            .any(|live| key == live || (live.ends_with('.') && key.starts_with(live)))
    };
    keys.into_iter().partition(is_live)
}

fn differences(old: &Table, new: &Table, path: &str, keys: &mut Vec<String>) {
    let mut names: Vec<_> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        match (old.get(name), new.get(name)) {
            (Some(Value::Table(old)), Some(Value::Table(new))) => {
                differences(old, new, &format!("{path}{name}."), keys);
            }
            (old, new) if old != new => keys.push(format!("{path}{name}")),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_change_is_told_from_what_cannot() {
        let old = Config::default();
        let mut new = old.clone();
        new.viewers.max = 1;
        new.log = "debug".to_owned();
        new.log_format = crate::logging::LogFormat::Json;
        new.auth.jwt.secret = "secret".to_owned();
        let (live, waiting) = changes(&old, &new);
        assert_eq!(live, ["auth.jwt.secret", "log"]);
        assert_eq!(waiting, ["log_format", "viewers.max"]);
        assert_eq!(changes(&old, &old), (Vec::new(), Vec::new()));
    }
}
