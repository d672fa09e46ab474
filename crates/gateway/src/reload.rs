//! Reading the configuration again while the gateway runs.

use distributary_auth::Authorizer;
use distributary_hub::Hub;
use distributary_whep::{Access, Settings};
use toml::{Table, Value};

use crate::check::check;
use crate::cli::Cli;
use crate::config::Config;
use crate::logging::LogHandle;

/// What can change without a new start: keys, and tables with all their keys.
const LIVE: [&str; 23] = [
    "auth",
    "ice_server",
    "log",
    "log_lines_per_minute",
    "redirect",
    "requests.max_posts_per_minute",
    "requests.post_burst",
    "requests.trusted_proxies",
    "stream",
    "streams.bframes",
    "streams.opus_application",
    "streams.opus_bitrate",
    "streams.opus_complexity",
    "streams.opus_fec",
    "streams.queue_frames",
    "streams.sei",
    "streams.vui",
    "viewers.max",
    "viewers.max_per_ip",
    "viewers.max_per_stream",
    "whep.allowed_origins",
    "whep.list_streams",
    "whep.public_path",
];

/// The parts of a running gateway that take another configuration.
#[derive(Clone)]
pub struct Live {
    /// Who may publish and watch.
    pub authorizer: Authorizer,
    /// The streams and the limits of their viewers.
    pub hub: Hub,
    /// How viewers are received.
    pub settings: Settings,
    /// How often they may ask.
    pub access: Access,
}

/// Puts what can change into force when it is told to.
pub struct Reload {
    cli: Cli,
    current: Config,
    live: Live,
    log: LogHandle,
}

impl Reload {
    /// For a gateway that runs with `current`, which `cli` gave.
    pub fn new(cli: Cli, current: Config, live: Live, log: LogHandle) -> Self {
        Self {
            cli,
            current,
            live,
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
        let change = match self.apply(&config) {
            Ok(change) => change,
            Err(error) => {
                tracing::error!(%error, "the configuration stays as it was");
                return;
            }
        };
        tracing::info!(
            changed = change.live.join(", "),
            "the configuration was read again"
        );
        if !change.waiting.is_empty() {
            let keys = change.waiting.join(", ");
            tracing::warn!(keys, "these changes wait for a new start");
        }
        // What waits is told again each time, because it is not in force.
        self.current = change.config;
    }

    fn apply(&self, config: &Config) -> Result<Change, Box<dyn std::error::Error>> {
        check(config)?;
        let change = Change::new(&self.current, config)?;
        // All that can fail comes before anything is changed.
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

/// What another configuration changes.
struct Change {
    /// The configuration that is in force then.
    config: Config,
    /// The keys that have changed.
    live: Vec<String>,
    /// The keys that wait for a new start.
    waiting: Vec<String>,
}

impl Change {
    fn new(old: &Config, new: &Config) -> Result<Self, Box<dyn std::error::Error>> {
        let (mut in_force, new) = (Table::try_from(old)?, Table::try_from(new)?);
        let mut keys = Vec::new();
        differences(&in_force, &new, "", &mut keys);
        let (live, waiting): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| is_live(key));
        for key in &live {
            carry_over(key, &new, &mut in_force);
        }
        Ok(Self {
            config: in_force.try_into()?,
            live,
            waiting,
        })
    }
}

fn is_live(key: &str) -> bool {
    let names = |live: &&str| {
        key.strip_prefix(*live)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    LIVE.iter().any(names)
}

/// The keys whose values differ, with those of their tables before them.
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

/// Gives a key the value it has in another table, or none.
fn carry_over(key: &str, from: &Table, to: &mut Table) {
    match key.split_once('.') {
        Some((table, key)) => {
            if let (Some(Value::Table(from)), Some(Value::Table(to))) =
                (from.get(table), to.get_mut(table))
            {
                carry_over(key, from, to);
            }
        }
        None => match from.get(key) {
            Some(value) => {
                to.insert(key.to_owned(), value.clone());
            }
            None => {
                to.remove(key);
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_change_is_told_from_what_cannot() {
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
                "auth.jwt.secret",
                "auth.key",
                "auth.play",
                "ice_server",
                "log",
                "stream",
                "viewers.max",
                "whep.list_streams"
            ]
        );
        assert_eq!(
            change.waiting,
            ["log_format", "viewers.shards", "whep.offline"]
        );
        // What waits is told again, and what has changed is not.
        let again = Change::new(&change.config, &new).unwrap();
        assert_eq!(again.live, [""; 0]);
        assert_eq!(again.waiting, change.waiting);
        // And back.
        let back = Change::new(&change.config, &old).unwrap();
        assert_eq!((back.live, back.waiting), (change.live, Vec::new()));
        assert_eq!(back.config, old);
    }

    #[test]
    fn what_can_change_exists() {
        let all = Table::try_from(Config::default()).unwrap();
        for key in &LIVE {
            let mut table = Some(Value::Table(all.clone()));
            for part in key.split('.') {
                table = table.and_then(|table| table.get(part).cloned());
            }
            // Lists that are empty are left out.
            let is_list = ["ice_server", "redirect", "stream"].contains(key);
            assert!(table.is_some() || is_list, "{key}");
        }
    }
}
