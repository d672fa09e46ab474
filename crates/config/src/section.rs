//! The keys of a section, and which of them a reload applies.

/// A table of the configuration. Derive it; each field is a key of the same name.
pub trait Section {
    /// The keys, in the order of the fields.
    const KEYS: &'static [Key];
}

/// A key of a section.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    name: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Value { reloads: bool },
    Table(&'static [Key]),
}

impl Key {
    /// A key with a value; `reloads` says whether a reload applies it.
    pub const fn value(name: &'static str, reloads: bool) -> Self {
        let kind = Kind::Value { reloads };
        Self { name, kind }
    }

    /// A table of the type `S`.
    pub const fn table<S: Section>(name: &'static str) -> Self {
        let kind = Kind::Table(S::KEYS);
        Self { name, kind }
    }
}

/// A key with the names of the tables that contain it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPath {
    /// The tables from the outside in, and the key.
    pub names: Vec<&'static str>,
    /// A reload applies the key.
    pub reloads: bool,
}

impl KeyPath {
    /// Returns the key as `table.key`.
    pub fn dotted(&self) -> String {
        self.names.join(".")
    }
}

/// Returns every key of a section and of the tables in it, in the order of the fields.
pub fn paths<S: Section>() -> Vec<KeyPath> {
    let mut paths = Vec::new();
    collect(S::KEYS, &mut Vec::new(), &mut paths);
    paths
}

fn collect(keys: &[Key], tables: &mut Vec<&'static str>, paths: &mut Vec<KeyPath>) {
    for key in keys {
        tables.push(key.name);
        match key.kind {
            Kind::Value { reloads } => paths.push(KeyPath {
                names: tables.clone(),
                reloads,
            }),
            Kind::Table(keys) => collect(keys, tables, paths),
        }
        tables.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Section;

    #[expect(dead_code, reason = "the keys count, not their values")]
    #[derive(Section)]
    struct Outer {
        first: bool,
        #[reload]
        second: bool,
        #[section]
        inner: Inner,
    }

    #[expect(dead_code, reason = "the keys count, not their values")]
    #[derive(Section)]
    #[reload]
    struct Inner {
        third: bool,
    }

    #[test]
    fn keys_have_their_tables_and_reloads_are_marked() {
        let keys = paths::<Outer>();
        let keys: Vec<_> = keys.iter().map(|key| (key.dotted(), key.reloads)).collect();
        let expected = [("first", false), ("second", true), ("inner.third", true)];
        assert_eq!(
            keys,
            expected.map(|(key, reloads)| (key.to_owned(), reloads))
        );
    }
}
