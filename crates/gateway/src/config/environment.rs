//! The configuration by environment: `DISTRIBUTARY_` and the key, its tables before it.
//!
//! `DISTRIBUTARY_HTTP` is `http`, `DISTRIBUTARY_VIEWERS_MAX` is `max` under `[viewers]`. A list is written
//! with commas, or as JSON; tables that there may be several of, such as `[[pull]]`, as a JSON list of objects.

use distributary_config::KeyPath;
use serde::Deserialize;
use toml::{Table, Value};

use super::nearest::nearest;
use super::{Config, ConfigError, explanation};

/// What the names begin with.
const PREFIX: &str = "DISTRIBUTARY_";

/// The variable with the path of the configuration file, which is no key of it.
pub const CONFIG_FILE: &str = "DISTRIBUTARY_CONFIG";

/// Puts the variables that are keys over `config`. What begins like one and is none is returned, with the
/// name that comes nearest: orchestrators set variables of their own, such as `DISTRIBUTARY_SERVICE_HOST`.
///
/// # Errors
/// When a value is not what its key wants.
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
            // What all have in common would make all of them alike.
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
    /// The variable that it might have been meant for.
    pub nearest: Option<String>,
}

/// The variables and the keys they stand for.
fn names() -> Vec<(String, KeyPath)> {
    let keys = Config::keys().into_iter();
    keys.map(|key| (name(&key), key)).collect()
}

/// The variable of a key.
fn name(key: &KeyPath) -> String {
    format!("{PREFIX}{}", key.names.join("_").to_uppercase())
}

/// The value of a key; an empty list where there is none.
fn place<'a>(table: &'a mut Table, key: &KeyPath) -> Option<&'a mut Value> {
    let (last, tables) = key.names.split_last()?;
    let mut table = table;
    for key in tables {
        table = table.get_mut(*key)?.as_table_mut()?;
    }
    let value = table.entry(*last);
    Some(value.or_insert_with(|| Value::Array(Vec::new())))
}

/// A text as a value of the kind that is there.
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

/// A list that is written as JSON.
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
    fn every_key_has_a_variable_of_its_own() {
        let mut names: Vec<_> = names().into_iter().map(|(name, _)| name).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(names.contains(&"DISTRIBUTARY_ADMIN_TOKEN".to_owned()));
        assert!(names.contains(&"DISTRIBUTARY_AUTH_JWT_SECRET".to_owned()));
    }

    #[test]
    fn values_are_read_as_their_keys_want_them() {
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
    fn tables_of_which_there_are_several_are_lists_of_objects() {
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
        // What the file has is replaced as a whole.
        let variable = ("DISTRIBUTARY_PULL".to_owned(), "[]".to_owned());
        let (config, _) = apply(file, std::iter::once(variable)).unwrap();
        assert!(config.pull.is_empty() && config.auth.key.len() == 2);
    }

    #[test]
    fn a_wrong_value_is_named_with_its_variable() {
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
    fn a_variable_that_is_no_key_is_told_with_the_nearest() {
        let (_, unknown) = applied(&[
            ("DISTRIBUTARY_HTPP", "x"),
            ("DISTRIBUTARY_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ])
        .unwrap();
        assert_eq!(unknown[0].nearest.as_deref(), Some("DISTRIBUTARY_HTTP"));
        assert_eq!(unknown[1].nearest, None);
    }
}
