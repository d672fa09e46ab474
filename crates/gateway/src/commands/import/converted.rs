//! The result of a conversion.

use std::fmt;

use toml::{Table, Value};

/// Keys of a configuration, and settings that have none.
#[derive(Debug, Default)]
pub struct Converted {
    keys: Table,
    left: Vec<String>,
}

impl Converted {
    /// Returns whether there is neither a key nor a setting.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.left.is_empty()
    }

    /// Returns the settings without a counterpart, each with the reason.
    pub fn left(&self) -> &[String] {
        &self.left
    }

    /// Sets the key `path`, such as `viewers.tcp`.
    pub(super) fn set(&mut self, path: &str, value: impl Into<Value>) {
        let (table, key) = path
            .split_once('.')
            .map_or((None, path), |(table, key)| (Some(table), key));
        self.table(table).insert(key.to_owned(), value.into());
    }

    /// Adds a table to the list `path`, such as `pull` or `auth.key`.
    pub(super) fn push<const N: usize>(&mut self, path: &str, entries: [(&str, Value); N]) {
        let (table, key) = path
            .split_once('.')
            .map_or((None, path), |(table, key)| (Some(table), key));
        let list = self.table(table).entry(key);
        if let Value::Array(list) = list.or_insert_with(|| Value::Array(Vec::new())) {
            let entries = entries.into_iter();
            let table: Table = entries
                .map(|(key, value)| (key.to_owned(), value))
                .collect();
            list.push(Value::Table(table));
        }
    }

    /// Notes a setting without a counterpart.
    pub(super) fn leave(&mut self, setting: impl fmt::Display, reason: &str) {
        self.left.push(format!("{setting}: {reason}"));
    }

    fn table(&mut self, name: Option<&str>) -> &mut Table {
        let Some(name) = name else {
            return &mut self.keys;
        };
        let table = self.keys.entry(name);
        match table.or_insert_with(|| Value::Table(Table::new())) {
            Value::Table(table) => table,
            // The paths of this module do not mix values and tables.
            _ => unreachable!("{name} is a table"),
        }
    }
}

/// Writes a configuration file, with the other settings as comments.
impl fmt::Display for Converted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.keys)?;
        if !self.left.is_empty() {
            writeln!(f, "\n# Settings without a counterpart:")?;
        }
        for setting in &self.left {
            // A line break of the other file must not end the comment.
            writeln!(f, "#   {}", setting.escape_debug())?;
        }
        Ok(())
    }
}
