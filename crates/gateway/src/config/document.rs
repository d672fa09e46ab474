//! The text of a configuration file, and every error in it.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue, Error, ValueDeserializer};

use super::Config;
use super::explanation::Explanation;

/// Maximum number of errors that are searched for.
const MAX_ERRORS: usize = 50;

/// Parses a file. After an error, the wrong key or list item is removed and the search continues,
/// so that a person can correct all errors at once.
pub(super) fn parse(text: &str) -> (Config, Vec<Explanation>) {
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return (Config::default(), wrong_syntax(text, &errors));
    }
    let mut document = DeValue::Table(document.into_inner());
    let mut found = Vec::new();
    while found.len() < MAX_ERRORS {
        let error = match read(&document) {
            Ok(config) => {
                found.sort_by_key(|explanation: &Explanation| explanation.line);
                return (config, found);
            }
            Err(error) => error,
        };
        let part = error.span().unwrap_or(0..0);
        let Some(path) = locate(&document, &part) else {
            found.push(Explanation::new(text, part, error.message()));
            break;
        };
        let part = match wrong_item(&document, &path, error.message()) {
            Some(at) => remove_item(&mut document, &path, at),
            None => {
                remove_key(&mut document, &path);
                part
            }
        };
        found.push(Explanation::new(text, part, error.message()));
    }
    (Config::default(), found)
}

/// Explains errors of the syntax. Further errors of a line follow from the first.
fn wrong_syntax(text: &str, errors: &[Error]) -> Vec<Explanation> {
    let explanations = errors.iter().map(|error| {
        let part = error.span().unwrap_or(0..0);
        Explanation::new(text, part, error.message())
    });
    let mut found: Vec<_> = explanations.collect();
    found.sort_by_key(|explanation| explanation.line);
    found.dedup_by_key(|explanation| explanation.line);
    found.truncate(MAX_ERRORS);
    found
}

fn read(document: &DeValue<'_>) -> Result<Config, Error> {
    let document = Spanned::new(0..0, document.clone());
    Config::deserialize(ValueDeserializer::from(document))
}

/// A step from a table or a list to what it contains.
#[derive(Clone, Debug)]
enum Step {
    Key(String),
    Item(usize),
}

/// Returns the path to the innermost key that contains `part` of the text, or whose list has an
/// item that does.
fn locate(value: &DeValue<'_>, part: &Range<usize>) -> Option<Vec<Step>> {
    let inside = |step: Step, value: &DeValue<'_>| {
        let rest = locate(value, part)?;
        Some(std::iter::once(step).chain(rest).collect())
    };
    match value {
        DeValue::Table(table) => {
            let step = |key: &Spanned<DeString<'_>>| Step::Key(key.get_ref().to_string());
            let deeper = table
                .iter()
                .find_map(|(key, value)| inside(step(key), value.get_ref()));
            deeper.or_else(|| {
                let mut keys = table.iter();
                let (key, _) = keys.find(|(key, value)| {
                    contains(&key.span(), part) || contains(&value.span(), part)
                })?;
                Some(vec![step(key)])
            })
        }
        DeValue::Array(items) => {
            let mut numbered = items.iter().enumerate();
            let deeper = numbered.find_map(|(at, item)| inside(Step::Item(at), item.get_ref()));
            let is_item = || items.iter().any(|item| contains(&item.span(), part));
            deeper.or_else(|| is_item().then(Vec::new))
        }
        _ => None,
    }
}

/// Returns the item of the list at `path` that causes the error. The span of the error does not
/// say: it can be that of the list, or of its first item.
fn wrong_item(document: &DeValue<'_>, path: &[Step], message: &str) -> Option<usize> {
    let count = list(&mut document.clone(), path)?.len();
    (0..count).find(|at| {
        let mut alone = document.clone();
        if let Some(items) = list(&mut alone, path) {
            let only = items[*at].clone();
            *items = DeArray::from_iter([only]);
        }
        read(&alone).is_err_and(|error| error.message() == message)
    })
}

/// Returns the list at `path`, if there is one.
fn list<'a, 'i>(document: &'a mut DeValue<'i>, path: &[Step]) -> Option<&'a mut DeArray<'i>> {
    match get(document, path)? {
        DeValue::Array(items) => Some(items),
        _ => None,
    }
}

fn get<'a, 'i>(value: &'a mut DeValue<'i>, path: &[Step]) -> Option<&'a mut DeValue<'i>> {
    let Some((step, rest)) = path.split_first() else {
        return Some(value);
    };
    let next = match (value, step) {
        (DeValue::Table(table), Step::Key(key)) => table.get_mut(key.as_str())?,
        (DeValue::Array(items), Step::Item(at)) => items.get_mut(*at)?,
        _ => return None,
    };
    get(next.get_mut(), rest)
}

fn remove_key(document: &mut DeValue<'_>, path: &[Step]) {
    if let Some((Step::Key(key), tables)) = path.split_last()
        && let Some(DeValue::Table(table)) = get(document, tables)
    {
        table.remove(key.as_str());
    }
}

/// Removes an item of the list at `path`. Returns its part of the text.
fn remove_item(document: &mut DeValue<'_>, path: &[Step], at: usize) -> Range<usize> {
    let Some(items) = list(document, path) else {
        return 0..0;
    };
    let part = items[at].span();
    let all = std::mem::replace(items, DeArray::new()).into_iter();
    let kept = all.enumerate().filter(|(other, _)| *other != at);
    *items = kept.map(|(_, item)| item).collect();
    part
}

fn contains(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end && !outer.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> (Config, Vec<String>) {
        let (config, errors) = parse(text);
        let errors = errors.into_iter();
        let words = errors.map(|error| format!("{}: {}", error.line, error.reason));
        (config, words.collect())
    }

    /// The exact text matters: people act on it.
    #[test]
    fn every_error_of_a_file_is_found_and_the_other_keys_are_kept() {
        let (config, errors) = found(
            "http = 81\nhtpp = 82\nrtmp = \"x\"\n\
             [viewers]\noffline_grace = 15\nmax = 7\nshards = -1\n\
             [streams]\ncache_size = \"32\"\ncache_duration = \"5s\"\n\
             [viewer]\na = 1\n\
             [requests]\ntrusted_proxies = [\"::1\", \"nginx\", \"proxy\"]\n\
             [[pull]]\nmatch = \"live/*\"\n\
             [[pull]]\nmatch = \"vod/*\"\nfrom = \"rtmp://origin/vod\"\n\
             [[pull]]\nmatch = \"a/*\"\nfrom = \"https://origin/a\"\n",
        );
        assert_eq!(
            errors,
            [
                "2: there is no key \"htpp\" here; \"http\" is meant?",
                "3: expected host:port or a port, such as 127.0.0.1:8080 or 8080, instead of \"x\"",
                "5: expected a whole number with a unit (ms, s, m, h) instead of 15: write \"15s\"",
                "7: invalid value: integer `-1`, expected a whole number",
                "9: expected a whole number with a unit (B, KiB, MiB, GiB) instead of \"32\": write \
                 \"32MiB\"",
                "11: there is no key \"viewer\" here; \"viewers\" is meant?",
                "14: expected an address or a network such as 10.0.0.0/8 instead of \"nginx\"",
                "14: expected an address or a network such as 10.0.0.0/8 instead of \"proxy\"",
                "15: missing field `from`",
                "20: from = \"https://origin/a\": expected an rtmp:// or rtmps:// URL instead of https://",
            ]
        );
        assert_eq!(config.http.to_string(), "[::]:81");
        assert_eq!(config.viewers.max, 7);
        assert_eq!(config.streams.cache_duration.as_secs(), 5);
        assert_eq!(config.pull.len(), 1);
        assert_eq!(config.rtmp, Config::default().rtmp);
    }

    #[test]
    fn every_line_with_wrong_syntax_is_found_once() {
        let (config, errors) = found("http = \nlog = \"warn\"\nrtmp = [\n");
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[0].starts_with("1: ") && errors[1].starts_with("3: "));
        assert_eq!(config, Config::default());
    }

    #[test]
    fn number_of_errors_is_bounded() {
        let text: String = (0..200).map(|n| format!("zzz{n} = 1\n")).collect();
        assert_eq!(found(&text).1.len(), MAX_ERRORS);
    }
}
