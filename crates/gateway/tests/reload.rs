//! Checks that a reload does for every key what its field says: a running part uses the new value,
//! or the log says that the key needs a restart and every part keeps the old one.

#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use distributary_config::{KeyPath, size, time};
use distributary_egress::engine::Engine;
use distributary_gateway::cli::Cli;
use distributary_gateway::logging::{self, LogFormat, LogHandle};
use distributary_gateway::reload::{Live, Reload};
use distributary_gateway::{Config, Gateway};
use distributary_rtmp::PublishersConfig;
use distributary_whep::Offline;
use tempfile::TempDir;
use tokio::sync::watch;
use toml::{Table, Value};

/// The configuration of a gateway that uses every section: tokens for publishers, a webhook for
/// viewers.
const BASE: &str = r#"
    rtmp = "127.0.0.1:0"
    http = "127.0.0.1:0"
    webrtc = "127.0.0.1:0"
    admin = "127.0.0.1:0"
    [transcode]
    command = ""
    [auth]
    publish = "jwt"
    play = "webhook"
    jwt.secret = "first"
    webhook.play_url = "http://127.0.0.1:9/play"
"#;

const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEtHlQ2MN3fRTsEQng7PDJc6+t0rnH
38t6uBlhYlKhguOv9vMDOaxkvPezCLQ/+Neh+5gEx3pJFbVh3OgyP74w5A==
-----END PUBLIC KEY-----
";

const KEY_SET: &str = r#"{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}"#;

/// Captures the log of this thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Running {
    folder: TempDir,
    reload: Reload,
    live: Live,
    engine: Engine,
    log: LogHandle,
    /// Dropping it ends the gateway.
    _end: watch::Sender<Option<distributary_gateway::gateway::Ending>>,
}

impl Running {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("key.pem"), PUBLIC_KEY).unwrap();
        fs::write(folder.path().join("keys.json"), KEY_SET).unwrap();
        let file = folder.path().join("gateway.toml");
        fs::write(&file, BASE).unwrap();
        let cli = Cli {
            config: Some(file),
            ..Cli::default()
        };
        let config = cli.config().unwrap();
        let lines = config.log_lines_per_minute;
        let log = logging::start(&config.log, LogFormat::Text, lines).unwrap();
        let gateway = Gateway::start(&config, false).unwrap();
        let (live, engine) = (gateway.live(), gateway.engine().clone());
        let (end, ending) = watch::channel(None);
        tokio::spawn(gateway.run(ending));
        Self {
            folder,
            reload: Reload::new(cli, config, live.clone(), log.clone()),
            live,
            engine,
            log,
            _end: end,
        }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Reloads with `table`. Returns the lines of the log.
    fn reload(&mut self, table: &Table) -> String {
        fs::write(self.path("gateway.toml"), table.to_string()).unwrap();
        let lines = Lines::default();
        let written = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || written.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || self.reload.reload());
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    /// Returns the values in use, as each running part reports them.
    fn in_use(&self) -> Vec<(&'static str, Table)> {
        let hub = self.live.hub.config();
        let viewers = self.live.hub.viewers().limits();
        let publishers = Table::try_from(PublishersConfig {
            standby_after: hub.standby_after,
            ..PublishersConfig::default()
        });
        let standby_after = publishers.unwrap().remove("standby_after");
        let hub = table(&[
            ("publishers.standby_after", standby_after.unwrap()),
            ("streams", Value::try_from(&hub.streams).unwrap()),
            ("stream", Value::try_from(&hub.exceptions).unwrap()),
            ("rendition", Value::try_from(&hub.renditions).unwrap()),
            ("limits", Value::try_from(&hub.limits).unwrap()),
            ("viewers.max", number(viewers.max)),
            ("viewers.max_per_stream", number(viewers.max_per_stream)),
            ("viewers.max_per_ip", number(viewers.max_per_address)),
        ]);
        let engine = self.engine.config();
        let mut viewers = Table::try_from(&engine.viewers).unwrap();
        // The hub reports those.
        for limit in ["max", "max_per_stream", "max_per_ip"] {
            viewers.remove(limit).unwrap();
        }
        let offline = match engine.offline_grace {
            Some(_) => Offline::Refuse,
            None => Offline::Wait,
        };
        let engine = table(&[
            ("viewers", viewers.into()),
            ("whep.offline", Value::try_from(offline).unwrap()),
        ]);
        let front = self.live.settings.current();
        let front = table(&[
            ("whep", Value::try_from(&front.whep).unwrap()),
            ("ice_server", Value::try_from(&front.ice_servers).unwrap()),
            ("redirect", Value::try_from(&front.redirects).unwrap()),
        ]);
        let (limit, proxies) = (self.live.access.limit(), self.live.access.proxies());
        let access = table(&[
            (
                "requests.max_posts_per_minute",
                number(limit.per_minute as usize),
            ),
            ("requests.post_burst", number(limit.burst as usize)),
            (
                "requests.trusted_proxies",
                Value::try_from(proxies).unwrap(),
            ),
        ]);
        let rules = self.live.authorizer.config();
        let auth = table(&[("auth", Value::try_from(rules).unwrap())]);
        // The library's level comes before the configured level.
        let levels = self.log.levels().unwrap();
        let level = levels.split(',').find(|level| !level.contains('='));
        let log = table(&[
            ("log", level.unwrap().into()),
            (
                "log_lines_per_minute",
                number(self.log.lines_per_minute() as usize),
            ),
        ]);
        vec![
            ("hub", hub),
            ("engine", engine),
            ("front", front),
            ("access", access),
            ("authorizer", auth),
            ("log", log),
        ]
    }

    /// Returns other values for `key`, and for the keys that exclude it.
    fn change(&self, key: &str, present: Option<&Value>) -> Vec<(String, Value)> {
        let path = |file: &str| Value::from(self.path(file).display().to_string());
        let secret = |secret: &str| ("auth.jwt.secret".to_owned(), Value::from(secret));
        let list = |items: &[&str]| Value::try_from(items).unwrap();
        let entry = |keys: &[(&str, &str)]| {
            let keys = keys
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).into()));
            Value::Array(vec![Value::Table(keys.collect())])
        };
        let value = match key {
            "rtmp" | "http" | "webrtc" | "admin" | "rtmps.listen" | "https.listen"
            | "admin_https.listen" => "127.0.0.1:1".into(),
            "log" => "warn".into(),
            "log_format" => "json".into(),
            "advertise" => list(&["192.0.2.1"]),
            "interfaces" | "exclude_interfaces" => list(&["eth0"]),
            "pull" => entry(&[("match", "live/*"), ("from", "rtmp://origin/live")]),
            "stream" => entry(&[("match", "live/*"), ("sei", "drop")]),
            "rendition" => {
                let from = list(&["{stream}_low"]);
                let rule = [("stream", "live/*".into()), ("from", from)];
                let rule = rule.map(|(key, value): (_, Value)| (key.to_owned(), value));
                Value::Array(vec![Value::Table(rule.into_iter().collect())])
            }
            "ice_server" => entry(&[("url", "stun:stun.example")]),
            "redirect" => entry(&[
                ("match", "live/*"),
                ("to", "https://edge.example/whep/live"),
            ]),
            "auth.key" => {
                let keys = list(&["key"]);
                let rule = [("match", "live/*".into()), ("play", keys)];
                let rule = rule.map(|(key, value): (_, Value)| (key.to_owned(), value));
                Value::Array(vec![Value::Table(rule.into_iter().collect())])
            }
            "rtmps.sni" | "https.sni" | "admin_https.sni" => {
                let files = [("certificate", "a.pem".into()), ("key", "b.pem".into())];
                let files = files.map(|(key, value): (_, Value)| (key.to_owned(), value));
                Value::Array(vec![Value::Table(files.into_iter().collect())])
            }
            "limits.memory" => "3GiB".into(),
            "publishers.on_duplicate" => "takeover".into(),
            "publishers.swf" => {
                let swf = [("hash", "5a".repeat(32).into()), ("size", 1000.into())];
                let swf = swf.map(|(key, value): (_, Value)| (key.to_owned(), value));
                Value::Table(swf.into_iter().collect())
            }
            "streams.opus_application" => "voice".into(),
            "transcode.ladder" => list(&["480p 1000k"]),
            "streams.opus_complexity" => 9.into(),
            "streams.bframes" | "streams.sei" => "drop".into(),
            "streams.vui" => "no-reorder".into(),
            "viewers.setup" => "passive".into(),
            "viewers.playout_delay" => "0ms..200ms".into(),
            "whep.allowed_origins" => list(&["https://www.example"]),
            "whep.offline" => "wait".into(),
            "whep.public_path" => "/video".into(),
            "requests.trusted_proxies" => list(&["10.0.0.0/8"]),
            "auth.publish" | "auth.play" => "open".into(),
            "auth.jwt.public_key" => {
                let public_key = path("key.pem");
                return vec![secret(""), (key.to_owned(), public_key)];
            }
            "auth.jwt.jwks" => {
                return vec![secret(""), (key.to_owned(), path("keys.json"))];
            }
            "auth.webhook.publish_url" | "auth.webhook.play_url" => "http://127.0.0.1:9/x".into(),
            "auth.webhook.format" => "form".into(),
            "cluster.nats" => list(&["nats://127.0.0.1:1"]),
            "cluster.redirect_at" => 0.5.into(),
            "cluster.without_arbiter" => "refuse".into(),
            _ => match present.unwrap_or_else(|| panic!("no other value for {key}")) {
                Value::Boolean(value) => (!value).into(),
                Value::Integer(value) => (value + 1).into(),
                Value::String(text) if time::parse(text).is_ok() => "7s".into(),
                Value::String(text) if size::parse(text).is_ok() => "7MiB".into(),
                Value::String(_) => "other".into(),
                _ => panic!("no other value for {key}"),
            },
        };
        vec![(key.to_owned(), value)]
    }
}

fn number(number: usize) -> Value {
    i64::try_from(number).unwrap().into()
}

/// Returns a table with these values, whose keys may be in subtables.
fn table(values: &[(&str, Value)]) -> Table {
    let mut table = Table::new();
    for (key, value) in values {
        set(&mut table, key, value.clone());
    }
    table
}

fn set(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        Some((name, key)) => {
            let inner = table.entry(name).or_insert_with(|| Table::new().into());
            set(inner.as_table_mut().unwrap(), key, value);
        }
        None => {
            table.insert(key.to_owned(), value);
        }
    }
}

/// Returns the value of a key; `None` for an empty list, which is not written.
fn get<'a>(table: &'a Table, key: &KeyPath) -> Option<&'a Value> {
    let (last, tables) = key.names.split_last().unwrap();
    let mut table = table;
    for name in tables {
        table = table.get(*name)?.as_table()?;
    }
    let value = table.get(*last)?;
    let is_empty = value.as_array().is_some_and(Vec::is_empty);
    (!is_empty || *last == "trusted_proxies").then_some(value)
}

/// Returns whether a part reports the key, possibly as an empty list.
fn tells(table: &Table, key: &KeyPath) -> bool {
    let (last, tables) = key.names.split_last().unwrap();
    let mut table = table;
    for name in tables {
        match table.get(*name).and_then(Value::as_table) {
            Some(inner) => table = inner,
            None => return false,
        }
    }
    // An empty list of keys is not written.
    table.contains_key(*last) || (key.dotted() == "auth.key" && table.contains_key("publish"))
}

#[tokio::test]
async fn every_key_reloads_or_needs_a_restart_as_its_field_says() {
    let mut running = Running::start();
    let base = Table::try_from(toml::from_str::<Config>(BASE).unwrap()).unwrap();
    for key in Config::keys() {
        let name = key.dotted();
        let mut changed = base.clone();
        for (key, value) in running.change(&name, get(&base, &key)) {
            set(&mut changed, &key, value);
        }
        // As the configuration writes it.
        let config: Config = changed.clone().try_into().unwrap();
        let changed = Table::try_from(config).unwrap();
        assert_ne!(get(&changed, &key), get(&base, &key), "{name} is changed");

        let log = running.reload(&changed);
        assert!(
            log.contains("the configuration is reloaded"),
            "{name}: {log}"
        );
        let line = |words: &str| log.lines().find(|line| line.contains(words));
        let names = |line: Option<&str>| {
            let keys = line
                .and_then(|line| line.split('"').nth(1))
                .unwrap_or_default();
            keys.split(", ").any(|key| key == name)
        };
        let applied = names(line("the configuration is reloaded"));
        let needs_restart = names(line("these changes need a restart"));
        assert_eq!(
            (applied, needs_restart),
            (key.reloads, !key.reloads),
            "{name}: {log}"
        );

        let expected = get(if key.reloads { &changed } else { &base }, &key);
        let mut users = 0;
        for (part, in_use) in running.in_use() {
            if tells(&in_use, &key) {
                users += 1;
                assert_eq!(get(&in_use, &key), expected, "{name} in the {part}");
            }
        }
        assert!(
            users > 0 || !key.reloads,
            "no part tells which {name} it uses"
        );
        running.reload(&base);
    }
    // Every change can be undone.
    for (part, in_use) in running.in_use() {
        for key in Config::keys().iter().filter(|key| tells(&in_use, key)) {
            assert_eq!(
                get(&in_use, key),
                get(&base, key),
                "{} in the {part}",
                key.dotted()
            );
        }
    }
}
