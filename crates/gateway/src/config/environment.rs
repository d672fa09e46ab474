//! The configuration from the environment: `DISTRIBUTARY_` and the key, with its tables before it.
//!
//! `DISTRIBUTARY_HTTP` is `http`, `DISTRIBUTARY_VIEWERS_MAX` is `max` under `[viewers]`. A list is
//! comma-separated or JSON; lists of tables such as `[[pull]]` are JSON lists of objects.

use std::fmt;

use distributary_config::KeyPath;
use serde::Deserialize;
use toml::{Table, Value};

use super::nearest::nearest;
use super::{Config, ConfigError, explanation};

/// Prefix of the variables.
const PREFIX: &str = "DISTRIBUTARY_";

/// The variable with the path of the configuration file, which is not a key.
pub const CONFIG_FILE: &str = "DISTRIBUTARY_CONFIG";

/// A configuration with the variables applied.
#[derive(Debug)]
pub struct Applied {
    /// The configuration. A key whose variable has an invalid value is unchanged.
    pub config: Config,
    /// The invalid values.
    pub errors: Vec<ConfigError>,
    /// The variables that look like keys and are none.
    pub unknown: Vec<UnknownVariable>,
}

/// Overrides keys of `config` by variables.
pub fn apply(config: Config, variables: impl Iterator<Item = (String, String)>) -> Applied {
    let mut table = Table::try_from(&config).unwrap_or_default();
    let known = names();
    let mut applied = Applied {
        config,
        errors: Vec::new(),
        unknown: Vec::new(),
    };
    let mut variables: Vec<_> = variables
        .filter(|(name, _)| name.starts_with(PREFIX) && name != CONFIG_FILE)
        .collect();
    variables.sort();
    for (name, text) in variables {
        let Some((_, path)) = known.iter().find(|(known, _)| *known == name) else {
            applied.unknown.push(UnknownVariable::new(name, &known));
            continue;
        };
        let changed = set(&table, path, &text).and_then(|changed| {
            let config = Config::deserialize(Value::Table(changed.clone()))
                .map_err(|error| explanation::reason(error.message()))?;
            Ok((changed, config))
        });
        match changed {
            Ok((changed, config)) => (table, applied.config) = (changed, config),
            Err(reason) => applied
                .errors
                .push(ConfigError::Environment { name, reason }),
        }
    }
    applied
}

/// Returns `table` with the value of a key replaced.
fn set(table: &Table, path: &KeyPath, text: &str) -> Result<Table, String> {
    let mut table = table.clone();
    let place = place(&mut table, path).ok_or("it has no key")?;
    *place = value(text, place)?;
    Ok(table)
}

/// A variable that looks like a key and is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownVariable {
    /// Its name.
    pub name: String,
    /// The most similar variable.
    pub nearest: Option<String>,
}

impl UnknownVariable {
    fn new(name: String, known: &[(String, KeyPath)]) -> Self {
        // Without the common prefix, which would make all names similar.
        let bare = |name: &str| name[PREFIX.len()..].to_owned();
        let names: Vec<_> = known.iter().map(|(known, _)| bare(known)).collect();
        let nearest = nearest(&bare(&name), names.iter().map(String::as_str))
            .map(|nearest| format!("{PREFIX}{nearest}"));
        Self { name, nearest }
    }
}

impl fmt::Display for UnknownVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} in the environment is not a configuration key and is ignored",
            self.name
        )?;
        match &self.nearest {
            Some(nearest) => write!(f, "; {nearest} is meant?"),
            None => Ok(()),
        }
    }
}

/// Returns the variables and their keys.
fn names() -> Vec<(String, KeyPath)> {
    let keys = Config::keys().into_iter();
    keys.map(|key| (name(&key), key)).collect()
}

/// Returns the variable of a key.
fn name(key: &KeyPath) -> String {
    format!("{PREFIX}{}", key.names.join("_").to_uppercase())
}

/// Returns the value of a key, after inserting an empty list if it is absent.
fn place<'a>(table: &'a mut Table, key: &KeyPath) -> Option<&'a mut Value> {
    let (last, tables) = key.names.split_last()?;
    let mut table = table;
    for key in tables {
        table = table.get_mut(*key)?.as_table_mut()?;
    }
    let value = table.entry(*last);
    Some(value.or_insert_with(|| Value::Array(Vec::new())))
}

/// Parses a text as a value of the same kind as the present one.
fn value(text: &str, present: &Value) -> Result<Value, String> {
    let wrong = |expected: &str| format!("expected {expected} instead of {text:?}");
    Ok(match present {
        Value::Integer(_) => Value::Integer(text.parse().map_err(|_| wrong("a whole number"))?),
        Value::Float(_) => Value::Float(text.parse().map_err(|_| wrong("a number"))?),
        Value::Boolean(_) => Value::Boolean(text.parse().map_err(|_| wrong("true or false"))?),
        Value::Array(_) if text.trim_start().starts_with(['[', '{']) => of_json(text)?,
        Value::Array(_) => Value::Array(
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(|item| Value::String(item.to_owned()))
                .collect(),
        ),
        // Some keys are a text or a table. A text in braces that is no JSON is a pattern.
        _ if text.starts_with('{') => {
            table_of_json(text).map_or_else(|| Value::String(text.to_owned()), Value::Table)
        }
        _ => Value::String(text.to_owned()),
    })
}

/// Parses an object in JSON.
fn table_of_json(text: &str) -> Option<Table> {
    let table: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    Table::try_from(table).ok()
}

/// Parses a list in JSON.
fn of_json(text: &str) -> Result<Value, String> {
    let list: Vec<serde_json::Value> = serde_json::from_str(text).map_err(|error| {
        format!("expected a JSON list, such as [{{\"match\": \"live/*\"}}]: {error}")
    })?;
    Value::try_from(list).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(variables: &[(&str, &str)]) -> Applied {
        let owned = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        apply(Config::default(), owned)
    }

    #[test]
    fn every_key_has_its_own_variable() {
        let mut names: Vec<_> = names().into_iter().map(|(name, _)| name).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(names.contains(&"DISTRIBUTARY_ADMIN_TOKEN".to_owned()));
        assert!(names.contains(&"DISTRIBUTARY_AUTH_JWT_SECRET".to_owned()));
    }

    #[test]
    fn values_are_parsed_by_the_kind_of_their_key() {
        let Applied {
            config,
            errors,
            unknown,
        } = applied(&[
            ("DISTRIBUTARY_HTTP", "127.0.0.1:81"),
            ("DISTRIBUTARY_ADVERTISE", "192.0.2.1, gw.example"),
            ("DISTRIBUTARY_VIEWERS_MAX", "7"),
            ("DISTRIBUTARY_VIEWERS_TCP", "false"),
            ("DISTRIBUTARY_STREAMS_CACHE_SIZE", "1MiB"),
            ("DISTRIBUTARY_CONFIG", "x.toml"),
            ("PATH", "/bin"),
        ]);
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(config.http.to_string(), "127.0.0.1:81");
        assert_eq!(config.advertise, ["192.0.2.1", "gw.example"]);
        assert_eq!(config.viewers.max, 7);
        assert!(!config.viewers.tcp);
        assert_eq!(config.streams.cache_size, 1 << 20);
        assert!(unknown.is_empty());
    }

    #[test]
    fn value_that_is_a_text_or_a_table_may_be_json() {
        let hash = "00".repeat(32);
        let table = format!("{{\"hash\": \"{hash}\", \"size\": 7}}");
        let Applied { config, errors, .. } = applied(&[("DISTRIBUTARY_PUBLISHERS_SWF", &table)]);
        assert!(errors.is_empty(), "{errors:?}");
        let shown = format!("{:?}", config.publishers.swf);
        assert!(shown.contains("size: 7"), "{shown}");
        let Applied { errors, .. } = applied(&[("DISTRIBUTARY_ADMIN_TOKEN", "{secret}")]);
        assert!(errors.is_empty(), "{errors:?}");
    }

    #[test]
    fn lists_of_tables_are_json_lists() {
        let Applied {
            config,
            errors,
            unknown,
        } = applied(&[
            (
                "DISTRIBUTARY_PULL",
                r#"[{"match": "live/*", "from": "rtmp://origin/live", "idle_timeout": "5s"}]"#,
            ),
            (
                "DISTRIBUTARY_AUTH_KEY",
                r#" [{"match": "live/*", "publish": ["a,b"]}, {"match": "*", "play": ["c"]}]"#,
            ),
            (
                "DISTRIBUTARY_STREAM",
                r#"[{"match": "*", "bframes": "drop"}]"#,
            ),
            (
                "DISTRIBUTARY_ICE_SERVER",
                r#"[{"url": "stun:stun.example"}]"#,
            ),
            (
                "DISTRIBUTARY_REDIRECT",
                r#"[{"match": "a/*", "to": "https://b.example/whep/a"}]"#,
            ),
            ("DISTRIBUTARY_ADVERTISE", r#"["192.0.2.1"]"#),
        ]);
        assert!(unknown.is_empty() && errors.is_empty(), "{errors:?}");
        let file: Config = toml::from_str(
            r#"
            advertise = ["192.0.2.1"]
            [[pull]]
            match = "live/*"
            from = "rtmp://origin/live"
            idle_timeout = "5s"
            [[auth.key]]
            match = "live/*"
            publish = ["a,b"]
            [[auth.key]]
            match = "*"
            play = ["c"]
            [[stream]]
            match = "*"
            bframes = "drop"
            [[ice_server]]
            url = "stun:stun.example"
            [[redirect]]
            match = "a/*"
            to = "https://b.example/whep/a"
            "#,
        )
        .unwrap();
        assert_eq!(config, file);
        // The list of the file is replaced as a whole.
        let variable = ("DISTRIBUTARY_PULL".to_owned(), "[]".to_owned());
        let config = apply(file, std::iter::once(variable)).config;
        assert!(config.pull.is_empty() && config.auth.key.len() == 2);
    }

    #[test]
    fn invalid_value_is_reported_with_its_variable() {
        for (name, value, words) in [
            (
                "DISTRIBUTARY_VIEWERS_MAX",
                "many",
                "a whole number instead of \"many\"",
            ),
            (
                "DISTRIBUTARY_VIEWERS_TCP",
                "yes",
                "true or false instead of \"yes\"",
            ),
            ("DISTRIBUTARY_HTTP", "x", "expected host:port"),
            ("DISTRIBUTARY_PULL", "[{", "expected a JSON list"),
            (
                "DISTRIBUTARY_PULL",
                "{\"match\": \"live/a\"}",
                "expected a JSON list",
            ),
            (
                "DISTRIBUTARY_PULL",
                "[{\"match\": \"live/a\", \"form\": \"b\"}]",
                "no key \"form\" here; \"from\" is meant?",
            ),
            (
                "DISTRIBUTARY_PULL",
                "[{\"match\": \"live/a\"}]",
                "missing field `from`",
            ),
        ] {
            let errors = applied(&[(name, value)]).errors;
            let error = errors[0].to_string();
            assert!(error.starts_with(name) && error.contains(words), "{error}");
        }
    }

    #[test]
    fn invalid_value_leaves_its_key_and_every_other_variable_counts() {
        let Applied { config, errors, .. } = applied(&[
            ("DISTRIBUTARY_HTTP", "x"),
            ("DISTRIBUTARY_RTMP", "1936"),
            ("DISTRIBUTARY_VIEWERS_MAX", "many"),
            ("DISTRIBUTARY_VIEWERS_OFFLINE_GRACE", "15"),
        ]);
        assert_eq!(errors.len(), 3);
        assert_eq!(
            errors[2].to_string(),
            "DISTRIBUTARY_VIEWERS_OFFLINE_GRACE in the environment: expected a whole number with a \
             unit (ms, s, m, h) instead of \"15\": write \"15s\""
        );
        assert_eq!(config.rtmp.to_string(), "[::]:1936");
        assert_eq!(config.http, Config::default().http);
    }

    #[test]
    fn unknown_variable_is_reported_with_the_most_similar() {
        let unknown = applied(&[
            ("DISTRIBUTARY_HTPP", "x"),
            ("DISTRIBUTARY_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ])
        .unknown;
        assert_eq!(unknown[0].nearest.as_deref(), Some("DISTRIBUTARY_HTTP"));
        assert_eq!(unknown[1].nearest, None);
    }
}
