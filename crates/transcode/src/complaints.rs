//! What an encoder says of itself, cut into lines for the log.

/// Longest line; the rest of a longer one is left out.
const MAX_LINE: usize = 300;

/// Most lines of one encoder in the log.
const MAX_LINES: usize = 20;

/// Cuts what comes on an encoder's standard error into lines.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    line: Vec<u8>,
    lines: usize,
}

impl Complaints {
    /// The lines that `bytes` end, as long as there have not been too many.
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
            MAX_LINES => format!("{text} (what it says from now on is left out)"),
            _ => text.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_the_bytes_are_cut() {
        let mut complaints = Complaints::default();
        assert!(complaints.take(b"Unknown enc").is_empty());
        let lines = complaints.take(b"oder 'x'\r\n\nwhat\x1b[0m is\nmore");
        assert_eq!(lines, ["Unknown encoder 'x'", "what [0m is"]);
    }

    #[test]
    fn neither_long_lines_nor_many_fill_the_log() {
        let mut complaints = Complaints::default();
        let long = [&[b'x'; 10_000][..], b"\n"].concat();
        assert_eq!(complaints.take(&long)[0].len(), MAX_LINE);
        let many = complaints.take(&b"again\n".repeat(100));
        assert_eq!(many.len(), MAX_LINES - 1);
        assert!(many.last().unwrap().contains("left out"));
        assert!(complaints.take(b"again\n").is_empty());
    }
}
