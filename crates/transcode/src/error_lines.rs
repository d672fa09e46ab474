//! Splits an encoder's standard error into lines for the log.

/// Maximum length of a line in bytes; the rest is dropped.
const MAX_LINE: usize = 300;

/// Maximum lines of one encoder in the log.
const MAX_LINES: usize = 20;

/// Splits an encoder's standard error into lines.
#[derive(Debug, Default)]
pub(crate) struct ErrorLines {
    line: Vec<u8>,
    lines: usize,
}

impl ErrorLines {
    /// Returns the lines that `bytes` completes, up to [`MAX_LINES`] in all.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for &byte in bytes {
            match byte {
                b'\n' | b'\r' => lines.extend(self.end_line()),
                _ if self.line.len() < MAX_LINE => self.line.push(byte),
                _ => {}
            }
        }
        lines
    }

    fn end_line(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        let text = text.replace(char::is_control, " ");
        let text = text.trim();
        if text.is_empty() || self.lines == MAX_LINES {
            return None;
        }
        self.lines += 1;
        Some(match self.lines {
            MAX_LINES => format!("{text} (further lines are dropped)"),
            _ => text.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_the_bytes_are_split() {
        let mut errors = ErrorLines::default();
        assert!(errors.take(b"Unknown enc").is_empty());
        let lines = errors.take(b"oder 'x'\r\n\nwhat\x1b[0m is\nmore");
        assert_eq!(lines, ["Unknown encoder 'x'", "what [0m is"]);
    }

    #[test]
    fn length_and_number_of_lines_are_limited() {
        let mut errors = ErrorLines::default();
        let long = [&[b'x'; 10_000][..], b"\n"].concat();
        assert_eq!(errors.take(&long)[0].len(), MAX_LINE);
        let many = errors.take(&b"again\n".repeat(100));
        assert_eq!(many.len(), MAX_LINES - 1);
        assert!(many.last().unwrap().contains("dropped"));
        assert!(errors.take(b"again\n").is_empty());
    }
}
