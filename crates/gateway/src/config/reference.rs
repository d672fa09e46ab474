//! Checks that the reference file and the documentation match the configuration.

use std::collections::BTreeSet;

use distributary_config::KeyPath;
use toml::{Table, Value};

use super::Config;

const REFERENCE: &str = include_str!("../../../../config/distributary.toml");
const DOCUMENTATION: &str = include_str!("../../../../docs/configuration.md");

/// The last line of the comment before a key that can be reloaded.
const RELOADABLE: &str = "# Reloadable.";

/// Returns the keys of a table and of its subtables, as `table.key`.
fn keys(table: &Table) -> Vec<String> {
    let nested = |(key, value): (&String, &Value)| match value {
        Value::Table(inner) => keys(inner)
            .into_iter()
            .map(|inner| format!("{key}.{inner}"))
            .collect(),
        _ => vec![key.clone()],
    };
    table.iter().flat_map(nested).collect()
}

/// Returns the keys of the reference file in their order, each with the comment line before it. A
/// table of which there can be several is an example in a comment.
fn documented() -> Vec<(String, String)> {
    let (mut table, mut comment, mut found) = (String::new(), String::new(), Vec::new());
    for line in REFERENCE.lines() {
        let example = line.strip_prefix("#     [[");
        if let Some(list) = example.and_then(|rest| rest.strip_suffix("]]")) {
            found.push((list.to_owned(), comment.clone()));
        } else if line.starts_with("# ") {
            comment = line.to_owned();
        } else if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            table = format!("{name}.");
        } else if let Some((key, _)) = line.split_once(" = ") {
            found.push((format!("{table}{key}"), comment.clone()));
            comment.clear();
        }
    }
    found
}

#[test]
fn reference_file_is_the_default_configuration() {
    assert_eq!(
        toml::from_str::<Config>(REFERENCE).unwrap(),
        Config::default()
    );
}

#[test]
fn schema_has_the_keys_that_are_read_and_written() {
    let written = keys(&Table::try_from(Config::default()).unwrap());
    let schema = Config::keys();
    let schema: Vec<_> = schema.iter().map(KeyPath::dotted).collect();
    let lists = [
        "pull",
        "stream",
        "rendition",
        "ice_server",
        "redirect",
        "rtmps.sni",
        "https.sni",
        "admin_https.sni",
        "auth.key",
    ];
    let values: BTreeSet<_> = schema
        .iter()
        .filter(|key| !lists.contains(&key.as_str()))
        .collect();
    assert_eq!(values, written.iter().collect());
    assert_eq!(values.len() + lists.len(), schema.len());
}

#[test]
fn reference_file_has_every_key_and_says_which_can_be_reloaded() {
    let documented = documented();
    for key in Config::keys() {
        let name = key.dotted();
        let comments: Vec<_> = documented
            .iter()
            .filter(|(known, _)| *known == name)
            .collect();
        let [(_, comment)] = comments[..] else {
            panic!("{name} is there {} times", comments.len());
        };
        assert!(comment.starts_with("# "), "no comment before {name}");
        assert_eq!(comment == RELOADABLE, key.reloads, "{name}: {comment}");
    }
    assert_eq!(documented.len(), Config::keys().len());
}

/// The rows of the table of keys that can be reloaded: a section in which all can has no list.
fn rows() -> String {
    let keys = Config::keys();
    let table = |key: &KeyPath| key.names[..key.names.len() - 1].join(".");
    let mut tables: Vec<_> = keys.iter().map(table).collect();
    tables.dedup();
    let mut rows = String::new();
    for name in tables {
        let keys: Vec<_> = keys.iter().filter(|key| table(key) == name).collect();
        let reloadable: Vec<_> = keys
            .iter()
            .filter(|key| key.reloads)
            .filter_map(|key| key.names.last())
            .map(|key| format!("`{key}`"))
            .collect();
        let section = match name.as_str() {
            "" => "before the first table".to_owned(),
            name => format!("`[{name}]`"),
        };
        match reloadable.len() {
            0 => {}
            count if count == keys.len() => rows += &format!("| {section} | all |\n"),
            _ => rows += &format!("| {section} | {} |\n", reloadable.join(", ")),
        }
    }
    rows
}

#[test]
fn documentation_lists_the_keys_that_can_be_reloaded() {
    let table = format!("| section | keys |\n|---|---|\n{}\n", rows());
    assert!(DOCUMENTATION.contains(&table), "expected:\n{table}");
}
