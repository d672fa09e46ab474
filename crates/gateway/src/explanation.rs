//! What is wrong with a configuration file, in words that say what to do.

use toml::Table;

use crate::config::Config;
use crate::nearest::nearest;

/// The line of an error, counted from 1, and what is wrong there.
pub(crate) fn explain(text: &str, error: &toml::de::Error) -> (usize, String) {
    let at = error.span().map_or(0, |span| span.start);
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let reason = match UnknownKey::of(error.message()) {
        Some(unknown) => unknown.to_string(),
        None => in_words(&error.message().replace('\n', " ")),
    };
    (line, reason)
}

/// The error without the names of types that only programmers know.
fn in_words(message: &str) -> String {
    let numbers = ["usize", "u64", "u32", "u16", "u8"];
    let plain = numbers
        .iter()
        .find_map(|number| message.strip_suffix(number));
    plain.map_or_else(
        || message.to_owned(),
        |plain| format!("{plain}a whole number"),
    )
}

/// A key that there is not.
struct UnknownKey<'a> {
    key: &'a str,
    /// The keys that there are.
    known: Vec<&'a str>,
}

impl<'a> UnknownKey<'a> {
    /// Reads the error of serde: ``unknown field `a`, expected one of `b`, `c` ``.
    fn of(message: &'a str) -> Option<Self> {
        let rest = message.strip_prefix("unknown field ")?;
        let mut quoted = rest.split('`').skip(1).step_by(2);
        Some(Self {
            key: quoted.next()?,
            known: quoted.collect(),
        })
    }

    /// The tables that have such a key, where it was perhaps meant to be.
    fn homes(&self) -> Vec<String> {
        let all = Table::try_from(Config::default()).unwrap_or_default();
        let mut homes = Vec::new();
        find(&all, self.key, "", &mut homes);
        homes
    }
}

impl std::fmt::Display for UnknownKey<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "there is no key {:?} here", self.key)?;
        if let Some(nearest) = nearest(self.key, self.known.iter().copied()) {
            return write!(f, "; {nearest:?} is meant?");
        }
        match self.homes().as_slice() {
            [] => write!(f, "; there are {}", self.known.join(", ")),
            homes => write!(f, "; it belongs to {}", homes.join(" or ")),
        }
    }
}

/// Collects the tables that have the key, the file itself left out.
fn find(table: &Table, key: &str, path: &str, homes: &mut Vec<String>) {
    for (name, value) in table {
        if let Some(inner) = value.as_table() {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            if inner.contains_key(key) {
                homes.push(format!("[{path}]"));
            }
            find(inner, key, &path, homes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(text: &str) -> String {
        let error = toml::from_str::<Config>(text).unwrap_err();
        let (line, reason) = explain(text, &error);
        format!("{line}: {reason}")
    }

    /// The words themselves are what a person has to work with.
    #[test]
    fn errors_say_where_what_and_what_to_do() {
        for (text, words) in [
            (
                "\nhtpp = \"[::]:1\"",
                "2: there is no key \"htpp\" here; \"http\" is meant?",
            ),
            (
                "[viewers]\nshard = 1",
                "2: there is no key \"shard\" here; \"shards\" is meant?",
            ),
            (
                "[viewers]\nopus_bitrate = 1",
                "2: there is no key \"opus_bitrate\" here; it belongs to [streams]",
            ),
            (
                "[requests]\nzzz = 1",
                "2: there is no key \"zzz\" here; there are max_connections, \
                 max_connections_per_ip, header_timeout, write_timeout, max_posts_per_minute, \
                 post_burst, trusted_proxies",
            ),
            (
                "[[auth.key]]\nmatch = \"live/*\"\nplays = []",
                "3: there is no key \"plays\" here; \"play\" is meant?",
            ),
            (
                "rtmp = \"1935\"",
                "1: expected host:port, such as [::]:8080 or 127.0.0.1:8080, instead of \"1935\"",
            ),
            (
                "[streams]\ncache_size = \"32\"",
                "2: expected a whole number with a unit, such as \"32MiB\", instead of \"32\"",
            ),
            (
                "[auth]\nplay = \"key\"",
                "2: unknown variant `key`, expected one of `open`, `keys`, `jwt`, `webhook`",
            ),
            (
                "[viewers]\nmax = \"many\"",
                "2: invalid type: string \"many\", expected a whole number",
            ),
            (
                "http = ",
                "1: string values must be quoted, expected literal string",
            ),
        ] {
            assert_eq!(explained(text), words);
        }
    }
}
