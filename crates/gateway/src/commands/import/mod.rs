//! `distributary import`: converts the configuration of another server.
//!
//! * `converted`: [`Converted`], the result, and what has no counterpart.
//! * `mediamtx`, `srs`, `nginx`: the settings of each server.
//! * `blocks`: the syntax of SRS and nginx.

mod blocks;
mod converted;
mod mediamtx;
mod nginx;
mod srs;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub use blocks::SyntaxError;
pub use converted::Converted;

/// Maximum size of a file, in bytes.
const MAX_SIZE: u64 = 1024 * 1024;

/// A server whose configuration can be converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Server {
    /// MediaMTX (mediamtx.yml)
    Mediamtx,
    /// SRS (srs.conf)
    Srs,
    /// nginx with the RTMP module (nginx.conf)
    Nginx,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mediamtx => "MediaMTX",
            Self::Srs => "SRS",
            Self::Nginx => "nginx",
        })
    }
}

/// A configuration cannot be converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The file is larger than a configuration.
    #[error("{}: larger than 1 MiB", .0.display())]
    TooLarge(PathBuf),
    /// The file is not YAML.
    #[error("{}: {reason}", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// The error of the parser.
        reason: String,
    },
    /// The file does not have the syntax of SRS and nginx.
    #[error("{}: {source}", path.display())]
    Blocks {
        /// The file.
        path: PathBuf,
        /// The error.
        source: SyntaxError,
    },
    /// The file is a configuration of this gateway already.
    #[error("{}: this is a configuration of Distributary already: check it with distributary check", .0.display())]
    Own(PathBuf),
    /// The file has no settings of the server.
    #[error("{}: no settings of {server} were found; choose the server with --from", path.display())]
    Nothing {
        /// The file.
        path: PathBuf,
        /// The server.
        server: Server,
    },
}

/// Converts a file. Without `server`, the name and the content of the file tell which one it is of.
///
/// # Errors
/// Fails when the file cannot be read, or is not the configuration of the server.
pub fn import(path: &Path, server: Option<Server>) -> Result<Converted, ImportError> {
    let text = read(path)?;
    if server.is_none() && is_own(path, &text) {
        return Err(ImportError::Own(path.to_owned()));
    }
    let server = server.unwrap_or_else(|| guess(path, &text));
    let path = path.to_owned();
    let converted = match server {
        Server::Mediamtx => mediamtx::convert(&text).map_err(|reason| ImportError::Yaml {
            path: path.clone(),
            reason,
        }),
        Server::Srs | Server::Nginx => blocks::parse(&text)
            .map(|directives| match server {
                Server::Srs => srs::convert(&directives),
                _ => nginx::convert(&directives),
            })
            .map_err(|source| ImportError::Blocks {
                path: path.clone(),
                source,
            }),
    }?;
    if converted.is_empty() {
        return Err(ImportError::Nothing { path, server });
    }
    Ok(converted)
}

fn read(path: &Path) -> Result<String, ImportError> {
    let mut text = String::new();
    let file = File::open(path).and_then(|file| file.take(MAX_SIZE + 1).read_to_string(&mut text));
    match file {
        Ok(_) if text.len() as u64 > MAX_SIZE => Err(ImportError::TooLarge(path.to_owned())),
        Ok(_) => Ok(text),
        Err(source) => Err(ImportError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Returns whether a file is TOML: the other servers have none.
fn is_own(path: &Path, text: &str) -> bool {
    let is_toml = path
        .extension()
        .is_some_and(|extension| extension == "toml");
    is_toml
        || text
            .parse::<toml::Table>()
            .is_ok_and(|table| !table.is_empty())
}

fn guess(path: &Path, text: &str) -> Server {
    let is_yaml = path
        .extension()
        .is_some_and(|extension| extension == "yml" || extension == "yaml");
    let mut lines = text.lines().map(str::trim_start);
    if is_yaml {
        Server::Mediamtx
    } else if lines.any(|line| line.starts_with("rtmp ") || line.starts_with("rtmp{")) {
        Server::Nginx
    } else {
        Server::Srs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_is_told_by_name_and_content() {
        let guess = |path: &str, text: &str| guess(Path::new(path), text);
        assert_eq!(guess("mediamtx.yml", ""), Server::Mediamtx);
        assert_eq!(guess("nginx.conf", "events {}\nrtmp {\n}"), Server::Nginx);
        assert_eq!(guess("docker.conf", "listen 1935;\nrtmps {}"), Server::Srs);
    }

    /// The exact text matters: people act on it.
    #[test]
    fn wrong_file_is_named_with_its_cause() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text, words) in [
            ("a.yml", "a: [", ""),
            (
                "a.toml",
                "http = 1\n[rtmps]\nlisten = 2\n",
                "this is a configuration of Distributary already: check it with distributary check",
            ),
            (
                "a.yml",
                "# nothing\n",
                "no settings of MediaMTX were found; choose the server with --from",
            ),
            (
                "a.conf",
                "listen 1935;\nvhost {",
                "line 2: a block is not closed",
            ),
            ("a.conf", "}", "line 1: } without a block"),
            ("a.conf", "{}", "line 1: a block without a name"),
            (
                "a.conf",
                "listen 1935",
                "line 1: expected ; or { after \"listen\"",
            ),
            (
                "a.conf",
                "a \"b",
                "line 1: a text without its closing quote",
            ),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let error = import(&path, None).unwrap_err().to_string();
            let begin = format!("{}: {words}", path.display());
            assert!(error.starts_with(&begin), "{error}\n{begin}");
        }
        let error = import(Path::new("/nowhere/a.yml"), None).unwrap_err();
        let words = "/nowhere/a.yml: No such file or directory (os error 2)";
        assert_eq!(error.to_string(), words);
    }
}
