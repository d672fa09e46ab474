//! The log of the gateway: each line at `warn` or above has to be an expected one.

use std::collections::BTreeMap;

use serde_json::Value;

/// Beginnings of the messages that publishers cause who end the connection in the middle of a
/// stream.
const EXPECTED: &[&str] = &["the stream is offline", "connection ended"];

/// The message of a reload that has succeeded.
const RELOADED: &str = "the configuration is reloaded";

/// Longest part of a line that is shown, in characters.
const MAX_SHOWN: usize = 400;

/// Different unexpected messages that are shown.
const MAX_MESSAGES: usize = 20;

/// What a log says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Log {
    /// Expected warnings, counted by message.
    pub(super) expected: BTreeMap<String, usize>,
    /// Unexpected lines, counted by message, each with the first line.
    pub(super) unexpected: BTreeMap<String, (usize, String)>,
    /// Reloads that have succeeded.
    pub(super) reloads: usize,
}

impl Log {
    /// Reads a log of JSON lines. A line that is none, such as that of a panic, is unexpected.
    pub(super) fn read(text: &str) -> Self {
        let mut log = Self::default();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let entry = serde_json::from_str::<Value>(line).unwrap_or_default();
            let message = entry["message"].as_str().unwrap_or(line);
            let level = entry["level"].as_str().unwrap_or("ERROR");
            log.reloads += usize::from(message == RELOADED);
            if !["WARN", "ERROR"].contains(&level) {
                continue;
            }
            let begins = |expected: &&str| message.starts_with(*expected);
            if level == "WARN" && EXPECTED.iter().any(begins) {
                *log.expected.entry(message.to_owned()).or_default() += 1;
            } else if log.unexpected.len() < MAX_MESSAGES || log.unexpected.contains_key(message) {
                let first = || (0, line.chars().take(MAX_SHOWN).collect());
                let entry = log.unexpected.entry(message.to_owned());
                entry.or_insert_with(first).0 += 1;
            }
        }
        log
    }

    /// Returns a sentence about each unexpected message.
    pub(super) fn findings(&self) -> Vec<String> {
        let unexpected = self.unexpected.values();
        let findings = unexpected.map(|(count, line)| format!("logged {count} times: {line}"));
        findings.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unexpected_lines_are_counted_by_message() {
        let log = Log::read(
            r#"{"level":"INFO","message":"the configuration is reloaded"}
{"level":"WARN","message":"connection ended","reason":"end of file"}
{"level":"WARN","message":"something else","stream":"a"}
{"level":"WARN","message":"something else","stream":"b"}
{"level":"ERROR","message":"connection ended"}
thread 'main' panicked at src/main.rs:1:1:
"#,
        );
        assert_eq!(log.reloads, 1);
        assert_eq!(log.expected, [("connection ended".to_owned(), 1)].into());
        let findings = log.findings();
        assert_eq!(findings.len(), 3, "{findings:?}");
        assert!(findings[1].starts_with("logged 2 times: {"), "{findings:?}");
        assert!(findings[1].contains("\"stream\":\"a\""), "{findings:?}");
        assert!(findings[2].contains("panicked"), "{findings:?}");
    }
}
