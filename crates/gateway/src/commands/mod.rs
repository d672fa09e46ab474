//! Commands other than serving.
//!
//! * [`check`]: reports everything that prevents a start.
//! * [`doctor`]: examines this machine's side of a gateway.
//! * [`health`]: checks a running gateway.
//! * [`import`]: converts the configuration of another server.

pub mod check;
pub mod doctor;
pub mod health;
pub mod import;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::CommandFactory;
use clap_mangen::Man;

use crate::cli::{Cli, Task};
use check::Findings;

/// The commented configuration file with every default.
const REFERENCE: &str = include_str!("../../../../config/distributary.toml");

/// Runs a command. Returns the exit code of the process.
///
/// # Errors
/// Fails when the configuration is not valid, a running gateway is not healthy, or the output
/// cannot be written.
pub fn run(task: Task) -> Result<ExitCode, Box<dyn std::error::Error>> {
    match task {
        Task::Check { file, flags } => {
            let cli = Cli {
                config: file,
                flags,
                ..Cli::default()
            };
            return Ok(check(&cli)?);
        }
        Task::Health {
            address,
            config,
            url,
            ca,
            insecure,
        } => {
            let trust = match ca {
                Some(file) => health::Trust::File(file),
                None if insecure => health::Trust::Any,
                None => health::Trust::System,
            };
            let ready = health::run(address, config, url, &trust)?;
            print(format!("{ready}\n").as_bytes())?;
        }
        Task::Doctor { config, url } => {
            let cli = Cli {
                config,
                ..Cli::default()
            };
            let report = doctor::run(&cli.config()?, url.as_ref())?;
            print(report.to_string().as_bytes())?;
            if report.has_errors() {
                return Ok(ExitCode::FAILURE);
            }
        }
        Task::Import { file, from } => {
            let converted = import::import(&file, from)?;
            print(converted.to_string().as_bytes())?;
            for setting in converted.left() {
                writeln!(io::stderr(), "distributary: {}", setting.escape_debug())?;
            }
        }
        Task::Config => print(REFERENCE.as_bytes())?,
        Task::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "distributary", &mut text);
            print(&text)?;
        }
        Task::Man => {
            let mut page = Vec::new();
            Man::new(Cli::command()).render(&mut page)?;
            print(&page)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes to standard output. A reader that has seen enough, such as `head`, is no error.
fn print(bytes: &[u8]) -> io::Result<()> {
    match io::stdout().write_all(bytes) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn check(cli: &Cli) -> io::Result<ExitCode> {
    let findings = Findings::of(&cli.read());
    write!(io::stderr(), "{findings}")?;
    if !findings.errors.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    let checked = cli.config.as_ref().map_or_else(
        || "the configuration".to_owned(),
        |file| file.display().to_string(),
    );
    print(format!("{checked} is valid\n").as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;
    use clap_complete::Shell;

    #[test]
    fn every_shell_completes_the_commands_and_flags() {
        for shell in Shell::value_variants() {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "distributary", &mut text);
            let text = String::from_utf8(text).unwrap();
            for word in ["health", "completions", "log-format"] {
                assert!(text.contains(word), "{shell}: {word}");
            }
        }
    }

    #[test]
    fn manual_page_explains_the_flags() {
        let mut text = Vec::new();
        Man::new(Cli::command()).render(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains(".TH distributary 1"), "{text}");
        assert!(text.contains("Listen here for RTMP publishers"), "{text}");
    }
}
