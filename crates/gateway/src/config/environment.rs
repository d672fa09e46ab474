//! The configuration from the environment: `DISTRIBUTARY_` and the key, with its tables before it.
//!
//! `DISTRIBUTARY_HTTP` is `http`, `DISTRIBUTARY_VIEWERS_MAX` is `max` under `[viewers]`. A list is
//! comma-separated or JSON; lists of tables such as `[[pull]]` are JSON lists of objects.

use distributary_config::KeyPath;
use serde::Deserialize;
use toml::{Table, Value};

use super::nearest::nearest;
use super::{Config, ConfigError, explanation};

/// Prefix of the variables.
const PREFIX: &str = "DISTRIBUTARY_";

/// The variable with the path of the configuration file, which is not a key.
pub const CONFIG_FILE: &str = "DISTRIBUTARY_CONFIG";

/// Overrides keys of `config` by variables. Returns the variables that look like keys and are none,
/// with the most similar name: orchestrators set variables of their own, such as
/// `DISTRIBUTARY_SERVICE_HOST`.
///
/// # Errors
/// Fails when the value of a variable is not valid for its key.
pub fn apply(
    config: Config,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<(Config, Vec<UnknownVariable>), ConfigError> {
    let mut table = Table::try_from(&config).unwrap_or_default();
    let known = names();
    let (mut config, mut unknown) = (config, Vec::new());
    let mut variables: Vec<_> = variables
        .filter(|(name, _)| name.starts_with(PREFIX) && name != CONFIG_FILE)
        .collect();
    variables.sort();
    for (name, text) in variables {
        let Some((_, path)) = known.iter().find(|(known, _)| *known == name) else {
            // Without the common prefix, which would make all names similar.
            let bare = |name: &'_ str| name[PREFIX.len()..].to_owned();
            let names: Vec<_> = known.iter().map(|(known, _)| bare(known)).collect();
            let nearest = nearest(&bare(&name), names.iter().map(String::as_str))
                .map(|nearest| format!("{PREFIX}{nearest}"));
            unknown.push(UnknownVariable { name, nearest });
            continue;
        };
        let invalid = |reason: String| ConfigError::Environment {
            name: name.clone(),
            reason,
        };
        let place = place(&mut table, path).ok_or_else(|| invalid("it has no key".to_owned()))?;
        *place = value(&text, place).map_err(invalid)?;
        config = Config::deserialize(Value::Table(table.clone()))
            .map_err(|error| invalid(explanation::reason(error.message())))?;
    }
    Ok((config, unknown))
}

/// A variable that looks like a key and is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownVariable {
    /// Its name.
    pub name: String,
    /// The most similar variable.
    pub nearest: Option<String>,
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
        _ => Value::String(text.to_owned()),
    })
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

    fn applied(variables: &[(&str, &str)]) -> Result<(Config, Vec<UnknownVariable>), ConfigError> {
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
        let (config, unknown) = applied(&[
            ("DISTRIBUTARY_HTTP", "127.0.0.1:81"),
            ("DISTRIBUTARY_ADVERTISE", "192.0.2.1, gw.example"),
            ("DISTRIBUTARY_VIEWERS_MAX", "7"),
            ("DISTRIBUTARY_VIEWERS_TCP", "false"),
            ("DISTRIBUTARY_STREAMS_CACHE_SIZE", "1MiB"),
            ("DISTRIBUTARY_CONFIG", "x.toml"),
            ("PATH", "/bin"),
        ])
        .unwrap();
        assert_eq!(config.http.to_string(), "127.0.0.1:81");
        assert_eq!(config.advertise, ["192.0.2.1", "gw.example"]);
        assert_eq!(config.viewers.max, 7);
        assert!(!config.viewers.tcp);
        assert_eq!(config.streams.cache_size, 1 << 20);
        assert!(unknown.is_empty());
    }

    #[test]
    fn lists_of_tables_are_json_lists() {
        let (config, unknown) = applied(&[
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
        ])
        .unwrap();
        assert!(unknown.is_empty(), "{unknown:?}");
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
        let (config, _) = apply(file, std::iter::once(variable)).unwrap();
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
            ("DISTRIBUTARY_HTTP", "8080", "expected host:port"),
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
            let error = applied(&[(name, value)]).unwrap_err().to_string();
            assert!(error.starts_with(name) && error.contains(words), "{error}");
        }
    }

    #[test]
    fn unknown_variable_is_reported_with_the_most_similar() {
        let (_, unknown) = applied(&[
            ("DISTRIBUTARY_HTPP", "x"),
            ("DISTRIBUTARY_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ])
        .unwrap();
        assert_eq!(unknown[0].nearest.as_deref(), Some("DISTRIBUTARY_HTTP"));
        assert_eq!(unknown[1].nearest, None);
    }
}
