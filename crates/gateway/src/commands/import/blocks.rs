//! The syntax of SRS and nginx: `name argument ...;` and `name argument ... { ... }`.

/// Maximum nesting of blocks.
const MAX_DEPTH: usize = 16;

/// A directive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Directive {
    pub(super) name: String,
    pub(super) arguments: Vec<String>,
    /// The directives of its block, if it has one.
    pub(super) block: Vec<Directive>,
}

/// The text does not have this syntax.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct SyntaxError {
    /// The line, counted from 1.
    line: usize,
    reason: String,
}

impl Directive {
    /// Returns the first argument; empty if there is none.
    pub(super) fn value(&self) -> &str {
        self.arguments.first().map_or("", String::as_str)
    }

    /// Returns whether the first argument switches something on.
    pub(super) fn is_on(&self) -> bool {
        self.value() == "on"
    }

    /// Returns a directive of the block.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        self.block.iter().find(|directive| directive.name == name)
    }
}

/// Parses a file.
pub(super) fn parse(text: &str) -> Result<Vec<Directive>, SyntaxError> {
    let mut open = vec![Directive::default()];
    let mut words: Vec<String> = Vec::new();
    let mut tokens = Tokens { text, line: 1 };
    while let Some(token) = tokens.next()? {
        match token {
            Token::Word(word) => words.push(word),
            Token::End => {
                let directive = directive(std::mem::take(&mut words));
                let block = open.last_mut();
                if let (Some(directive), Some(block)) = (directive, block) {
                    block.block.push(directive);
                }
            }
            Token::Open => {
                let directive = directive(std::mem::take(&mut words));
                open.push(directive.ok_or_else(|| tokens.error("a block without a name"))?);
                if open.len() > MAX_DEPTH {
                    return Err(tokens.error("blocks are nested too deeply"));
                }
            }
            Token::Close => {
                if let Some(word) = words.first() {
                    return Err(tokens.unfinished(word));
                }
                match (open.pop(), open.last_mut()) {
                    (Some(directive), Some(block)) => block.block.push(directive),
                    _ => return Err(tokens.error("} without a block")),
                }
            }
        }
    }
    match (words.first(), open.pop()) {
        (Some(word), _) => Err(tokens.unfinished(word)),
        (None, Some(root)) if open.is_empty() => Ok(root.block),
        _ => Err(tokens.error("a block is not closed")),
    }
}

/// Returns the directive of these words; `None` if there are none.
fn directive(words: Vec<String>) -> Option<Directive> {
    let mut words = words.into_iter();
    Some(Directive {
        name: words.next()?,
        arguments: words.collect(),
        block: Vec::new(),
    })
}

enum Token {
    Word(String),
    /// `;`
    End,
    /// `{`
    Open,
    /// `}`
    Close,
}

struct Tokens<'a> {
    text: &'a str,
    line: usize,
}

impl Tokens<'_> {
    fn next(&mut self) -> Result<Option<Token>, SyntaxError> {
        loop {
            let Some(first) = self.text.chars().next() else {
                return Ok(None);
            };
            match first {
                '#' => self.skip(self.text.find('\n').unwrap_or(self.text.len())),
                ';' | '{' | '}' => {
                    self.skip(1);
                    return Ok(Some(match first {
                        ';' => Token::End,
                        '{' => Token::Open,
                        _ => Token::Close,
                    }));
                }
                '"' | '\'' => return self.quoted(first).map(Some),
                _ if first.is_whitespace() => self.skip(first.len_utf8()),
                _ => {
                    let is_end = |c: char| c.is_whitespace() || matches!(c, ';' | '{' | '}');
                    let end = self.text.find(is_end).unwrap_or(self.text.len());
                    let word = self.text[..end].to_owned();
                    self.skip(end);
                    return Ok(Some(Token::Word(word)));
                }
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<Token, SyntaxError> {
        let inner = &self.text[1..];
        let end = inner.find(quote);
        let end = end.ok_or_else(|| self.error("a text without its closing quote"))?;
        let word = inner[..end].to_owned();
        self.skip(end + 2);
        Ok(Token::Word(word))
    }

    fn skip(&mut self, bytes: usize) {
        let (skipped, rest) = self.text.split_at(bytes);
        self.line += skipped.matches('\n').count();
        self.text = rest;
    }

    fn error(&self, reason: &str) -> SyntaxError {
        SyntaxError {
            line: self.line,
            reason: reason.to_owned(),
        }
    }

    fn unfinished(&self, word: &str) -> SyntaxError {
        self.error(&format!("expected ; or {{ after {word:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_have_arguments_and_blocks() {
        let parsed = parse("a 1 'b c'; # d;\nvhost x { e on; f{g;} }\n").unwrap();
        assert_eq!(parsed.len(), 2);
        assert_eq!(parsed[0].arguments, ["1", "b c"]);
        assert_eq!((parsed[1].name.as_str(), parsed[1].value()), ("vhost", "x"));
        assert!(parsed[1].get("e").unwrap().is_on());
        assert_eq!(parsed[1].get("f").unwrap().block[0].name, "g");
    }

    #[test]
    fn nesting_is_bounded() {
        let error = parse(&"a {".repeat(100_000)).unwrap_err();
        assert_eq!(error.to_string(), "line 1: blocks are nested too deeply");
    }
}
