//! Explanations of errors in a configuration file.

use std::fmt;
use std::ops::Range;

use super::Config;
use super::nearest::nearest;

/// An error in a file, with its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The line, counted from 1.
    pub line: usize,
    /// The description of the error.
    pub reason: String,
    /// The line itself.
    text: String,
    /// The part of the line that is wrong, in characters.
    part: Range<usize>,
}

impl Explanation {
    /// Explains an error in a part of `text`, given in bytes.
    pub(crate) fn new(text: &str, span: Range<usize>, message: &str) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let begin = before.rfind('\n').map_or(0, |at| at + 1);
        let line = text[begin..].lines().next().unwrap_or_default();
        let characters = |bytes: usize| {
            let bytes = bytes.saturating_sub(begin).min(line.len());
            line.char_indices()
                .take_while(|(at, _)| *at < bytes)
                .count()
        };
        Self {
            line: before.matches('\n').count() + 1,
            reason: reason(message),
            text: line.to_owned(),
            part: characters(span.start)..characters(span.end),
        }
    }
}

/// Shows the line and marks the wrong part.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        // The width of a tab depends on the terminal.
        let indent: String = self
            .text
            .chars()
            .take(self.part.start)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let carets = "^".repeat(self.part.len().max(1));
        writeln!(f, " {number} | {}", self.text)?;
        write!(f, " {margin} | {indent}{carets}")
    }
}

/// Explains an error to the author of a configuration.
pub(crate) fn reason(message: &str) -> String {
    match UnknownKey::of(message) {
        Some(unknown) => unknown.to_string(),
        None => unknown_value(message).unwrap_or_else(|| in_words(&message.replace('\n', " "))),
    }
}

/// Explains a value that is none of those of its key: ``unknown variant `a`, expected `b` or `c` ``.
fn unknown_value(message: &str) -> Option<String> {
    let rest = message.strip_prefix("unknown variant ")?;
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let (value, known) = (quoted.next()?, quoted.collect::<Vec<_>>());
    let (last, others) = known.split_last()?;
    let values = match others {
        [] => format!("{last:?}"),
        others => {
            let others: Vec<_> = others.iter().map(|value| format!("{value:?}")).collect();
            format!("{} or {last:?}", others.join(", "))
        }
    };
    let meant = nearest(value, known.iter().copied());
    let meant = meant.map_or_else(String::new, |meant| format!("; {meant:?} is meant?"));
    Some(format!("expected {values} instead of {value:?}{meant}"))
}

/// Removes names of Rust types from the error.
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

/// An unknown key.
struct UnknownKey<'a> {
    key: &'a str,
    /// The known keys.
    known: Vec<&'a str>,
}

impl<'a> UnknownKey<'a> {
    /// Parses the error of serde: ``unknown field `a`, expected one of `b`, `c` ``.
    fn of(message: &'a str) -> Option<Self> {
        let rest = message.strip_prefix("unknown field ")?;
        let mut quoted = rest.split('`').skip(1).step_by(2);
        Some(Self {
            key: quoted.next()?,
            known: quoted.collect(),
        })
    }

    /// Returns the tables that have such a key, where it may belong.
    fn homes(&self) -> Vec<String> {
        let keys = Config::keys();
        let tables = keys.iter().filter_map(|key| match key.names.split_last() {
            Some((key, tables)) if *key == self.key && !tables.is_empty() => Some(tables),
            _ => None,
        });
        tables
            .map(|tables| format!("[{}]", tables.join(".")))
            .collect()
    }
}

impl fmt::Display for UnknownKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Explains the error of a file that has one.
    fn explanation(text: &str) -> Explanation {
        let error = toml::from_str::<Config>(text).unwrap_err();
        Explanation::new(text, error.span().unwrap(), error.message())
    }

    /// The exact text matters: people act on it.
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
                "rtmp = \"x\"",
                "1: expected host:port or a port, such as 127.0.0.1:8080 or 8080, instead of \"x\"",
            ),
            (
                "[streams]\ncache_size = \"32\"",
                "2: expected a whole number with a unit (B, KiB, MiB, GiB) instead of \"32\": write \
                 \"32MiB\"",
            ),
            (
                "[streams]\nopus_bitrate = 1000",
                "2: the Opus bitrate is 1000 bit/s; it must be from 16000 to 320000",
            ),
            (
                "[whep]\nallowed_origins = [\"www.example\"]",
                "2: expected * or an origin such as https://www.example, without a path, instead of \
                 \"www.example\"",
            ),
            (
                "[requests]\ntrusted_proxies = [\"::1\", \"nginx\"]",
                "2: expected an address or a network such as 10.0.0.0/8 instead of \"nginx\"",
            ),
            (
                "\n[[ice_server]]\nurl = \"turn.example\"",
                "2: url = \"turn.example\": expected a URL such as stun:stun.example:3478 or \
                 turn:turn.example:3478?transport=udp",
            ),
            (
                "[[ice_server]]\nurl = \"turn:turn.example\"\nusername = \"a\"",
                "1: url = \"turn:turn.example\": give username and password together, or secret instead \
                 of both",
            ),
            (
                "[[redirect]]\nmatch = \"vod/*\"\nto = \"edge.example\"",
                "1: to = \"edge.example\": expected a URL such as https://edge.example/whep/live/*",
            ),
            (
                "[[pull]]\nmatch = \"live/*\"\nfrom = \"https://origin/live\"",
                "1: from = \"https://origin/live\": expected an rtmp:// or rtmps:// URL instead of https://",
            ),
            (
                "[auth.webhook]\nplay_url = \"ftp://x\"",
                "2: expected a URL such as http://127.0.0.1:9000/auth instead of \"ftp://x\"",
            ),
            (
                "[auth]\nplay = \"key\"",
                "2: expected \"open\", \"keys\", \"jwt\" or \"webhook\" instead of \"key\"; \"keys\" is meant?",
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
            let Explanation { line, reason, .. } = explanation(text);
            assert_eq!(format!("{line}: {reason}"), words);
        }
    }

    #[test]
    fn wrong_part_is_marked() {
        for (text, shown) in [
            ("\nhtpp = \"[::]:1\"\n", " 2 | htpp = \"[::]:1\"\n   | ^^^^"),
            (
                "[viewers]\n\tmax = \"ä\" # much\n",
                " 2 | \tmax = \"ä\" # much\n   | \t      ^^^",
            ),
            ("http = ", " 1 | http = \n   |        ^"),
            (
                "[streams]\n\n\n\n\n\n\n\n\ncache_size = \"32\"",
                " 10 | cache_size = \"32\"\n    |              ^^^^",
            ),
        ] {
            assert_eq!(explanation(text).to_string(), shown);
        }
    }
}
