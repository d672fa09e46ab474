//! Reloads the configuration while the gateway runs.
//!
//! The attribute `#[reload]` of a field says whether a reload applies the key, see
//! [`distributary_config::Section`].

use distributary_auth::Authorizer;
use distributary_config::KeyPath;
use distributary_hub::Hub;
use distributary_whep::{Access, Settings};
use toml::{Table, Value};

use crate::cli::Cli;
use crate::commands::check::Findings;
use crate::config::Config;
use crate::logging::LogHandle;

/// The parts of a running gateway that a reload can change.
#[derive(Clone)]
pub struct Live {
    /// Authorization of publishers and viewers.
    pub authorizer: Authorizer,
    /// The streams and the limits of their viewers.
    pub hub: Hub,
    /// The settings of the request handlers.
    pub settings: Settings,
    /// Rate limits and trusted proxies.
    pub access: Access,
}

/// Reloads the configuration.
pub struct Reload {
    cli: Cli,
    current: Config,
    live: Live,
    log: LogHandle,
}

impl Reload {
    /// Creates it for a gateway that runs with `current`, as read by `cli`.
    pub fn new(cli: Cli, current: Config, live: Live, log: LogHandle) -> Self {
        Self {
            cli,
            current,
            live,
            log,
        }
    }

    /// Reads the configuration and applies the keys that a reload can apply. An invalid
    /// configuration changes nothing. Logs the result.
    pub fn reload(&mut self) {
        let reading = self.cli.read();
        let findings = Findings::of(&reading);
        if !findings.errors.is_empty() {
            let messages: Vec<_> = findings
                .errors
                .into_iter()
                .map(|error| error.message)
                .collect();
            let error = messages.join("; ");
            tracing::error!(%error, "the configuration stays as it was");
            return;
        }
        for warning in &findings.warnings {
            tracing::warn!("{warning}");
        }
        let config = reading.config;
        let change = match self.apply(&config) {
            Ok(change) => change,
            Err(error) => {
                tracing::error!(%error, "the configuration stays as it was");
                return;
            }
        };
        tracing::info!(
            changed = change.live.join(", "),
            "the configuration is reloaded"
        );
        if !change.waiting.is_empty() {
            let keys = change.waiting.join(", ");
            tracing::warn!(keys, "these changes need a restart");
        }
        // A change that needs a restart is logged at each reload, because it is not in force.
        self.current = change.config;
    }

    fn apply(&self, config: &Config) -> Result<Change, Box<dyn std::error::Error>> {
        let change = Change::new(&self.current, config)?;
        // Everything that can fail comes before any change.
        let config = &change.config;
        let (rules, hub, whep) = (config.auth.clone(), config.hub(), config.front());
        let Live {
            authorizer,
            hub: streams,
            settings,
            access,
        } = &self.live;
        authorizer.replace(rules)?;
        let prepared = authorizer.clone();
        tokio::spawn(async move { prepared.prepare().await });
        self.log.set(&config.log, config.log_lines_per_minute)?;
        streams.reconfigure(hub);
        settings.replace(whep);
        access.replace(
            config.requests.rate_limit(),
            config.requests.trusted_proxies.clone(),
        );
        Ok(change)
    }
}

/// The difference between two configurations.
struct Change {
    /// The resulting configuration.
    config: Config,
    /// The changed keys that are applied.
    live: Vec<String>,
    /// The changed keys that need a restart.
    waiting: Vec<String>,
}

impl Change {
    fn new(old: &Config, new: &Config) -> Result<Self, Box<dyn std::error::Error>> {
        let (mut in_force, new) = (Table::try_from(old)?, Table::try_from(new)?);
        let keys = Config::keys().into_iter();
        let changed = keys.filter(|key| value(&in_force, key) != value(&new, key));
        let (live, waiting): (Vec<_>, Vec<_>) = changed.partition(|key| key.reloads);
        for key in &live {
            carry_over(&key.names, &new, &mut in_force);
        }
        let names = |keys: Vec<KeyPath>| keys.iter().map(KeyPath::dotted).collect();
        Ok(Self {
            config: in_force.try_into()?,
            live: names(live),
            waiting: names(waiting),
        })
    }
}

/// Returns the value of a key; `None` for an empty list of tables.
fn value<'a>(table: &'a Table, key: &KeyPath) -> Option<&'a Value> {
    let (last, tables) = key.names.split_last()?;
    let mut table = table;
    for name in tables {
        table = table.get(*name)?.as_table()?;
    }
    table.get(*last)
}

/// Copies the value of a key from another table, or removes it.
fn carry_over(key: &[&str], from: &Table, to: &mut Table) {
    match key {
        [key] => match from.get(*key) {
            Some(value) => {
                to.insert((*key).to_owned(), value.clone());
            }
            None => {
                to.remove(*key);
            }
        },
        [table, key @ ..] => {
            if let (Some(Value::Table(from)), Some(Value::Table(to))) =
                (from.get(*table), to.get_mut(*table))
            {
                carry_over(key, from, to);
            }
        }
        [] => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_need_a_restart_keep_their_value() {
        let old = Config::default();
        let mut new: Config = toml::from_str(
            "log = \"debug\"\nlog_format = \"json\"\n\
             [viewers]\nmax = 1\nshards = 3\n[whep]\noffline = \"wait\"\nlist_streams = false\n\
             [auth]\nplay = \"keys\"\n[[auth.key]]\nmatch = \"*\"\nplay = [\"a\"]\n\
             [[stream]]\nmatch = \"live/*\"\nbframes = \"refuse\"\n\
             [[ice_server]]\nurl = \"stun:stun.example\"\n",
        )
        .unwrap();
        new.auth.jwt.secret = "secret".to_owned();
        let change = Change::new(&old, &new).unwrap();
        assert_eq!(
            change.live,
            [
                "log",
                "stream",
                "ice_server",
                "viewers.max",
                "whep.list_streams",
                "auth.play",
                "auth.key",
                "auth.jwt.secret",
            ]
        );
        assert_eq!(
            change.waiting,
            ["log_format", "viewers.shards", "whep.offline"]
        );
        // A change that needs a restart is named again; one that is applied is not.
        let again = Change::new(&change.config, &new).unwrap();
        assert_eq!(again.live, [""; 0]);
        assert_eq!(again.waiting, change.waiting);
        // And back.
        let back = Change::new(&change.config, &old).unwrap();
        assert_eq!((back.live, back.waiting), (change.live, Vec::new()));
        assert_eq!(back.config, old);
    }
}
