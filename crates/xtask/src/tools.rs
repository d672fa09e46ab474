//! The programs that the checks need beyond the Rust toolchain: found, or installed, or named.

use std::env;
use std::io;
use std::path::Path;
use std::process::Command;

/// A program and the Debian package that has it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tool {
    program: &'static str,
    package: &'static str,
    purpose: &'static str,
}

/// What a build of the workspace runs.
pub(crate) const BUILD: &[Tool] = &[
    Tool {
        program: "cc",
        package: "gcc",
        purpose: "builds OpenSSL",
    },
    Tool {
        program: "make",
        package: "make",
        purpose: "builds OpenSSL",
    },
    Tool {
        program: "perl",
        package: "perl",
        purpose: "builds OpenSSL",
    },
    Tool {
        program: "c++",
        package: "g++",
        purpose: "builds libFuzzer",
    },
];

/// The clients of the end-to-end tests.
pub(crate) const CLIENTS: &[Tool] = &[
    Tool {
        program: "ffmpeg",
        package: "ffmpeg",
        purpose: "publishes in the tests",
    },
    Tool {
        program: "chromium",
        package: "chromium",
        purpose: "watches in the tests",
    },
    Tool {
        program: "chromedriver",
        package: "chromium-driver",
        purpose: "drives Chromium",
    },
    Tool {
        program: "python3",
        package: "python3",
        purpose: "shakes hands in the RTMP tests as another implementation",
    },
    Tool {
        program: "openssl",
        package: "openssl",
        purpose: "makes certificates for the RTMPS tests",
    },
];

/// Why the programs that are needed are not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolError {
    /// Programs are missing, and may or can not be installed from here.
    #[error("these programs are missing:\n{list}install them{hint}")]
    Missing { list: String, hint: String },
    /// The package manager failed.
    #[error("`{command}` failed: {reason}")]
    Install { command: String, reason: String },
}

/// Makes sure that all of `tools` can be run, by installing their packages if `install` is set and
/// this is Debian and root.
pub(crate) fn ensure(tools: &[&Tool], install: bool) -> Result<(), ToolError> {
    let missing = missing(tools);
    if missing.is_empty() {
        return Ok(());
    }
    let packages = packages(&missing);
    if !(install && is_debian() && is_root()) {
        return Err(missing_error(&missing, &packages));
    }
    println!("installing {}", packages.join(" "));
    apt_get(&["update", "-q"])?;
    let mut arguments = vec!["install", "-q", "-y", "--no-install-recommends"];
    arguments.extend(&packages);
    apt_get(&arguments)?;
    match self::missing(tools) {
        still if still.is_empty() => Ok(()),
        still => Err(missing_error(&still, &packages)),
    }
}

fn missing<'a>(tools: &[&'a Tool]) -> Vec<&'a Tool> {
    let mut missing = Vec::new();
    for tool in tools {
        if !is_in_path(tool.program) && !missing.contains(tool) {
            missing.push(*tool);
        }
    }
    missing
}

fn packages(tools: &[&Tool]) -> Vec<&'static str> {
    let mut packages = tools.iter().map(|tool| tool.package).collect::<Vec<_>>();
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn missing_error(missing: &[&Tool], packages: &[&str]) -> ToolError {
    let line = |tool: &&Tool| format!("  {} ({})\n", tool.program, tool.purpose);
    let hint = if is_debian() {
        format!(": apt-get install {}", packages.join(" "))
    } else {
        " (on Debian they are installed by this command when it runs as root)".to_owned()
    };
    ToolError::Missing {
        list: missing.iter().map(line).collect(),
        hint,
    }
}

fn apt_get(arguments: &[&str]) -> Result<(), ToolError> {
    let error = |reason: String| ToolError::Install {
        command: format!("apt-get {}", arguments.join(" ")),
        reason,
    };
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(arguments);
    let status = command
        .status()
        .map_err(|cause: io::Error| error(cause.to_string()))?;
    if status.success() {
        Ok(())
    } else {
        Err(error(status.to_string()))
    }
}

fn is_in_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn is_debian() -> bool {
    Path::new("/etc/debian_version").exists() && is_in_path("apt-get")
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABSENT: Tool = Tool {
        program: "no-such-program",
        package: "no-such-package",
        purpose: "does nothing",
    };

    #[test]
    fn a_program_that_is_missing_is_named_with_its_package_and_purpose() {
        let error = missing_error(&[&ABSENT], &["no-such-package"]).to_string();
        assert!(error.contains("no-such-program (does nothing)"), "{error}");
        if is_debian() {
            assert!(error.contains("apt-get install no-such-package"), "{error}");
        }
    }

    #[test]
    fn nothing_is_installed_when_it_is_not_wanted() {
        let error = ensure(&[&ABSENT, &ABSENT], false).unwrap_err();
        let ToolError::Missing { list, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(list.lines().count(), 1, "named once: {list}");
    }
}
